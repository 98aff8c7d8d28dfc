"""``onnxwalk inspect``: show what a model file contains and whether it is supported."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from onnxwalk.interpreter.budget import Budget, use_budget
from onnxwalk.interpreter.cli import _deep, _show
from onnxwalk.interpreter.cli._arguments import add_command, add_integer, add_repeated
from onnxwalk.interpreter.cli._feeds import add_inputs, parse_dims, read_feeds
from onnxwalk.interpreter.cli._limits import get_limits
from onnxwalk.interpreter.cli._nodes import list_nodes, show_nodes
from onnxwalk.interpreter.cli._session import add_session, open_session
from onnxwalk.interpreter.compiler.assume import assume
from onnxwalk.interpreter.compiler.check import check
from onnxwalk.interpreter.compiler.context import Context, every_node
from onnxwalk.interpreter.compiler.inline import inline_functions
from onnxwalk.interpreter.compiler.resolve import resolve, unsupported
from onnxwalk.interpreter.constants import every_tensor
from onnxwalk.interpreter.errors import InvalidInputError, InvalidModelError, UnsupportedModelError
from onnxwalk.interpreter.ir.model import Graph, Model, Node, SparseTensor, Tensor, ValueInfo
from onnxwalk.interpreter.reader import read_model
from onnxwalk.interpreter.text import LABELS_KEY, TEXT_KEY, Tokenizer, class_names, tokenizers
from onnxwalk.ops import registry
from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES

_DESCRIPTION = """\
Show what a model file contains: inputs, outputs, parameters, operators, and all nodes that aren't
supported.
"""


def add_parser(commands: Any) -> None:
    """Add ``inspect`` to the commands."""
    parser = add_command(commands, "inspect", run, "show what a model contains", _DESCRIPTION)
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument(
        "--deep",
        action="store_true",
        help="also show types and shapes of all values (by running the model on the inputs "
        "that are given, or random ones), parameters and FLOPs of layers, statistics of weights, "
        "and the effects of the rewrites",
    )
    add_inputs(parser, "with --deep: ")
    add_integer(parser, "--top", "with --deep: rows of each table", default=20)
    parser.add_argument(
        "--nodes",
        action="store_true",
        help="also list the nodes in order, with inputs, outputs, attributes, types and shapes",
    )
    text = "with --nodes: only those whose name, operator, value or Keras layer matches"
    add_repeated(parser, "--select", metavar="PATTERN", help=text)
    parser.add_argument(
        "--check",
        action="store_true",
        help="only say whether the model can be run: exit status 1 if not; with --deep it is tried",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="with --check: also refuse nodes out of order and domains that aren't imported",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_session(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command. Raises InvalidModelError and InvalidInputError; a model that isn't
    supported is reported, not refused."""
    for option in ("dim", "shape", "seed", "input", "text", "text_file"):
        if getattr(args, option) and not args.deep:
            raise InvalidInputError(f"--{option.replace('_', '-')} requires --deep")
    if args.select and not args.nodes:
        raise InvalidInputError("--select requires --nodes")
    if args.strict and not args.check:
        raise InvalidInputError("--strict requires --check")
    with use_budget(Budget(get_limits(args))):
        report = _report(args, read_model(args.model))
    if args.deep and not (report["unsupported"] or report["problem"]):
        session = open_session(args, optimize=False)
        dims = parse_dims(session, args.dim)
        inputs = _deep.Inputs(read_feeds(session, args), dims, args.shape, args.seed)
        report["deep"] = _deep.analyze(session, inputs)
    problems = _problems(report, strict=args.strict)
    if args.check:
        report["problems"] = problems
    if args.json:
        _show.print_json(report)
    elif args.check:
        for problem in problems:
            _show.line(f"{args.model}: {problem}")
        if not problems:
            _show.line(f"{args.model}: can be run; {_show.count(report['nodes'], 'node')}")
    else:
        _show_text(report)
        if args.nodes:
            _show.heading("the nodes in order")
            show_nodes(report["node_list"])
        if "deep" in report:
            _deep.show(report["deep"], args.top)
    return int(args.check and bool(problems))


def _problems(report: Mapping[str, Any], *, strict: bool) -> list[str]:
    """Why the model can't be run."""
    problems = [
        f"{each['operator']} isn't supported: {', '.join(each['nodes'])}"
        for each in report["unsupported"]
    ]
    problems += [report["problem"]] if report["problem"] else []
    return problems + (report["assumed"] if strict else [])


