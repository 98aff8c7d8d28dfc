"""The page in a browser: each way to feed a model, and values as natively."""

import base64
import io
import json
import urllib.request
import wave
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper
from PIL import Image

import onnxwalk
from onnxwalk.interpreter.text import LABELS_KEY, TEXT_KEY

DEMO = Path(__file__).parents[3] / "interpreter/cli/_demo"
FRAME = "document.getElementById('view').contentDocument"


def save_model(path, nodes, inputs, outputs, tensors=(), metadata=None):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in dict(tensors).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path


def identity(path, *value, **more):
    """A model that returns what it is fed, so that the page shows what that was."""
    output = ("y", value[1], [None] * len(value[2]))
    return save_model(
        path, [helper.make_node("Identity", [value[0]], ["y"])], [value], [output], **more
    )


def said(page):
    return page.run(
        "(document.getElementById('error').hidden ? '' : document.getElementById('error')"
        ".textContent) || document.getElementById('state').textContent"
    )


def open_model(page, *paths, selector="#files"):
    page.run("document.getElementById('state').textContent = '-'")
    page.choose(selector, *paths)
    page.wait("document.getElementById('stop').hidden && !/-|…/.test("
              "document.getElementById('state').textContent)")  # fmt: skip
    return said(page)


def kind(page, name, number=0):
    page.run(
        f"document.querySelectorAll('.input')[{number}].querySelector('[data-key={name}]').click()"
    )


def run(page):
    """Press Run; the data that the explorer shows."""
    page.run("document.getElementById('state').textContent = '-'")
    page.run("window.before = document.getElementById('view').contentDocument; null")
    page.run("document.getElementById('run').click()")
    page.wait("document.getElementById('state').textContent.startsWith('run:')"
              " || !document.getElementById('error').hidden")  # fmt: skip
    assert said(page).startswith("run:"), said(page)
    page.wait("document.getElementById('view').contentDocument !== window.before && "
              f"{FRAME}.querySelector('#details h2') !== null")  # fmt: skip
    return json.loads(page.run(f"{FRAME}.getElementById('data').textContent"))


def value_of(page, name):
    """A value as the page downloads it."""
    text = page.run(
        "new Promise(done => { const kept = URL.createObjectURL; URL.createObjectURL = blob => {"
        "URL.createObjectURL = kept; blob.arrayBuffer().then(data => done("
        "btoa(String.fromCharCode(...new Uint8Array(data))))); return kept.call(URL, blob); };"
        f"document.getElementById('view').contentWindow.HOST.download({json.dumps(name)}); }})"
    )
    return np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False)


def wait_kind(page, condition):
    page.wait(
        f"(() => {{ const input = document.querySelector('.input'); return {condition}; }})()"
    )


def test_a_demo_has_the_values_of_a_native_run(page):
    page.run("document.querySelector('[data-demo=\"digits.onnx\"]').click()")
    page.wait(f"{FRAME} && {FRAME}.querySelector('#details .best') !== null")
    samples = np.load(DEMO / "samples.npz")
    session = onnxwalk.load(DEMO / "digits.onnx")
    feeds = {"image": samples["digits_x"][:1].astype(np.float32)}
    for name in ("dense_1", session.model.graph.nodes[4].outputs[0]):
        (expected,) = session.run([name], feeds)
        np.testing.assert_allclose(value_of(page, name), expected, rtol=1e-4, atol=1e-5)
    best = page.run(f"{FRAME}.querySelector('.best tr').innerText")
    assert best.split()[0] == str(samples["digits_y"][0])


def test_saliency_is_computed_when_it_is_asked_for(page):
    page.run(f"{FRAME}.getElementById('saliency').click()")
    page.wait(f"{FRAME}.querySelector('.overlay') !== null")
    assert page.run(f"{FRAME}.querySelectorAll('.choice [data-key=integrated]').length") == 1


def test_the_gates_of_an_lstm(page):
    page.run("document.querySelector('[data-demo=\"lstm.onnx\"]').click()")
    page.wait("document.querySelector('.name b').textContent === 'lstm.onnx' && "
              "document.querySelector('.input q') !== null && "
              f"document.getElementById('stop').hidden && {FRAME}.title.length > 0")  # fmt: skip
    data = run(page)
    node = next(i for i, n in enumerate(data["nodes"]) if n["op"] == "LSTM")
    page.run(f"(s => {{ s.value = {node}; s.dispatchEvent(new Event('input')); }})"
             f"({FRAME}.getElementById('place'))")  # fmt: skip
    page.wait(f"{FRAME}.querySelector('.inside .time') !== null")
    assert page.run(f"{FRAME}.querySelectorAll('.band').length") >= 6


