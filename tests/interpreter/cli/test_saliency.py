"""``onnxwalk saliency``: what it prints, the files that it writes, and the section of the page of
``explore``."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper

import onnxwalk
from onnxwalk.interpreter.analysis.saliency.draw import overlay, png
from onnxwalk.interpreter.analysis.saliency.result import resized
from onnxwalk.interpreter.text import LABELS_KEY, TEXT_KEY, Tokenizer
from tests.support.browser import needs_chromium, opened

DEMO = Path(onnxwalk.__file__).parent / "interpreter" / "cli" / "_demo"
SAMPLES = np.load(DEMO / "samples.npz")
TEXT = "hotel sangat nyaman tapi sotonya basi"


@pytest.fixture
def digits(cli):
    np.save("x.npy", SAMPLES["digits_x"][:4].astype(np.float32))
    return DEMO / "digits.onnx"


@pytest.fixture
def lstm(cli):
    """The demo's LSTM with its vocabulary and the names of its classes."""
    words = {}
    for text, ids in zip(SAMPLES["texts"], SAMPLES["texts_x"], strict=True):
        words |= dict(zip(ids.tolist(), str(text).split(), strict=False))
    last = int(SAMPLES["texts_x"].max())
    vocabulary = ["", "[UNK]", *(words.get(i, f"w{i}") for i in range(2, last + 1))]
    model = onnx.load(DEMO / "lstm.onnx")
    tokenizer = Tokenizer(vocabulary, length=16).as_json()
    names = SAMPLES["texts_classes"].tolist()
    metadata = {
        TEXT_KEY: json.dumps({"ids": tokenizer}),
        LABELS_KEY: json.dumps({model.graph.output[0].name: names}),
    }
    helper.set_model_props(model, metadata)
    onnx.save(model, "lstm.onnx")
    return "lstm.onnx"


def lines_of(result):
    assert result.status == 0, result.err
    assert result.err == ""
    return result.out.splitlines()


def test_words(cli, lstm):
    found = lines_of(cli("saliency", lstm, "--text", TEXT))
    assert f"{TEXT}: negative, score 7.271" in found
    rows = [line.split() for line in found]
    assert [row[0] for row in rows if len(row) > 1 and row[1][1:2].isdigit()] == TEXT.split()
    (basi,) = [row for row in rows if row and row[0] == "basi"]
    assert basi[2] == "+" * 20  # the largest
    assert any("above the baseline 7.1" in line and "(error" in line for line in found)
    other = lines_of(cli("saliency", lstm, "--text", TEXT, "--class", "positive"))
    assert f"{TEXT}: positive, score -2.791" in other
    error = cli("saliency", lstm, "--text", TEXT, "--class", "positve").error
    assert error == "no class is named 'positve'; did you mean 'positive'?"


def test_json_has_every_number(cli, lstm):
    result = cli("saliency", lstm, "--text", TEXT, "--text", "ramah xyz", "--json")
    report = json.loads(result.out)
    first, second = report["samples"]
    (attribution,) = report["attributions"]
    assert (first["label"], first["class"], first["name"]) == ("negative", [0], TEXT)
    assert attribution["words"] == [TEXT.split(), ["ramah", "xyz"]]  # the unknown one as it is
    sums = np.sum(attribution["parts"], axis=1)
    np.testing.assert_allclose(sums[0], first["difference"] + first["error"], rtol=1e-5)
    np.testing.assert_allclose(sums[1], second["difference"] + second["error"], rtol=1e-5)
    assert abs(first["error"]) < 0.01 * abs(first["difference"])


def test_files(cli, digits):
    x = np.load("x.npy")
    expected = onnxwalk.saliency(onnxwalk.load(digits), {"image": x}, method="gradient")["image"]
    for name in ("y.npy", "y.npz"):
        cli("saliency", digits, "-i", "x.npy", "--method", "gradient", "-o", name)
        found = np.load(name)
        np.testing.assert_allclose(found if name == "y.npy" else found["image"], expected)
    cli("saliency", digits, "-i", "x.npy", "--sample", 2, "--method", "gradient", "-o", "y.json")
    report = json.loads(Path("y.json").read_text())
    np.testing.assert_allclose(report["attributions"][0]["parts"], expected[2:3, ..., 0], atol=1e-6)
    assert report["samples"][0]["name"] == "sample 2"
    found = lines_of(cli("saliency", digits, "-i", "x.npy", "--method", "grad-cam", "-o", "y.html"))
    assert "by place of 'digits/conv2d_1/Relu:0', from 'image': float32 (4, 4, 4)" in found
    page = Path("y.html").read_text("utf-8")
    assert page.count("<img") == 4 and "<script" not in page and "http:" not in page