def _report(args: argparse.Namespace, model: Model) -> dict[str, Any]:
    """The report as plain data."""
    path = args.model
    model, assumptions = assume(model)
    check(model)
    graph = inline_functions(model)
    opsets = model.opsets or {"": 1}
    context = Context(registry, opsets)
    missing = unsupported(graph, context)
    problem = None
    if not missing:
        try:
            resolve(graph, model, context)
        except UnsupportedModelError as error:
            problem = str(error).removeprefix(f"{model.source}: ")
    initialized = set(graph.initializers)
    report = {
        "model": path,
        "bytes": os.path.getsize(path),
        "ir_version": model.ir_version,
        "producer": " ".join(filter(None, (model.producer_name, model.producer_version))),
        "assumed": assumptions,
        "domain": model.domain,
        "model_version": model.model_version or 0,
        "graph": graph.name,
        "doc": model.doc or graph.doc,
        "opsets": {domain or "ai.onnx": version for domain, version in opsets.items()},
        "inputs": [_value(v) for v in graph.inputs if v.name not in initialized],
        "outputs": [_value(v) for v in graph.outputs],
        "overridable": [_value(v) for v in graph.inputs if v.name in initialized],
        "parameters": _parameters(graph),
        "nodes": sum(1 for _ in every_node(graph)),
        "operators": _operators(graph, context),
        "functions": _functions(model),
        "metadata": dict(model.metadata),
        "training": [
            {
                "algorithm": len(step.algorithm.nodes),
                "initialization": len(step.initialization.nodes),
            }
            for step in model.training
        ],
        "unsupported": [{"operator": o, "nodes": nodes} for o, nodes in missing.items()],
        "problem": problem,
    }
    if args.nodes:
        infer = not missing and problem is None
        report["node_list"] = list_nodes(model, graph, context, args.select, infer=infer)
    return report


def _value(value: ValueInfo) -> dict[str, Any]:
    shape = getattr(value.type, "shape", None)
    return {
        "name": value.name,
        "type": str(value.type) if value.type is not None else "unknown",
        "shape": None if shape is None else list(shape),
    }


def _parameters(graph: Graph) -> list[dict[str, Any]]:
    """Tensors, elements and bytes of the constants by type; the largest type comes first."""
    totals: dict[int, list[int]] = {}
    for _, tensor in every_tensor(graph):
        stored = tensor.values if isinstance(tensor, SparseTensor) else tensor
        total = totals.setdefault(stored.element, [0, 0, 0])
        total[0] += 1
        total[1] += stored.array.size
        total[2] += _stored_bytes(stored)
    return [
        {"type": ELEMENT_TYPES[code].name, "tensors": tensors, "elements": size, "bytes": stored}
        for code, (tensors, size, stored) in sorted(totals.items(), key=lambda t: -t[1][2])
    ]