def test_a_picture_as_pillow_reads_it(page, tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "photo.png"
    Image.fromarray(rng.integers(0, 256, (37, 53, 3), dtype=np.uint8)).save(path)
    model = identity(tmp_path / "p.onnx", "x", T.FLOAT, ["n", 3, 16, 20])
    open_model(page, model)
    kind(page, "picture")
    page.choose(".input input[type=file]", path)
    wait_kind(page, "/53 × 37/.test(input.innerText)")
    data = run(page)
    assert "0 to 1" in data["notes"]["x"][0]
    expected = np.asarray(Image.open(path).resize((20, 16), Image.Resampling.BILINEAR))
    expected = (expected.astype(np.float32) * np.float32(1) / np.float32(255)).transpose(2, 0, 1)
    np.testing.assert_array_equal(value_of(page, "x"), expected[None])
    page.run("document.querySelectorAll('.input .row button')[0].click()")
    wait_kind(
        page, "input.querySelector('video').videoWidth > 0 && !input.querySelector('video').hidden"
    )
    page.run("document.querySelectorAll('.input .row button')[0].click()")
    wait_kind(page, "/the camera/.test(input.innerText)")
    run(page)
    assert value_of(page, "x").std() > 0


def test_a_sound_and_the_microphone(page, tmp_path):
    samples = (np.sin(np.arange(1600) / 5) * 20000).astype(np.int16)
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.tobytes())
    open_model(page, identity(tmp_path / "s.onnx", "x", T.FLOAT, ["n", 2000]))
    kind(page, "sound")
    page.choose(".input input[type=file]", tmp_path / "a.wav")
    wait_kind(page, "/0.10 s/.test(input.innerText)")
    run(page)
    heard = value_of(page, "x")
    np.testing.assert_allclose(heard[0, :1600], samples / 32768, atol=1e-4)
    assert heard.shape == (1, 2000) and not heard[0, 1600:].any()
    page.run("document.querySelectorAll('.input .row button')[0].click()")
    wait_kind(page, "/end the recording/.test(input.innerText)")
    page.run("new Promise(done => setTimeout(done, 700))")
    page.run("document.querySelectorAll('.input .row button')[0].click()")
    wait_kind(page, "/the microphone/.test(input.innerText)")
    run(page)


def test_a_text_and_class_names(page, tmp_path):
    words = ["", "[UNK]", "good", "bad"]
    settings = {
        "standardize": "lower", "split": "whitespace", "ngrams": None, "length": 3,
        "ragged": False, "vocabulary": words,
    }  # fmt: skip
    metadata = {TEXT_KEY: json.dumps({"x": settings}), LABELS_KEY: json.dumps({"y": list("abc")})}
    open_model(page, identity(tmp_path / "t.onnx", "x", T.INT64, ["n", 3], metadata=metadata))
    kind(page, "text")
    page.run("(a => { a.value = 'Good film'; a.dispatchEvent(new Event('input')); })"
             "(document.querySelector('.input textarea'))")  # fmt: skip
    run(page)
    assert value_of(page, "y").tolist() == [[2, 1, 0]]
    assert "a" in page.run(f"{FRAME}.querySelector('.best').innerText")


def test_files_random_zeros_and_by_hand(page, tmp_path):
    array = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", x=array + 1)
    (tmp_path / "a.csv").write_text("p,q,r,s\n9,8,7,6\n5,4,3,2\n", "utf-8")
    open_model(page, identity(tmp_path / "f.onnx", "x", T.FLOAT, ["n", 4]))
    kind(page, "file")
    for name, expected in (
        ("a.npy", [4, 5, 6, 7]),
        ("a.npz", [5, 6, 7, 8]),
        ("a.csv", [5, 4, 3, 2]),
    ):
        page.choose(".input input[type=file]", tmp_path / name)
        page.run("(r => { r.value = 1; r.dispatchEvent(new Event('input')); })"
                 "(document.querySelector('.input [aria-label=row]'))")  # fmt: skip
        run(page)
        assert value_of(page, "y").tolist() == [expected], name
    kind(page, "random")
    run(page)
    expected = np.random.default_rng(0).random((1, 4)).astype(np.float32)
    np.testing.assert_array_equal(value_of(page, "y"), expected)
    kind(page, "zeros")
    run(page)
    assert value_of(page, "y").tolist() == [[0, 0, 0, 0]]
    kind(page, "hand")
    page.run("(a => { a.value = '[[1, 2, 3, 4.5]]'; a.dispatchEvent(new Event('input')); })"
             "(document.querySelector('.input textarea'))")  # fmt: skip
    run(page)
    assert value_of(page, "y").tolist() == [[1, 2, 3, 4.5]]


