"""Every public name, signature and default of ONNX Runtime's Python package is there, or is listed
as left out with the reason."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

import onnxwalk.onnxruntime as ours
from tests.support.onnxruntime_programs.models import ADD

real = pytest.importorskip("onnxruntime")

DEVICES = "describes devices and compiled execution providers, of which there are none"
PACKAGES = "ONNX Runtime's own form of packages of models"
LORA = "adapters in a format of ONNX Runtime's own; merge them into the model"

#: public names of the package that are left out, and why; docs/IN_PLACE.md shows them
LEFT_OUT = {
    **dict.fromkeys(
        "OrtEpAssignedNode OrtEpAssignedSubgraph OrtEpContextData OrtEpContextDataBuffer "
        "OrtEpDevice OrtHardwareDevice OrtSyncStream".split(),
        DEVICES,
    ),
    **dict.fromkeys(
        "ModelPackage ModelPackageComponentContext ModelPackageContext ModelPackageOptions "
        "ModelPackageWriteMode".split(),
        PACKAGES,
    ),
    **dict.fromkeys("AdapterFormat LoraAdapter".split(), LORA),
    "ModelCompiler": "compiles models for execution providers",
    "OrtExternalInitializerInfo": "part of ModelCompiler",
    "import_capi_exception": "always None",
}


def public(thing):
    """Its public names, but for modules: those there are that have been imported so far."""
    found = {name for name in dir(thing) if not name.startswith("_")}
    return {name for name in found if not inspect.ismodule(getattr(thing, name))}


def test_every_public_name():
    missing = public(real) - public(ours)
    assert missing == set(LEFT_OUT)


@pytest.mark.parametrize("name", sorted(public(real) - set(LEFT_OUT)))
def test_the_same_kind(name):
    kinds = [
        "class" if inspect.isclass(x) else "function" if callable(x) else "value"
        for x in (getattr(real, name), getattr(ours, name))
    ]
    assert kinds[0] == kinds[1]


CLASSES = sorted(
    name for name in public(real) - set(LEFT_OUT) if inspect.isclass(getattr(real, name))
)


@pytest.mark.parametrize("name", CLASSES)
def test_attributes_of_classes(name):
    if issubclass(getattr(ours, name), int):  # enums: their members
        theirs = getattr(real, name).__members__
        assert {k: int(v) for k, v in theirs.items()} == {
            k: int(v) for k, v in getattr(ours, name).__members__.items()
        }
        return
    left_out = {"create_v2"} if name == "OrtMemoryInfo" else set()  # takes devices
    assert public(getattr(real, name)) - left_out <= public(instance(name))


def instance(name):
    """An object of the class, or the class if its objects have no attributes of their own."""
    if name == "OrtMemoryInfo":
        kind = ours.OrtAllocatorType.ORT_ARENA_ALLOCATOR
        return ours.OrtMemoryInfo("Cpu", kind, 0, ours.OrtMemType.DEFAULT)
    if name == "OrtArenaCfg":
        return ours.OrtArenaCfg(0, 0, 0, 0)
    if name == "ModelMetadata":
        return ours.InferenceSession(ADD).get_modelmeta()
    return getattr(ours, name)


def parameters(function):
    """Name, kind and default of each parameter, without ``self``."""
    found = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default) for p in found if p.name not in ("self", "cls")]


PYTHON_CLASSES = ["InferenceSession", "IOBinding", "OrtValue", "SparseTensor"]


@pytest.mark.parametrize("name", PYTHON_CLASSES)
def test_signatures_of_python_classes(name):
    for method in sorted(public(getattr(real, name))):
        theirs = parameters(getattr(getattr(real, name), method))
        assert parameters(getattr(getattr(ours, name), method)) == theirs, method
    theirs = parameters(getattr(real, name).__init__)
    assert parameters(getattr(ours, name).__init__) == theirs


def documented_parameters(function):
    """(number, names with defaults) of a compiled function, from the first line of its text."""
    line = function.__doc__.splitlines()[0]
    inside = line[line.index("(") + 1 : line.rindex(")")]
    while re.search(r"\[[^][]*\]", inside):
        inside = re.sub(r"\[[^][]*\]", "", inside)
    parts = [part.split(":")[0].strip() for part in inside.split(",") if part.strip()]
    return [part for part in parts if part != "self"]


COMPILED = ["SessionOptions", "RunOptions"]


@pytest.mark.parametrize("name", COMPILED)
def test_numbers_of_arguments_of_compiled_methods(name):
    for method in sorted(public(getattr(real, name))):
        theirs = getattr(getattr(real, name), method)
        if callable(theirs):
            expected = documented_parameters(theirs)
            found = parameters(getattr(getattr(ours, name), method))
            assert len(found) == len(expected), (method, expected)


@pytest.mark.parametrize(
    "name", sorted(n for n in public(real) - set(LEFT_OUT) if inspect.isbuiltin(getattr(real, n)))
)
def test_numbers_of_arguments_of_compiled_functions(name):
    expected = documented_parameters(getattr(real, name))
    assert len(parameters(getattr(ours, name))) == len(expected)


def test_capi_has_the_names_that_packages_import():
    names = "onnxruntime_pybind11_state _pybind_state onnxruntime_inference_collection".split()
    for name in names:
        importlib.import_module(f"onnxwalk.onnxruntime.capi.{name}")
    state = importlib.import_module("onnxwalk.onnxruntime.capi.onnxruntime_pybind11_state")
    theirs = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    errors = {
        n
        for n, value in vars(theirs).items()
        if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert len(errors) > 10 and errors <= public(state)


def test_left_out_names_are_in_the_docs():
    text = (Path(__file__).parents[2] / "docs/IN_PLACE.md").read_text(encoding="utf-8")
    for name in LEFT_OUT:
        assert f"`{name}`" in text, name
