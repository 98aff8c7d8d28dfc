"""``explore``: the page holds what the run computed, stays within its size, and works."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper

import onnxwalk
from onnxwalk.interpreter.analysis.explore.views import TOP
from onnxwalk.interpreter.text import TEXT_KEY, Tokenizer
from tests.support.browser import needs_chromium, opened

DEMO = Path(onnxwalk.__file__).parent / "interpreter" / "cli" / "_demo"


def data_of(path="page.html"):
    text = Path(path).read_text("utf-8")
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    return json.loads(found)


def explore(cli, *argv):
    result = cli("explore", *argv, "-o", "page.html")
    assert result.status == 0, result.err
    assert "page.html: " in result.out
    return data_of()


def value(data, name):
    (found,) = [v for v in data["values"] if v["name"] == name]
    return found


def numbers(view):
    return np.frombuffer(base64.b64decode(view["data"]), f"<{view['as']}")


@pytest.fixture
def digit(cli):
    """A page of the demo's CNN on one of its samples, and that sample."""
    x = np.load(DEMO / "samples.npz")["digits_x"].astype(np.float32)
    np.save("x.npy", x)
    explore(cli, DEMO / "digits.onnx", "-i", "x.npy", "--sample", 3)
    return x[3:4]


@pytest.fixture
def sentence(cli):
    ids = np.load(DEMO / "samples.npz")["texts_x"].astype(np.int32)
    np.save("ids.npy", ids)
    explore(cli, DEMO / "lstm.onnx", "-i", "ids.npy")
    return ids[:1]


def test_the_values_are_those_of_the_run(digit):
    data = data_of()
    session = onnxwalk.load(DEMO / "digits.onnx")
    (expected,) = session.run(None, {"image": digit})
    np.testing.assert_allclose(numbers(value(data, "dense_1")["view"]), expected[0], rtol=1e-5)
    (maps,) = session.run(["digits/conv2d/Relu:0"], {"image": digit})
    found = value(data, "digits/conv2d/Relu:0")
    view = found["view"]
    assert found["type"] == "float32[1, 16, 8, 8]" and view["kind"] == "maps"
    codes = np.frombuffer(base64.b64decode(view["data"]), np.uint8).reshape(16, 8, 8)
    seen = view["lo"] + (view["hi"] - view["lo"]) * codes / TOP
    np.testing.assert_allclose(seen, maps[0], atol=(view["hi"] - view["lo"]) / TOP)
    assert found["figures"]["max"] == pytest.approx(maps.max(), rel=1e-5)
    assert found["figures"]["zeros"] == (maps == 0).sum()


def test_nodes_have_formula_shapes_time_and_place(digit):
    data = data_of()
    nodes = data["nodes"]
    assert [n["op"] for n in nodes[:2]] == ["Input", "Mul"] and nodes[-1]["op"] == "Output"
    assert len(nodes) == 17 + 2
    conv = next(n for n in nodes if n["op"] == "Conv")
    assert "Spec: Conv" in data["docs"][conv["doc"]] and conv["seconds"] > 0
    assert conv["flop"] == 2 * 9 * 16 * 64 and conv["group"] == ["conv2d"]
    assert ["group", "1", 0] in conv["attributes"] or ["group", "1", 1] in conv["attributes"]
    ops = {nodes.index(n): n["op"] for n in nodes}
    assert conv["became"]["text"] == f"FusedConv '{conv['name']}'"
    assert [ops[k] for k in conv["became"]["parts"]] == ["Conv", "Relu", "MaxPool"]
    assert conv["became"]["by"] == ["fuse_conv"] and nodes[1]["became"] == {"text": "unchanged"}
    kernel = data["values"][conv["in"][1][1]]
    assert kernel["constant"] and kernel["view"]["per"] == 1
    made = {v for n in nodes for _, v in n["out"]}
    constants = {i for i, v in enumerate(data["values"]) if v.get("constant")}
    assert {v for n in nodes for _, v in n["in"]} <= made | constants


