"""Which types each version of each operator takes, gives, and wants of its attributes: the spec's.

A type is written as the spec has it, a tensor by its element: ``float``, ``seq(int64)``,
``optional(seq(string))``, ``map(int64, float)``; an attribute's as ``ints`` or ``tensor``.
The table ``types.txt`` beside this file is written by ``python -m tools.operator_types`` and
read when a type is first asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

TABLE = Path(__file__).with_name("types.txt")


class Formal(NamedTuple):
    """One input or output. Those of one ``variable`` have one type; ``""``: it stands alone."""

    variable: str
    allowed: frozenset[str]
    variadic: bool


class Signature(NamedTuple):
    """What one version of an operator takes and gives."""

    since: int
    inputs: tuple[Formal, ...]
    outputs: tuple[Formal, ...]
    attributes: dict[str, str]


def formal_at(formals: tuple[Formal, ...], position: int) -> Formal | None:
    """The formal parameter of an actual one: the last one if it is variadic and goes on."""
    if position < len(formals):
        return formals[position]
    return formals[-1] if formals and formals[-1].variadic else None


def format_types(types: Iterable[str]) -> str:
    """The types, those of one container together: ``bool, float, seq(bool, float)``."""
    groups: dict[str, list[str]] = {}
    for kind in sorted(types, key=lambda kind: (kind.count("("), kind)):
        container, bracket, element = kind.rpartition("(")
        groups.setdefault(container + bracket, []).append(element.rstrip(")"))
    return ", ".join(
        container + ", ".join(elements) + ")" * container.count("(")
        for container, elements in groups.items()
    )


def spec_versions(domain: str, name: str) -> list[int]:
    """The versions of an operator, in order; none if the table doesn't have it."""
    return sorted(_table()[1].get((domain, name), ()))


@functools.cache
def signature(domain: str, name: str, opset: int) -> Signature | None:
    """The types of the operator at this opset; ``None`` if the table doesn't have it."""
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
        # "~": each may have a type of its own
        alone = variable not in allowed or text.endswith("~")
        return Formal("" if alone else variable, types, "*" in text)

    takes, gives = (tuple(map(formal, t.split())) for t in (inputs, outputs))
    return Signature(since, takes, gives, dict(pair.split("=") for pair in attributes.split()))


@functools.cache
def _table() -> tuple[dict[str, frozenset[str]], dict[tuple[str, str], dict[int, str]]]:
    """The sets of types by number, and the unread line of each version of each operator."""
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
