"""Write ``ops/schema/types.txt``: the types of the inputs, outputs and attributes of all versions.

    python -m tools.operator_types

They are read from ONNX's schemas, and for ONNX Runtime's own operators from its schemas.
``test_types.py`` fails if the file is out of date.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from onnx import AttributeProto

from onnxwalk.ops import registry
from onnxwalk.ops.schema.types import TABLE
from tests.support.schemas import all_schemas, attribute_type

HEAD = """\
# Written by `python -m tools.operator_types`. Sets of types by number, then for each version:
# inputs | outputs | the set of each variable | the type of each attribute.
# "*": variadic, "~": each of a type of its own.
"""


def schemas() -> list[Any]:
    """The schemas of all versions of the registered operators."""
    ours = {(operator.domain, operator.name) for operator in registry}
    return [
        schema
        for key, versions in all_schemas().items()
        if key in ours
        for schema in versions.values()
        if registry.lookup(*key, schema.since_version) is not None
    ]


def short(kind: str) -> str:
    """A type as written in the table: without spaces, a tensor as its element type."""
    return re.sub(r"tensor\((\w+)\)", r"\1", kind).replace(" ", "")


def formals(parameters: Any) -> Iterator[str]:
    """The type variable or type of each parameter, with its marks."""
    for p in parameters:
        kind = p.typeStr if hasattr(p, "typeStr") else p.type_str
        homogeneous = p.isHomogeneous if hasattr(p, "isHomogeneous") else p.is_homogeneous
        variadic = str(p.option).endswith("Variadic")
        yield short(kind) + "*" * variadic + "~" * (variadic and not homogeneous)


def generate() -> str:
    """The text of the table."""
    numbers: dict[tuple[str, ...], int] = {}
    lines = []
    for schema in schemas():
        variables = []
        for constraint in schema.type_constraints:
            kinds = tuple(sorted(map(short, constraint.allowed_type_strs)))
            number = numbers.setdefault(kinds, len(numbers) + 1)
            variables.append(f"{constraint.type_param_str}={number}")
        attributes = [
            f"{name}={AttributeProto.AttributeType.Name(attribute_type(attribute)).lower()}"
            for name, attribute in sorted(schema.attributes.items())
        ]
        name = f"{schema.domain}.{schema.name}" if schema.domain else schema.name
        parts = (formals(schema.inputs), formals(schema.outputs), variables, attributes)
        lines.append(f"{name}-{schema.since_version}: " + " | ".join(map(" ".join, parts)))
    sets = [f"{number}: {' '.join(kinds)}" for kinds, number in numbers.items()]
    return HEAD + "\n".join(sets + lines) + "\n"


if __name__ == "__main__":
    TABLE.write_text(generate(), encoding="utf-8")
