"""Conv and ConvTranspose."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onnxwalk.ops import registry
from onnxwalk.ops.ai_onnx import conv as conv_module
from onnxwalk.ops.ai_onnx.conv_transpose import conv_transpose
from tests.support.harness import (
    Case,
    assert_same,
    check,
    feeds_of,
    one_node_model,
    run_directly,
    run_onnxruntime,
)
from tests.support.prepared import run_prepared

f32 = np.float32


def ramp(*shape, dtype=f32):
    """1, 2, 3, …"""
    return np.arange(1, 1 + np.prod(shape), dtype=dtype).reshape(shape)


def noise(*shape, seed=0, dtype=f32):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def channels_last(x):
    """The same values in the memory order (N, D…, C)."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


ONE_TO_FIVE = ramp(1, 1, 5)
DIFFERENCE = np.array([[[1, 0, -1]]], f32)

BY_HAND = [
    # cross-correlation, not convolution: the kernel isn't flipped
    Case("Conv", 7, [ONE_TO_FIVE, DIFFERENCE], expected=[np.array([[[-2, -2, -2]]], f32)]),
    Case(
        "Conv",
        11,
        [ONE_TO_FIVE, DIFFERENCE, np.array([10], f32)],
        {"pads": [1, 1]},
        [np.array([[[8, 8, 8, 8, 14]]], f32)],
        note="bias",
    ),
    Case(
        "Conv",
        11,
        [ramp(1, 1, 4), np.array([[[1, 10]]], f32)],
        {"auto_pad": "SAME_UPPER", "kernel_shape": [2]},
        [np.array([[[21, 32, 43, 4]]], f32)],
        note="SAME_UPPER",
    ),
    Case(
        "Conv",
        11,
        [ramp(1, 1, 4), np.array([[[1, 10]]], f32)],
        {"auto_pad": "SAME_LOWER"},
        [np.array([[[10, 21, 32, 43]]], f32)],
        note="SAME_LOWER",
    ),
    Case(
        "Conv",
        11,
        [ramp(1, 1, 4), np.array([[[1, 10]]], f32)],
        {"auto_pad": "SAME_LOWER", "dilations": [3]},
        [np.array([[[20, 30, 41, 2]]], f32)],
        note="SAME and dilations, which ONNX Runtime refuses",
    ),
    Case(
        "Conv",
        11,
        [ramp(1, 2, 2), np.array([[[2]], [[3]], [[5]], [[7]]], f32)],
        {"group": 2},
        [np.array([[[2, 4], [3, 6], [15, 20], [21, 28]]], f32)],
        note="each group its own channel",
    ),
    Case(
        "Conv",
        22,
        [ramp(1, 1, 3, dtype=ml_dtypes.bfloat16), ramp(1, 1, 2, dtype=ml_dtypes.bfloat16)],
        {},
        [np.array([[[5, 8]]], ml_dtypes.bfloat16)],
        note="bfloat16",
    ),
    Case(
        "Conv",
        11,
        [ramp(1, 1, 3, dtype=np.float64), np.full((1, 1, 2), 1 / 3)],
        {},
        [np.array([[[1, 5 / 3]]])],
        note="float64",
        rtol=1e-15,
        atol=0,
    ),
    Case(
        "Conv",
        11,
        [np.ones((1, 4096, 1), np.float16), np.ones((1, 4096, 1), np.float16)],
        {},
        [np.array([[[4096]]], np.float16)],
        note="float16 added up in float32: 2048 + 1 would stay 2048",
    ),
    Case(
        "Conv",
        11,
        [np.full((1, 1, 1), 60000, np.float16), np.full((1, 1, 1), 2, np.float16)],
        {},
        [np.array([[[np.inf]]], np.float16)],
        note="overflow without a warning",
    ),
    Case(
        "ConvTranspose",
        11,
        [ramp(1, 1, 3), np.array([[[1, 10, 100]]], f32)],
        {"strides": [2]},
        [np.array([[[1, 10, 102, 20, 203, 30, 300]]], f32)],
    ),
    Case(
        "ConvTranspose",
        11,
        [ramp(1, 1, 3), np.array([[[1, 10, 100]]], f32)],
        {"strides": [2], "output_shape": [6]},
        [np.array([[[10, 102, 20, 203, 30, 300]]], f32)],
        note="output_shape: the odd pad in front",
    ),
    Case(
        "ConvTranspose",
        11,
        [ramp(1, 1, 3), np.array([[[1, 10, 100]]], f32)],
        {"strides": [2], "auto_pad": "SAME_UPPER"},
        [np.array([[[1, 10, 102, 20, 203, 30]]], f32)],
        note="SAME_UPPER: the odd pad behind",
    ),
    # ConvTranspose-1: "If (auto_pads != SAME_UPPER): pads[start_i] = total_padding[i]/2", the
    # other way round from version 11. ONNX Runtime follows version 11 at every opset.
    Case(
        "ConvTranspose",
        10,
        [ramp(1, 1, 3), np.array([[[1, 10, 100]]], f32)],
        {"strides": [2], "output_shape": [6]},
        [np.array([[[1, 10, 102, 20, 203, 30]]], f32)],
        note="output_shape: the odd pad behind",
    ),
    Case(
        "ConvTranspose",
        10,
        [ramp(1, 1, 3), np.array([[[1, 10, 100]]], f32)],
        {"strides": [2], "output_shape": [6], "auto_pad": "SAME_UPPER"},
        [np.array([[[10, 102, 20, 203, 30, 300]]], f32)],
        note="output_shape and SAME_UPPER: the odd pad in front",
    ),
    Case(
        "ConvTranspose",
        11,
        [ramp(1, 1, 2), np.array([[[1, 10]]], f32), np.array([5], f32)],
        {"dilations": [2], "output_padding": [1]},
        [np.array([[[6, 7, 15, 25, 5]]], f32)],
        note="output_padding below the dilation, which ONNX Runtime refuses",
    ),
    # The spec: "output_shape[i] = input_shape[i] * strides[i]". ONNX Runtime leaves out the last
    # place, which no window reaches.
    Case(
        "ConvTranspose",
        11,
        [ramp(1, 1, 3), np.array([[[1]]], f32), np.array([5], f32)],
        {"strides": [2], "auto_pad": "SAME_UPPER"},
        [np.array([[[6, 5, 7, 5, 8, 5]]], f32)],
        note="windows that leave gaps",
    ),
]