def test_a_masked_lstm_from_the_inside(sentence):
    data = data_of()
    (node,) = [n for n in data["nodes"] if n["op"] == "LSTM"]
    inside = node["inside"]
    assert inside["lengths"] == [(sentence != 0).sum()] and inside["steps"] == 16
    assert inside["differs"] < 1e-6
    assert set(inside["ways"][0]["series"]) == {"h", "C", "i", "f", "c", "o"}
    series = inside["ways"][0]["series"]["f"]
    codes = np.frombuffer(base64.b64decode(series["data"]), np.uint8)
    codes = codes.reshape(1, *inside["shown"])
    masked = codes[0].min(axis=0) == 255
    assert masked.tolist() == [t >= inside["lengths"][0] for t in range(16)]


def test_attention_shows_what_it_attends_to(cli, make):
    shape = ["n", 2, 5, 4]
    path = make(
        "a.onnx",
        [helper.make_node("Attention", ["q", "k", "v"], ["y"], is_causal=1)],
        [(name, T.FLOAT, shape) for name in "qkv"],
        [("y", T.FLOAT, shape)],
        opset=24,
    )
    (node,) = [n for n in explore(cli, path)["nodes"] if n["op"] == "Attention"]
    view = node["weights"]["view"]
    codes = np.frombuffer(base64.b64decode(view["data"]), np.uint8).reshape(2, 5, 5)
    assert view["kind"] == "maps" and (view["lo"], view["hi"]) == (0, 1)
    assert (np.triu(codes[0], 1) == 0).all()  # causal
    np.testing.assert_allclose(codes.sum(axis=2) / TOP, 1, atol=0.02)


@pytest.fixture
def wide(make):
    """Maps and weights far larger than a page: x (n, 3, 96, 96), 40 convolutions of 64 channels"""
    rng = np.random.default_rng(0)
    weights = {"w0": rng.normal(size=(64, 3, 3, 3))}
    weights |= {f"w{k}": rng.normal(size=(64, 64, 1, 1)) / 8 for k in range(1, 40)}
    names = ["x", *(f"m/block_{k}/c" for k in range(39)), "y"]
    nodes = [
        helper.make_node("Conv", [names[k], f"w{k}"], [names[k + 1]], strides=[2 - (k > 0)] * 2)
        for k in range(40)
    ]
    return make(
        "wide.onnx",
        nodes,
        [("x", T.FLOAT, ["n", 3, 96, 96])],
        [("y", T.FLOAT, None)],
        {name: array.astype(np.float32) for name, array in weights.items()},
    )


@pytest.mark.parametrize("size", [0.3, 1, 2])
def test_the_page_is_as_small_as_asked(cli, wide, size):
    data = explore(cli, wide, "--size", size)
    taken = Path("page.html").stat().st_size
    assert size * 0.6e6 < taken <= size * 1e6
    view = value(data, "m/block_5/c")["view"]
    assert view["was"] == [64, 47, 47] and view["is"] == [view["n"], view["h"], view["w"]]
    assert view["n"] >= 1 and view["h"] < 47


def test_a_page_too_small_is_refused(cli, wide, make):
    assert "--size" in cli("explore", wide, "--size", 0.05).error
    names = [f"{'n' * 300}{k}" for k in range(2000)]
    nodes = [
        helper.make_node("Neg", [a], [b]) for a, b in zip(["x", *names[:-1]], names, strict=True)
    ]
    long = make("long.onnx", nodes, [("x", T.FLOAT, [4])], [(names[-1], T.FLOAT, [4])])
    assert "nodes alone need more than 0.47 MB" in cli("explore", long, "--size", 0.6).error
    assert not Path("long.html").exists() and not list(Path().glob(".*.part"))