def test_two_models_are_compared(page, tmp_path):
    def model(name, factor):
        nodes = [helper.make_node("Mul", ["x", "w"], ["m"]), helper.make_node("Relu", ["m"], ["y"])]
        tensors = {"w": np.full(4, factor, np.float32)}
        return save_model(tmp_path / name, nodes, [("x", T.FLOAT, ["n", 4])],
                          [("y", T.FLOAT, ["n", 4])], tensors)  # fmt: skip

    open_model(page, model("one.onnx", 2))
    open_model(page, model("two.onnx", 3), selector="#files-b")
    page.wait("/2 of 2 values differ/.test(document.getElementById('compared').textContent)")
    text = page.run("document.querySelector('.verdict').textContent")
    assert "The first is m (Mul" in text
    open_model(page, model("same.onnx", 2), selector="#files-b")
    page.wait("/All 2 values are equal/.test(document.getElementById('compared').textContent)")


def test_a_model_in_two_files(page, tmp_path):
    weights = np.arange(1000, dtype=np.float32)
    path = save_model(
        tmp_path / "two.onnx", [helper.make_node("Add", ["x", "w"], ["y"])],
        [("x", T.FLOAT, [1000])], [("y", T.FLOAT, [1000])], {"w": weights},
    )  # fmt: skip
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert "w.bin" in open_model(page, path)
    open_model(page, tmp_path / "w.bin", path)
    kind(page, "zeros")
    run(page)
    np.testing.assert_array_equal(value_of(page, "y"), weights)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"not a model", "broken.onnx"), (b"", "broken.onnx")]
)
def test_a_file_that_is_no_model(page, tmp_path, content, reason):
    (tmp_path / "broken.onnx").write_bytes(content)
    assert reason in open_model(page, tmp_path / "broken.onnx")


def test_a_model_over_the_limits_is_refused(page, tmp_path):
    """A product of a column and a row, of 1.6 GB."""
    nodes = [helper.make_node("MatMul", ["x", "row"], ["y"])]
    tensors = {"row": np.zeros((1, 20_000), np.float32)}
    path = save_model(tmp_path / "large.onnx", nodes, [("x", T.FLOAT, [20_000, 1])],
                      [("y", T.FLOAT, None)], tensors)  # fmt: skip
    open_model(page, path)
    page.run("document.getElementById('run').click()")
    page.wait("!document.getElementById('error').hidden")
    assert "GiB" in said(page) and "MatMul" in said(page)


def test_a_worker_that_is_stopped_begins_anew_and_opens_the_model_again(page, tmp_path):
    open_model(page, identity(tmp_path / "f.onnx", "x", T.FLOAT, ["n", 4]))
    page.run("document.getElementById('run').click(); document.getElementById('stop').click()")
    page.wait("!document.getElementById('error').hidden")
    assert "you stopped it" in said(page)
    opened = "/opening f.onnx again: [0-9]/"
    page.wait(f"{opened}.test(document.getElementById('state').textContent)", 100)
    kind(page, "zeros")
    page.run("document.getElementById('error').hidden = true")
    run(page)
    assert value_of(page, "y").tolist() == [[0, 0, 0, 0]]


def tab_to(page, condition, document="document"):
    """Press Tab until the element that has the focus is the one."""
    for _ in range(60):
        page.press("Tab")
        if page.run(f"(e => Boolean(e && ({condition})))({document}.activeElement)"):
            return
    raise AssertionError(f"Tab never comes to {condition}")


