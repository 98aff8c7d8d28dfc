"""What the worker calls, without the worker."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from onnxwalk.interpreter.ir.model import TensorInfo, TensorType
from onnxwalk.interpreter.playground.engine import serve
from onnxwalk.interpreter.playground.pyodide import UNUSED_MODULES
from onnxwalk.interpreter.playground.site import package_archive
from onnxwalk.interpreter.playground.sounds import sound_row, takes_sound

DEMO = Path(__file__).parents[3] / "interpreter/cli/_demo"


@pytest.fixture
def call():
    function = serve(lambda title, done, total: None)

    def call(method, **arguments):
        found = function(method, json.dumps(arguments))
        return found if isinstance(found, bytes) else json.loads(found)

    return call


def test_a_demo(call):
    found = call("open", slot="a", path=str(DEMO / "lstm.onnx"), samples="texts")["result"]
    (described,) = found["inputs"]
    assert described["kinds"] == ["sample", "random", "zeros", "file", "hand"]
    assert described["samples"] == len(described["titles"]) == 200
    data = call("run", settings={"ids": {"kind": "sample", "number": 3}})["result"]
    assert data["labels"]["dense_3"] == np.load(DEMO / "samples.npz")["texts_classes"].tolist()
    assert data["origins"] == {"ids": "sample 3"}
    assert call("saliency")["result"]["classes"]
    lstm = next(node for node in data["nodes"] if node["op"] == "LSTM")
    assert "inside" in lstm and call("value", name=data["values"][0]["name"])[:6] == b"\x93NUMPY"


@pytest.mark.parametrize(
    ("method", "arguments", "text"),
    [
        ("open", {"slot": "a", "path": "nothing.onnx"}, "nothing.onnx"),
        ("run", {"settings": {}}, "no model is open"),
        ("value", {"name": "y"}, "no model is open"),
        ("compare", {"settings": {}}, "no model is open"),
    ],
)
def test_errors_are_one_line(call, method, arguments, text):
    assert text in call(method, **arguments)["error"]


@pytest.mark.parametrize(
    ("chosen", "text"),
    [
        ({"kind": "file", "path": "a.npy", "row": 2}, "rows 0 to 1, not 2"),
        ({"kind": "hand", "path": "a.json"}, "not a JSON file"),
        ({"kind": "random", "shape": [1, 7, 8, 1]}, "image"),
    ],
)
def test_errors_name_the_input(call, chosen, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.zeros((2, 8, 8, 1), np.float32))
    Path("a.json").write_text("[[", "utf-8")
    call("open", slot="a", path=str(DEMO / "digits.onnx"))
    error = call("run", settings={"image": chosen})["error"]
    assert text in error and "image" in error


def test_values_inside_and_unknown_ones(call):
    call("open", slot="a", path=str(DEMO / "digits.onnx"))
    call("run", settings={"image": {"kind": "zeros"}})
    assert "no value nothing" in call("value", name="nothing")["error"]


def info(*shape, element=1):
    kind = TensorType(element, shape)
    return TensorInfo(
        "x", np.dtype({1: np.float32, 5: np.int16, 7: np.int64}[element]), shape, kind
    )


def test_sounds():
    assert takes_sound(info("n", "samples")) and takes_sound(info(1, 1, 16000))
    assert not takes_sound(info("n", 4)) and not takes_sound(info("n", 80, 3000))
    assert not takes_sound(info("n", None, element=7))  # int64: ids of words
    samples = np.array([0.5, -0.5, 1, -1], np.float32)
    row, note = sound_row(info("n", 1, 6), samples)
    assert row.shape == (1, 1, 6) and note == "4 samples, padded to 6"
    assert sound_row(info(2), samples)[0].tolist() == [0.5, -0.5]
    row, _ = sound_row(info("n", None, element=5), samples)
    assert row.dtype == np.int16 and row.tolist() == [[16384, -16384, 32767, -32768]]


def test_the_archive_of_the_page_is_enough(tmp_path):
    """Everything that the page can ask for, from the archive alone and without rich."""
    (tmp_path / "onnxwalk.zip").write_bytes(package_archive())
    # what Pyodide lacks, and what the page leaves out of it
    missing = ["rich", "PIL", "lzma", "ssl", "sqlite3", "_hashlib", *UNUSED_MODULES]
    code = (
        f"MISSING = {missing}"
        + """
import json, sys
for name in MISSING: sys.modules[name] = None
from zipfile import ZipFile
ZipFile("onnxwalk.zip").extractall(".")
sys.path.insert(0, ".")
from onnxwalk.interpreter.playground.engine import serve
call = serve(lambda *step: None)
def ask(method, **values):
    found = call(method, json.dumps(values))
    assert isinstance(found, bytes) or "result" in json.loads(found), found
    return found
ask("open", slot="a", path=sys.argv[1]); ask("open", slot="b", path=sys.argv[1])
open("a.csv", "w").write(",".join(["1"] * 64) + "\\n")
ask("run", settings={"image": {"kind": "file", "path": "a.csv", "row": 0}})
open("a.rgba", "wb").write(bytes(400))
picture = {"kind": "picture", "path": "a.rgba", "width": 10, "height": 10, "name": "a.png"}
ask("run", settings={"image": picture})
ask("saliency"); ask("value", name="dense_1"); ask("compare", settings={"image": {"kind": "zeros"}})
"""
    )
    subprocess.run(
        [sys.executable, "-I", "-c", code, str(DEMO / "digits.onnx")], cwd=tmp_path, check=True
    )