def test_pictures(cli, digits):
    pillow = pytest.importorskip("PIL.Image", reason="reads the picture")
    options = ("-i", "x.npy", "--steps", 8, "-o")
    lines_of(cli("saliency", digits, *options, "y.png"))
    pixels = np.asarray(pillow.open("y.png"))
    assert pixels.shape == (4 * 256 + 3 * 8, 2 * 256 + 8, 3)
    grey = np.load("x.npy")[0, ..., 0] / 16 * 255
    np.testing.assert_allclose(pixels[16:256:32, 16:256:32, 1], grey, atol=1)
    over = pixels[:256, 264:].astype(int)
    assert (over.max(axis=2) != over.min(axis=2)).any()
    lines_of(cli("saliency", digits, *options, "y.svg"))
    assert "data:image/png;base64," in Path("y.svg").read_text()
    assert (
        "there is no picture to draw over" in cli("saliency", DEMO / "lstm.onnx", "-o", "y.png").err
    )


def test_colours_stay_what_they_are():
    picture = np.zeros((2, 2, 3))
    picture[0, 0] = (1, 0.5, 0)
    pixels = overlay(picture, np.array([[0.0, 1], [-1, 0]]))
    assert pixels.shape == (256, 520, 3)
    assert pixels[0, 0].tolist() == [255, 128, 0] and pixels[0, 264].tolist() == [128, 128, 128]
    orange, blue = pixels[0, 500], pixels[200, 264]
    assert orange[0] > orange[2] and blue[2] > blue[0]
    assert png(pixels)[:8] == b"\x89PNG\r\n\x1a\n"
    np.testing.assert_allclose(resized(np.array([[0.0, 4]]), 1, 4), [[0, 1, 3, 4]])


def test_numbers_and_steps(cli, classifier, make):
    found = lines_of(cli("saliency", classifier, "--method", "gradient"))
    assert "by number of 'x': float32 (1, 4)" in found
    assert "x: random numbers" in " ".join(found)
    node = helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)
    axes = {"axes": np.array([1, 2])}
    sums = make("s.onnx", [node], [("x", T.FLOAT, ["n", 5, 2])], [("y", T.FLOAT, None)], axes)
    found = lines_of(cli("saliency", sums, "--method", "gradient", "-o", "y.html"))
    assert [line.split()[:2] for line in found[-8:-2]] == [["step", "saliency"]] + [
        [str(k), "+2"] for k in range(5)
    ]
    assert Path("y.html").read_text().count("<rect") == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--class", 12], "class 12: 'digits/dense_1/BiasAdd:0' has the classes 0 to 9"),
        (["--of", "densa"], "Keras layer has this name or matches; did you mean 'dense'?"),
        (["--of", "dense*"], "values match: digits/dense/"),
        (["--sample", 9], "--sample 9: input 'image' has 4 rows, from 0 on"),
        (["-o", "y.gif"], "y.gif: expected a .html, .png, .svg, .npy, .npz, .json file"),
        (["-o", "none/y.png"], "none/y.png: folder"),
        (["--baseline", "nan"], "--baseline nan: expected a finite number"),
        (["--method", "grad-cam", "--at", "digits/dense/Relu:0"], "requires maps"),
    ],
)
def test_bad_arguments(cli, digits, options, message):
    assert message in cli("saliency", digits, "-i", "x.npy", *options).error


# --- the page of explore


