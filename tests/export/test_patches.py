"""What the exporter replaces in Keras, TensorFlow and tf2onnx is there, and is put back."""

import inspect
import re

import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

import keras
import tf2onnx.utils

from onnxwalk.export import ExportError, to_onnx
from onnxwalk.export.tracing import patches
from onnxwalk.export.tracing.patches import PATCHES, Patch, patched

NEEDED = [patch for patch in PATCHES if patch.is_needed()]


def originals():
    return [vars(owner)[name] for owner, name in (patch.owner() for patch in NEEDED)]


def dense():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])


@pytest.mark.parametrize("patch", NEEDED, ids=lambda patch: patch.target)
def test_a_target_is_there_and_takes_what_its_replacement_takes(patch):
    owner, name = patch.owner()  # its error names package, version and target
    if patch.kind is dict:
        assert patch.replacement()
        return
    theirs = list(inspect.signature(vars(owner)[name]).parameters)
    ours = list(inspect.signature(patch.replacement).parameters)[2:]  # original, record
    if inspect.isclass(owner):
        theirs, ours = theirs[1:], ours[1:]
    if ours == ["arguments", "options"]:  # what refuses takes everything
        ours = theirs
    version = __import__(patch.package).__version__
    assert ours == theirs, f"{patch.package} {version}: the parameters of {patch.target}"


def test_no_target_twice():
    assert len({patch.target for patch in PATCHES}) == len(PATCHES)


@pytest.mark.parametrize(
    "target, what",
    [
        ("keras.layers:Dense.nothing", "has no"),
        ("keras.layers:Nothing.call", "has no"),
        ("keras.nothing:call", "has no"),
        ("keras.layers:LSTM.__setattr__", "has no"),  # a class inherits it: nothing to put back
        ("keras.layers:Dense.__module__", "has an unexpected object at"),
    ],
)
def test_a_missing_target_is_one_line_that_says_what_to_do(target, what, monkeypatch, tmp_path):
    monkeypatch.setattr(patches, "PATCHES", (*PATCHES, Patch(target, lambda *_: None, "a test")))
    before = originals()
    with pytest.raises(ExportError) as caught:
        to_onnx(dense(), tmp_path / "m.onnx")
    message = str(caught.value)
    assert message.startswith(f"keras {keras.__version__} {what} {target}, which the exporter")
    assert re.search(r'pip install "keras>=[\d.]+,<=[\d.]+"$', message) and "\n" not in message
    assert originals() == before and not list(tmp_path.iterdir())


def test_what_a_package_has_not_got_yet_needs_no_patch(monkeypatch, tmp_path):
    later = Patch("keras.layers:Nothing.call", lambda *_: None, "a test", since="99.0")
    monkeypatch.setattr(patches, "PATCHES", (*PATCHES, later))
    assert to_onnx(dense(), verify=False).graph.node


def test_everything_is_put_back():
    before, tables = originals(), [dict(t) for t in originals() if isinstance(t, dict)]
    with (
        pytest.raises(RuntimeError),
        patched("keras", "tensorflow", "tf2onnx", record=None, to_train=True),
    ):
        inside = originals()
        assert all((a is b) == isinstance(a, dict) for a, b in zip(inside, before, strict=True))
        assert "bfloat16" in tf2onnx.utils.ONNX_DTYPE_NAMES.values()
        raise RuntimeError
    assert originals() == before
    assert [t for t in originals() if isinstance(t, dict)] == tables