def test_what_is_no_number_is_said(cli, make):
    nodes = [helper.make_node("Log", ["x"], ["l"]), helper.make_node("Reciprocal", ["x"], ["y"])]
    path = make(
        "n.onnx",
        nodes,
        [("x", T.FLOAT, ["n", 3])],
        [("l", T.FLOAT, ["n", 3]), ("y", T.FLOAT, ["n", 3])],
    )
    np.save("x.npy", np.array([[-1, 0, 4]], np.float32))
    data = explore(cli, path, "-i", "x.npy")
    found = value(data, "l")["figures"]
    assert (found["nan"], found["inf"], found["-inf"], found["max"]) == (1, 0, 1, 1.38629)
    np.testing.assert_array_equal(
        numbers(value(data, "l")["view"]), np.float32([np.nan, -np.inf, np.log(4)])
    )


def test_strings_sequences_and_subgraphs(cli, make):
    branch = [helper.make_graph([helper.make_node("StringConcat", ["x", "x"], [n])], n, [],
              [helper.make_tensor_value_info(n, T.STRING, None)]) for n in ("a", "b")]  # fmt: skip
    nodes = [
        helper.make_node("If", ["c"], ["d"], then_branch=branch[0], else_branch=branch[1]),
        helper.make_node("SequenceConstruct", ["d"], ["s"]),
        helper.make_node("SequenceLength", ["s"], ["y"]),
    ]
    inputs = [("x", T.STRING, [2]), ("c", T.BOOL, [])]
    path = make("s.onnx", nodes, inputs, [("y", T.INT64, None)], opset=20)
    Path("x.json").write_text('{"x": ["<b>", "</script>"], "c": true}')
    data = explore(cli, path, "-i", "x.json")
    assert value(data, "d")["texts"] == ["<b><b>", "</script></script>"]
    assert value(data, "s")["items"] == ["string[2]"]
    node = next(n for n in data["nodes"] if n["op"] == "If")
    assert ["then_branch", "a graph of 1 nodes: StringConcat", 0] in node["attributes"]
    assert "inside" in [title for title, _ in node["in"]]


@pytest.fixture
def counter(make):
    """y = x + w, m times, in a Loop; ys are all of them"""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Add", ["h", "w"], ["more"], name="net/add/plus"),
            helper.make_node("Identity", ["c"], ["d"]),
            helper.make_node("Mul", ["more", "x"], ["s"], name="net/times"),
        ],
        "body",
        [value("i", T.INT64, []), value("c", T.BOOL, []), value("h", T.FLOAT, [2])],
        [value("d", T.BOOL, []), value("more", T.FLOAT, [2]), value("s", T.FLOAT, [2])],
        [helper.make_tensor("w", T.FLOAT, [2], [1, 2])],
    )
    nodes = [
        helper.make_node("Neg", ["x"], ["n"]),
        helper.make_node("Loop", ["m", "", "n"], ["y", "ys"], name="net/loop", body=body),
    ]
    inputs = [("x", T.FLOAT, [2]), ("m", T.INT64, [])]
    outputs = [("y", T.FLOAT, [2]), ("ys", T.FLOAT, ["m", 2])]
    Path("f.json").write_text('{"x": [1, 2], "m": 7}')
    return make("counter.onnx", nodes, inputs, outputs)


