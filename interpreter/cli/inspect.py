"""``onnxwalk inspect``: what is in a model file, and whether it can be run."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from onnxwalk.interpreter.budget import use_budget
from onnxwalk.interpreter.cli import _deep, _show
from onnxwalk.interpreter.cli._feeds import named_sizes, whole_number
from onnxwalk.interpreter.cli._limits import add_limits, budget_of, limits_of
from onnxwalk.interpreter.compiler.check import check
from onnxwalk.interpreter.compiler.context import Context, every_node
from onnxwalk.interpreter.compiler.inline import inline_functions
from onnxwalk.interpreter.compiler.resolve import resolve, unsupported
from onnxwalk.interpreter.errors import InvalidInputError, InvalidModelError, UnsupportedModelError
from onnxwalk.interpreter.ir.model import Graph, Model, Node, SparseTensor, Tensor, ValueInfo
from onnxwalk.interpreter.reader import read_model
from onnxwalk.interpreter.session import load
from onnxwalk.interpreter.text import LABELS_KEY, TEXT_KEY, Tokenizer, class_names, tokenizers
from onnxwalk.ops import registry
from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES

_LONGEST = 200  # characters of a value in the metadata


def add_parser(commands: Any) -> None:
    """Add ``inspect`` to the commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "inspect",
        help="tell what is in a model file",
        description="Tell what is in a model file: inputs, outputs, parameters, operators, and "
        "everything in it that isn't supported.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    parser.add_argument(
        "--deep",
        action="store_true",
        help="also the types and shapes of all values (by running the model on made-up inputs), "
        "parameters and FLOP by layer, what the weights are like, and what the rewrites do",
    )
    parser.add_argument(
        "--dim",
        action="append",
        default=[],
        metavar="NAME=N",
        help="with --deep: size to give a symbolic dimension; may be repeated",
    )
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="[NAME=]1,100",
        help="with --deep: shape of a made-up input; may be repeated",
    )
    parser.add_argument(
        "--top",
        type=whole_number,
        default=20,
        metavar="N",
        help="with --deep: rows of a table (20)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_limits(parser)


def run(args: argparse.Namespace) -> int:
    """Carry out the command. Raises InvalidModelError and InvalidInputError, but a model that
    isn't supported is what one may want to look into."""
    if not args.deep and (args.dim or args.shape):
        raise InvalidInputError("--dim and --shape are of no use without --deep")
    with use_budget(budget_of(args)):
        about = _describe(args.model, read_model(args.model))
    if args.deep and not (about["unsupported"] or about["problem"]):
        session = load(args.model, optimize=False, limits=limits_of(args))
        about["deep"] = _deep.deep(session, named_sizes(session, args.dim), args.shape)
    if args.json:
        _show.print_json(about)
    else:
        _show_text(about)
        if "deep" in about:
            _deep.show(about["deep"], args.top)
    return 0


def _describe(path: str, model: Model) -> dict[str, Any]:
    """All that is told, as plain data."""
    check(model)
    graph = inline_functions(model)
    opsets = model.opsets or {"": 1}
    context = Context(registry, opsets, np.random.default_rng())
    missing = unsupported(graph, context)
    problem = None
    if not missing:
        try:
            resolve(graph, model, context)
        except UnsupportedModelError as error:
            problem = str(error).removeprefix(f"{model.source}: ")
    initialized = set(graph.initializers)
    return {
        "model": path,
        "bytes": os.path.getsize(path),
        "ir_version": model.ir_version,
        "producer": " ".join(filter(None, (model.producer_name, model.producer_version))),
        "domain": model.domain,
        "model_version": model.model_version,
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
        "training": _training(model),
        "unsupported": [{"operator": o, "nodes": nodes} for o, nodes in missing.items()],
        "problem": problem,
    }


def _value(value: ValueInfo) -> dict[str, Any]:
    shape = getattr(value.type, "shape", None)
    return {
        "name": value.name,
        "type": str(value.type) if value.type is not None else "unknown",
        "shape": None if shape is None else list(shape),
    }


def _parameters(graph: Graph) -> list[dict[str, Any]]:
    """Tensors, elements and bytes of the initializers by type, the largest first."""
    totals: dict[int, list[int]] = {}
    for tensor in _initializers(graph):
        stored = tensor.values if isinstance(tensor, SparseTensor) else tensor
        total = totals.setdefault(stored.element, [0, 0, 0])
        total[0] += 1
        total[1] += stored.array.size
        total[2] += _stored_bytes(stored)
    return [
        {"type": ELEMENT_TYPES[code].name, "tensors": tensors, "elements": size, "bytes": stored}
        for code, (tensors, size, stored) in sorted(totals.items(), key=lambda t: -t[1][2])
    ]


def _initializers(graph: Graph) -> Iterator[Tensor | SparseTensor]:
    """The initializers of a graph and of the graphs within it."""
    yield from graph.initializers.values()
    for node in graph.nodes:
        for _, inner in node.graphs:
            yield from _initializers(inner)


def _stored_bytes(tensor: Tensor) -> int:
    """What the elements take in the file; small types are packed there, not in memory."""
    bits = ELEMENT_TYPES[tensor.element].bits
    if not bits:
        return sum(len(text.encode()) for text in map(str, tensor.array.flat))
    return -(-tensor.array.size * bits // 8)


def _operators(graph: Graph, context: Context) -> list[dict[str, Any]]:
    """The operators that run, those within subgraphs and functions too, the most frequent first."""
    counts: Counter[tuple[str, str, int | None, int | None]] = Counter()
    for node in every_node(graph):
        operator = context.operator(node)
        since = None if operator is None else operator.since
        counts[node.domain, node.op_type, context.opset(node), since] += 1
    return [
        {"operator": _full(domain, name), "opset": opset, "since": since, "nodes": number}
        for (domain, name, opset, since), number in sorted(
            counts.items(), key=lambda item: (-item[1], item[0][:2])
        )
    ]


def _functions(model: Model) -> list[dict[str, Any]]:
    """The model's own functions and how often each is called in the file."""
    nodes: list[Node] = list(every_node(model.graph))
    for function in model.functions.values():
        for node in function.nodes:
            nodes.append(node)
            for _, inner in node.graphs:
                nodes.extend(every_node(inner))
    calls = Counter((node.domain, node.op_type, node.overload) for node in nodes)
    return [
        {
            "function": _full(function.domain, function.name)
            + (f":{function.overload}" if function.overload else ""),
            "nodes": len(function.nodes),
            "calls": calls[key],
        }
        for key, function in model.functions.items()
    ]


def _training(model: Model) -> list[dict[str, Any]]:
    """The number of nodes of each training step that the file describes."""
    return [
        {
            "algorithm": len(step.algorithm.nodes),
            "initialization": len(step.initialization.nodes),
        }
        for step in model.training
    ]


def _full(domain: str, name: str) -> str:
    return f"{domain}.{name}" if domain else name


# --- text


def _show_text(about: Mapping[str, Any]) -> None:
    opsets = ", ".join(f"{domain} {version}" for domain, version in about["opsets"].items())
    facts = [
        ("file", f"{about['model']} ({_show.size(about['bytes'])})"),
        ("IR version", about["ir_version"] or "not given"),
        ("producer", about["producer"] or "not given"),
        ("opsets", opsets),
        ("graph", about["graph"]),
        ("domain", about["domain"]),
        ("model version", about["model_version"]),
        ("about", " ".join(about["doc"].split())),
    ]
    _show.table(("", ""), [fact for fact in facts if fact[1]])
    for title, key in (
        ("inputs", "inputs"),
        ("outputs", "outputs"),
        ("initializers that can be given as inputs", "overridable"),
    ):
        if about[key]:
            _show.heading(title)
            _show.table(("", ""), [(v["name"], v["type"]) for v in about[key]], indent=2)
    _show_parameters(about["parameters"])

    _show.heading(_show.count(about["nodes"], "node"))
    _show.table(
        ("operator", "nodes", "opset", "implemented"),
        [_operator_row(o) for o in about["operators"]],
        right=("nodes", "opset"),
        indent=2,
    )
    if about["functions"]:
        _show.heading("functions of the model's own")
        rows = [(f["function"], f["nodes"], f["calls"]) for f in about["functions"]]
        columns = ("function", "nodes", "calls")
        _show.table(columns, rows, right=columns[1:], indent=2)
    if about["metadata"]:
        _show.heading("metadata")
        _show.table(("", ""), _readable(about["metadata"]), indent=2)
    for info in about["training"]:
        _show.heading("training, which onnxwalk leaves aside")
        _show.line(f"  algorithm of {_show.count(info['algorithm'], 'node')}")
        _show.line(f"  initialization of {_show.count(info['initialization'], 'node')}")
    if about["unsupported"]:
        _show.heading("not supported")
        for item in about["unsupported"]:
            _show.line(f"  {item['operator']}: {', '.join(item['nodes'])}")
    if about["problem"]:
        _show.heading("not supported")
        _show.line(f"  {about['problem']}")


def _readable(metadata: Mapping[str, str]) -> list[tuple[str, str]]:
    """Metadata in lines that can be read: a vocabulary by its size and its first words."""
    rows: list[tuple[str, str]] = []
    for key, value in metadata.items():
        try:
            if key == TEXT_KEY:
                rows += [(f"text for {n}", _text(t)) for n, t in tokenizers(metadata).items()]
                continue
            if key == LABELS_KEY:
                found = class_names(metadata)
                rows += [(f"classes of {n}", _some(names, "class")) for n, names in found.items()]
                continue
        except InvalidModelError:
            pass  # shown as it stands
        rows.append((key, value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…"))
    return rows


def _text(tokenizer: Tokenizer) -> str:
    parts = [tokenizer.standardize or "as it is", f"split {tokenizer.split or 'not at all'}"]
    if tokenizer.ngrams is not None:
        parts.append(f"n-grams of {', '.join(map(str, tokenizer.ngrams))}")
    at_most = "at most " if tokenizer.ragged else ""
    parts.append(f"{at_most}{tokenizer.length} ids" if tokenizer.length else "any number of ids")
    return f"{', '.join(parts)}; {_some(tokenizer.vocabulary[2:], 'word')}"


def _some(names: Sequence[str], noun: str, most: int = 8) -> str:
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