X = noise(2, 6, 9, 8)
AGAINST_ONNXRUNTIME = [
    Case("Conv", 7, [X, noise(4, 6, 3, 3), noise(4)], {"strides": [2, 1], "pads": [1, 0, 2, 1]}),
    Case("Conv", 11, [X, noise(4, 6, 1, 1), noise(4)], note="pointwise"),
    Case("Conv", 11, [X, noise(0, 6, 3, 3)], note="no channels come out"),
    Case("Conv", 11, [X, noise(4, 6, 1, 1)], {"strides": [2, 3], "pads": [1, 1, 0, 0]}),
    Case("Conv", 11, [X, noise(4, 6, 3, 2)], {"dilations": [2, 3]}),
    Case("Conv", 11, [X, noise(6, 1, 3, 3), noise(6)], {"group": 6}, note="depthwise"),
    Case("Conv", 11, [X, noise(12, 1, 3, 3), noise(12)], {"group": 6, "strides": [2, 2]}),
    Case("Conv", 11, [X, noise(4, 3, 3, 3), noise(4)], {"group": 2, "pads": [1, 1, 1, 1]}),
    Case("Conv", 11, [X, noise(3, 6, 4, 4)], {"auto_pad": "SAME_UPPER", "strides": [3, 2]}),
    Case("Conv", 11, [X, noise(3, 6, 4, 4)], {"auto_pad": "SAME_LOWER", "strides": [3, 2]}),
    Case("Conv", 11, [X, noise(3, 6, 4, 4)], {"auto_pad": "VALID", "strides": [3, 2]}),
    Case("Conv", 11, [noise(2, 3, 50), noise(4, 3, 5), noise(4)], {"strides": [2]}),
    Case("Conv", 11, [noise(1, 2, 5, 6, 7), noise(4, 2, 2, 3, 2)], {"pads": [1, 0, 1, 0, 1, 1]}),
    Case("Conv", 11, [noise(1, 2, 90, 90), noise(3, 2, 5, 5)], rtol=1e-4, note="many blocks"),
    Case("Conv", 11, [noise(1, 20, 9, 8), noise(4, 20, 3, 3)], {"pads": [1, 1, 1, 1]}, rtol=1e-4),
    Case("Conv", 11, [noise(1, 2, 1, 3000), noise(9, 2, 1, 9), noise(9)], rtol=1e-4),
    Case(
        "Conv", 11, [noise(2, 5, 9), noise(5, 1, 3)], {"group": 5, "strides": [2], "pads": [2, 1]}
    ),
    Case(
        "Conv",
        11,
        [noise(1, 4, 6, 6, dtype=np.float16), noise(3, 4, 3, 3, dtype=np.float16)],
        rtol=1e-3,
        atol=1e-3,
        note="float16",
    ),
    Case("ConvTranspose", 11, [X, noise(6, 4, 3, 3), noise(4)], {"strides": [2, 3]}),
    Case("ConvTranspose", 7, [X, noise(6, 4, 3, 3)], {"pads": [1, 2, 0, 1], "dilations": [2, 1]}),
    Case("ConvTranspose", 11, [X, noise(6, 2, 3, 2), noise(6)], {"group": 3, "strides": [2, 2]}),
    Case(
        "ConvTranspose",
        11,
        [X, noise(6, 4, 3, 3)],
        {"strides": [3, 2], "output_padding": [2, 1], "pads": [1, 1, 1, 1]},
    ),
    Case("ConvTranspose", 11, [X, noise(6, 2, 4, 4)], {"auto_pad": "SAME_LOWER"}),
    Case("ConvTranspose", 11, [noise(1, 2, 4, 3, 5), noise(2, 3, 2, 3, 2)], {"strides": [2, 1, 2]}),
    Case("ConvTranspose", 11, [noise(2, 3, 7), noise(3, 2, 4), noise(2)], {"strides": [3]}),
]