SCRIPT = """
const section = () => document.querySelector(".saliency");
const press = key => document.body.dispatchEvent(
  new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
const pressed = () => [...section().querySelectorAll("[aria-pressed=true]")].map(
  b => b.textContent);
const found = {first: pressed()};
document.getElementById("forward").click();
found.gone = section() === null;
press("s");
found.focused = document.activeElement === section();
const kinds = section().querySelectorAll(".choice");
found.methods = [...kinds[0].children].map(b => b.textContent);
found.classes = kinds[1].children.length;
[...kinds[0].children].find(b => b.textContent === "integrated").click();
section().querySelectorAll(".choice")[1].children[1].focus();
section().querySelectorAll(".choice")[1].children[1].click();
found.second = pressed();
found.kept = document.activeElement.textContent;
found.completeness = section().querySelector(".completeness").textContent;
found.words = [...section().querySelectorAll(".said span")].map(w => w.textContent);
found.coloured = [...section().querySelectorAll(".said span")].map(
  w => getComputedStyle(w).backgroundColor);
const over = section().querySelector("canvas.over");
if (over) {
  const pixels = over.getContext("2d").getImageData(0, 0, over.width, over.height).data;
  found.over = [over.width, over.height, pixels.filter((p, i) => i % 4 === 3 && p > 0).length];
  const [under, top] = [...section().querySelectorAll(".overlay canvas")].map(
    c => c.getBoundingClientRect());
  found.aligned = under.width === top.width && under.height === top.height && under.top === top.top;
}
found.bars = section().querySelectorAll("svg.bars").length;
const fill = e => e && getComputedStyle(e)[e.tagName === "path" ? "fill" : "color"];
found.colours = [".moved .plus", ".raised", ".moved .minus", ".lowered"].map(
    path => fill(document.querySelector(path)));
found.wide = document.documentElement.scrollWidth - innerWidth;
return found;
"""


def in_browser(folder, **options):
    page = Path("page.html").read_text("utf-8")
    found, console = opened(page, folder, SCRIPT, **options)
    assert console == [] and "error" not in found, (found, console)
    assert found["gone"] and found["focused"] and found["wide"] <= 0
    return found


@needs_chromium
@pytest.mark.parametrize(("width", "dark"), [(1100, False), (390, True)])
def test_a_picture_in_a_browser(cli, digits, tmp_path, width, dark):
    cli("explore", digits, "-i", "x.npy", "--sample", 3, "-o", "page.html")
    found = in_browser(tmp_path, width=width, dark=dark)
    assert found["methods"] == ["gradient", "integrated", "grad-cam"]
    assert found["first"][0] == "grad-cam" and found["first"][1].startswith("class 2 16.")
    assert found["classes"] == 10 and found["second"][0] == "integrated"
    assert found["kept"] == found["second"][1] and "error" in found["completeness"]
    assert found["over"][:2] == [8, 8] and found["over"][2] > 30 and found["aligned"]


@needs_chromium
def test_words_in_a_browser(cli, lstm, tmp_path):
    cli("explore", lstm, "--text", TEXT, "-o", "page.html")
    found = in_browser(tmp_path)
    assert found["methods"] == ["gradient", "integrated"]
    assert found["first"] == ["integrated", "negative 7.271"]
    assert found["words"] == TEXT.split() and len(set(found["coloured"])) > 3
    assert found["second"][1].startswith("positive")


@needs_chromium
def test_steps_in_a_browser(cli, make, tmp_path):
    nodes = [
        helper.make_node("Tanh", ["x"], ["t"]),
        helper.make_node("ReduceSum", ["t", "axes"], ["y"], keepdims=0),
    ]
    inputs, axes = [("x", T.FLOAT, ["n", 5, 2])], {"axes": np.array([1])}
    path = make("s.onnx", nodes, inputs, [("y", T.FLOAT, ["n", 2])], axes)
    cli("explore", path, "-o", "page.html")
    found = in_browser(tmp_path)
    plus, raised, minus, lowered = found["colours"]
    assert found["bars"] == 1 and plus == raised != minus == lowered


def data_of():
    text = Path("page.html").read_text("utf-8")
    return json.loads(text.partition('id="data">')[2].partition("</script>")[0])


def test_what_the_page_holds(cli, digits, identity):
    cli("explore", digits, "-i", "x.npy", "-o", "page.html")
    found = data_of()["saliency"]
    assert found["of"] == "digits/dense_1/BiasAdd:0" and len(found["entries"]) == 30
    scores = [score for _, score in found["classes"]]
    assert scores == sorted(scores, reverse=True)
    cli("explore", digits, "-i", "x.npy", "-o", "page.html", "--no-saliency")
    assert "saliency" not in data_of()
    result = cli("explore", identity(["n", 2], T.INT64), "-o", "page.html")
    assert result.status == 0
    assert "no output has floating-point numbers" in data_of()["saliency"]["note"]