def _stored_bytes(tensor: Tensor) -> int:
    """The bytes of the elements in the file, where types of less than 8 bits are packed."""
    bits = ELEMENT_TYPES[tensor.element].bits
    if not bits:
        return sum(len(text.encode()) for text in map(str, tensor.array.flat))
    return -(-tensor.array.size * bits // 8)


def _operators(graph: Graph, context: Context) -> list[dict[str, Any]]:
    """The operators, including those of subgraphs and functions; the most frequent comes first."""
    counts: Counter[tuple[str, str, int | None, int | None]] = Counter()
    for node in every_node(graph):
        operator = context.operator(node)
        since = None if operator is None else operator.since
        counts[node.domain, node.op_type, context.opset(node), since] += 1
    return [
        {
            "operator": _show.qualified_name(domain, name),
            "opset": opset,
            "since": since,
            "nodes": number,
        }
        for (domain, name, opset, since), number in sorted(
            counts.items(), key=lambda item: (-item[1], item[0][:2])
        )
    ]


def _functions(model: Model) -> list[dict[str, Any]]:
    """The functions of the model, and the number of nodes in the file that call each."""
    nodes: list[Node] = list(every_node(model.graph))
    for function in model.functions.values():
        for node in function.nodes:
            nodes.append(node)
            for _, inner in node.graphs:
                nodes.extend(every_node(inner))
    calls = Counter((node.domain, node.op_type, node.overload) for node in nodes)
    return [
        {
            "function": _show.qualified_name(function.domain, function.name)
            + (f":{function.overload}" if function.overload else ""),
            "nodes": len(function.nodes),
            "calls": calls[key],
        }
        for key, function in model.functions.items()
    ]


# --- text


def _show_text(report: Mapping[str, Any]) -> None:
    opsets = ", ".join(f"{domain} {version}" for domain, version in report["opsets"].items())
    facts = [
        ("file", f"{report['model']} ({_show.size(report['bytes'])})"),
        ("IR version", report["ir_version"] or "unknown"),
        ("producer", report["producer"] or "unknown"),
        ("opsets", opsets),
        ("assumed", "\n".join(report["assumed"])),
        ("graph", report["graph"]),
        ("domain", report["domain"]),
        ("model version", report["model_version"]),
        ("description", " ".join(report["doc"].split())),
    ]
    _show.table(("", ""), [fact for fact in facts if fact[1]])
    for title, key in (
        ("inputs", "inputs"),
        ("outputs", "outputs"),
        ("initializers that can be passed as inputs", "overridable"),
    ):
        if report[key]:
            _show.heading(title)
            _show.table(("", ""), [(v["name"], v["type"]) for v in report[key]], indent=2)
    _show_parameters(report["parameters"])

    _show.heading(_show.count(report["nodes"], "node"))
    _show.table(
        ("operator", "nodes", "opset", "implemented"),
        [_operator_row(o) for o in report["operators"]],
        right=("nodes", "opset"),
        indent=2,
    )
    if report["functions"]:
        _show.heading("functions of the model")
        rows = [(f["function"], f["nodes"], f["calls"]) for f in report["functions"]]
        columns = ("function", "nodes", "calls")
        _show.table(columns, rows, right=columns[1:], indent=2)
    if report["metadata"]:
        _show.heading("metadata")
        _show.table(("", ""), _metadata_rows(report["metadata"]), indent=2)
    for info in report["training"]:
        _show.heading("training, which onnxwalk ignores")
        _show.line(f"  algorithm of {_show.count(info['algorithm'], 'node')}")
        _show.line(f"  initialization of {_show.count(info['initialization'], 'node')}")
    if report["unsupported"]:
        _show.heading("not supported")
        for item in report["unsupported"]:
            _show.line(f"  {item['operator']}: {', '.join(item['nodes'])}")
    if report["problem"]:
        _show.heading("not supported")
        _show.line(f"  {report['problem']}")


def _metadata_rows(metadata: Mapping[str, str]) -> list[tuple[str, str]]:
    """Names and values of the metadata; of vocabularies and class names the size and the first."""
    rows: list[tuple[str, str]] = []
    for key, value in metadata.items():
        try:
            if key == TEXT_KEY:
                rows += [
                    (f"text for {n}", _tokenizer_text(t)) for n, t in tokenizers(metadata).items()
                ]
                continue
            if key == LABELS_KEY:
                for output, names in class_names(metadata).items():
                    rows.append((f"classes of {output}", _first_names(names, "class")))
                continue
        except InvalidModelError:
            pass  # show the text itself
        rows.append((key, _show.shortened(value)))
    return rows


def _tokenizer_text(tokenizer: Tokenizer) -> str:
    parts = [tokenizer.standardize or "unchanged", f"split {tokenizer.split or 'not at all'}"]
    if tokenizer.ngrams is not None:
        parts.append(f"n-grams of {', '.join(map(str, tokenizer.ngrams))}")
    at_most = "at most " if tokenizer.ragged else ""
    parts.append(f"{at_most}{tokenizer.length} ids" if tokenizer.length else "any number of ids")
    return f"{', '.join(parts)}; {_first_names(tokenizer.vocabulary[2:], 'word')}"


def _first_names(names: Sequence[str], noun: str, most: int = 8) -> str:
    nouns = noun if len(names) == 1 else "classes" if noun == "class" else f"{noun}s"
    return f"{len(names):,} {nouns}: {', '.join(names[:most])}{', …' * (len(names) > most)}"


def _show_parameters(parameters: list[dict[str, Any]]) -> None:
    elements = sum(p["elements"] for p in parameters)
    stored = sum(p["bytes"] for p in parameters)
    _show.heading(f"{_show.count(elements, 'parameter')}, {_show.size(stored)}")
    if parameters:
        rows = [
            (p["type"], f"{p['tensors']:,}", f"{p['elements']:,}", _show.size(p["bytes"]))
            for p in parameters
        ]
        columns = ("type", "tensors", "elements", "size")
        _show.table(columns, rows, right=columns[1:], indent=2)


def _operator_row(operator: Mapping[str, Any]) -> tuple[str, ...]:
    since = operator["since"]
    implemented = "not supported" if since is None else f"since {since}"
    opset = "none" if operator["opset"] is None else str(operator["opset"])
    return operator["operator"], f"{operator['nodes']:,}", opset, implemented
