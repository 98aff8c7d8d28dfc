"""Short floats stay float32 between operators, and are rounded where the file casts."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxwalk
from onnxwalk.ops.shared.numeric import wide

F, F16, BF16, I64 = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.INT64,
)


def normal(*shape, dtype=np.float16):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def model(nodes, constants=(), *, code=F16, output=F16, opset=17, shape=("n", 8)):
    graph = helper.make_graph(
        [helper.make_node(*node[:3], **(node[3] if node[3:] else {})) for node in nodes],
        "g",
        [helper.make_tensor_value_info("x", code, shape)],
        [helper.make_tensor_value_info("y", output, None)],
        [numpy_helper.from_array(array, name) for name, array in dict(constants).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def operators(session):
    stages = dict(session._program.rewrite_stages())
    return [node.op_type for node in stages["widen"].nodes]


def run(proto, x, **options):
    return onnxwalk.load(proto, **options).run(None, {"x": x})[0]


def on_onnxruntime(proto, x):
    ort = pytest.importorskip("onnxruntime")
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


LAYERS = [
    ("MatMul", ["x", "w"], ["a"]),
    ("Transpose", ["a"], ["b"]),
    ("Relu", ["b"], ["c"]),
    ("MatMul", ["c", "v"], ["y"]),
]
CONSTANTS = {"w": normal(8, 8), "v": normal(4, 8)}


def test_values_stay_wide_between_operators():
    proto, x = model(LAYERS, CONSTANTS), normal(4, 8)
    session = onnxwalk.load(proto)
    assert operators(session) == ["Cast", "MatMul", "Transpose", "Relu", "MatMul", "Cast"]
    w, v = (CONSTANTS[name].astype(np.float32) for name in "wv")
    wanted = (np.maximum((x.astype(np.float32) @ w).T, 0) @ v).astype(np.float16)
    for _ in range(2):  # binding, and a run of the bound plan
        y = session.run(None, {"x": x})[0]
        assert y.dtype == np.float16
        np.testing.assert_array_max_ulp(y, wanted, 1)
    np.testing.assert_array_max_ulp(y, on_onnxruntime(proto, x), 1)


@pytest.mark.parametrize("options", [{"optimize": False}, {"executor": "walk"}])
def test_a_run_node_by_node_rounds_each_value(options):
    x = normal(4, 8)
    a = (x.astype(np.float32) @ CONSTANTS["w"].astype(np.float32)).astype(np.float16)
    c = np.maximum(a.T, 0).astype(np.float32)
    wanted = (c @ CONSTANTS["v"].astype(np.float32)).astype(np.float16)
    np.testing.assert_array_equal(run(model(LAYERS, CONSTANTS), x, **options), wanted)


def test_it_can_be_switched_off():
    rest = [name for name in onnxwalk.REWRITES if name != "widen"]
    proto, x = model(LAYERS, CONSTANTS), normal(4, 8)
    np.testing.assert_array_equal(run(proto, x, rewrites=rest), run(proto, x, optimize=False))


def test_what_overflows_float16_between_operators_stays_finite():
    nodes = [("Mul", ["x", "k"], ["a"]), ("Div", ["a", "k"], ["y"])]
    proto, x = model(nodes, {"k": np.float16([60000])}), np.float16([[1, -2, 3, np.inf] * 2])
    np.testing.assert_array_equal(run(proto, x), x)
    np.testing.assert_array_equal(on_onnxruntime(proto, x), x)
    assert np.isinf(run(proto, x, optimize=False)[0, 1])


def test_an_output_out_of_range_is_infinite():
    proto = model([("Mul", ["x", "k"], ["y"])], {"k": np.float16([60000])})
    x = np.float16([[1, -2, 3, np.nan] * 2])
    np.testing.assert_array_equal(run(proto, x), np.float16([[60000, -np.inf, np.inf, np.nan] * 2]))


def test_a_cast_of_the_file_to_float16_rounds():
    nodes = [("Cast", ["x"], ["a"], {"to": F16}), ("Cast", ["a"], ["y"], {"to": F})]
    x = normal(3, 8, dtype=np.float32) * 1e5
    y = run(model(nodes, code=F, output=F), x)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(y, x.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("to", [F, TensorProto.DOUBLE, I64])
def test_a_cast_from_float16_reads_the_wide_value(to):
    nodes = [("Mul", ["x", "k"], ["a"]), ("Cast", ["a"], ["y"], {"to": to})]
    proto, x = model(nodes, {"k": np.float16([1000])}, output=to), normal(3, 8)
    y = run(proto, x)
    dtype = helper.tensor_dtype_to_np_dtype(to)
    np.testing.assert_array_equal(y, (x.astype(np.float32) * 1000).astype(dtype))
    np.testing.assert_array_equal(y, on_onnxruntime(proto, x))


def test_a_value_that_is_only_moved_is_not_widened():
    proto = model([("Transpose", ["x"], ["a"]), ("Shape", ["a"], ["y"])], output=I64)
    assert operators(onnxwalk.load(proto)) == ["Transpose", "Shape"]


def test_subgraphs_get_the_short_value():
    then = helper.make_graph(
        [helper.make_node("Add", ["a", "x"], ["t"])],
        "then",
        [],
        [helper.make_tensor_value_info("t", F16, None)],
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["a"], ["e"])],
        "else",
        [],
        [helper.make_tensor_value_info("e", F16, None)],
    )
    nodes = [
        ("Mul", ["x", "k"], ["a"]),
        ("ReduceMax", ["a"], ["m"], {"keepdims": 0}),
        ("Less", ["m", "z"], ["c"]),
        ("If", ["c"], ["b"], {"then_branch": then, "else_branch": other}),
        ("Mul", ["b", "k"], ["y"]),
    ]
    proto = model(nodes, {"k": np.float16([2]), "z": np.float16(0)})
    for x in (normal(2, 8), -abs(normal(2, 8))):
        np.testing.assert_array_equal(run(proto, x), run(proto, x, optimize=False))


def test_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    bf = ml_dtypes.bfloat16
    proto = model(LAYERS, {n: a.astype(bf) for n, a in CONSTANTS.items()}, code=BF16, output=BF16)
    x = normal(4, 8, dtype=bf)
    y = run(proto, x)
    assert y.dtype == bf
    near = run(proto, x, optimize=False).astype(np.float32)
    np.testing.assert_allclose(y.astype(np.float32), near, rtol=0.05, atol=0.1)


def test_opset_1_where_cast_takes_a_word():
    nodes = [("Add", ["x", "x"], ["a"]), ("Exp", ["a"], ["y"])]
    x = normal(2, 8)
    proto = model(nodes, opset=5)
    np.testing.assert_array_max_ulp(run(proto, x), run(proto, x, optimize=False), 4)


def test_weights_that_fit_the_limit_only_when_short_stay_short():
    size = 3000
    weights = normal(size, size)
    nodes = [("Add", ["x", "w"], ["a"]), ("ReduceMax", ["a"], ["y"])]
    proto = model(nodes, {"w": weights}, shape=("n", size))
    limits = onnxwalk.Limits(max_memory=weights.nbytes * 2 + (1 << 20))
    for limit, short in ((limits, True), (None, False)):
        plan = onnxwalk.load(proto, limits=limit)._program.plan(("x",), None)
        assert (
            any(isinstance(x, np.ndarray) and x.dtype == np.float16 for x in plan.template) == short
        )


def test_the_bits_of_every_short_float():
    halves = np.arange(1 << 16, dtype=np.uint16)
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for dtype in (np.float16, ml_dtypes.bfloat16):
        every = halves.view(dtype)
        finite = every[np.isfinite(every.astype(np.float32))]
        np.testing.assert_array_equal(wide(every), every.astype(np.float32))
        bits = wide(finite).view(np.uint32)
        np.testing.assert_array_equal(bits, finite.astype(np.float32).view(np.uint32))
