"""NonMaxSuppression, Col2Im and ImageDecoder: by hand, and against ONNX Runtime."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.harness import (
    Case,
    assert_same,
    check,
    feeds_of,
    one_node_model,
    run_directly,
    run_onnxruntime,
)

f32 = np.float32


def ints(*values):
    return np.array(values, np.int64)


def encoded(pixels, kind):
    image = pytest.importorskip("PIL.Image")
    stream = io.BytesIO()
    image.fromarray(pixels).save(stream, kind)
    return np.frombuffer(stream.getvalue(), np.uint8)


BOXES = np.array(
    [[[0, 0, 1, 1], [1, 1.1, 0, 0.1], [0, 10, 1, 11], [0, 10.1, 1, 11.1], [5, 5, 5, 9]]], f32
)
SCORES = np.array([[[0.9, 0.75, 0.6, 0.95, 0.5], [0.1, 0.2, 0.3, 0.3, 0.4]]], f32)
HALF = np.array(0.5, f32)
PIXELS = np.random.default_rng(0).integers(0, 255, (4, 5, 3)).astype(np.uint8)
GRAY = np.array([[0, 100, 255]], np.uint8)
STREAM = encoded(PIXELS, "PNG")
COLUMNS = np.random.default_rng(1).standard_normal((2, 12, 12)).astype(f32)

# fmt: off
CASES = [
    Case("NonMaxSuppression", 10, [BOXES, SCORES, np.array(3), HALF, np.array(0.25, f32)]),
    Case("NonMaxSuppression", 10, [BOXES, SCORES, ints(3), HALF.reshape(1)]),
    Case("NonMaxSuppression", 11, [BOXES, SCORES], expected=[np.zeros((0, 3), np.int64)]),
    Case("NonMaxSuppression", 11, [BOXES, SCORES, np.array(9)], note="any overlap is too much"),
    Case("NonMaxSuppression", 11, [BOXES, SCORES, np.array(9), HALF], {"center_point_box": 1}),
    # the spec: "boxes with score less than score_threshold are removed"; engines: equal ones too
    Case("NonMaxSuppression", 11, [BOXES[:, :1], HALF.reshape(1, 1, 1), np.array(1), HALF, HALF],
         expected=[np.zeros((0, 3), np.int64)]),
    Case("NonMaxSuppression", 11, [BOXES[:, :1], HALF.reshape(1, 1, 1), np.array(1), HALF, HALF],
         note="as ONNX Runtime"),
    # "boxes with IoU exactly equal to the threshold are kept": two halves of a box, and the box
    Case("NonMaxSuppression", 11, [np.array([[[0, 0, 2, 1], [0, 0, 1, 1]]], f32),
                                   np.array([[[2, 1]]], f32), np.array(2), HALF],
         expected=[np.array([[0, 0, 0], [0, 0, 1]])]),
    Case("Col2Im", 18, [np.arange(4, dtype=f32).reshape(1, 2, 2), ints(1, 3), ints(1, 2)],
         expected=[np.array([[[[0, 1 + 2, 3]]]], f32)]),
    Case("Col2Im", 18, [COLUMNS[:, :, :12], ints(4, 5), ints(2, 2)]),
    Case("Col2Im", 18, [COLUMNS[:, :, :4], ints(4, 5), ints(2, 3)],
         {"pads": [1, 0, 0, 1], "strides": [2, 1], "dilations": [1, 2]}),
    Case("ImageDecoder", 20, [STREAM], expected=[PIXELS]),
    Case("ImageDecoder", 20, [STREAM], {"pixel_format": "BGR"}, expected=[PIXELS[..., ::-1]]),
    Case("ImageDecoder", 20, [encoded(GRAY, "BMP")], {"pixel_format": "Grayscale"},
         expected=[GRAY[..., None]]),
    Case("ImageDecoder", 20, [encoded(GRAY, "PNG")],
         expected=[np.repeat(GRAY[..., None], 3, 2)], note="a gray image as RGB"),
    Case("ImageDecoder", 20, [STREAM[:40]], expected=[np.zeros((0, 0, 3), np.uint8)]),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_non_max_suppression_like_onnxruntime(data):
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    n, c, b = draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 30))
    boxes = rng.uniform(0, 5, (n, b, 4)).astype(f32)
    scores = rng.uniform(0, 1, (n, c, b)).astype(f32)
    if draw(st.booleans()):
        scores = scores.round(1)  # ties
    inputs = [boxes, scores, np.array(draw(st.integers(0, 9)))]
    inputs.append(np.array(draw(st.floats(0, 1, width=32)), f32))
    if draw(st.booleans()):
        inputs.append(np.array(0.33, f32))
    case = Case("NonMaxSuppression", 11, inputs, {"center_point_box": draw(st.integers(0, 1))})
    assert_same(run_directly(case), run_onnxruntime(one_node_model(case), feeds_of(case)))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_col2im_like_onnxruntime(data):
    draw = data.draw
    image, block = ([draw(st.integers(1, size)) for _ in range(2)] for size in (7, 3))
    strides, dilations = ([draw(st.integers(1, 2)) for _ in range(2)] for _ in range(2))
    pads = [draw(st.integers(0, 2)) for _ in range(4)]
    counts = []
    for i in range(2):
        image[i] += (block[i] - 1) * dilations[i]
        span = image[i] + pads[i] + pads[i + 2] - (block[i] - 1) * dilations[i] - 1
        counts.append(span // strides[i] + 1)
    x = np.random.default_rng(0).random((2, 3 * block[0] * block[1], counts[0] * counts[1]))
    attributes = {"strides": strides, "dilations": dilations, "pads": pads}
    case = Case("Col2Im", 18, [x.astype(f32), ints(*image), ints(*block)], attributes)
    assert_same(run_directly(case), run_onnxruntime(one_node_model(case), feeds_of(case)))


@pytest.mark.parametrize(
    "operator, opset, inputs, attributes, message",
    [
        ("NonMaxSuppression", 11, [BOXES, SCORES[..., :2]], {}, "are incompatible"),
        ("NonMaxSuppression", 11, [BOXES[0], SCORES], {}, "should be"),
        ("NonMaxSuppression", 11, [BOXES, SCORES, ints(3), HALF * 3], {}, "between 0 and 1"),
        ("Col2Im", 18, [COLUMNS, ints(4, 4), ints(2, 2)], {}, "should be"),
        ("ImageDecoder", 20, [STREAM], {"pixel_format": "CMYK"}, "CMYK"),
    ],
)
def test_refused(operator, opset, inputs, attributes, message):
    with pytest.raises(ValueError, match=message):
        run_directly(Case(operator, opset, inputs, attributes))


@pytest.mark.filterwarnings("error")
def test_a_damaged_picture_is_no_warning():
    """A TIFF that promises ten fields and ends within the first."""
    stream = bytes.fromhex("49492a00080000000a00000104000100") + b"\0"
    (pixels,) = run_directly(Case("ImageDecoder", 20, [np.frombuffer(stream, np.uint8)]))
    assert pixels.shape == (0, 0, 3)


@pytest.mark.parametrize("beginning, codec", [(b"\xff\xd8", "jpg"), (b"RIFF", "webp")])
def test_a_codec_that_pillow_lacks_is_named(monkeypatch, beginning, codec):
    from PIL import features

    from onnxwalk.ops.ai_onnx.vision import image_decoder

    data = np.frombuffer(beginning + b"and no picture", np.uint8)
    assert image_decoder(data).shape == (0, 0, 3)
    monkeypatch.setattr(features, "check", lambda name: name != codec)
    with pytest.raises(NotImplementedError, match=f"Pillow with {codec}"):
        image_decoder(data)
