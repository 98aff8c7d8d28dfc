"""Write ``ops/schema/index.txt``, which module registers an operator:

python -m tools.operator_index
"""

from __future__ import annotations

from onnxwalk import ops
from onnxwalk.ops.schema.families import INDEX


def generate() -> str:
    """The text of the index: a line for each module, with its domain and its operators.

    Raises ValueError for an operator that two modules register.
    """
    modules: dict[tuple[str, str], str] = {}
    for operator in (*ops.registry, *ops.fused):
        module = operator.module.removeprefix("onnxwalk.ops.")
        if (other := modules.setdefault((operator.domain, operator.name), module)) != module:
            raise ValueError(f"{operator} is registered by two modules, {other} and {module}")
    lines: dict[tuple[str, str], list[str]] = {}
    for (domain, name), module in sorted(modules.items()):
        lines.setdefault((domain or "ai.onnx", module), []).append(name)
    return "".join(f"{' '.join([*key, *names])}\n" for key, names in sorted(lines.items()))


if __name__ == "__main__":
    INDEX.write_text(generate(), encoding="utf-8")
