"""Write ``ops/schema/index.py``, where operators are: ``python -m tools.operator_index``."""

from __future__ import annotations

import json
from pathlib import Path

from onnxwalk import ops

_HEAD = '"""Which modules register and bind each operator; by python -m tools.operator_index."""'


def index() -> dict[tuple[str, str], str]:
    """For each operator (domain, name) the modules that register and bind it."""
    found: dict[tuple[str, str], set[str]] = {}
    for operator in ops.registry:
        modules = found.setdefault((operator.domain, operator.name), set())
        modules.add(operator.module)
        if operator.binder is not None:
            modules.add(operator.binder.__module__)
    return {
        key: " ".join(sorted(module.removeprefix("onnxwalk.ops.") for module in modules))
        for key, modules in sorted(found.items())
    }


def main() -> None:
    lines = [
        f"    ({json.dumps(domain)}, {json.dumps(name)}): {json.dumps(modules)},\n"
        for (domain, name), modules in index().items()
    ]
    text = f"{_HEAD}\n\nMODULES_OF: dict[tuple[str, str], str] = {{\n{''.join(lines)}}}\n"
    Path(ops.__file__).with_name("schema") / "index.py".write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