CASES = BY_HAND + AGAINST_ONNXRUNTIME


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


FLOAT_CASES = [case for case in CASES if case.operator in ("Conv", "ConvTranspose")]


@pytest.mark.parametrize("case", FLOAT_CASES, ids=str)
def test_prepared_agrees(case):
    assert_same(run_prepared(case), run_directly(case), rtol=0, atol=0)


@pytest.mark.parametrize("case", FLOAT_CASES, ids=str)
def test_memory_order_does_not_matter(case):
    x, *rest = case.inputs
    with_layout = [channels_last(x), *rest]
    result = run_directly(Case(case.operator, case.opset, with_layout, case.attributes))
    assert_same(result, run_directly(case), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", FLOAT_CASES, ids=str)
def test_blocks_do_not_matter(case, monkeypatch):
    expected = run_directly(case)
    monkeypatch.setattr("onnxwalk.ops.shared.windows.BLOCK_BYTES", 100)
    monkeypatch.setattr("onnxwalk.ops.ai_onnx.conv.BLOCK_BYTES", 100)
    for layout in (np.ascontiguousarray, channels_last):
        inputs = [layout(case.inputs[0]), *case.inputs[1:]]
        result = run_directly(Case(case.operator, case.opset, inputs, case.attributes))
        assert_same(result, expected, rtol=1e-4, atol=1e-5)


def test_channels_last_in_channels_last_out():
    x = channels_last(noise(2, 16, 8, 8))
    for w, attributes in [
        (noise(5, 16, 3, 3), {}),
        (noise(5, 16, 1, 1), {}),
        (noise(16, 1, 3, 3), {"group": 16}),
    ]:
        y = conv_module.conv(x, w, **attributes)
        assert np.moveaxis(y, 1, -1).flags.c_contiguous
    y = conv_module.conv(channels_last(noise(2, 3, 8, 8)), noise(5, 3, 3, 3))
    assert np.moveaxis(y, 1, -1).flags.c_contiguous, "few channels are gathered planar"
    y = conv_transpose(x, noise(16, 5, 3, 3))
    assert np.moveaxis(y, 1, -1).flags.c_contiguous


def test_memory_is_bounded():
    """Columns are gathered in blocks: a fraction of the 9 times x that all of them would take."""
    import tracemalloc

    x, w = noise(1, 32, 200, 200), noise(8, 32, 3, 3)
    for source in (x, channels_last(x)):
        tracemalloc.start()
        conv_module.conv(source, w)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < x.nbytes, "the result is a quarter of x, a block 1 MB"


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "message"),
    [
        ("Conv", [noise(1, 3, 5), noise(2, 4, 3)], {}, "channels"),
        ("Conv", [noise(1, 3, 5), noise(2, 3, 3, 3)], {}, "rank"),
        ("Conv", [noise(1, 3), noise(2, 3)], {}, "spatial"),
        ("Conv", [noise(1, 3, 5), noise(2, 3, 3, dtype=np.float64)], {}, "differ in type"),
        ("Conv", [noise(1, 3, 5), noise(2, 3, 6)], {}, "larger than the padded input"),
        ("Conv", [noise(1, 3, 5), noise(2, 3, 3)], {"dilations": [3]}, "larger than the padded"),
        ("Conv", [noise(1, 3, 5), noise(2, 3, 3)], {"strides": [0]}, "strides .* at least 1"),
        ("Conv", [noise(1, 3, 5), noise(2, 3, 3)], {"strides": [1, 1]}, "1 values"),
        ("Conv", [noise(1, 3, 5), noise(2, 3, 3)], {"pads": [-1, 0]}, "pads"),
        ("Conv", [noise(1, 3, 5), noise(2, 3, 3)], {"kernel_shape": [2]}, "kernel_shape"),
        ("Conv", [noise(1, 3, 5), noise(2, 3, 3)], {"auto_pad": "SAME"}, "auto_pad"),
        ("Conv", [noise(1, 4, 5), noise(3, 2, 3)], {"group": 2}, "groups"),
        ("Conv", [noise(1, 3, 5), noise(2, 3, 3), noise(3)], {}, "bias"),
        ("ConvTranspose", [noise(1, 3, 5), noise(4, 2, 3)], {}, "channels"),
        ("ConvTranspose", [noise(1, 3, 5), noise(3, 2, 3)], {"output_padding": [1]}, "output_pad"),
        ("ConvTranspose", [noise(1, 3, 1), noise(3, 2, 3)], {"pads": [2, 2]}, "exceed"),
    ],
)
def test_refuses(operator, inputs, attributes, message):
    with pytest.raises(ValueError, match=message):
        run_directly(Case(operator, 13, inputs, attributes))