def test_the_first_iterations_of_a_loop_are_unrolled(cli, counter):
    result = cli("explore", counter, "-i", "f.json", "--iterations", 2, "-o", "page.html")
    assert "2 nodes, 6 inside them" in result.out, result.err
    data = data_of()
    names = [v["name"] for v in data["values"]]
    walked = [n["name"] for n in data["nodes"]]
    assert walked == [
        *("x", "m", "n"),
        *("net/loop/body[0]", "net/loop/body[0]/net/add/plus", "net/loop/body[0]/d"),
        *("net/loop/body[0]/net/times", "net/loop/body[1]", "net/loop/body[1]/net/add/plus"),
        *("net/loop/body[1]/d", "net/loop/body[1]/net/times", "net/loop", "y", "ys"),
    ]
    nodes = {n["name"]: n for n in data["nodes"] if n["op"] not in ("Input", "Output")}
    begins = nodes["net/loop/body[1]"]
    assert [names[v] for _, v in begins["in"]] == ["net/loop/body[0]/d", "net/loop/body[0]/more"]
    assert {names[v] for _, v in begins["out"]} == {"net/loop/body[1]/h", "net/loop/body[1]/c"}
    plus = nodes["net/loop/body[1]/net/add/plus"]
    assert [names[v] for _, v in plus["in"]] == ["net/loop/body[1]/h", "net/loop/body/w"]
    assert plus["group"] == ["loop/body[1]"] and plus["part"]
    np.testing.assert_array_equal(numbers(value(data, "net/loop/body[1]/more")["view"]), [1, 2])
    np.testing.assert_array_equal(numbers(value(data, "net/loop/body[1]/h")["view"]), [0, 0])
    assert value(data, "net/loop/body/w")["constant"] and data["model"]["parameters"] == 2
    loop = nodes["net/loop"]
    assert loop["runs"] == [["body", 7, 2]]
    assert [(t, names[v]) for t, v in loop["in"]][-4:] == [
        ("body[0]", "net/loop/body[0]/s"),
        *(("body[1]", f"net/loop/body[1]/{name}") for name in ("d", "more", "s")),
    ]
    assert loop["seconds"] >= sum(n["seconds"] for n in nodes.values() if "part" in n) / 2
    whole = [n["seconds"] for n in nodes.values() if "seconds" in n and "part" not in n]
    assert data["model"]["walk"] == pytest.approx(sum(whole), rel=1e-2)


def test_a_loop_can_be_left_closed(cli, counter):
    data = explore(cli, counter, "-i", "f.json", "--iterations", 0)
    assert [n["op"] for n in data["nodes"]] == ["Input"] * 2 + ["Neg", "Loop"] + ["Output"] * 2


def test_labels_and_rows(cli, classifier):
    np.save("x.npy", np.eye(4, dtype=np.float32))
    Path("names.txt").write_text("cat\ndog\ncow\n")
    data = explore(cli, classifier, "-i", "x.npy", "--sample", 2, "--labels", "names.txt")
    assert data["labels"] == {"y": ["cat", "dog", "cow"]} and value(data, "y")["labels"] == "y"
    np.testing.assert_array_equal(numbers(value(data, "x")["view"]), [0, 0, 1, 0])
    data = explore(cli, classifier, "-i", "x.npy", "--whole")
    assert value(data, "x")["type"] == "float32[4, 4]"
    assert "has only 4 rows" in cli("explore", classifier, "-i", "x.npy", "--sample", 4).error
    assert "--whole" in cli("explore", classifier, "--whole", "--sample", 1).error


def test_words_are_shown_at_the_time_steps(cli, make):
    """ids → one-hot rows → GRU, in a file with a vocabulary"""
    rng = np.random.default_rng(0)
    words = ["", "[UNK]", "good", "bad"]
    weights = {"table": np.eye(4)[:, None], "w": rng.normal(size=(1, 6, 4))}
    weights |= {"r": rng.normal(size=(1, 6, 2))}
    nodes = [
        helper.make_node("Transpose", ["ids"], ["t"]),
        helper.make_node("Gather", ["table", "t"], ["rows"]),
        helper.make_node("Squeeze", ["rows", "two"], ["x"]),
        helper.make_node("GRU", ["x", "w", "r"], ["y"], hidden_size=2),
    ]
    tensors = {name: array.astype(np.float32) for name, array in weights.items()}
    path = make(
        "g.onnx",
        nodes,
        [("ids", T.INT64, ["n", "t"])],
        [("y", T.FLOAT, None)],
        tensors | {"two": np.array([2])},
    )
    model = onnx.load(path)
    stored = json.dumps({"ids": Tokenizer(words).as_json()})
    helper.set_model_props(model, {TEXT_KEY: stored})
    onnx.save(model, path)
    data = explore(cli, path, "--text", "Good, not bad!")
    assert value(data, "ids")["words"] == ["good", "[UNK]", "bad"]
    (node,) = [n for n in data["nodes"] if n["op"] == "GRU"]
    assert node["inside"]["words"] == ["good", "[UNK]", "bad"]
    Path("x.json").write_text("[[2]]")
    assert "was given twice" in cli("explore", path, "--text", "a", "-i", "x.json").error