def test_the_keys_are_enough(page):
    """From the top of the page to the gates of an LSTM and the download of a value."""
    page.run("document.getElementById('theme').focus()")
    tab_to(page, "e.dataset.demo === 'lstm.onnx'")
    page.press("Enter")
    page.wait("document.querySelector('.name b').textContent === 'lstm.onnx' && "
              "document.querySelector('.input q') !== null && "
              f"document.getElementById('stop').hidden && {FRAME}.title.length > 0")  # fmt: skip
    page.run("document.getElementById('state').textContent = '-'")
    page.run("window.before = document.getElementById('view').contentDocument; null")
    tab_to(page, "e.id === 'run'")
    page.press("Enter")
    page.wait("document.getElementById('state').textContent.startsWith('run:')")
    page.wait("document.getElementById('view').contentDocument !== window.before && "
              f"{FRAME}.querySelector('#details h2') !== null")  # fmt: skip
    assert page.run("document.activeElement.id") == "run"
    tab_to(page, "e.id === 'view'")
    tab_to(page, "e.id === 'place'", FRAME)
    nodes = json.loads(page.run(f"{FRAME}.getElementById('data').textContent"))["nodes"]
    place = next(i for i, node in enumerate(nodes) if node["op"] == "LSTM")
    here = int(page.run(f"{FRAME}.getElementById('place').value"))
    page.press(*["ArrowRight" if place > here else "ArrowLeft"] * abs(place - here))
    page.wait(f"{FRAME}.querySelector('.inside .time') !== null")
    tab_to(page, "e.matches('.inside .time')", FRAME)
    before = page.run(f"{FRAME}.querySelector('.inside').innerText")
    page.press("ArrowRight")
    page.wait(f"{FRAME}.querySelector('.inside').innerText !== {json.dumps(before)}")
    tab_to(page, "e.matches('button.save')", FRAME)


def test_a_worker_that_says_nothing_is_replaced(page, tmp_path):
    open_model(page, identity(tmp_path / "s.onnx", "x", T.FLOAT, ["n", 4]))
    kind(page, "zeros")
    page.run(  # until it has been told
        "const error = document.getElementById('error');"
        "error.hidden = true;"
        "new MutationObserver(() => { if (!error.hidden) document.body.dataset.silence = '120'; })"
        ".observe(error, { attributes: true }); null"
    )
    page.run("document.body.dataset.silence = '0'; document.getElementById('run').click(); null")
    page.wait("!document.getElementById('error').hidden")
    assert "no sign of life for 0 s" in said(page)
    page.wait(
        "/opening s.onnx again: [0-9]/.test(document.getElementById('state').textContent)", 100
    )
    kind(page, "zeros")
    page.run("document.getElementById('error').hidden = true")
    run(page)


def test_nothing_leaves_the_page(page):
    """Neither it nor a worker that it makes, as its own is made, reaches another server."""
    heard = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append(self.path)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

        def log_message(self, *line):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        urllib.request.urlopen(address + "control").close()
        ask = f"fetch({address!r}).then(() => 'sent', error => `refused: ${{error}}`)"
        worker = f"{ask}.then(text => postMessage(text))"
        found = (
            page.run(ask),
            page.run(
                "new Promise(done => { const worker = new Worker(URL.createObjectURL(new Blob(["
                f"{worker!r}], {{type: 'text/javascript'}})));"
                " worker.onmessage = event => done(event.data); })"
            ),
        )
        server.shutdown()
    assert all("refused" in text for text in found), found
    assert heard == ["/control"]
    page.console.clear()  # the browser said so there


def test_a_phone(page):
    page.size(360, 740, phone=True)
    try:
        assert page.run("document.documentElement.scrollWidth") <= 360
        assert page.run(f"{FRAME}.documentElement.scrollWidth") <= 360
    finally:
        page.size(1280, 900)


def test_without_a_network_and_with_an_empty_console(page):
    """The last test: the server is gone after it."""
    page.wait("navigator.serviceWorker.controller !== null || "
              "navigator.serviceWorker.getRegistration().then(r => r.active !== null)")  # fmt: skip
    page.stop_server()
    page.run("delete document.body.dataset.ready; location.reload()")
    page.wait("document.body && document.body.dataset.ready", 100)
    page.run("document.querySelector('[data-demo=\"simple_rnn.onnx\"]').click()")
    page.wait(f"{FRAME} && {FRAME}.querySelector('#details .best') !== null")
    assert page.console == []
