import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxwalk.ops import registry
from tests.support.dense_strategies import arrays, check_with_onnxruntime, modestly
from tests.support.harness import Case, assert_same, check, run_directly, run_onnxwalk

BF16 = ml_dtypes.bfloat16


def f(values, dtype=np.float32):
    return np.array(values, dtype)


A, B = f([[1, 2], [3, 4]]), f([[5, 6], [7, 8]])
AB = f([[19, 22], [43, 50]])
BY_HAND = [
    Case("Gemm", 7, [A, B, f([1, 10])], {}, [f([[20, 32], [44, 60]])]),
    Case("Gemm", 7, [A, B, f([[1], [10]])], {"alpha": 2.0, "beta": 3.0},
         [f([[41, 47], [116, 130]])]),
    Case("Gemm", 9, [A.astype(int), B.astype(int), np.array(1)], {}, [AB.astype(int) + 1]),
    Case("Gemm", 11, [A, B], {"transA": 1}, [f([[26, 30], [38, 44]])]),
    Case("Gemm", 13, [A, B, None], {"transB": 1}, [f([[17, 23], [39, 53]])]),
    Case("Gemm", 13, [A, B, f(np.nan)], {"beta": 0.0}, [AB]),
    Case("Gemm", 13, [A.astype(BF16), B.astype(BF16)], {}, [AB.astype(BF16)]),
    # the products are summed in float32: 2048 + 1 + 1 is 2048 in float16
    Case("Gemm", 13, [f([[2048, 1, 1]], np.float16), np.ones((3, 1), np.float16)], {},
         [f([[2050]], np.float16)]),
    Case("Gemm", 13, [np.zeros((2, 0), np.float32), np.zeros((0, 1), np.float32), f([7])], {},
         [f([[7], [7]])]),
    Case("MatMul", 7, [A, B], {}, [AB]),
    Case("MatMul", 7, [f([1, 2]), f([3, 4])], {}, [f(11)]),
    Case("MatMul", 7, [f([]), f([])], {}, [f(0)]),
    Case("MatMul", 9, [np.zeros((2, 0), np.uint32), np.zeros((0, 1), np.uint32)], {},
         [np.zeros((2, 1), np.uint32)]),
    Case("MatMul", 7, [f([1, 2]), B], {}, [f([19, 22])]),
    Case("MatMul", 7, [A, f([1, 10])], {}, [f([21, 43])]),
    Case("MatMul", 9, [f([[2**31]], np.uint32), f([[2]], np.uint32)], {}, [f([[0]], np.uint32)]),
    Case("MatMul", 13, [A.astype(BF16), B.astype(BF16)], {}, [AB.astype(BF16)]),
    Case("MatMul", 13, [f([2048, 1, 1], np.float16), np.ones(3, np.float16)], {},
         [f(2050, np.float16)]),
    Case("Einsum", 12, [A, B], {"equation": "ij,jk->ik"}, [AB]),
    Case("Einsum", 12, [A, B], {"equation": "ij , jk"}, [AB]),
    Case("Einsum", 12, [A], {"equation": "ij->ji"}, [f([[1, 3], [2, 4]])]),
    Case("Einsum", 12, [A], {"equation": "ii->i"}, [f([1, 4])]),
    Case("Einsum", 12, [A], {"equation": "ii"}, [f(5)]),
    # "all upper case letters precede all lower case letters"
    Case("Einsum", 12, [A], {"equation": "aB"}, [f([[1, 3], [2, 4]])]),
    Case("Einsum", 12, [f([A, B])], {"equation": "...ij->...ji"}, [f([A.T, B.T])]),
    Case("Einsum", 12, [f([A, B])], {"equation": "i...->..."}, [f([[6, 8], [10, 12]])]),
    Case("Einsum", 12, [f([100, 100], np.uint8)], {"equation": "i->"}, [f(200, np.uint8)]),
    Case("Einsum", 28, [A.astype(BF16), B.astype(BF16)], {"equation": "ij,jk->ik"},
         [AB.astype(BF16)]),
    Case("Det", 11, [A], {}, [f(-2)]),
    Case("Det", 11, [np.ones((3, 0, 0), np.float64)], {}, [np.ones(3)]),
    Case("Det", 22, [f([A, B], np.float16)], {}, [f([-2, -2], np.float16)], rtol=1e-3),
]  # fmt: skip
BY_ORT = [
    *(
        Case("Gemm", opset, [A, B, f([1, 2])], {"transA": a, "transB": b, "alpha": 0.5})
        for opset in (7, 9, 11, 13)
        for a in (0, 1)
        for b in (0, 1)
    ),
    *(Case("MatMul", opset, [A, B]) for opset in (7, 9, 13)),
    *(
        Case("Einsum", 12, [f([A, B]), f([B, A])], {"equation": equation})
        for equation in ("bij,bjk->bik", "bij,bik->bjk", "bij,bij->b", "bij,bij", "...ij,...jk")
    ),
    Case("Det", 11, [f([A, B])]),
]
CASES = BY_HAND + BY_ORT


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@modestly
@given(
    dtype=st.sampled_from([np.float32, np.float64]),
    m=st.integers(1, 5),
    k=st.integers(1, 5),
    n=st.integers(1, 5),
    attributes=st.fixed_dictionaries(
        {
            "transA": st.integers(0, 1),
            "transB": st.integers(0, 1),
            "alpha": st.sampled_from([1.0, 0.5, -2.0]),
            "beta": st.sampled_from([1.0, 0.0, 3.0]),
        }
    ),
    data=st.data(),
)
def test_gemm(dtype, m, k, n, attributes, data):
    a = data.draw(arrays(dtype, (k, m) if attributes["transA"] else (m, k), special=False))
    b = data.draw(arrays(dtype, (n, k) if attributes["transB"] else (k, n), special=False))
    c_shape = data.draw(st.sampled_from([None, (), (1,), (n,), (1, n), (m, 1), (m, n)]))
    c = None if c_shape is None else data.draw(arrays(dtype, c_shape, special=False))
    check_with_onnxruntime(Case("Gemm", 13, [a, b, c], attributes, atol=1e-4))


