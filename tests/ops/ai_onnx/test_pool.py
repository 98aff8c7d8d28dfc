"""MaxPool, AveragePool, LpPool, their global forms, MaxUnpool, MaxRoiPool."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onnxwalk.ops import registry
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
f16 = np.float16
bf16 = ml_dtypes.bfloat16


def ramp(*shape, dtype=f32):
    """1, 2, 3, …"""
    return np.arange(1, 1 + np.prod(shape)).reshape(shape).astype(dtype)


def noise(*shape, seed=0, dtype=f32):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def channels_last(x):
    """The same values in the memory order (N, D…, C)."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def row(*values, dtype=f32):
    return np.array([[values]], dtype)


UP_AND_DOWN = row(1, 5, 2, 4, 3)

BY_HAND = [
    Case("MaxPool", 7, [UP_AND_DOWN], {"kernel_shape": [2]}, [row(5, 5, 4, 4)]),
    Case(
        "MaxPool",
        8,
        [UP_AND_DOWN],
        {"kernel_shape": [2], "pads": [1, 1]},
        [row(1, 5, 5, 4, 4, 3), row(0, 1, 1, 3, 3, 4, dtype=np.int64)],
        outputs=2,
        note="padding is never the maximum",
    ),
    Case(
        "MaxPool",
        12,
        [row(7, 7, 7, dtype=np.int8)],
        {"kernel_shape": [2]},
        [row(7, 7, dtype=np.int8), row(0, 1, dtype=np.int64)],
        outputs=2,
        note="the first of equals",
    ),
    Case(
        "MaxPool",
        12,
        [np.array([[[-np.inf, -np.inf, 1]]], f32)],
        {"kernel_shape": [2], "pads": [1, 0]},
        [row(-np.inf, -np.inf, 1), row(0, 0, 2, dtype=np.int64)],
        outputs=2,
        note="minus infinity is a value",
    ),
    # The spec doesn't speak of NaN. ONNX Runtime passes over it in float32.
    Case(
        "MaxPool",
        12,
        [row(np.nan, 3, np.nan, np.nan, -np.inf, -np.inf, np.nan, -np.inf)],
        {"kernel_shape": [2], "strides": [2]},
        [row(3, *[np.finfo(f32).min] * 3)],
        note="numbers only, and none less than the lowest finite one",
    ),
    # With the second output, ONNX Runtime keeps a NaN only where it comes first in a window.
    Case(
        "MaxPool",
        12,
        [row(1, np.nan, 3, 4)],
        {"kernel_shape": [2]},
        [row(np.nan, np.nan, 4), row(1, 1, 3, dtype=np.int64)],
        outputs=2,
        note="NaN",
    ),
    Case(
        "MaxPool",
        12,
        [ramp(1, 1, 2, 3)],
        {"kernel_shape": [2, 2], "storage_order": 1},
        [np.array([[[[5, 6]]]], f32), np.array([[[[3, 5]]]])],
        outputs=2,
        note="column-major: row + column * rows",
    ),
    Case(
        "MaxPool", 22, [ramp(1, 1, 3, dtype=bf16)], {"kernel_shape": [2]}, [row(2, 3, dtype=bf16)]
    ),
    Case(
        "MaxPool",
        10,
        [ramp(1, 1, 4)],
        {"kernel_shape": [2], "strides": [3], "pads": [1, 1], "ceil_mode": 1},
        [row(1, 4)],
        note="a window that starts in the padding behind is left out",
    ),
    # A pad "can take any value greater than or equal to 0": windows that need none get none, as in
    # TensorFlow and in ONNX Runtime's Conv. Its MaxPool refuses, its LpPool starts at 2.
    Case(
        "MaxPool",
        11,
        [ramp(1, 1, 6)],
        {"kernel_shape": [1], "strides": [3], "auto_pad": "SAME_UPPER"},
        [row(1, 4)],
        note="SAME with gaps between the windows",
    ),
    # The spec, with or without ceil_mode: "VALID: ceil((input - span + 1) / stride)" windows, 1.
    # ONNX Runtime rounds up again and gives 2.
    Case(
        "MaxPool",
        10,
        [ramp(1, 1, 6)],
        {"kernel_shape": [3], "strides": [4], "auto_pad": "VALID", "ceil_mode": 1},
        [row(3)],
        note="VALID and ceil_mode",
    ),
    Case("AveragePool", 6, [ramp(1, 1, 3)], {"kernel_shape": [2]}, [row(1.5, 2.5)]),
    Case(  # floor((1 - 2) / 2) + 1 = 0 windows; ONNX Runtime rounds towards 0, and gives 1
        "AveragePool",
        11,
        [ramp(1, 1, 1)],
        {"kernel_shape": [2], "strides": [2]},
        [np.zeros((1, 1, 0), f32)],
        note="a kernel less than a stride too large",
    ),
    Case(
        "AveragePool",
        7,
        [ramp(1, 1, 3)],
        {"kernel_shape": [2], "pads": [1, 1]},
        [row(1, 1.5, 2.5, 3)],
    ),
    Case(
        "AveragePool",
        7,
        [ramp(1, 1, 3)],
        {"kernel_shape": [2], "pads": [1, 1], "count_include_pad": 1},
        [row(0.5, 1.5, 2.5, 1.5)],
    ),
    Case(
        "AveragePool",
        10,
        [ramp(1, 1, 4)],
        {"kernel_shape": [3], "strides": [3], "ceil_mode": 1, "count_include_pad": 1},
        [row(2, 4)],
        note="what lies beyond the padding never counts",
    ),
    Case(
        "AveragePool",
        10,
        [ramp(1, 1, 5)],
        {"kernel_shape": [4], "strides": [3], "pads": [0, 1], "ceil_mode": 1}
        | {"count_include_pad": 1},
        [row(2.5, 3)],
        note="the padding counts, what lies beyond doesn't",
    ),
    Case(
        "AveragePool",
        19,
        [ramp(1, 1, 5)],
        {"kernel_shape": [2], "dilations": [3]},
        [row(2.5, 3.5)],
    ),
    Case(
        "AveragePool",
        22,
        [ramp(1, 1, 3, dtype=bf16)],
        {"kernel_shape": [2]},
        [row(1.5, 2.5, dtype=bf16)],
    ),
    Case(
        "AveragePool",
        11,
        [np.full((1, 1, 3), 60000, f16)],
        {"kernel_shape": [3]},
        [row(60000, dtype=f16)],
        note="float16 added up in float32",
    ),
    Case(
        "AveragePool",
        11,
        [np.array([[[1, 0, 0]]]) / 3],
        {"kernel_shape": [3]},
        [row(1 / 9, dtype=np.float64)],
        rtol=1e-15,
        atol=0,
    ),
    Case("LpPool", 1, [row(3, 4, -12)], {"kernel_shape": [2]}, [row(5, np.sqrt(160))]),
    Case(
        "LpPool",
        1,
        [row(4, 9)],
        {"kernel_shape": [2], "p": 0.5},
        [row(25)],
        note="p is a float",
    ),
    Case("LpPool", 7, [row(3, 4, -12)], {"kernel_shape": [2], "p": 1}, [row(7, 16)]),
    Case(
        "LpPool",
        18,
        [row(3, 4, -12)],
        {"kernel_shape": [2], "dilations": [2], "p": 3},
        [row((27 + 1728) ** (1 / 3))],
    ),
    Case(
        "LpPool",
        22,
        [row(3, 4, 0, dtype=bf16)],
        {"kernel_shape": [2]},
        [row(5, 4, dtype=bf16)],
    ),
    Case("GlobalAveragePool", 7, [ramp(1, 2, 2, 2)], {}, [np.array([[[[2.5]], [[6.5]]]], f32)]),
    Case(
        "GlobalAveragePool",
        7,
        [np.full((1, 1, 3), 60000, f16)],
        {},
        [row(60000, dtype=f16)],
        note="float16 added up in float32",
    ),
    Case("GlobalAveragePool", 22, [ramp(1, 1, 3, dtype=bf16)], {}, [row(2, dtype=bf16)]),
    Case("GlobalMaxPool", 7, [ramp(1, 2, 2, 2)], {}, [np.array([[[[4]], [[8]]]], f32)]),
    Case("GlobalMaxPool", 7, [-ramp(1, 1, 3, dtype=np.float64)], {}, [row(-1, dtype=np.float64)]),
    Case("GlobalLpPool", 1, [row(3, -4)], {"p": 1.0}, [row(7)]),
    Case("GlobalLpPool", 7, [row(3, -4)], {}, [row(5)]),
    Case(
        "MaxUnpool",
        9,
        [row(5, 7), row(1, 2, dtype=np.int64)],
        {"kernel_shape": [2], "strides": [2]},
        [row(0, 5, 7, 0)],
    ),
    # The indices count in the output, as MaxPool's do ("Pooling the result of an unpooling
    # operation should give back the original input"), and not in the shape that would have been
    # inferred, as in ONNX's case test_maxunpool_export_with_output_shape.
    Case(
        "MaxUnpool",
        11,
        [row(5, 7), row(1, 4, dtype=np.int64), np.array([1, 1, 5])],
        {"kernel_shape": [2], "strides": [2]},
        [row(0, 5, 0, 0, 7)],
        note="output_shape",
    ),
    Case(
        "MaxRoiPool",
        7,
        [ramp(1, 1, 4, 4), np.array([[0, 1, 1, 3, 2]], f32)],
        {"pooled_shape": [2, 1]},
        [np.array([[[[8], [12]]]], f32)],
    ),
]

