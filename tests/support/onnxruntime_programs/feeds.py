"""What may be fed, and how it is checked."""

from __future__ import annotations

import collections

import numpy as np
from onnx import TensorProto

from tests.support.onnxruntime_programs.models import (
    INT64,
    PROGRAMS,
    X,
    overridable,
    program,
    relu,
    sequence_model,
    session,
)


@program
def missing_input(ort):
    session(ort).run(None, {"a": X})


@program
def missing_input_and_unknown_output(ort):
    session(ort).run(["nope"], {"a": X})


@program
def unknown_input(ort):
    session(ort).run(None, {"a": X, "b": X, "zzz": X})


@program
def unknown_input_that_is_none(ort):
    return session(ort).run(None, {"a": X, "b": X, "zzz": None})


@program
def unknown_input_that_is_a_list(ort):
    session(ort).run(None, {"a": X, "b": X, "zzz": [1]})


@program
def unknown_output(ort):
    session(ort).run(["nope"], {"a": X, "b": X})


@program
def wrong_dtype(ort):
    session(ort).run(None, {"a": X.astype("f8"), "b": X})


@program
def wrong_rank(ort):
    session(ort).run(None, {"a": X[0], "b": X})


@program
def wrong_sizes(ort):
    relu(ort, np.zeros((5, 6), "f4"), shape=(2, 3))


@program
def one_wrong_size(ort):
    relu(ort, np.zeros((2, 6), "f4"), shape=(2, 3))


@program
def two_wrong_inputs(ort):
    session(ort).run(None, {"a": X[0], "b": X[0]})


@program
def two_wrong_types(ort):
    session(ort).run(None, {"b": X.astype("f8"), "a": X.astype("i4")})


@program
def two_unknown_inputs(ort):
    session(ort).run(None, {"a": X, "b": X, "c": X, "d": X})


@program
def feeds_none(ort):
    session(ort).run(None, None)


@program
def feeds_list(ort):
    session(ort).run(None, [X, X])


@program
def ordered_dict_of_feeds(ort):
    return session(ort).run(None, collections.OrderedDict(a=X, b=X))


@program
def none_for_required(ort):
    session(ort).run(None, {"a": X, "b": None})


for _name, _value in {
    "list": [[1, 2, 3]],
    "list_of_floats": [[1.5, 2.5, 3.5]],
    "list_of_rows": [np.ones(3, "f4"), np.zeros(3, "f4")],
    "list_of_strings": [["1", "2.5", "3"]],
    "list_of_text": [["a", "b", "c"]],
    "list_ragged": [[1], [2, 3]],
    "tuple": ((1, 2, 3),),
    "range": range(3),
    "str": "abc",
    "bytes": b"abc",
    "float": 1.0,
    "np_float32": np.float32(1),
    "bool": True,
    "object": object(),
    "zero_d": np.array(1, "f4"),
    "fortran": np.asfortranarray(X),
    "reversed": X[:, ::-1],
    "strided": np.repeat(X, 2, 1)[:, ::2],
    "broadcast": np.broadcast_to(np.float32(1), (2, 3)),
    "float64": X.astype("f8"),
    "float16": X.astype("f2"),
    "int32": X.astype("i4"),
    "bool_array": X > 0,
    "complex64": X.astype("c8"),
    "longdouble": X.astype("g"),
    "datetime": np.zeros((2, 3), "M8[s]"),
    "strings": np.full((2, 3), "a"),
    "empty": np.zeros((0, 3), "f4"),
    "memoryview": memoryview(X),
    "masked": np.ma.masked_array(X, X > 1),
    "matrix": np.asmatrix(X),
}.items():
    PROGRAMS[f"feed_{_name}"] = lambda ort, value=_value: relu(ort, value)

for _name, _value in {
    "float_list": [[1.5, 2.5, -1.5]],
    "big": [[2**70, 1, 1]],
    "longlong": np.ones((1, 3), "q"),
}.items():
    PROGRAMS[f"int_feed_{_name}"] = lambda ort, v=_value: relu(ort, v, op="Abs", kind=INT64)


@program
def uint8_list_out_of_range(ort):
    return relu(ort, [[300, 1, 2]], op="Identity", kind=TensorProto.UINT8)


def identity_of_strings(ort, value):
    return relu(ort, value, op="Identity", kind=TensorProto.STRING, shape=None)


for _name, _value in {
    "unicode": np.array(["a", "straße", ""]),
    "object": np.array(["a", "b"], object),
    "numbers": np.array(["a", 3], object),
    "list": ["a", "b"],
    "list_of_numbers": [1, 2.5],
    "zero_d": np.array("a", object),
    "int": np.arange(3),
    "wide_bytes": np.array([b"abc", b"de"], "S5"),
}.items():
    PROGRAMS[f"strings_{_name}"] = lambda ort, v=_value: identity_of_strings(ort, v)


@program
def rank_0_takes_any(ort):
    return relu(ort, X, shape=())


@program
def no_shape_takes_any(ort):
    return relu(ort, X, shape=None)


@program
def symbol_of_two_sizes(ort):
    return session(ort).run(None, {"a": X, "b": X[:1]})


@program
def size_0_is_enforced(ort):
    relu(ort, X, shape=(0, 3))


@program
def negative_size_is_open(ort):
    return relu(ort, X, shape=(-1, 3))


@program
def overridable_initializer(ort):
    s = session(ort, overridable(8, True))
    names = [a.name for a in s.get_inputs()], [a.name for a in s.get_overridable_initializers()]
    return *names, s.run(None, {"x": X}), s.run(None, {"x": X, "w": np.zeros(3, "f4")})


@program
def initializer_that_is_not_listed(ort):
    session(ort, overridable(8, False)).run(None, {"x": X, "w": np.zeros(3, "f4")})


@program
def overridable_initializer_of_wrong_size(ort):
    session(ort, overridable(8, True)).run(None, {"x": X, "w": np.zeros(4, "f4")})


for _name, _value in {
    "of_arrays": [X, X[:1]],
    "empty": [],
    "of_another_type": [X.astype("f8")],
    "of_lists": [[1.0]],
    "tuple": (X,),
    "array": X,
}.items():
    PROGRAMS[f"sequence_{_name}"] = lambda ort, v=_value: session(ort, sequence_model()).run(
        None, {"x": v}
    )
