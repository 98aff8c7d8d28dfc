"""Options of ``load`` that go together, short forms of ``run``, and what things look like."""

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

import onnxwalk
from onnxwalk import InvalidInputError, UnsupportedModelError
from tests.interpreter.test_session import F, X, Y, constant, dense, model, value

ROOT = Path(__file__).parents[2]


def two_inputs():
    """y = a - b + c, with c = 0 if it isn't fed"""
    return model(
        [helper.make_node("Sub", ["a", "b"], ["d"]), helper.make_node("Add", ["d", "c"], ["y"])],
        [value(name, F, [2]) for name in "abc"],
        [value("y"), value("d")],
        [constant("c", np.zeros(2, np.float32))],
    )


def kinds(session):
    """The operators that a run of the session runs, and whether it keeps bound plans."""
    session.run(None, {"x": X})
    trace = session.trace({"x": X}, optimized=True)
    return [event.node.op_type for event in trace], bool(session._runner._bound._idle)


def fusable():
    """Add of two constants, a Relu."""
    nodes = [helper.make_node("Add", ["b", "b"], ["s"]), helper.make_node("Add", ["x", "s"], ["y"])]
    b = constant("b", np.ones(3, np.float32))
    return model(nodes, [value("x", F, ["n", 3])], [value("y")], [b])


@pytest.mark.parametrize(
    ("options", "rewritten", "bound"),
    [
        ({}, True, True),
        ({"optimize": True}, True, True),
        ({"optimize": False}, False, False),
        ({"rewrites": True}, True, True),
        ({"rewrites": False}, False, True),
        ({"rewrites": []}, False, True),
        ({"rewrites": ["fold_constants"]}, True, True),
        ({"rewrites": {"drop_unused"}}, False, True),
        ({"executor": "walk"}, True, False),
        ({"executor": "bound"}, True, True),
        ({"executor": "bound", "rewrites": False}, False, True),
        ({"executor": "walk", "rewrites": False}, False, False),
        ({"executor": "walk", "rewrites": ["fold_constants"]}, True, False),
    ],
)
def test_what_is_rewritten_and_how_it_is_run(options, rewritten, bound):
    session = onnxwalk.load(fusable(), **options)
    assert kinds(session) == (["Add"] if rewritten else ["Add", "Add"], bound)
    np.testing.assert_array_equal(session(X), X + 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimize": ["fold_constants"]}, "to choose rewrites pass rewrites="),
        ({"optimize": 1}, "optimize must be True or False, not 1"),
        ({"optimize": False, "rewrites": True}, "optimize=False is short for both"),
        ({"optimize": False, "executor": "bound"}, "optimize=False is short for both"),
        ({"optimize": True, "rewrites": False}, "optimize=True is short for both"),
        ({"executor": "walks"}, "executor must be 'bound' or 'walk', not 'walks'"),
        ({"executor": "walk", "threads": 2}, "threads=2 requires executor='bound'"),
        ({"optimize": False, "threads": 2}, "threads=2 requires executor='bound'"),
        ({"rewrites": "recognize"}, "rewrites must be True, False or a list"),
        ({"rewrites": 3}, "rewrites must be True, False or a list"),
        ({"rewrites": ["fold_constant"]}, "'fold_constant'; did you mean 'fold_constants'"),
        ({"rewrites": [3]}, "unknown rewrite: 3"),
    ],
)
def test_options_that_do_not_go_together(options, message):
    with pytest.raises(InvalidInputError, match=message) as caught:
        onnxwalk.load(dense(), **options)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_short_forms_of_run():
    for session in (onnxwalk.load(dense()), onnxwalk.load(dense(), optimize=False)):
        for _ in range(2):
            for found in (
                session.run({"x": X}),
                session.run("y", {"x": X}),
                session.run(("y",), {"x": X}),
                session.run(feeds={"x": X}, output_names=None),
                session.run(None, {"x": X}),
            ):
                assert isinstance(found, list) and len(found) == 1
                np.testing.assert_array_equal(found[0], Y)
        assert len(session._runner._bound._idle) in (0, 2), "each form uses the same plans"


def test_inputs_by_position_and_by_name():
    session = onnxwalk.load(two_inputs())
    a, b, c = (np.array([n, 2 * n], np.float32) for n in (5, 3, 1))
    for found in (session(a, b), session(a, b=b), session(b=b, a=a), session(*(a, b), c=0 * c)):
        assert list(found) == ["y", "d"]
        np.testing.assert_array_equal(found["y"], a - b)
    np.testing.assert_array_equal(session(a, b, c=c)["y"], a - b + c)


