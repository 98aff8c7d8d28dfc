"""``onnxwalk ops``: list the supported operators, or explain one."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterator, Sequence
from itertools import starmap, zip_longest
from typing import Any

from onnxwalk.interpreter.cli import _show
from onnxwalk.interpreter.cli._arguments import add_command
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.ops import Input, Operator, registry
from onnxwalk.ops.contract.registry import REQUIRED
from onnxwalk.ops.schema.types import format_types, signature, spec_versions

_DESCRIPTION = """\
List the supported operators with their versions, or explain one: inputs, attributes with their
defaults, and the formula, for each version.
"""

Versions = dict[tuple[str, str], list[Operator]]  # by domain and name


def add_parser(commands: Any) -> None:
    """Add ``ops`` to the commands."""
    text = "list the supported operators, or explain one"
    parser = add_command(commands, "ops", run, text, _DESCRIPTION)
    parser.add_argument("name", metavar="NAME", nargs="?", help="an operator; case is ignored")
    parser.add_argument("--json", action="store_true", help="print one JSON list")


def run(args: argparse.Namespace) -> int:
    """Run the command. Raises InvalidInputError for an unknown NAME."""
    versions: Versions = {}
    for operator in registry:
        versions.setdefault((operator.domain, operator.name), []).append(operator)
    if args.name is not None:
        versions = _find(versions, args.name)
    if args.json:
        _show.print_json([_as_json(operators) for operators in versions.values()])
    elif args.name is not None:
        for (domain, name), operators in versions.items():
            _explain(domain, name, operators)
    else:
        _list(versions)
    return 0


def _find(versions: Versions, name: str) -> Versions:
    """The operators of a name, which may begin with the domain."""
    lower = name.lower()
    matches = {
        (domain, op_type): operators
        for (domain, op_type), operators in versions.items()
        if lower in (op_type.lower(), f"{domain or 'ai.onnx'}.{op_type}".lower())
    }
    if matches:
        return matches
    names = {op_type.lower(): op_type for _, op_type in versions}
    close = [names[n] for n in difflib.get_close_matches(lower, names, 3)]
    hint = f"did you mean {' or '.join(close)}?" if close else "'onnxwalk ops' lists all"
    raise InvalidInputError(f"operator '{name}' isn't supported; {hint}")


def _list(versions: Versions) -> None:
    for domain in sorted({domain for domain, _ in versions}):
        rows = [
            (name, ", ".join(_span_text(*pair) for pair in _spans(operators)))
            for (key, name), operators in versions.items()
            if key == domain
        ]
        _show.line(f"{domain or 'ai.onnx'}: {_show.count(len(rows), 'operator')}", style="bold")
        _show.table(("operator", "versions, by opset; the last one is current"), rows, indent=2)
        _show.line()
    _show.line("'onnxwalk ops NAME' explains one.")


def _spans(operators: Sequence[Operator]) -> Iterator[tuple[Operator, int | None]]:
    """Each version with the last opset in which it applies; ``None`` if it is current."""
    starts = [operator.since for operator in operators[1:]]
    for operator, following in zip_longest(operators, starts):
        ends = [end for end in (operator.until, following) if end is not None]
        yield operator, min(ends) - 1 if ends else None


def _span_text(operator: Operator, last: int | None) -> str:
    if last is None:
        return str(operator.since)
    return f"{operator.since}–{last}" if last > operator.since else f"{operator.since} only"


def _explain(domain: str, name: str, operators: Sequence[Operator]) -> None:
    _show.line(_show.qualified_name(domain, name), style="bold")
    before: Operator | None = None
    for operator, last in _spans(operators):
        _show.heading(f"from opset {operator.since} {'on' if last is None else f'to {last}'}")
        inputs = ", ".join(map(_input_text, operator.inputs)) or "none"
        attributes = ", ".join(starmap(_attribute_text, operator.attributes.items()))
        rows = [("inputs", inputs), ("attributes", attributes or "none")]
        rows += [(name, f"one of {', '.join(words)}") for name, words in _choices(operator).items()]
        rows += _types(operator, last)
        if before is not None:
            rows.append((f"changes since {before.since}", "; ".join(_changes(before, operator))))
        before = operator
        _show.table(("", ""), rows, indent=2)
        for text in operator.documentation.splitlines():
            _show.line(f"  {text}" if text else "")
    _show.line()


def _choices(operator: Operator) -> dict[str, tuple[str, ...]]:
    """The allowed values of attributes that are words."""
    choices = {name: operator.choices(name, operator.since) for name in operator.attributes}
    return {name: words for name, words in choices.items() if words}


def _types(operator: Operator, last: int | None) -> Iterator[tuple[str, str]]:
    """The types of the inputs in the first version of the spec that applies, and the changes in
    later ones."""
    before: dict[str, frozenset[str]] = {}
    for version in spec_versions(operator.domain, operator.name):
        if version < operator.since or (last is not None and version > last):
            continue
        spec = signature(operator.domain, operator.name, version)
        assert spec is not None
        names: dict[str, list[str]] = {}  # the inputs of each type variable
        allowed: dict[str, frozenset[str]] = {}
        for parameter, formal in zip(operator.inputs, spec.inputs, strict=False):
            names.setdefault(formal.variable or parameter.name, []).append(parameter.name)
            allowed[formal.variable or parameter.name] = formal.allowed
        for key, types in allowed.items():
            text = format_types(types) if key not in before else _difference(before[key], types)
            if text:
                since = "" if version == operator.since else f" from {version} on"
                yield f"{', '.join(names[key])}{since}", text
        before = allowed


def _difference(before: frozenset[str], after: frozenset[str]) -> str:
    parts = ("also", after - before), ("not", before - after)
    return "; ".join(f"{word} {format_types(types)}" for word, types in parts if types)


def _changes(before: Operator, after: Operator) -> Iterator[str]:
    """The differences of a version from the one before it."""
    old, new = ({i.name: _input_text(i) for i in o.inputs} for o in (before, after))
    yield from _changed_texts("input", old, new)
    old, new = (
        {n: _attribute_text(n, default) for n, default in o.attributes.items()}
        for o in (before, after)
    )
    yield from _changed_texts("attribute", old, new)
    earlier, later = _choices(before), _choices(after)
    for name in later:
        if name in earlier and set(earlier[name]) != set(later[name]):
            added = [word for word in later[name] if word not in earlier[name]]
            removed = [word for word in earlier[name] if word not in later[name]]
            parts = (("also", added), ("no longer", removed))
            texts = [f"{how} {', '.join(words)}" for how, words in parts if words]
            yield f"{name} may be {' and '.join(texts)}"
    if before.documentation != after.documentation:
        yield "other formula, see below"


def _changed_texts(noun: str, old: dict[str, str], new: dict[str, str]) -> Iterator[str]:
    yield from (f"new {noun} {text}" for name, text in new.items() if name not in old)
    yield from (f"no {noun} {name}" for name in old if name not in new)
    yield from (f"{noun} {new[n]}, not {old[n]}" for n in new if old.get(n, new[n]) != new[n])


def _input_text(parameter: Input) -> str:
    if parameter.variadic:
        return f"{parameter.name}, … (any number)"
    return f"{parameter.name} (optional)" if parameter.optional else parameter.name


def _attribute_text(name: str, default: Any) -> str:
    if default is REQUIRED:
        return f"{name} (required)"
    return f"{name} (optional)" if default is None else f"{name} = {default!r}"


def _as_json(operators: list[Operator]) -> dict[str, Any]:
    return {
        "domain": operators[0].domain,
        "name": operators[0].name,
        "versions": [
            {
                "since": o.since,
                "last": last,
                "inputs": [
                    {"name": i.name, "optional": i.optional, "variadic": i.variadic}
                    for i in o.inputs
                ],
                "attributes": [
                    {"name": name, "required": True}
                    if default is REQUIRED
                    else {"name": name, "required": False, "default": default}
                    for name, default in o.attributes.items()
                ],
                "changes": list(_changes(before, o)) if before else [],
                "documentation": o.documentation,
            }
            for before, (o, last) in zip([None, *operators], _spans(operators), strict=False)
        ],
    }