X = noise(2, 3, 9, 8)
AGAINST_ONNXRUNTIME = [
    Case("MaxPool", 7, [X], {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 2, 1]}),
    Case("MaxPool", 8, [X], {"kernel_shape": [3, 2], "pads": [1, 0, 2, 1]}, outputs=2),
    Case("MaxPool", 10, [X], {"kernel_shape": [3, 2], "dilations": [2, 3]}, outputs=2),
    Case(
        "MaxPool",
        12,
        [X],
        {"kernel_shape": [3, 2], "ceil_mode": 1, "strides": [2, 3], "storage_order": 1},
        outputs=2,
    ),
    Case("MaxPool", 12, [X], {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 3]}),
    Case("MaxPool", 12, [X], {"kernel_shape": [3, 3], "auto_pad": "SAME_LOWER", "strides": [2, 3]}),
    Case("MaxPool", 12, [X], {"kernel_shape": [2, 3], "auto_pad": "VALID", "strides": [2, 3]}),
    Case("MaxPool", 12, [X.astype(np.float64)], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    Case("MaxPool", 12, [X.astype(f16)], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    Case(
        "MaxPool",
        12,
        [noise(1, 2, 5, 6, 4)],
        {"kernel_shape": [2, 3, 2], "pads": [1, 0, 1, 0, 1, 1], "storage_order": 1},
        outputs=2,
    ),
    Case("AveragePool", 7, [X], {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 2, 1]}),
    Case(
        "AveragePool",
        10,
        [X],
        {"kernel_shape": [3, 2], "strides": [2, 3], "ceil_mode": 1, "pads": [1, 1, 1, 1]},
    ),
    Case(
        "AveragePool",
        19,
        [X],
        {"kernel_shape": [3, 2], "dilations": [2, 3], "count_include_pad": 1, "pads": [1] * 4},
    ),
    Case("AveragePool", 11, [X], {"kernel_shape": [3, 4], "auto_pad": "SAME_UPPER"}),
    Case("AveragePool", 11, [X], {"kernel_shape": [3, 4], "auto_pad": "SAME_LOWER"}),
    Case("LpPool", 11, [X], {"kernel_shape": [3, 2], "p": 3, "pads": [1, 0, 2, 1]}),
    Case("LpPool", 18, [X], {"kernel_shape": [3, 2], "ceil_mode": 1, "strides": [2, 3]}),
    Case("GlobalAveragePool", 7, [X]),
    Case("GlobalAveragePool", 7, [noise(3, 5, 300, 200)], note="many values"),
    Case("GlobalMaxPool", 7, [X]),
    Case("GlobalLpPool", 7, [X], {"p": 3}),
    Case(
        "MaxUnpool",
        11,
        [noise(1, 2, 2, 2), np.arange(8).reshape(1, 2, 2, 2) * 3, np.array([1, 2, 5, 5])],
        {"kernel_shape": [2, 2], "strides": [2, 2]},
    ),
    Case(
        "MaxRoiPool",
        7,
        [
            noise(2, 3, 12, 9),
            np.array(
                [[0, 0, 0, 8, 11], [1, 2.5, 1.5, 9, 6], [1, 3, 3, 3, 3], [0, 9, 9, 30, 30]], f32
            ),
        ],
        {"pooled_shape": [3, 4], "spatial_scale": 0.7},
    ),
]

