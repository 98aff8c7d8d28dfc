"""Images become what the input's shape asks for."""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper
from PIL import Image

from onnxwalk.interpreter.rows import images


def photo(path, size=(6, 4), seed=0, **more) -> np.ndarray:
    """Write an RGB image of (width, height) and return its pixels (H, W, 3)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **more)
    return pixels


@pytest.mark.parametrize("suffix", ["png", "bmp", "PNG"])
def test_pixels_of_floats_run_to_one_and_of_uint8_to_255(feed, identity, suffix):
    pixels = photo(f"p.{suffix}")
    outputs, _ = feed(identity(["n", 4, 6, 3]), "-i", f"p.{suffix}")
    np.testing.assert_array_equal(outputs["y"], pixels[None].astype(np.float32) / 255)
    outputs, _ = feed(identity(["n", 4, 6, 3], T.UINT8), "-i", f"p.{suffix}")
    np.testing.assert_array_equal(outputs["y"], pixels[None])
    assert outputs["y"].dtype == np.uint8


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "webp", "gif"])
def test_lossy_formats(feed, identity, suffix):
    Image.new("RGB", (6, 4), (200, 100, 0)).save(f"p.{suffix}")
    outputs, _ = feed(identity(["n", 4, 6, 3], T.UINT8), "-i", f"p.{suffix}")
    assert np.abs(outputs["y"][0].astype(int) - [200, 100, 0]).max() <= 4


@pytest.mark.parametrize(("scale", "factor"), [("255", 255), ("1", 1), ("2", 2)])
def test_scale(feed, identity, scale, factor):
    pixels = photo("p.png")
    outputs, _ = feed(identity(["n", 4, 6, 3]), "-i", "p.png", "--scale", scale)
    np.testing.assert_allclose(outputs["y"][0], pixels / 255 * factor, rtol=1e-6)


def test_scale_must_fit_an_integer_type(cli, feed, identity):
    Image.new("L", (2, 2), 255).save("p.png")
    model = identity(["n", 2, 2, 1], T.INT8)
    assert "can't be converted to int8" in cli("run", model, "-i", "p.png").error
    outputs, _ = feed(model, "-i", "p.png", "--scale", "127")
    assert (outputs["y"] == 127).all()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (["n", 4, 6, 3], (1, 4, 6, 3)),
        (["n", "h", "w", 3], (1, 4, 6, 3)),
        ([1, 8, 9, 3], (1, 8, 9, 3)),
        (["n", 3, 8, 9], (1, 3, 8, 9)),
        (["n", 8, 9, 1], (1, 8, 9, 1)),
        (["n", 1, 8, 9], (1, 1, 8, 9)),
        (["n", 8, 9, 4], (1, 8, 9, 4)),
        ([8, 9, 3], (8, 9, 3)),
        ([3, 8, 9], (3, 8, 9)),
        (["n", 8, 9], (1, 8, 9)),
        ([8, 9], (8, 9)),
        ([4, 3, 8, 3], (4, 3, 8, 3)),  # the last dimension goes before the second
    ],
)
def test_images_take_the_inputs_height_width_and_channels(feed, identity, shape, expected):
    Path("folder").mkdir()
    for i in range(expected[0] if len(expected) == 4 else 1):
        photo(f"folder/{i}.png")
    outputs, _ = feed(identity(shape), "-i", "folder")
    assert outputs["y"].shape == expected


def test_channels_first_is_channels_last_transposed(feed, identity):
    photo("p.png", (20, 10))
    last, _ = feed(identity(["n", 4, 6, 3]), "-i", "p.png")
    first, _ = feed(identity(["n", 3, 4, 6]), "-i", "p.png")
    np.testing.assert_array_equal(first["y"], last["y"].transpose(0, 3, 1, 2))


def test_resizing_is_bilinear_and_grayscale_is_luma(feed, identity):
    photo("p.png", (20, 10))
    with Image.open("p.png") as image:
        expected = np.asarray(image.convert("L").resize((6, 4), Image.Resampling.BILINEAR))
    outputs, _ = feed(identity(["n", 4, 6, 1], T.UINT8), "-i", "p.png")
    np.testing.assert_array_equal(outputs["y"][0, :, :, 0], expected)


def test_sixteen_bits_are_scaled_not_cut(feed, identity):
    Image.fromarray(np.array([[0, 514, 1000, 65535]], np.uint16)).save("p.png")
    outputs, _ = feed(identity(["n", 1, 4, 1], T.UINT8), "-i", "p.png")
    assert outputs["y"].ravel().tolist() == [0, 2, 4, 255]


def test_a_photo_is_turned_as_its_camera_says(feed, identity):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    pixels = photo("p.png", (6, 4), exif=exif)
    outputs, _ = feed(identity(["n", "h", "w", 3], T.UINT8), "-i", "p.png")
    np.testing.assert_array_equal(outputs["y"][0], np.rot90(pixels, -1))


def test_a_folder_is_sorted_and_searched_to_the_bottom(feed, identity):
    Path("f/b").mkdir(parents=True)
    Path("f/.hidden").mkdir()
    for i, name in enumerate(["f/c.png", "f/a.png", "f/b/z.bmp", "f/.d.png", "f/.hidden/e.png"]):
        photo(name, seed=i)
    Path("f/notes.txt").write_text("no image")
    model = identity(["n", 4, 6, 3], T.UINT8)
    outputs, text = feed(model, "-i", "f")
    expected = [np.asarray(Image.open(f"f/{name}")) for name in ("a.png", "b/z.bmp", "c.png")]
    np.testing.assert_array_equal(outputs["y"], expected)
    assert "3 images in f" in text
    batched, _ = feed(model, "-i", "f", "--batch", 2)
    np.testing.assert_array_equal(batched["y"], expected)


def test_top_names_the_files(cli, make):
    from onnx import helper

    nodes = [helper.make_node("Flatten", ["x"], ["y"])]
    model = make("m.onnx", nodes, [("x", T.FLOAT, ["n", 1, 2, 1])], [("y", T.FLOAT, ["n", 2])])
    Path("f").mkdir()
    Image.fromarray(np.array([[0, 255]], np.uint8)).save("f/cat.png")
    Image.fromarray(np.array([[255, 0]], np.uint8)).save("f/dog.png")
    lines = cli("run", model, "-i", "f", "--top", 1).out.splitlines()
    assert [x for x in lines if x.startswith("  ") and "png" in x] == [
        "  cat.png  1: 1",
        "  dog.png  0: 1",
    ]


def test_images_that_are_refused(cli, identity):
    photo("p.png")
    Path("empty").mkdir()
    Path("two").mkdir()
    photo("two/a.png", (6, 4))
    photo("two/b.png", (7, 4))
    Path("bad.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 50)
    vector = identity(["n", 10, 10, 10, 10])
    assert "doesn't accept images" in cli("run", vector, "-i", "p.png").error
    free = identity(["n", "h", "w", 3])
    assert "empty: the folder contains no images" in cli("run", free, "-i", "empty").error
    assert "7 × 4 pixels, but two/a.png has 6 × 4" in cli("run", free, "-i", "two").error
    assert "bad.png: not a supported image" in cli("run", free, "-i", "bad.png").error
    one = identity([4, 6, 3])
    assert "accepts one image, got 2" in cli("run", one, "-i", "two").error


def test_without_pillow_the_error_says_how_to_get_it(cli, identity, monkeypatch):
    photo("p.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    error = cli("run", identity(["n", 4, 6, 3]), "-i", "p.png").error
    assert 'pip install "onnxwalk[images]"' in error


# --- damaged ones


def test_a_damaged_image_is_named_and_left_out(cli, identity):
    Path("f/sub").mkdir(parents=True)
    pixels = {name: photo(name, (6, 4), seed=i) for i, name in enumerate(["f/a.png", "f/c.png"])}
    photo("f/sub/a.png", (6, 4), seed=9)
    data = Path("f/sub/a.png").read_bytes()
    Path("f/b.png").write_bytes(data[: len(data) // 2])
    Path("f/d.jpg").write_bytes(b"nothing")
    model = identity(["n", 4, 6, 3], T.UINT8)
    for inputs, names in (
        (("-i", "f"), ["f/a.png", "f/c.png", "f/sub/a.png"]),
        (("-i", "f/*.*"), ["f/a.png", "f/c.png"]),
        (
            ("-i", "f/a.png", "-i", "f/b.png", "-i", "f/c.png", "-i", "f/d.jpg"),
            ["f/a.png", "f/c.png"],
        ),
    ):
        for batch in ((), ("--batch", 2)):
            result = cli("run", model, *inputs, *batch, "-o", "y.npy")
            assert result.status == 1
            assert result.err.splitlines() == [
                f"onnxwalk: f/{name}: not a supported image, or damaged; left out"
                for name in ("b.png", "d.jpg")
            ]
            y = np.load("y.npy")
            assert len(y) == len(names)
            np.testing.assert_array_equal(y[0], pixels["f/a.png"])
            np.testing.assert_array_equal(y[1], pixels["f/c.png"])
            assert f"{len(names)} images in" in result.out
            result = cli("run", model, *inputs, *batch, "-o", "y.jsonl")
            rows = [json.loads(line) for line in Path("y.jsonl").read_text().splitlines()]
            assert [row["file"] for row in rows] == names
    with tarfile.open("f.tar", "w") as archive:
        for name in ("a.png", "b.png", "c.png"):
            archive.add(f"f/{name}", name)
    result = cli("run", model, "-i", "f.tar", "-o", "y.npy")
    assert result.err == "onnxwalk: f.tar/b.png: not a supported image, or damaged; left out\n"
    assert result.status == 1 and len(np.load("y.npy")) == 2
    result = cli("run", model, "-i", "f", "--json")
    damaged = "not a supported image, or damaged"
    assert json.loads(result.out)["damaged"] == {"f/b.png": damaged, "f/d.jpg": damaged}
    assert result.status == 1


@pytest.mark.parametrize("room", [None, 100, 0])
def test_several_images_are_decoded_once(cli, identity, monkeypatch, room):
    """As many as there is room for, of 72 bytes each."""
    pixels = [photo(f"{i}.png", seed=i) for i in range(3)]
    decoded, decode = [], images.ImageRows._decode

    def counting(self, path):
        decoded.append(path.name)
        return decode(self, path)

    monkeypatch.setattr(images.ImageRows, "_decode", counting)
    if room is not None:
        monkeypatch.setattr(images, "_KEPT", room)
    for batch in ((), ("--batch", 2)):
        decoded.clear()
        command = ("run", identity(["n", 4, 6, 3], T.UINT8), "-i", "*.png", "-o", "y.npy")
        assert cli(*command, *batch).status == 0
        np.testing.assert_array_equal(np.load("y.npy"), pixels)
        assert sorted(decoded) == ["0.png", "1.png", "2.png"]


def test_a_damaged_image_alone_or_among_its_like_is_an_error(cli, identity, make):
    Path("f").mkdir()
    for name in ("f/a.png", "f/b.png"):
        Path(name).write_bytes(b"nothing")
    model = identity(["n", 4, 6, 3])
    message = "not a supported image, or damaged"
    assert cli("run", model, "-i", "f/a.png").error == f"f/a.png: {message}"
    assert cli("run", model, "-i", "f").error == f"f/a.png: {message}, and so are all 2 images"
    photo("f/b.png", (6, 4))
    assert cli("explore", model, "-i", "f", "-o", "p.html").error == f"f/a.png: {message}"
    nodes = [helper.make_node("Identity", [name], [f"{name}_"]) for name in "xw"]
    inputs = [("x", T.FLOAT, ["n", 4, 6, 3]), ("w", T.FLOAT, ["n"])]
    model = make("m.onnx", nodes, inputs, [(f"{name}_", T.FLOAT, None) for name in "xw"])
    np.save("w.npy", np.zeros(2))
    error = cli("run", model, "-i", "x=f", "-i", "w=w.npy").error
    assert error == f"f/a.png: {message}, and input 'w' has a row for it"
    assert (
        "the same image was given twice"
        in cli("run", model, "-i", "x=f/b.png", "-i", "x=f/b.png").error
    )


# ------------------------------------------------------------------ what the model expects of them


def scaling_model(path, *steps, metadata=None, shape=("n", 4, 6, 3)):
    """A model of pictures whose first nodes are these operators, each with its numbers."""
    nodes, weights, name = [], [], "x"
    for i, (op_type, numbers) in enumerate(steps):
        weights.append(numpy_helper.from_array(np.array(numbers, np.float32), f"c{i}"))
        nodes.append(helper.make_node(op_type, [name, f"c{i}"], [f"v{i}"]))
        name = f"v{i}"
    nodes.append(helper.make_node("Relu", [name], ["y"]))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("x", T.FLOAT, shape)], [value("y", T.FLOAT, shape)], weights
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, metadata or {})
    Path(path).write_bytes(model.SerializeToString())
    return path


def notes(cli, *command):
    return json.loads(cli("run", *command, "--json").out)["inputs"][0]["notes"]


def test_a_model_that_scales_its_pixels_gets_0_to_255(cli, feed):
    pixels = photo("p.png")
    model = scaling_model("m.onnx", ("Div", 255))
    outputs, _ = feed(model, "-i", "p.png")
    np.testing.assert_allclose(outputs["y"][0], pixels / 255, rtol=1e-6)
    said = "pixels 0 to 255 (as its first nodes, Div, are made for)"
    assert notes(cli, model, "-i", "p.png") == [said]
    assert said in " ".join(cli("run", model, "-i", "p.png").out.split())
    assert notes(cli, model, "-i", "p.png", "--scale", "1") == ["pixels 0 to 1"]


def test_metadata_say_range_and_colours(cli, feed):
    pixels = photo("p.png")
    metadata = {"Image.NominalPixelRange": "Normalized_1_1", "Image.BitmapPixelFormat": "Bgr8"}
    model = scaling_model("m.onnx", metadata=metadata)
    outputs, _ = feed(model, "-i", "p.png")
    expected = np.maximum(pixels[:, :, ::-1] / 127.5 - 1, 0)
    np.testing.assert_allclose(outputs["y"][0], expected, atol=1e-6)
    said = "pixels -1 to 1 (as the file's metadata say), blue first"
    assert notes(cli, model, "-i", "p.png") == [said]
    outputs, _ = feed(model, "-i", "p.png", "--colours", "rgb")
    np.testing.assert_allclose(outputs["y"][0], expected[:, :, ::-1], atol=1e-6)


@pytest.mark.parametrize(
    ("said", "low", "high"),
    [("NominalRange_0_255", 0, 255), ("NominalRange_16_235", 16, 235), ("Normalized_0_1", 0, 255)],
)
def test_metadata_say_the_range_of_integers(cli, feed, identity, said, low, high):
    pixels = photo("p.png")
    model = onnx.load(identity(["n", 4, 6, 3], T.UINT8))
    helper.set_model_props(model, {"Image.NominalPixelRange": said})
    onnx.save(model, "m.onnx")
    outputs, _ = feed("m.onnx", "-i", "p.png")
    expected = np.rint(pixels * ((high - low) / 255) + low)
    assert np.abs(outputs["y"][0] - expected).max() <= 0
    text = "as the file's metadata say"
    if said == "Normalized_0_1":
        text = "the file's metadata say 0 to 1, for which uint8 has too few numbers"
    assert notes(cli, "m.onnx", "-i", "p.png") == [f"pixels {low} to {high} ({text})"]


def test_metadata_say_the_range_of_a_mask(feed, identity):
    Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).save("mask.png")
    model = onnx.load(identity(["n", 2, 2, 1], T.BOOL))
    helper.set_model_props(model, {"Image.NominalPixelRange": "Normalized_0_1"})
    onnx.save(model, "m.onnx")
    outputs, _ = feed("m.onnx", "-i", "mask.png")
    assert outputs["y"].reshape(2, 2).tolist() == [[False, True], [True, False]]


def test_a_model_that_says_nothing(cli):
    photo("p.png")
    model = scaling_model("m.onnx")
    said = "pixels 0 to 1 (the model doesn't say: --scale, --mean, --std)"
    assert notes(cli, model, "-i", "p.png") == [said]


def test_mean_std_and_layout(feed):
    pixels = photo("p.png", size=(3, 3))
    model = scaling_model("m.onnx", shape=("n", 3, 3, 3))
    numbers = ("--mean", "0.1,0.2,0.3", "--std", "0.5")
    expected = np.maximum((pixels / 255 - [0.1, 0.2, 0.3]) / 0.5, 0)
    outputs, _ = feed(model, "-i", "p.png", *numbers)
    np.testing.assert_allclose(outputs["y"][0], expected, atol=1e-6)
    outputs, _ = feed(model, "-i", "p.png", *numbers, "--layout", "NCHW")
    np.testing.assert_allclose(outputs["y"][0], expected.transpose(2, 0, 1), atol=1e-6)


@pytest.mark.parametrize(
    "options, error",
    [
        (("--mean", "1,2"), "--mean: 2 numbers for 3 channels"),
        (("--std", "0"), "--std: a standard deviation of 0"),
        (("--std", "1e-45"), "beyond float32"),
        (("--scale", "1e39"), "beyond float32"),
        (("--resize", "4", "--crop"), "pass a larger --resize than 4"),
        (("--resize", "1000000000"), "would have 1,000,000,000 × 1,000,000,000 pixels"),
        (("--layout", "NCHW"), "--layout NCHW: input x: float32[n, 5, 6, 3] has 5 there"),
    ],
)
def test_settings_that_do_not_fit(cli, options, error):
    photo("p.png", size=(9, 9))
    model = scaling_model("m.onnx", shape=("n", 5, 6, 3))
    assert error in cli("run", model, "-i", "p.png", *options).error


def test_resize_and_crop(feed):
    whole = np.zeros((40, 20, 3), np.uint8)
    whole[10:30] = 255  # the middle square is white
    Image.fromarray(whole).save("p.png")
    model = scaling_model("m.onnx", shape=("n", 4, 4, 3))
    assert feed(model, "-i", "p.png")[0]["y"].min() < 0.2  # stretched: the black is there
    assert feed(model, "-i", "p.png", "--crop")[0]["y"].min() > 0.8
    assert feed(model, "-i", "p.png", "--resize", "8", "--crop")[0]["y"].min() == 1
    free = scaling_model("free.onnx", shape=("n", "h", "w", 3))
    assert feed(free, "-i", "p.png", "--resize", "8")[0]["y"].shape == (1, 16, 8, 3)
