"""``explore`` beyond the page itself: maps, a browser, Python, notebooks."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper

import onnxwalk
from tests.interpreter.cli.test_explore import DEMO, data_of, explore, value
from tests.support.browser import needs_chromium, opened


def test_maps_show_their_items(cli, make):
    """What scikit-learn's classifiers return: a list of maps, of which the first are shown."""
    node = helper.make_node(
        "ZipMap", ["x"], ["y"], name="zip", domain="ai.onnx.ml", classlabels_strings=["no", "yes"]
    )
    model = make("z.onnx", [node], [("x", T.FLOAT, ["n", 2])], [("y", T.FLOAT, None)])
    proto = onnx.load(model)
    one = helper.make_map_type_proto(T.STRING, helper.make_tensor_type_proto(T.FLOAT, []))
    proto.graph.output[0].type.CopyFrom(helper.make_sequence_type_proto(one))
    onnx.save(proto, model)
    np.save("x.npy", np.tile(np.array([[0.25, 0.75]], np.float32), (30, 1)))
    items = value(explore(cli, model, "-i", "x.npy", "--whole"), "y")["items"]
    assert items[0] == "no: 0.25, yes: 0.75"
    assert len(items) == 21 and items[-1] == "… and 10 more"


def test_a_page_is_opened_in_a_browser(cli, monkeypatch):
    import webbrowser

    shown, there = [], True
    monkeypatch.setattr(webbrowser, "open", lambda address: shown.append(address) or there)
    run = ("explore", DEMO / "digits.onnx", "--no-saliency", "-o", "page.html", "--open")
    assert cli(*run).status == 0
    assert shown == [Path("page.html").absolute().as_uri()]
    there = False
    result = cli(*run)
    assert result.status == 1 and "no browser was found; the page is in page.html" in result.err
    assert data_of()["nodes"]


def test_a_page_in_python_and_in_a_notebook(cli):
    session = onnxwalk.load(DEMO / "digits.onnx")
    told = []
    page = session.explore(
        {"image": np.zeros((1, 8, 8, 1), np.float32)},
        saliency=False,
        progress=lambda *step: told.append(step),
    )
    page.save("page.html")
    assert data_of()["model"]["source"] == "digits.onnx"
    titles = list(dict.fromkeys(title for title, _, _ in told))
    assert titles == ["first run", "run 1 of 3", "run 2 of 3", "run 3 of 3", "pictures"]
    assert all(done <= total for title, done, total in told if title != "first run")
    frame = page._repr_html_()
    assert frame.startswith("<iframe") and "<script" not in frame
    assert isinstance(page, onnxwalk.Page) and "nodes" in repr(page)
    table = session.trace({"image": np.zeros((1, 8, 8, 1), np.float32)}).to_html()
    assert "MatMul" in table and "<table" in table
    with pytest.raises(onnxwalk.InvalidInputError, match="size=0"):
        session.explore({"image": np.zeros((1, 8, 8, 1), np.float32)}, size=0)


@needs_chromium
def test_a_page_works_in_the_frame_of_a_notebook(cli):
    session = onnxwalk.load(DEMO / "digits.onnx")
    page = session.explore({"image": np.zeros((1, 8, 8, 1), np.float32)}, saliency=False)
    notebook = f"<!doctype html><title>t</title><body>{page._repr_html_()}</body>"
    script = "await new Promise(done => setTimeout(done, 2000)); return frames.length"
    found, console = opened(notebook, Path.cwd(), script)
    assert (found, console) == (1, [])  # an error in the frame would be in the console