@pytest.mark.parametrize(
    ("values", "named", "message"),
    [
        ([X[0, :2]] * 3, {}, r"expected at most 2 input\(s\) \(a, b\), got 3"),
        ([X[0, :2]], {"a": X}, "input 'a' is given twice: by position and by name"),
        ([X[0, :2]], {}, "missing: input b: "),
        ([], {"a": X[0, :2]}, "missing: input b: "),
        ([X[0, :2]], {"bb": X}, "no input is named 'bb'; did you mean 'b'"),
    ],
)
def test_calls_that_do_not_fit(values, named, message):
    with pytest.raises(InvalidInputError, match=message):
        onnxwalk.load(two_inputs())(*values, **named)


def test_names_that_are_not_there():
    session = onnxwalk.load(dense())
    with pytest.raises(InvalidInputError, match="'produkt'; did you mean 'product'"):
        session.run(["produkt"], {"x": X})
    with pytest.raises(InvalidInputError, match="expected at most 1 input\\(s\\) \\(x\\), got 2"):
        session(X, X)
    with pytest.raises(InvalidInputError, match="output_names must be a name or a list of names"):
        session.run(1, {"x": X})


def test_what_things_look_like():
    """A few lines, whatever is in them."""
    names = ["x", *(f"v{n}" for n in range(3000)), "y"]
    nodes = [helper.make_node("Add", [a, "w"], [b]) for a, b in itertools.pairwise(names)]
    proto = model(nodes, [value("x", F, ["n", 3])], [value("y")], [constant("w", X[:1])])
    session = onnxwalk.load(proto)
    trace = session.trace({"x": X})
    event = next(iter(trace))
    for one, title, *parts in (
        (session, "Session: model from ModelProto", "x: float32[n, 3]", "3,001", "Add ×3001"),
        (session.model, "Model: model from ModelProto", "ai.onnx 17", "3 (0.0 MB)", "3,001"),
        (session.graph, "Graph: g", "x: float32[n, 3]", "3,001"),
        (trace, "Trace: 3,001 nodes", "Add ×3001"),
        (event, "Event: node 'v0', ai.onnx.Add-7", "x: float32[2, 3]", "v0: float32[2, 3]"),
    ):
        text = repr(one)
        assert text.startswith(title) and len(text) < 500 and text.count("\n") < 12, text
        assert all(part in text for part in parts), text


def test_own_operators():
    mine = onnxwalk.Registry(parent=onnxwalk.registry)

    @mine.op("Twice", since=1, domain="mine")
    def twice(x, *, times=2):
        return x * np.float32(times)

    @mine.op("Relu", since=17)
    def leaky(x):
        return np.where(x < 0, -x, x)

    proto = model(
        [
            helper.make_node("Relu", ["x"], ["t"]),
            helper.make_node("Twice", ["t"], ["y"], domain="mine", times=3),
        ],
        [value("x")],
        [value("y")],
    )
    proto.opset_import.add(domain="mine", version=1)
    np.testing.assert_array_equal(onnxwalk.load(proto, registry=mine)(X), 3 * np.abs(X))
    with pytest.raises(UnsupportedModelError):
        onnxwalk.load(proto)


def test_modules_of_the_face_are_modules():
    code = (
        "import onnxwalk\n"
        "assert {'backend', 'export', 'text', 'load'} <= set(dir(onnxwalk))\n"
        "import onnxwalk.text, onnxwalk.backend as backend\n"
        "assert onnxwalk.text.tokenizers({}) == {} and backend.supports_device('CPU')\n"
        "from onnxwalk import *\n"
        "assert load is onnxwalk.load and text is onnxwalk.text\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("mode", ["wb", "closed"])
def test_a_file_object_that_cannot_be_read(tmp_path, mode):
    with (tmp_path / "m.onnx").open("wb") as file:
        if mode == "closed":
            file.close()
        with pytest.raises(onnxwalk.InvalidInputError, match="the file object can't be read"):
            onnxwalk.load(file)


def test_limits_are_numbers():
    for name in ("max_memory", "max_nodes", "max_string_bytes"):
        for wrong in (float("inf"), 1.5, -1, True, "1"):
            with pytest.raises(onnxwalk.InvalidInputError, match="non-negative integer"):
                onnxwalk.Limits(**{name: wrong})
    assert onnxwalk.Limits(max_seconds=float("inf")).max_seconds == float("inf")


def test_a_checkout_without_links(tmp_path):
    """As git makes it where links aren't allowed: text files in their place."""
    for name in ("interpreter", "ops", "export"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "onnxwalk").mkdir()
    for path in (ROOT / "onnxwalk").iterdir():
        if path.is_symlink():
            (tmp_path / "onnxwalk" / path.name).write_text(f"../{path.name}")
        elif path.is_file():
            shutil.copy(path, tmp_path / "onnxwalk")
    code = (
        "import onnxwalk, sys\n"
        f"assert onnxwalk.ops.__file__.startswith({str(tmp_path / 'ops')!r})\n"
        "assert onnxwalk.supported_ops() and onnxwalk.export.to_onnx\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    code = "import onnxwalk; assert len(onnxwalk.__path__) == 1, onnxwalk.__path__"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