CASES = BY_HAND + AGAINST_ONNXRUNTIME


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


IMAGES = [case for case in CASES if case.operator not in ("MaxUnpool", "MaxRoiPool")]


@pytest.mark.parametrize("case", IMAGES, ids=str)
def test_memory_order_does_not_matter(case):
    x = case.inputs[0]
    last = Case(
        case.operator, case.opset, [channels_last(x)], case.attributes, outputs=case.outputs
    )
    assert_same(run_directly(last), run_directly(case))


@pytest.mark.parametrize("case", IMAGES, ids=str)
def test_blocks_do_not_matter(case, monkeypatch):
    expected = run_directly(case)
    monkeypatch.setattr("onnxwalk.ops.ai_onnx.pool.BLOCK_BYTES", 100)
    assert_same(run_directly(case), expected, rtol=1e-6)


def test_channels_last_in_channels_last_out():
    x = channels_last(noise(2, 4, 8, 8))
    for operator in ("MaxPool", "AveragePool", "LpPool"):
        for pads in ([0] * 4, [1] * 4):
            case = Case(operator, 13, [x], {"kernel_shape": [2, 2], "pads": pads})
            (y,) = run_directly(case)
            assert np.moveaxis(y, 1, -1).flags.c_contiguous, (operator, pads)


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "message"),
    [
        ("MaxPool", [noise(1, 1, 5)], {"kernel_shape": [2, 2]}, "rank 4"),
        ("MaxPool", [noise(1, 1, 5)], {"kernel_shape": [7]}, "larger than the padded input"),
        ("MaxPool", [noise(1, 1, 5)], {"kernel_shape": [0]}, "kernel_shape"),
        ("MaxPool", [noise(1, 1, 5)], {"kernel_shape": [2], "strides": [0]}, "strides"),
        ("MaxPool", [noise(1, 1, 5)], {"kernel_shape": [2], "pads": [2, 0]}, "entirely in the pad"),
        ("AveragePool", [noise(1, 1, 5)], {"kernel_shape": [2], "pads": [0, 2]}, "entirely"),
        ("LpPool", [noise(1, 1, 5)], {"kernel_shape": [2], "p": 0}, "positive"),
        ("GlobalMaxPool", [noise(1, 2)], {}, "should be"),
        ("GlobalAveragePool", [noise(1, 2, 0)], {}, "something to pool"),
        (
            "MaxUnpool",
            [row(1), row(9, dtype=np.int64)],
            {"kernel_shape": [2]},
            "indices from 9 to 9 are out of range",
        ),
        (
            "MaxRoiPool",
            [noise(1, 1, 4, 4), np.array([[1, 0, 0, 1, 1]], f32)],
            {"pooled_shape": [1, 1]},
            "batch indices 1 to 1 of rois should be below 1",
        ),
    ],
)
def test_refuses(operator, inputs, attributes, message):
    with pytest.raises(ValueError, match=message):
        run_directly(Case(operator, 13, inputs, attributes))


