"""Cases of each operator, version and type: the cases of ``tests/ops`` with their inputs recast.

The inputs that share a type variable are all made of the type in question, the others stay.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import compress
from typing import Any

import numpy as np

from onnxwalk.ops import registry
from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES, element_type, numpy_dtype
from onnxwalk.ops.schema.types import Formal, Signature, formal_at
from tests.support.harness import Case, all_cases

CODES = {element.name: element.code for element in ELEMENT_TYPES.values()}


@functools.cache
def _cases() -> dict[tuple[str, str, int], list[Case]]:
    """The cases by what they mean: (domain, operator, registered version)."""
    found = defaultdict(list)
    for case in all_cases():
        found[case.domain, case.operator, case.since].append(case)
    return found


def cases_of(domain: str, name: str, opset: int) -> list[Case]:
    """The cases of a version, those of other versions with the same function among them."""
    operator = registry.lookup(domain, name, opset)
    assert operator is not None
    most = 99 if operator.inputs[-1].variadic else len(operator.inputs)
    cases = [
        replace(case, opset=opset)
        for (d, n, _), cases in _cases().items()
        if (d, n) == (domain, name)
        for case in cases
        if not set(case.attributes) - set(operator.attributes) and len(case.inputs) <= most
    ]
    return sorted(cases, key=lambda case: case.since != operator.since)


def type_of(x: Any) -> str:
    """The type of a case's input, as ``ops.schema.types`` writes it; ``""`` for a missing one."""
    if x is None:
        return ""
    if isinstance(x, list):
        return f"seq({type_of(x[0])})" if x else "seq(float)"
    if isinstance(x, dict):
        key, value = next(iter(x.items()))
        return f"map({type_of(np.asarray(key))},{type_of(np.asarray(value))})"
    return element_type(np.asarray(x).dtype).name


def recast(x: Any, kind: str) -> Any:
    """The value as one of another type. Raises ValueError when it can't be made one."""
    if x is None:
        return None
    if kind.startswith("optional("):
        return recast(x, kind.partition("(")[2][:-1])
    if kind.startswith("seq("):
        if not isinstance(x, list):
            raise ValueError("a sequence is needed")
        return [recast(item, kind.partition("(")[2][:-1]) for item in x]
    if kind.startswith("map("):
        if not isinstance(x, dict):
            raise ValueError("a map is needed")
        parts = zip((list(x), list(x.values())), kind[4:-1].split(","), strict=True)
        keys, values = (recast(np.array(part), element) for part, element in parts)
        return dict(zip(keys.tolist(), values, strict=True))
    if isinstance(x, (list, dict)):
        raise ValueError("a tensor is needed")
    array, dtype = np.asarray(x), numpy_dtype(CODES[kind])
    if array.dtype.kind in "OU" and dtype.kind not in "OU":
        array = np.unique(array.astype(str), return_inverse=True)[1].reshape(array.shape)
    if dtype.kind == "O":
        return array.astype(str).astype(object)
    return array.astype(dtype)


def recast_case(case: Case, spec: Signature, formal: Formal, kind: str) -> Case | None:
    """The case with all inputs of one formal, or of its variable, recast; ``None`` without one."""

    def meant(position: int) -> bool:
        other = formal_at(spec.inputs, position)
        alike = other is not None and formal.variable and other.variable == formal.variable
        return case.inputs[position] is not None and (alike or other == formal)

    there = [meant(position) for position in range(len(case.inputs))]
    if not any(there):
        return None
    alone = formal.variadic and not formal.variable
    if alone and kind in (type_of(x) for x in compress(case.inputs, there)):
        return case  # not all of them are of one type
    if case.operator == "SequenceInsert":  # what goes in is what the sequence holds
        element = kind.removeprefix("seq(").removesuffix(")")
        first, second, *rest = case.inputs
        return replace(
            case, inputs=[recast(first, f"seq({element})"), recast(second, element), *rest]
        )
    pairs = zip(case.inputs, there, strict=True)
    inputs = [recast(x, kind) if here else x for x, here in pairs]
    attributes = dict(case.attributes)
    if case.operator == "BitCast":  # of another width it is no BitCast
        attributes["to"] = CODES[kind]
    return replace(case, inputs=inputs, attributes=attributes)


def demands(spec: Signature) -> Iterator[tuple[Formal, str]]:
    """Each formal input, one of each type variable, and each type that it may be."""
    seen = set()
    for formal in spec.inputs:
        if (formal.variable or formal) not in seen:
            seen.add(formal.variable or formal)
            yield from ((formal, kind) for kind in sorted(formal.allowed))


def with_input(case: Case, position: int, kind: str) -> Case:
    """The case with a scalar of this type as the input at a position that it leaves out."""
    inputs = [*case.inputs, *[None] * (position + 1 - len(case.inputs))]
    inputs[position] = recast(np.ones(()), kind)
    return replace(case, inputs=inputs)
