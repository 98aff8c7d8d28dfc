"""The cost of a call is at least the memory that it uses, and not much more.

tracemalloc counts NumPy's memory: its peak during a call is the memory that the call uses.
"""

import gc
import inspect
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest

from onnxwalk.ops import registry
from onnxwalk.ops.contract.cost import Cost, default_cost, no_cost
from onnxwalk.ops.contract.registry import REQUIRED, Registry
from tests.support.generators import as_body
from tests.support.harness import all_cases
from tests.support.large_cases import large_cases

#: bytes of Python's objects and NumPy's cast buffers in a call with small arrays: the lowest round
#: number for which all cases pass
SMALL = 1 << 14
#: the same for large calls: NumPy's cast buffers, and small blocks
BUFFERS = 1 << 19
#: how many times the peak the cost may be
LOOSE = 4

HUGE = 1 << 62


def keywords_of(case: Any) -> dict[str, Any]:
    operator = operator_of(case)
    keywords = {name: as_body(value) for name, value in case.attributes.items()}
    if "n_outputs" in operator.reserved:
        keywords["n_outputs"] = case.outputs
    if "rng" in operator.reserved:
        keywords["rng"] = np.random.default_rng(0)
    return keywords


def operator_of(case: Any) -> Any:
    return registry.lookup(case.domain, case.operator, case.opset)


def peak_of(function: Any, inputs: Any, keywords: dict[str, Any]) -> tuple[int, Any]:
    """The peak of the bytes that a call allocates, and its result."""
    gc.disable()  # garbage of earlier calls would be freed during the call
    tracemalloc.start()
    try:
        result = function(*inputs, **keywords)
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()
        gc.enable()


def with_gaps(x: Any) -> Any:
    """The same values in memory that isn't contiguous in any order."""
    if not isinstance(x, np.ndarray) or not x.size or not x.ndim:
        return x
    y = np.empty((*x.shape[::-1], 2), x.dtype)[..., 0].T
    y[...] = x
    return y


@pytest.fixture(scope="module")
def cases() -> list[Any]:
    return all_cases()


@pytest.mark.parametrize("gaps", [False, True], ids=["", "gaps"])
def test_small_calls(cases, gaps):
    too_low = []
    for case in cases:
        operator, keywords = operator_of(case), keywords_of(case)
        inputs = list(map(with_gaps, case.inputs)) if gaps else case.inputs
        cost = operator.rule(*inputs, **keywords)
        operator.function(*inputs, **keywords)  # the first call may fill caches
        peak, _ = peak_of(operator.function, inputs, keywords)
        if peak > cost.memory + SMALL:
            too_low.append(f"{case}: {peak} > {cost.memory} + {SMALL}")
    assert not too_low


#: large calls that mostly use Python's strings, or memory that tracemalloc doesn't count
NOT_TIGHT = {"ImageDecoder", "Tokenizer"}


def test_large_calls():
    wrong = []
    for case in large_cases():
        cost = case.operator.rule(*case.inputs, **case.keywords)
        peak, _ = peak_of(case.operator.function, case.inputs, case.keywords)
        most = LOOSE * peak + BUFFERS if case.operator.name not in NOT_TIGHT else HUGE
        if not peak <= cost.memory + BUFFERS or not cost.memory <= most:
            wrong.append(f"{case}: peak {peak:,}, cost {cost.memory:,}")
    assert not wrong


#: rules without large calls: views, lists, maps, and rules that call measured ones
NO_LARGE_CALL = {
    "onnxwalk.ops.contract.cost.no_cost",
    "onnxwalk.ops.ai_onnx.cast.<lambda>",
    "onnxwalk.ops.ai_onnx.cast.cost_of_cast_1",
    "onnxwalk.ops.ai_onnx.cast.cost_of_cast_like",
    "onnxwalk.ops.ai_onnx.creation.<lambda>",
    "onnxwalk.ops.ai_onnx.image.cost_of_upsample_7",
    "onnxwalk.ops.ai_onnx.image.cost_of_upsample_1",
    "onnxwalk.ops.com_microsoft.linear.cost_of_conv_transpose",
    "onnxwalk.ops.com_microsoft.normalization.cost_of_q_embedding",
    "onnxwalk.ops.com_microsoft.quantized_recurrent.cost_of_dynamic_quantize_lstm",
    "onnxwalk.ops.com_microsoft.quantize.cost_of_quantize_linear",
    "onnxwalk.ops.com_microsoft.shape.cost_of_nhwc_max_pool",
    "onnxwalk.ops.com_microsoft.shape.cost_of_pad",
    "onnxwalk.ops.com_microsoft.shape.cost_of_range",
    "onnxwalk.ops.ai_onnx_ml.maps.cost_of_cast_map",
    "onnxwalk.ops.ai_onnx_ml.maps.cost_of_dict_vectorizer",
    "onnxwalk.ops.ai_onnx.dropout.cost_of_dropout_1",
    "onnxwalk.ops.ai_onnx.signal.cost_of_dft_17",
}


