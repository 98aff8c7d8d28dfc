import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import onnxwalk
from tests.support.dense_strategies import check_with_onnxruntime, modestly
from tests.support.harness import Case, check, feeds_of, one_node_model, run_directly, run_onnxwalk

ML = "ai.onnx.ml"
NAN = float("nan")


def f(values, dtype=np.float32):
    return np.array(values, dtype)


def i(*values):
    return np.array(values, np.int64)


def s(*values):
    return np.array(values, object)


def ml(name, x, y=None, *, opset=1, outputs=1, **attributes):
    inputs = list(x) if isinstance(x, tuple) else [x]
    return Case(
        name, opset, inputs, attributes, None if y is None else [y], domain=ML, outputs=outputs
    )


WORDS = s("b", "?", "a")
CASES = [
    ml("LabelEncoder", WORDS, i(1, -7, 0), classes_strings=["a", "b"], default_int64=-7),
    ml("LabelEncoder", i(1, 2, -1, 0), s("b", "_Unused", "_Unused", "a"),
       classes_strings=["a", "b"]),
    # from 2 on, keys and values of any type; 1 would have no such attributes
    ml("LabelEncoder", WORDS, opset=2, keys_strings=["a", "b"], values_floats=[0.5, 1.5]),
    ml("LabelEncoder", WORDS, opset=2, keys_strings=["a", "b"], values_int64s=[5, 6],
       default_int64=9),
    ml("LabelEncoder", i(5, 6, 7), opset=2, keys_int64s=[5, 6], values_strings=["x", "y"]),
    ml("LabelEncoder", i(5, 6, 7), opset=2, keys_int64s=[5, 6], values_floats=[1.0, 2.0],
       default_float=0.25),
    ml("LabelEncoder", WORDS.reshape(3, 1), opset=2, keys_strings=["a", "b"],
       values_strings=["A", "B"], default_string="-"),
    ml("LabelEncoder", i(5, 6, 7), opset=2, keys_int64s=[5, 6], values_int64s=[1, 2]),
    ml("LabelEncoder", f([[1, 2, 3]]), opset=2, keys_floats=[1.0, 3.0], values_int64s=[10, 30]),
    ml("LabelEncoder", f([1, 2]), opset=2, keys_floats=[1.0], values_floats=[3.0]),
    ml("LabelEncoder", f(2), s("two").reshape(()), opset=2, keys_floats=[2.0],
       values_strings=["two"]),
    # "For key look-up, bit-wise comparison is used so even a float NaN can be mapped"
    ml("LabelEncoder", f([0, -0.0, NAN, 1]), i(1, -1, 2, -1), opset=2, keys_floats=[0.0, NAN],
       values_int64s=[1, 2]),
    ml("LabelEncoder", WORDS, f([2, -0.0, 1]), opset=2, keys_strings=["a", "b", "a"],
       values_floats=[1.0, 2.0, 3.0]),
    # 4: values are compared, not bits; "If a key is repeated, the last key takes precedence"
    ml("LabelEncoder", f([0, -0.0, NAN, 1]), i(1, 1, 2, -1), opset=4, keys_floats=[0.0, NAN],
       values_int64s=[1, 2]),
    ml("LabelEncoder", WORDS, f([2, -0.0, 3]), opset=4, keys_strings=["a", "b", "a"],
       values_floats=[1.0, 2.0, 3.0]),
    ml("LabelEncoder", WORDS, f([2, 7, 3], np.int16), opset=4, keys_tensor=s("a", "b"),
       values_tensor=f([3, 2], np.int16), default_tensor=f([7], np.int16)),
    ml("LabelEncoder", f([1, NAN, 2], np.float64), f([-0.0, 1.5, 2.5], np.float64), opset=4,
       keys_tensor=f([NAN, 2], np.float64), values_tensor=f([1.5, 2.5], np.float64)),
    ml("LabelEncoder", f([1, 2], np.int16), f([-1, 5], np.int32), opset=4,
       keys_tensor=f([2], np.int16), values_tensor=f([5], np.int32)),
    ml("LabelEncoder", f([1, 2], np.int32), s("_Unused", "z"), opset=4,
       keys_tensor=f([2], np.int32), values_strings=["z"]),
    ml("CategoryMapper", WORDS, cats_strings=["a", "b", "a"], cats_int64s=[4, 5, 6]),
    ml("CategoryMapper", i(1, 5, 2), cats_strings=["a", "b", "c"], cats_int64s=[1, 5, 7],
       default_string="!"),
    ml("OneHotEncoder", f([[1.7, 2, -0.3]]), cats_int64s=[0, 1, 2]),
    ml("OneHotEncoder", WORDS, cats_strings=["a", "b"]),
    ml("OneHotEncoder", f([2, 0], np.int32), f([[0, 1], [1, 0]]), cats_int64s=[0, 2], zeros=0),
    ml("OneHotEncoder", i(2, 0).reshape(2, 1, 1), cats_int64s=[0, 2]),
    # ---------------------------------------------------------------------------------------- maps
    ml("ZipMap", f([[1, 2], [3, 4]]), classlabels_strings=["u", "v"]),
    ml("ZipMap", f([1, 2]), classlabels_int64s=[7, -8]),
    ml("DictVectorizer", {"a": np.float32(4), "c": np.float32(8)}, f([[4, 8, 0, 0]]),
       string_vocabulary=["a", "c", "b", "z"]),
    ml("DictVectorizer", {"a": np.float32(4), "c": np.float32(8)},
       string_vocabulary=["a", "c", "b", "z"]),
    ml("DictVectorizer", {"a": np.float32(4), "unknown": np.float32(5)},
       string_vocabulary=["c", "a"]),
    ml("DictVectorizer", {"a": 4, "unknown": 5}, i(0, 4).reshape(1, 2),
       string_vocabulary=["c", "a"]),
    ml("DictVectorizer", {3: "v", 5: "u"}, s("", "v").reshape(1, 2), int64_vocabulary=[1, 3]),
    ml("DictVectorizer", {3: np.float64(0.1), 4: np.float64(1)}, f([[0.1, 0]], np.float64),
       int64_vocabulary=[3, 1]),
    ml("CastMap", {3: np.float32(1.25), 1: np.float32(-2.7)}, f([[-2.7, 1.25]])),
    ml("CastMap", {3: np.float32(1.25), 1: np.float32(-2.7)}, i(-2, 1).reshape(1, 2),
       cast_to="TO_INT64"),
    ml("CastMap", {3: np.float32(1.25), 1: np.float32(-2.7)},
       s("-2.700000", "1.250000").reshape(1, 2), cast_to="TO_STRING"),
    ml("CastMap", {3: np.float32(1.25), 1: np.float32(2)}, f([[0, 2, 0, 1.25, 0]]),
       map_form="SPARSE", max_map=5),
    ml("CastMap", {1: "2.5"}, f([[0, 2.5]]), map_form="SPARSE", max_map=2),
    ml("CastMap", {1: "w"}, s("", "w").reshape(1, 2), map_form="SPARSE", max_map=2,
       cast_to="TO_STRING"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@modestly
@given(
    opset=st.sampled_from([2, 4]),
    keys=st.lists(st.integers(-5, 5), min_size=1, max_size=6, unique=True),
    key_type=st.sampled_from(["strings", "int64s", "floats"]),
    value_type=st.sampled_from(["strings", "int64s", "floats"]),
    x=st.lists(st.integers(-6, 6), min_size=1, max_size=8),
)
def test_label_encoder(opset, keys, key_type, value_type, x):
    make = {"strings": str, "int64s": int, "floats": float}
    dtype = {"strings": object, "int64s": np.int64, "floats": np.float32}[key_type]
    if key_type == value_type and key_type == "floats" and opset == 4:
        return  # ONNX Runtime has none
    case = ml(
        "LabelEncoder",
        np.array([make[key_type](v) for v in x], dtype),
        opset=opset,
        **{f"keys_{key_type}": [make[key_type](k) for k in keys]},
        **{f"values_{value_type}": [make[value_type](k * k) for k in keys]},
    )
    check_with_onnxruntime(case)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (ml("LabelEncoder", WORDS, opset=4), "exactly one attribute for keys, got 0"),
        (
            ml("LabelEncoder", WORDS, opset=4, keys_strings=["a"], keys_int64s=[1]),
            "exactly one attribute for .*, got 2",
        ),
        (
            ml("LabelEncoder", WORDS, opset=4, keys_int64s=[1], values_int64s=[1]),
            "\\(object\\) and the keys",
        ),
        (
            ml("LabelEncoder", i(1), opset=2, keys_int64s=[1, 2], values_int64s=[1]),
            "equal lengths, got 2 and 1",
        ),
        (
            ml("LabelEncoder", i(1), opset=4, keys_int64s=[1], values_int64s=[1],
               default_tensor=f([1])),
            "default_tensor should be one element of .*, got 1 of float32",
        ),
        (ml("OneHotEncoder", i(1), cats_int64s=[2], zeros=0), "1.* is not among the categories"),
        (ml("OneHotEncoder", WORDS, cats_int64s=[2]), "the keys \\(int64\\)"),
        (ml("ZipMap", f([[1, 2]]), classlabels_int64s=[1]), "should have 1 columns"),
        (ml("CastMap", {9: 1.0}, map_form="SPARSE", max_map=9), "keys 9 to 9"),
        (ml("CastMap", {9: 1.0}, map_form="LOOSE"), "should be 'DENSE'"),
        (ml("CastMap", {9: 1.0}, cast_to="TO_BOOL"), "should be 'TO_FLOAT'"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_refused(case, message):
    with pytest.raises(ValueError, match=message):
        run_directly(case)


def test_a_map_takes_python_numbers():
    case = ml("DictVectorizer", {"a": np.float64(0)}, string_vocabulary=["a"])
    session = onnxwalk.load(one_node_model(case))
    (y,) = session.run(None, {"x0": {"a": 0.1}})
    assert y.dtype == np.float64 and y.tolist() == [[0.1]]
    with pytest.raises(onnxwalk.InvalidInputError, match=r"key 1 is not valid for map\(string"):
        session.run(None, {"x0": {1: 0.1}})


def test_what_zip_map_makes_goes_into_dict_vectorizer():
    case = ml("ZipMap", f([[0.1, 2]]), classlabels_strings=["u", "v"])
    ((row,),) = run_onnxwalk(case)
    assert feeds_of(case)["x0"][0, 0] == row["u"] and isinstance(row["u"], np.float32)
    (y,) = run_directly(ml("DictVectorizer", row, string_vocabulary=["v", "u"]))
    assert y.dtype == np.float32 and y.tolist() == [[2, np.float32(0.1)]]