def test_max_unpool_undoes_max_pool():
    x = np.abs(noise(2, 3, 5, 7))
    attributes = {"kernel_shape": [2, 2], "strides": [2, 2]}
    y, i = run_directly(Case("MaxPool", 12, [x], attributes, outputs=2))
    (back,) = run_directly(Case("MaxUnpool", 11, [y, i, np.array(x.shape)], attributes))
    assert_same(run_directly(Case("MaxPool", 12, [back], attributes)), [y])


@st.composite
def pools(draw, operator, opset):
    """A case of any rank, with an input of any memory order, that ONNX Runtime takes."""
    rank = draw(st.integers(1, 3))

    def several(low, high, count=rank):
        return draw(st.lists(st.integers(low, high), min_size=count, max_size=count))

    kernel, spatial = several(1, 4), several(1, 9)
    attributes = {"kernel_shape": kernel, "strides": several(1, 3)}
    names = registry.lookup("", operator, opset).attributes
    if "ceil_mode" in names:
        attributes["ceil_mode"] = draw(st.integers(0, 1))
    padding = draw(st.sampled_from(["pads", "SAME_UPPER", "SAME_LOWER", "VALID", None]))
    if padding == "pads":
        attributes["pads"] = [draw(st.integers(0, k - 1)) for k in kernel * 2]
    elif padding:
        attributes["auto_pad"] = padding
        attributes["ceil_mode"] = 0  # see "VALID and ceil_mode"
        if "ceil_mode" not in names:
            del attributes["ceil_mode"]
    same = padding in ("SAME_UPPER", "SAME_LOWER")
    if "dilations" in names and not same:
        attributes["dilations"] = several(1, 3)
    if "count_include_pad" in names:
        attributes["count_include_pad"] = draw(st.integers(0, 1))
    if "storage_order" in names and rank > 1:
        attributes["storage_order"] = draw(st.integers(0, 1))
    dilations, pads = attributes.get("dilations", [1] * rank), attributes.get("pads", [0] * 6)
    for i, (size, k, d) in enumerate(zip(spatial, kernel, dilations, strict=True)):
        stride = attributes["strides"][i]
        if same:  # see "SAME with gaps between the windows"
            assume((-(-size // stride) - 1) * stride + k >= size)
        steps = size + pads[i] + pads[i + rank] - (k - 1) * d - 1
        # a stride too few: no windows; else see "a kernel less than a stride too large"
        assume(same or steps >= 0 or steps == -stride)
    shape = (draw(st.integers(0, 2)), draw(st.integers(1, 3)), *spatial)
    order = draw(st.sampled_from(["planar", "channels last", "every other"]))
    if order == "every other":
        x = noise(*shape[:-1], 2 * shape[-1])[..., ::2]
    else:
        x = noise(*shape)
        x = channels_last(x) if order == "channels last" else x
    outputs = draw(st.integers(1, 2)) if operator == "MaxPool" else 1
    return Case(operator, opset, [x], attributes, outputs=outputs)


@pytest.mark.parametrize(
    ("operator", "opset"),
    [
        ("MaxPool", 8),
        ("MaxPool", 12),
        ("AveragePool", 7),
        ("AveragePool", 11),
        ("AveragePool", 19),
        ("LpPool", 11),
        ("LpPool", 18),
    ],
)
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_pool_is_onnxruntimes(operator, opset, data):
    case = data.draw(pools(operator, opset))
    try:
        actual = run_directly(case)
    except ValueError as error:
        assert "entirely in the padding" in str(error)
        assume(False)
    expected = run_onnxruntime(one_node_model(case), feeds_of(case))
    assert_same(actual, expected, rtol=1e-5, atol=1e-5)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_max_roi_pool_is_onnxruntimes(data):
    draw = data.draw
    sizes = st.integers(1, 9)
    x = noise(2, draw(st.integers(1, 2)), draw(sizes), draw(sizes))
    corner = st.integers(0, 40).map(lambda quarter: quarter / 4)
    rois = [[draw(st.integers(0, 1)), *(draw(corner) for _ in range(4))] for _ in range(3)]
    case = Case(
        "MaxRoiPool",
        7,
        [x, np.array(rois, f32)],
        {
            "pooled_shape": [draw(st.integers(1, 4)), draw(st.integers(1, 4))],
            "spatial_scale": draw(st.sampled_from([1.0, 0.5, 0.3])),
        },
    )
    expected = run_onnxruntime(one_node_model(case), feeds_of(case))
    assert_same(run_directly(case), expected)
