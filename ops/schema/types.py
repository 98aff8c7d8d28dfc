"""The types that the spec allows for the inputs, outputs and attributes of each operator version.

Types are written as in the spec, a tensor as its element type: ``float``, ``seq(int64)``,
``optional(seq(string))``, ``map(int64, float)``; the type of an attribute as ``ints`` or
``tensor``. ``python -m tools.operator_types`` writes the table ``types.txt``, which is read when
first needed.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

TABLE = Path(__file__).with_name("types.txt")


class Formal(NamedTuple):
    """An input or output. Those of the same type variable have the same type; ``""``: none."""

    variable: str
    allowed: frozenset[str]
    variadic: bool


class Signature(NamedTuple):
    """The types of one version of an operator."""

    since: int
    inputs: tuple[Formal, ...]
    outputs: tuple[Formal, ...]
    attributes: dict[str, str]


def formal_at(formals: tuple[Formal, ...], position: int) -> Formal | None:
    """The parameter at a position: the last one for all further positions, if it is variadic."""
    if position < len(formals):
        return formals[position]
    return formals[-1] if formals and formals[-1].variadic else None


def format_types(types: Iterable[str]) -> str:
    """The types as text, grouped by container: ``bool, float, seq(bool, float)``."""
    groups: dict[str, list[str]] = {}
    for kind in sorted(types, key=lambda kind: (kind.count("("), kind)):
        container, bracket, element = kind.rpartition("(")
        groups.setdefault(container + bracket, []).append(element.rstrip(")"))
    return ", ".join(
        container + ", ".join(elements) + ")" * container.count("(")
        for container, elements in groups.items()
    )


def spec_versions(domain: str, name: str) -> list[int]:
    """The versions of an operator, sorted; empty if it isn't in the table."""
    return sorted(_table()[1].get((domain, name), ()))


@functools.cache
def signature(domain: str, name: str, opset: int) -> Signature | None:
    """The types of an operator at this opset; ``None`` if it isn't in the table."""
    sets, versions = _table()
    lines = versions.get((domain, name), {})
    since = max((version for version in lines if version <= opset), default=None)
    if since is None:
        return None
    inputs, outputs, variables, attributes = lines[since].split("|")
    allowed = dict(pair.split("=") for pair in variables.split())

    def formal(text: str) -> Formal:
        variable = text.rstrip("*~")
        types = sets[allowed[variable]] if variable in allowed else frozenset([variable])
        # "~": each may have a different type
        independent = variable not in allowed or text.endswith("~")
        return Formal("" if independent else variable, types, "*" in text)

    return Signature(
        since,
        tuple(map(formal, inputs.split())),
        tuple(map(formal, outputs.split())),
        dict(pair.split("=") for pair in attributes.split()),
    )


@functools.cache
def _table() -> tuple[dict[str, frozenset[str]], dict[tuple[str, str], dict[int, str]]]:
    """The sets of types by number, and for each operator the unparsed line of each version."""
    sets: dict[str, frozenset[str]] = {}
    versions: dict[tuple[str, str], dict[int, str]] = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        key, _, rest = line.partition(": ")
        if key.startswith("#"):
            continue
        if key.isdigit():
            sets[key] = frozenset(rest.split())
        else:
            operator, _, since = key.rpartition("-")
            domain, _, name = operator.rpartition(".")
            versions.setdefault((domain, name), {})[int(since)] = rest
    return sets, versions