def test_every_rule_has_a_large_call():
    measured = {name_of(case.operator.rule) for case in large_cases()}
    missing = {name_of(operator.rule) for operator in registry} - measured
    assert missing <= NO_LARGE_CALL


def test_large_elementwise_calls(cases):
    """All operators with rules by ``elementwise``, which differ in their parameters."""
    too_low = []
    for case in cases:
        operator, keywords = operator_of(case), keywords_of(case)
        if name_of(operator.rule) != "onnxwalk.ops.shared.cost.elementwise":
            continue
        arrays = [x for x in case.inputs if isinstance(x, np.ndarray) and x.dtype.kind != "O"]
        if len(arrays) < len(case.inputs) or len({x.shape for x in arrays}) != 1:
            continue
        inputs = [np.resize(x, (1 << 16, *x.shape[1:])) for x in arrays if x.ndim]
        if len(inputs) < len(arrays) or inputs[0].size > 1 << 22:
            continue
        cost = operator.rule(*inputs, **keywords)
        peak, _ = peak_of(operator.function, inputs, keywords)
        if peak > cost.memory + BUFFERS:
            too_low.append(f"{case}: {peak} > {cost.memory}")
    assert not too_low


def name_of(rule: Any) -> str:
    """The same name for all rules that one function returns."""
    rule = getattr(rule, "func", rule)
    return f"{rule.__module__}.{rule.__qualname__}".removesuffix(".<locals>.rule")


def test_results_are_not_larger_than_the_default_cost(cases):
    """An operator whose results may be larger than its inputs and their broadcast has a rule:
    ``default_cost`` would be too low for large calls, though small ones hide it."""
    growing = []
    for case in cases:
        operator, keywords = operator_of(case), keywords_of(case)
        if operator.rule is not default_cost:
            continue
        results = operator.function(*case.inputs, **keywords)
        results = results if isinstance(results, tuple) else (results,)
        if sum(bytes_of(y) for y in results) > default_cost(*case.inputs).memory:
            growing.append(str(case))
    assert not growing


def bytes_of(y: Any) -> int:
    """The bytes of a result; 0 for a view, which shares the memory of an input or another array."""
    if isinstance(y, list):
        return sum(map(bytes_of, y))
    return y.nbytes if isinstance(y, np.ndarray) and y.base is None else 0


# ------------------------------------------------------------------------------- hostile numbers


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


X = np.ones((2, 3, 4, 5), np.float32)
LARGE = np.int64(HUGE)
FLOAT = np.array(1, np.float32)

