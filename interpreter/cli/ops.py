"""``onnxwalk ops``: which operators there are, and what one of them computes."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from onnxwalk.interpreter.cli import _show
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.ops import Input, Operator, registry
from onnxwalk.ops.contract.registry import REQUIRED
from onnxwalk.ops.schema.types import format_types, signature, spec_versions

Versions = dict[tuple[str, str], list[Operator]]  # by domain and name


def add_parser(commands: Any) -> None:
    """Add ``ops`` to the commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "ops",
        help="list the supported operators, or explain one",
        description="List the supported operators with their versions, or explain one: inputs, "
        "attributes with their defaults, and the formula, for each version.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("name", metavar="NAME", nargs="?", help="an operator; case doesn't matter")
    parser.add_argument("--json", action="store_true", help="print one JSON list")


def run(args: argparse.Namespace) -> int:
    """Carry out the command. Raises InvalidInputError for an unknown NAME."""
    versions: Versions = {}
    for operator in registry:
        versions.setdefault((operator.domain, operator.name), []).append(operator)
    if args.name is not None:
        versions = _named(versions, args.name)
    if args.json:
        _show.print_json([_as_json(operators) for operators in versions.values()])
    elif args.name is not None:
        for (domain, name), operators in versions.items():
            _explain(domain, name, operators)
    else:
        _list(versions)
    return 0


def _named(versions: Versions, name: str) -> Versions:
    """The operators of that name, with or without their domain in front."""
    wanted = name.lower()
    found = {
        key: operators
        for key, operators in versions.items()
        if wanted
        in (key[1].lower(), _full(*key).lower(), f"{key[0] or 'ai.onnx'}.{key[1]}".lower())
    }
    if found:
        return found
    names = {key[1].lower(): key[1] for key in versions}
    close = [names[n] for n in difflib.get_close_matches(wanted, names, 3)]
    hint = f"did you mean {' or '.join(close)}?" if close else "'onnxwalk ops' lists them"
    raise InvalidInputError(f"no operator '{name}' is supported; {hint}")


def _list(versions: Versions) -> None:
    for domain in sorted({domain for domain, _ in versions}):
        rows = [
            (name, ", ".join(_span(*pair) for pair in _spans(operators)))
            for (of, name), operators in versions.items()
            if of == domain
        ]
        _show.line(f"{domain or 'ai.onnx'}: {_show.count(len(rows), 'operator')}", style="bold")
        _show.table(
            ("operator", "versions, by opset; the last one reaches to the newest"), rows, indent=2
        )
        _show.line()
    _show.line("'onnxwalk ops NAME' explains one.")


def _spans(operators: Sequence[Operator]) -> Iterator[tuple[Operator, int | None]]:
    """Each version with the last opset that means it; ``None``: the newest one."""
    starts = [operator.since for operator in operators[1:]]
    for operator, following in zip_longest(operators, starts):
        ends = [end for end in (operator.until, following) if end is not None]
        yield operator, min(ends) - 1 if ends else None


def _span(operator: Operator, last: int | None) -> str:
    if last is None:
        return str(operator.since)
    return f"{operator.since}–{last}" if last > operator.since else f"{operator.since} only"


def _explain(domain: str, name: str, operators: Sequence[Operator]) -> None:
    _show.line(_full(domain, name), style="bold")
    before: Operator | None = None
    for operator, last in _spans(operators):
        _show.heading(f"from opset {operator.since} {'on' if last is None else f'to {last}'}")
        inputs = ", ".join(_input(i) for i in operator.inputs) or "none"
        attributes = ", ".join(_attribute(*pair) for pair in operator.attributes.items())
        rows = [("inputs", inputs), ("attributes", attributes or "none")]
        rows += [(name, f"may be {', '.join(words)}") for name, words in _words(operator).items()]
        rows += _types(operator, last)
        if before is not None:
            rows.append((f"unlike {before.since}", "; ".join(_changes(before, operator))))
        before = operator
        _show.table(("", ""), rows, indent=2)
        for text in operator.documentation.splitlines():
            _show.line(f"  {text}" if text else "")
    _show.line()


def _words(operator: Operator) -> dict[str, tuple[str, ...]]:
    """The attributes that take words out of a list, and these."""
    found = {name: operator.choices(name, operator.since) for name in operator.attributes}
    return {name: words for name, words in found.items() if words}


def _types(operator: Operator, last: int | None) -> Iterator[tuple[str, str]]:
    """The types of the inputs at the first version of the spec that is meant, and what the later
    ones change."""
    before: dict[str, frozenset[str]] = {}
    for version in spec_versions(operator.domain, operator.name):
        if version < operator.since or (last is not None and version > last):
            continue
        spec = signature(operator.domain, operator.name, version)
        assert spec is not None
        names: dict[str, list[str]] = {}  # of the inputs of each type variable
        allowed: dict[str, frozenset[str]] = {}
        for given, formal in zip(operator.inputs, spec.inputs, strict=False):
            names.setdefault(formal.variable or given.name, []).append(given.name)
            allowed[formal.variable or given.name] = formal.allowed
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
    """How a version differs from the one before it."""
    old, new = ({i.name: _input(i) for i in o.inputs} for o in (before, after))
    yield from (f"new input {text}" for name, text in new.items() if name not in old)
    yield from (f"no input {name}" for name in old if name not in new)
    yield from (f"input {new[n]}, not {old[n]}" for n in new if old.get(n, new[n]) != new[n])
    old, new = ({n: _attribute(n, d) for n, d in o.attributes.items()} for o in (before, after))
    yield from (f"new attribute {text}" for name, text in new.items() if name not in old)
    yield from (f"no attribute {name}" for name in old if name not in new)
    yield from (f"{new[n]}, not {old[n]}" for n in new if old.get(n, new[n]) != new[n])
    earlier, later = _words(before), _words(after)
    for name in later:
        if name in earlier and set(earlier[name]) != set(later[name]):
            added, gone = (
                [word for word in one[name] if word not in other[name]]
                for one, other in ((later, earlier), (earlier, later))
            )
            parts = (("also", added), ("no longer", gone))
            texts = [f"{how} {', '.join(words)}" for how, words in parts if words]
            yield f"{name} may be {' and '.join(texts)}"
    if before.documentation != after.documentation:
        yield "computed as said below"


def _full(domain: str, name: str) -> str:
    return f"{domain}.{name}" if domain else name


def _input(given: Input) -> str:
    if given.variadic:
        return f"{given.name}, … (any number)"
    return f"{given.name} (optional)" if given.optional else given.name


def _attribute(name: str, default: Any) -> str:
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