@modestly
@given(
    dtype=st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint32, np.uint64]),
    m=st.integers(0, 5),
    k=st.integers(1, 5),  # ONNX Runtime refuses some sums of nothing: see BY_HAND
    n=st.integers(0, 5),
    data=st.data(),
)
def test_matmul(dtype, m, k, n, data):
    batch = data.draw(st.sampled_from([((), ()), ((2,), ()), ((), (3,)), ((2, 1), (3,))]))
    left = data.draw(st.sampled_from([(*batch[0], m, k), (k,)]))
    right = data.draw(st.sampled_from([(*batch[1], k, n), (k,)]))
    a = data.draw(arrays(dtype, left, special=False))
    b = data.draw(arrays(dtype, right, special=False))
    check_with_onnxruntime(Case("MatMul", 13, [a, b], atol=1e-4))


@modestly
@given(
    equation=st.sampled_from(
        [
            "ij,jk->ik",
            "ij,jk",
            "ij,kj->ki",
            "ij,ij->",
            "ij,ij->j",
            "ij,kl->ijkl",
            "ij,j->i",
            "ij->j",
        ]
    ),
    dtype=st.sampled_from([np.float32, np.float64, np.int32, np.int64]),
    extents=st.fixed_dictionaries({letter: st.integers(1, 4) for letter in "ijkl"}),
    data=st.data(),
)
def test_einsum(equation, dtype, extents, data):
    terms = equation.split("->")[0].split(",")
    inputs = [
        data.draw(arrays(dtype, tuple(extents[letter] for letter in term), special=False))
        for term in terms
    ]
    check_with_onnxruntime(Case("Einsum", 12, inputs, {"equation": equation}, atol=1e-4))


@modestly
@given(batch=st.sampled_from([(), (2,), (2, 3)]), n=st.integers(1, 4), data=st.data())
def test_det(batch, n, data):
    x = data.draw(arrays(np.float32, (*batch, n, n), special=False, largest=4))
    check_with_onnxruntime(Case("Det", 11, [x], rtol=1e-4, atol=1e-3))


@pytest.mark.parametrize("n", range(1, 8))
def test_det_of_what_is_not_finite(n):
    rng = np.random.default_rng(n)
    x = rng.standard_normal((200, n, n)).astype(np.float32)
    for matrix in x:
        matrix[rng.integers(n), rng.integers(n)] = rng.choice([np.inf, -np.inf, np.nan])
        matrix[rng.integers(n), rng.integers(n)] = rng.choice([np.inf, -np.inf, 0])
    check_with_onnxruntime(Case("Det", 11, [x], rtol=1e-4, atol=1e-3))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (Case("Gemm", 13, [A, f([1, 2])]), "must be matrices"),
        (Case("Gemm", 13, [A, B, np.zeros((3, 2, 2), np.float32)]), "does not broadcast"),
        (Case("Gemm", 13, [A, B.astype(int)]), "different dtypes"),
        (Case("Gemm", 13, [A, np.zeros((3, 2), np.float32)]), "mismatch"),
        (Case("MatMul", 13, [A, f(1)]), "at least vectors"),
        (Case("MatMul", 13, [A, f([1, 2, 3])]), "mismatch"),
        (Case("Einsum", 12, [A, B.astype(int)], {"equation": "ij,jk"}), "different dtypes"),
        (Case("Einsum", 12, [A], {"equation": "ij,jk"}), "operands"),
        (Case("Einsum", 12, [f([A]), B], {"equation": "...ij,...jk"}), "ellipses"),
        (Case("Det", 11, [f([[1, 2]])]), "square"),
    ],
    ids=str,
)
def test_what_is_refused(case, message):
    with pytest.raises(ValueError, match=message):
        run_directly(case)


def test_einsum_does_not_hand_out_its_input():
    x = A.copy()
    (y,) = run_directly(Case("Einsum", 12, [x], {"equation": "ij->ji"}))
    assert not np.shares_memory(x, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64])
def test_out_is_written(dtype):
    function = registry.lookup("", "MatMul", 13).function
    a, b = A.astype(dtype), B.astype(dtype)
    out = np.empty_like(a)
    assert function(a, b, out=out) is out
    assert_same(out, function(a, b))


def test_no_warning_escapes():
    x = f([[np.inf, 3e38], [np.nan, 3e38]])
    with np.errstate(all="raise"):
        run_onnxwalk(Case("Gemm", 13, [x, x, x]))
        run_onnxwalk(Case("MatMul", 13, [x, x]))
        run_onnxwalk(Case("Einsum", 12, [x, x], {"equation": "ij,jk"}))
        run_onnxwalk(Case("Det", 11, [x]))
        run_onnxwalk(Case("Gemm", 13, [f([[6e4]], np.float16)] * 2))
