"""Imports point one way, between the layers and between single modules.

``LAYERS`` lists what may import what, from the bottom up: a module imports from layers below its
own, or from its own. Read from the syntax trees, so that imports within functions and those for
type checkers count too.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: from the bottom up; a layer is one folder or module, or several that don't know of each other
LAYERS = [
    ["ops.contract", "ops.schema"],
    ["ops.shared"],
    ["ops.fast"],
    ["ops.ai_onnx"],
    [
        "ops.ai_onnx_ml",
        "ops.ai_onnx_preview",
        "ops.com_microsoft",
        "ops.onnxwalk_fused",
        "ops.onnxwalk_gradient",
    ],
    ["ops"],
    ["interpreter.errors", "interpreter.interrupts"],
    [
        "interpreter.display",
        "interpreter.files",
        "interpreter.wheels",
        "interpreter.limits",
        "interpreter.optional",
        "interpreter.streams",
        "interpreter.pixels",
        "interpreter.text",
    ],
    ["interpreter.ir"],
    ["interpreter.budget", "interpreter.constants", "interpreter.names"],
    ["interpreter.tables"],
    ["interpreter.reader"],
    ["interpreter.weights"],
    ["interpreter.runtime"],
    ["interpreter.compiler"],
    ["interpreter.gradients"],
    ["interpreter.session"],
    ["interpreter.rows"],
    ["interpreter.batches"],
    ["interpreter.dask"],
    ["interpreter.training"],
    [
        "interpreter.backend",
        "interpreter.analysis",
        "interpreter.estimators",
        "interpreter.serving",
        "onnxruntime",
    ],
    ["as_onnxruntime"],
    ["interpreter.playground"],
    ["interpreter.cli"],
    ["interpreter"],
    ["export.errors"],
    ["export.quiet"],
    ["export.tracing"],
    ["export.conversion"],
    ["export"],
    ["export.coverage", "export.study"],
    ["export.cli"],
    ["export.completion"],
    ["export.__main__"],
]

#: what ops and the interpreter import besides NumPy and Python's own: rich for terminals,
#: and what is optional. (What ``optional.py`` imports by its name is optional too.)
THIRD_PARTY = {
    "rich": {"interpreter.cli._terminal"},
    "PIL": {"interpreter.rows", "ops.ai_onnx.vision"},
    "sklearn": {"interpreter.estimators"},
    "threadpoolctl": {"interpreter.runtime.threads"},
    "ml_dtypes": {"ops"},
    "dask": {"interpreter.dask"},
    "distributed": {"interpreter.dask"},
    "starlette": {"interpreter.serving"},
    "anyio": {"interpreter.serving"},
    "uvicorn": {"interpreter.serving"},
}


def modules() -> dict[str, Path]:
    found = {}
    for part in ("ops", "interpreter", "export"):
        for path in (ROOT / part).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    for path in [
        ROOT / "onnxwalk/as_onnxruntime.py",
        *(ROOT / "onnxwalk/onnxruntime").rglob("*.py"),
    ]:
        name = ".".join(path.relative_to(ROOT / "onnxwalk").with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


def names_imported(path: Path) -> set[str]:
    """Everything that a file imports, written out in full."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are written out"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def imported(path: Path) -> set[str]:
    """The modules of ours that a file imports."""
    ours = (n.removeprefix("onnxwalk.") for n in names_imported(path) if n.startswith("onnxwalk."))
    return {name if name in MODULES else name.rpartition(".")[0] for name in ours}


def layer_of(module: str) -> tuple[int, str]:
    """How high a module stands, and the entry of LAYERS that says so."""
    parts = module.split(".")
    for end in range(len(parts), 0, -1):
        name = ".".join(parts[:end])
        for height, layer in enumerate(LAYERS):
            if name in layer:
                return height, name
    raise AssertionError(f"{module} stands in no layer")


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_from_below(module):
    height, room = layer_of(module)
    for other in imported(MODULES[module]):
        below, other_room = layer_of(other)
        assert below < height or other_room == room, f"{module} imports {other}"


@pytest.mark.parametrize("module", sorted(m for m in MODULES if not m.startswith("export")))
def test_a_module_needs_only_numpy(module):
    for name in names_imported(MODULES[module]):
        package = name.partition(".")[0]
        if package in {"numpy", "onnxwalk", "__future__", *sys.stdlib_module_names}:
            continue
        allowed = THIRD_PARTY.get(package, ())
        assert any(f"{module}.".startswith(f"{room}.") for room in allowed), f"{module}: {name}"


def test_no_circle_of_modules():
    graph = {name: imported(path) - {name} for name, path in MODULES.items()}
    finished: set[str] = set()
    for start in graph:
        trail: list[str] = []

        def visit(name: str, trail: list[str] = trail) -> None:
            assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
            if name in finished:
                return
            trail.append(name)
            for other in sorted(graph.get(name, ())):
                visit(other)
            trail.pop()
            finished.add(name)

        visit(start)


def test_every_layer_is_there():
    for layer in LAYERS:
        for name in layer:
            folder = name.replace(".", "/")
            assert name in MODULES or (ROOT / folder).is_dir(), name