@st.composite
def convolutions(draw, transposed=False):
    """A case of any rank, with inputs of any memory order."""
    rank = draw(st.integers(1, 3))

    def several(low, high, count=rank):
        return draw(st.lists(st.integers(low, high), min_size=count, max_size=count))

    group, per_group, outputs = (
        draw(st.integers(1, 4)),
        draw(st.integers(1, 3)),
        draw(st.integers(1, 3)),
    )
    kernel = several(1, 3)
    spatial = several(1, 7)
    attributes = {"group": group, "strides": several(1, 3), "dilations": several(1, 2)}
    padding = draw(st.sampled_from(["pads", "SAME_UPPER", "SAME_LOWER", "VALID", None]))
    if padding == "pads":
        attributes["pads"] = several(0, 2, 2 * rank)
    elif padding:
        attributes["auto_pad"] = padding
    batch = draw(st.integers(0, 2))
    x = noise(batch, group * per_group, *spatial)
    order = draw(st.sampled_from(["planar", "channels last", "every other"]))
    if order == "channels last":
        x = channels_last(x)
    elif order == "every other":
        x = noise(batch, group * per_group, *spatial[:-1], 2 * spatial[-1])[..., ::2]
    if transposed:
        w = noise(group * per_group, outputs, *kernel)
        if draw(st.booleans()):
            limits = zip(attributes["strides"], attributes["dilations"], strict=True)
            attributes["output_padding"] = [draw(st.integers(0, max(pair) - 1)) for pair in limits]
    else:
        w = noise(group * outputs, per_group, *kernel)
    inputs = [x, w, noise(group * outputs)] if draw(st.booleans()) else [x, w]
    return Case("ConvTranspose" if transposed else "Conv", 11, inputs, attributes)


@settings(deadline=None, max_examples=80)
@given(convolutions())
def test_conv_is_onnxruntimes(case):
    x, w = case.inputs[:2]
    rank = x.ndim - 2
    pads = case.attributes.get("pads", [0] * 2 * rank)
    spans = [
        (k - 1) * d + 1 for k, d in zip(w.shape[2:], case.attributes["dilations"], strict=True)
    ]
    same = case.attributes.get("auto_pad", "").startswith("SAME")
    if not same and any(x.shape[2 + i] + pads[i] + pads[rank + i] < spans[i] for i in range(rank)):
        with pytest.raises(ValueError, match="larger than the padded input"):
            run_directly(case)
        return
    assume(not same or set(case.attributes["dilations"]) == {1})  # ONNX Runtime hasn't got that
    expected = run_onnxruntime(one_node_model(case), feeds_of(case))
    assert_same(run_directly(case), expected, rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=80)
@given(convolutions(transposed=True))
def test_conv_transpose_is_onnxruntimes(case):
    x, w = case.inputs[:2]
    rank = x.ndim - 2
    strides, dilations = case.attributes["strides"], case.attributes["dilations"]
    extra = case.attributes.get("output_padding", [0] * rank)
    for i in range(rank):
        assume(extra[i] < strides[i])  # or the dilation: ONNX Runtime refuses
        full = strides[i] * (x.shape[2 + i] - 1) + extra[i] + (w.shape[2 + i] - 1) * dilations[i]
        if case.attributes.get("auto_pad", "").startswith("SAME"):
            assume(full + 1 >= x.shape[2 + i] * strides[i])  # see "windows that leave gaps"
        elif "pads" in case.attributes:
            assume(full + 1 > case.attributes["pads"][i] + case.attributes["pads"][rank + i])
    expected = run_onnxruntime(one_node_model(case), feeds_of(case))
    assert_same(run_directly(case), expected, rtol=1e-4, atol=1e-5)


def test_every_version_of_the_family_is_registered():
    others = ("CausalConvWithState", "DeformConv")
    family = (o for o in registry if "Conv" in o.name and o.name not in others and not o.domain)
    assert [str(o) for o in family] == [
        "ai.onnx.Conv-1",
        "ai.onnx.ConvInteger-10",
        "ai.onnx.ConvTranspose-1",
        "ai.onnx.ConvTranspose-11",
        "ai.onnx.QLinearConv-10",
    ]