def test_wrong_use_is_reported(cli, classifier):
    assert "no not found" in cli("explore", classifier, "-o", "no/page.html").error
    assert "--size" in cli("explore", classifier, "--size", 0).error
    assert cli("explore", "none.onnx").error.startswith("none.onnx")


def test_nothing_comes_from_elsewhere(digit):
    text = Path("page.html").read_text("utf-8")
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//|@import|url\(""", text)
    assert "default-src 'none'" in text


@needs_chromium
@pytest.mark.parametrize(("width", "dark"), [(1100, False), (390, True)])
def test_in_a_browser(digit, tmp_path, width, dark):
    script = """
    const wait = () => new Promise(done => setTimeout(done, 30));
    const heading = () => document.querySelector("#details h2").firstChild.textContent;
    const press = key => document.body.dispatchEvent(
      new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
    const found = {first: heading(), walked: [], clicked: [], blank: 0};
    for (let i = 0; i < 4; i++) {
      document.getElementById("forward").click();
      found.walked.push(heading());
      await wait();
      for (const canvas of document.querySelectorAll("#details canvas")) {
        const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        if (!pixels.some(p => p > 0)) found.blank++;
      }
    }
    found.canvases = document.querySelectorAll("#details .maps canvas").length;
    press("k");
    found.back = heading();
    press("j"); press("ArrowDown");
    found.on = heading();
    for (const node of document.querySelectorAll("#graph .node")) {
      node.dispatchEvent(new MouseEvent("click", {bubbles: true}));
      found.clicked.push(heading());
    }
    const fold = document.querySelector("#graph .cluster .fold");
    const before = document.querySelectorAll("#graph .node").length;
    fold.dispatchEvent(new MouseEvent("click", {bubbles: true}));
    found.folded = before - document.querySelectorAll("#graph .node").length;
    press("/");
    const search = document.getElementById("search");
    found.focus = document.activeElement === search;
    search.value = "dense_1/softmax";
    search.dispatchEvent(new Event("input"));
    found.hits = document.querySelectorAll("#hits a").length;
    document.querySelector("#hits a").click();
    found.sought = heading();
    found.best = [...document.querySelectorAll(".best th")][0].textContent;
    location.hash = "#node=" + encodeURIComponent("digits/conv2d/BiasAdd");
    await wait();
    found.followed = heading();
    const became = document.querySelector("#details .became");
    found.became = became.textContent;
    became.querySelector("a").click();
    found.part = heading();
    location.hash = "#node=" + encodeURIComponent("digits/conv2d/BiasAdd");
    await wait();
    found.uncovered = [...document.querySelectorAll("#graph .selected title")].map(
      t => t.textContent);
    const ground = () => getComputedStyle(document.body).backgroundColor;
    found.ground = ground();
    document.getElementById("theme").click();
    found.toggled = ground();
    document.getElementById("theme").click();
    found.again = ground();
    const before2 = document.querySelector("#graph > g").getAttribute("transform");
    press("+");
    found.zoomed = document.querySelector("#graph > g").getAttribute("transform") !== before2;
    found.wide = document.documentElement.scrollWidth - innerWidth;
    const boxes = [...document.querySelectorAll("#graph .node .box")].map(
      b => b.getBoundingClientRect());
    found.overlapping = boxes.filter((a, i) => boxes.some((b, k) => k > i &&
      a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom)).length;
    return found;
    """
    page = Path("page.html").read_text("utf-8")
    found, console = opened(page, tmp_path, script, width=width, dark=dark)
    assert console == [] and "error" not in found, (found, console)
    assert found["first"] == "Input"
    assert found["walked"] == ["Mul", "Add", "Reshape", "Conv"]
    assert (found["back"], found["on"]) == ("Reshape", "Relu")
    assert found["blank"] == 0 and found["canvases"] == 16 + 16
    assert len(found["clicked"]) == 19 and set(found["clicked"]) >= {"Input", "Conv", "Output"}
    assert found["folded"] > 0 and found["focus"]
    assert found["hits"] == 1 and found["sought"] == "Softmax"
    assert found["best"].startswith("class ")
    assert found["followed"] == "Conv"
    assert found["became"].startswith(
        "in a normal run: FusedConv 'digits/conv2d/BiasAdd', which replaces Conv + R"
    )
    assert found["part"] == "Relu"
    assert found["uncovered"] == ["Conv: digits/conv2d/BiasAdd"]
    light, black = "rgb(255, 255, 255)", "rgb(20, 23, 27)"
    assert [found[k] for k in ("ground", "toggled", "again")] == (
        [black, light, black] if dark else [light, black, light]
    )
    assert found["zoomed"] and found["wide"] <= 0 and found["overlapping"] == 0