#: operator, opset, inputs, attributes: each requests far more memory than any machine has
GROWING = [
    ("ConstantOfShape", 9, [ints(HUGE)], {}),
    ("ConstantOfShape", 9, [ints(*[1 << 20] * 20)], {}),
    ("Range", 11, [ints(0)[0:1].reshape(()), np.array(HUGE), np.array(1)], {}),
    ("Range", 11, [FLOAT, FLOAT * 1e30, FLOAT], {}),
    ("OneHot", 11, [ints(0), np.array(HUGE), X[0, 0, 0, :2]], {}),
    ("Tile", 13, [X, ints(1, 1, 1, HUGE)], {}),
    ("Tile", 1, [X, np.array(HUGE), np.array(0)], {}),
    ("Pad", 21, [X, ints(0, 0, 0, HUGE, 0, 0, 0, HUGE)], {}),
    ("Pad", 21, [X, ints(0, 0, 0, HUGE, 0, 0, 0, 0)], {"mode": "reflect"}),
    ("Pad", 2, [X], {"pads": [0, 0, 0, HUGE, 0, 0, 0, 0]}),
    ("CenterCropPad", 18, [X, ints(1, 1, 1, HUGE)], {}),
    ("Split", 18, [X], {"num_outputs": HUGE}),
    ("Resize", 19, [X, None, None, ints(2, 3, HUGE, HUGE)], {}),
    ("Resize", 19, [X, None, None, ints(2, 3, HUGE, HUGE)], {"mode": "cubic"}),
    ("Resize", 19, [X, None, np.array([1, 1, 1e30, 1], np.float32)], {"mode": "linear"}),
    ("Upsample", 9, [X, np.array([1, 1, 1e30, 1], np.float32)], {}),
    ("Upsample", 7, [X], {"scales": [1.0, 1.0, 1e30, 1.0]}),
    ("RandomNormal", 1, [], {"shape": [HUGE, HUGE]}),
    ("RandomUniform", 1, [], {"shape": [HUGE]}),
    ("Multinomial", 7, [X[0, 0]], {"sample_size": HUGE}),
    ("HannWindow", 17, [LARGE], {}),
    ("BlackmanWindow", 17, [np.array(HUGE)], {}),
    ("MelWeightMatrix", 17, [np.array(HUGE), np.array(HUGE), np.array(8), FLOAT, FLOAT], {}),
    ("DFT", 20, [X[0, :, :, :1], np.array(HUGE), np.array(1)], {}),
    ("AffineGrid", 20, [np.ones((1, 2, 3), np.float32), ints(1, 1, HUGE, HUGE)], {}),
    ("RoiAlign", 16, [X, np.array([[0, 0, 1e30, 1e30]], np.float32), ints(0)], {}),
    ("RoiAlign", 16, [X, np.ones((1, 4), np.float32), ints(0)], {"output_height": HUGE}),
    ("RoiAlign", 16, [X, np.ones((1, 4), np.float32), ints(0)], {"sampling_ratio": HUGE}),
    ("MaxRoiPool", 1, [X, np.ones((1, 5), np.float32)], {"pooled_shape": [HUGE, HUGE]}),
    ("MaxUnpool", 22, [X, X.astype(np.int64), ints(2, 3, HUGE, HUGE)], {"kernel_shape": [1, 1]}),
    ("MaxUnpool", 22, [X, X.astype(np.int64)], {"kernel_shape": [1, 1], "strides": [HUGE, 1]}),
    ("Col2Im", 18, [X[0], ints(HUGE, HUGE), ints(1, 1)], {}),
    ("Col2Im", 18, [X[0], ints(4, 4), ints(1, HUGE)], {}),
    ("Conv", 22, [X, X[:, :, :1, :1]], {"pads": [HUGE] * 4}),
    ("FusedConv", 1, [X, X[:, :, :1, :1]], {"pads": [HUGE] * 4, "domain": "com.microsoft"}),
    ("QLinearConv", 10, [X, FLOAT, FLOAT, X[:, :, :1, :1], *[FLOAT] * 4], {"pads": [HUGE] * 4}),
    ("ConvTranspose", 22, [X, X[:1].repeat(3, 0)], {"output_shape": [HUGE, HUGE]}),
    ("ConvTranspose", 22, [X, X[:1].repeat(3, 0)], {"strides": [HUGE, HUGE]}),
    ("MaxPool", 22, [X], {"kernel_shape": [1, 1], "pads": [HUGE] * 4}),
    ("MaxPool", 22, [X], {"kernel_shape": [HUGE, 1], "pads": [HUGE] * 4}),
    ("AveragePool", 22, [X], {"kernel_shape": [1, 1], "pads": [HUGE] * 4}),
    ("LpPool", 22, [X], {"kernel_shape": [1, 1], "pads": [HUGE] * 4}),
    ("DeformConv", 22, [X, X[:, :, :1, :1], X], {"pads": [HUGE] * 4}),
    ("CropAndResize", 1, [X, X[0, 0, :, :4], ints(0, 0, 0, 0), ints(HUGE, HUGE)],
     {"domain": "com.microsoft"}),
    ("GroupQueryAttention", 1, [X[0], X[0], X[0], None, None, ints(0, 0, 0), np.array(HUGE)],
     {"num_heads": 1, "kv_num_heads": 1, "domain": "com.microsoft"}),
    ("Expand", 13, [X, ints(HUGE, 1, 1, 1, 1)], {"view": True}),
    ("MatMulNBits", 1, [X, X, X], {"K": HUGE, "N": HUGE, "block_size": 16,
                                   "domain": "com.microsoft"}),
    ("CausalConvWithState", 1, [X[0], X[0, :, :1]], {"dilation": HUGE, "domain": "com.microsoft"}),
    ("MatMulBnb4", 1, [X, X, X], {"K": HUGE, "N": HUGE, "block_size": 16, "quant_type": 0,
                                  "domain": "com.microsoft"}),
    ("MaxpoolWithMask", 1, [X, X], {"kernel_shape": [1, 1], "pads": [HUGE] * 4,
                                    "domain": "com.microsoft"}),
    ("SparseAttention", 1, [X[0], None, None, X, X, ints([0]), ints([0]), np.array(HUGE),
                            ints(1, 1, 1)],
     {"num_heads": 1, "kv_num_heads": 1, "sparse_block_size": 16, "domain": "com.microsoft"}),
    ("TfIdfVectorizer", 9, [ints(1, 2)], {
        "max_gram_length": HUGE, "max_skip_count": HUGE, "min_gram_length": 1, "mode": "TF",
        "ngram_counts": [0], "ngram_indexes": [HUGE], "pool_int64s": [1]}),
    ("CastMap", 1, [{1: 1.0}], {"max_map": HUGE, "map_form": "SPARSE", "domain": "ai.onnx.ml"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "opset", "inputs", "attributes"),
    GROWING,
    ids=[f"{case[0]}-{i}" for i, case in enumerate(GROWING)],
)
def test_hostile_numbers(name, opset, inputs, attributes):
    attributes = dict(attributes)
    operator = registry.lookup(attributes.pop("domain", ""), name, opset)
    view = attributes.pop("view", False)
    peak, cost = peak_of(operator.rule, inputs, attributes)
    assert isinstance(cost.memory, int) and isinstance(cost.work, int)
    assert peak < 1 << 16, "a rule allocates no arrays"
    if view:
        assert cost == Cost(0)
    else:
        assert max(cost.memory, cost.work) > 1 << 50


def test_loops_have_a_cost():
    """Steps and taps take time even if they compute almost nothing."""
    steps = np.broadcast_to(np.float32(0), (10**7, 1, 1))
    weights = np.zeros((1, 4, 1), np.float32)
    assert registry.lookup("", "LSTM", 22).cost(steps, weights, weights).work > 10**10
    text = np.array(["a" * 40], object)
    assert registry.lookup("", "RegexFullMatch", 20).cost(text, pattern="(a+)+b").work > 10**12
    one = np.ones((1, 1, 1, 1), np.float32)
    pool = {"kernel_shape": [10**7, 1], "pads": [10**7, 0, 10**7, 0]}
    assert registry.lookup("", "MaxPool", 22).cost(one, **pool).work > 10**10


def test_if_a_rule_raises_so_does_the_operator():
    for name, opset, inputs, keywords in [
        ("MatMul", 13, [X, np.float32(1) * np.ones(())], {}),
        ("Conv", 22, [X, X[0, 0]], {}),
        ("Softmax", 13, [X], {"axis": 9}),
        ("Tile", 13, [X, X], {}),
        ("Gather", 13, [None, None], {}),
        ("Resize", 19, [X], {}),
        ("LSTM", 22, [X, X, X], {}),
    ]:
        operator = registry.lookup("", name, opset)
        assert operator.cost(*inputs, **keywords).memory >= 0
        with pytest.raises(Exception):  # noqa: B017
            operator.function(*inputs, **keywords)


@pytest.mark.parametrize("operator", registry, ids=str)
def test_a_rule_is_called_like_its_operator(operator):
    """With all inputs, attributes and reserved keywords, or only with the required ones."""
    rule = inspect.signature(operator.rule)
    inputs = [i for i in operator.inputs if not i.variadic]
    keywords = dict.fromkeys([*operator.attributes, *operator.reserved - {"out"}])
    rule.bind(*inputs, **keywords)
    count = max((k for k, i in enumerate(inputs, 1) if not i.optional), default=0)
    required = [name for name, default in operator.attributes.items() if default is REQUIRED]
    rule.bind(*inputs[:count], **dict.fromkeys(required))


def test_default_cost():
    mine = Registry()

    @mine.op("Twice", since=1)
    def twice(x, *, factor=2.0):
        return x * factor

    operator = mine.lookup("", "Twice", 1)
    assert operator.rule is default_cost and operator.cost(X, factor=3.0) == default_cost(X)
    twice.cost(no_cost)
    assert operator.cost(X) == Cost(0)


def test_an_invalid_type_has_a_cost_nevertheless():
    """The rule must not fail, because the operator raises only after it has drawn the samples."""
    x = np.ones((3, 3), np.float32)
    cost = registry.lookup("", "Multinomial", 7).cost(x, dtype=99, sample_size=HUGE)
    assert cost.memory > HUGE


def test_a_huge_broadcast_view_is_not_counted_element_by_element():
    huge = np.broadcast_to(np.array([[1.0], [0.0]], np.float32), (2, 1 << 40))
    every = np.broadcast_to(np.True_, 1 << 40)
    begun = time.perf_counter()
    costs = [
        registry.lookup("", "NonZero", 13).cost(huge),
        registry.lookup("", "Compress", 13).cost(huge, every, axis=1),
    ]
    assert time.perf_counter() - begun < 1
    assert all(cost.memory > 1 << 41 and cost.work > 1 << 40 for cost in costs)
