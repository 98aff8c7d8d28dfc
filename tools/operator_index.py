"""Write ``ops/schema/index.py``, where operators are: ``python -m tools.operator_index``."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

from onnxwalk import ops

_HEAD = '''"""Which operators each module registers; written by python -m tools.operator_index."""

#: by domain and module
OPERATORS: dict[tuple[str, str], str] = {
'''


def index() -> dict[tuple[str, str], str]:
    """For each (domain, module) the names of the operators.

    Raises ValueError for an operator that two modules register.
    """
    modules: dict[tuple[str, str], str] = {}
    for operator in (*ops.registry, *ops.fused):
        module = operator.module.removeprefix("onnxwalk.ops.")
        if modules.setdefault((operator.domain, operator.name), module) != module:
            raise ValueError(f"{module} registers {operator}, and so does another module")
    names: dict[tuple[str, str], list[str]] = {}
    for (domain, name), module in sorted(modules.items()):
        names.setdefault((domain, module), []).append(name)
    return {key: " ".join(found) for key, found in sorted(names.items())}


def main() -> None:
    entries = []
    for (domain, module), names in index().items():
        key = f"    ({json.dumps(domain)}, {json.dumps(module)})"
        entry = f"{key}: {json.dumps(names)},\n"
        if len(entry) > 100:
            *lines, last = textwrap.wrap(names, 88)
            literals = [json.dumps(line + " ") for line in lines] + [json.dumps(last)]
            value = "".join(f"        {literal}\n" for literal in literals)
            entry = f"{key}: (\n{value}    ),\n"
        entries.append(entry)
    path = Path(ops.__file__).with_name("schema") / "index.py"
    path.write_text(f"{_HEAD}{''.join(entries)}}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