@needs_chromium
def test_a_loop_in_a_browser(cli, counter, tmp_path):
    explore(cli, counter, "-i", "f.json")
    script = """
    const text = () => document.getElementById("details").textContent;
    const go = async name => {
      location.hash = "#node=" + encodeURIComponent(name);
      await new Promise(done => setTimeout(done, 30));
      document.querySelectorAll("#details details.value").forEach(box => { box.open = true; });
      await new Promise(done => setTimeout(done, 30));
      return text();
    };
    const found = {loop: await go("net/loop"), plus: await go("net/loop/body[1]/net/add/plus"),
      begins: await go("iteration:net/loop/body[2]")};
    found.groups = [...document.querySelectorAll("#graph .cluster text")].map(t => t.textContent);
    return found;
    """
    found, console = opened(Path("page.html").read_text("utf-8"), tmp_path, script)
    assert console == [] and "error" not in found, (found, console)
    assert "ran body 7 times; the first 3 are shown" in found["loop"]
    assert "net/loop/body[1]/h: float32[2]" in found["plus"]
    assert "from Iteration net/loop/body[1]" in found["plus"]
    assert "iteration 2 of body" in found["begins"]
    assert any("loop/body[2]" in text for text in found["groups"])


@needs_chromium
def test_time_steps_in_a_browser(sentence, tmp_path):
    script = """
    const said = () => document.querySelector(".step").textContent;
    const press = key => document.body.dispatchEvent(
      new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
    const heading = () => document.querySelector("#details h2").firstChild.textContent;
    const link = heading();
    const search = document.getElementById("search");
    document.getElementById("back").click();
    search.value = "lstm";
    search.dispatchEvent(new Event("input"));
    search.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter"}));
    const found = {
      link,
      heading: heading(),
      bands: document.querySelectorAll(".band canvas.series").length,
      masked: document.querySelectorAll(".band .masked").length,
      first: said(),
    };
    press("."); press("."); press(",");
    found.second = said();
    const slider = document.querySelector(".time");
    slider.value = slider.max;
    slider.dispatchEvent(new Event("input"));
    found.last = said();
    found.strips = document.querySelectorAll(".now .strip").length;
    return found;
    """
    page = Path("page.html").read_text("utf-8")
    fragment = "#node=lstm%2Flstm%2FLSTM__121"
    found, console = opened(page, tmp_path, script, fragment=fragment)
    assert console == [] and "error" not in found, (found, console)
    assert found["link"] == found["heading"] == "LSTM"  # all names have lstm in them
    assert found["bands"] == found["masked"] == 6
    assert found["first"].startswith("step 0 ") and found["second"].startswith("step 1 ")
    assert found["last"] == "step 15 of 0–15, masked" and found["strips"] == 0
