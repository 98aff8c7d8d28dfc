"""How sessions are built: models, providers, threads, failures."""

from __future__ import annotations

import os
import pathlib
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto
from onnx.helper import make_node

from tests.support.onnxruntime_programs.models import (
    ADD,
    FLOAT,
    INT64,
    PROGRAMS,
    X,
    info,
    model,
    program,
    session,
    unary,
)


def with_warnings(make: Callable[[], Any]) -> Any:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        made = make()
    return made.get_providers(), [w.category.__name__ for w in found]


for _name, _value in {
    "none": None,
    "empty": [],
    "cpu": ["CPUExecutionProvider"],
    "tuple": ("CPUExecutionProvider",),
    "cuda_and_cpu": ["CUDAExecutionProvider", "CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider"],
    "options": [("CPUExecutionProvider", {"a": "b"})],
    "twice": ["CPUExecutionProvider", "CPUExecutionProvider"],
    "cuda_options": [("CUDAExecutionProvider", {"device_id": 0}), "CPUExecutionProvider"],
    "unknown": ["FooExecutionProvider"],
    "lists": [["CPUExecutionProvider", {}]],
}.items():
    PROGRAMS[f"providers_{_name}"] = lambda ort, value=_value: with_warnings(
        lambda: session(ort, providers=value)
    )


@program
def providers_int(ort):
    session(ort, providers=3)


@program
def unknown_provider_without_fallback(ort):
    session(ort, providers=["FooExecutionProvider"], enable_fallback=0)


@program
def provider_options(ort):
    s = session(ort, providers=["CPUExecutionProvider"], provider_options=[{"a": "b"}])
    return s.get_provider_options()


@program
def provider_options_of_another_length(ort):
    session(ort, providers=["CPUExecutionProvider"], provider_options=[{}, {}], enable_fallback=0)


for _name, _value in {
    "bytearray": bytearray(ADD),
    "none": None,
    "int": 3,
    "proto": onnx.load_from_string(ADD),
    "empty_str": "",
    "empty_bytes": b"",
    "garbage": b"\x99\x98garbage",
    "text": b"hello, world",
    "cut_off": ADD[: len(ADD) // 2],
    "missing": "no/such/file.onnx",
    "missing_path": pathlib.Path("no/such/file.onnx"),
    "folder": ".",
}.items():
    PROGRAMS[f"model_{_name}"] = lambda ort, value=_value: ort.InferenceSession(value)


@program
def model_from_a_path(ort):
    for name in ("model.onnx", b"model.onnx"):
        pathlib.Path(os.fsdecode(name)).write_bytes(ADD)
    made = [ort.InferenceSession(p) for p in ("model.onnx", pathlib.Path("model.onnx"))]
    return [s.run(None, {"a": X, "b": X}) for s in made]


@program
def empty_file(ort):
    pathlib.Path("empty.onnx").write_bytes(b"")
    ort.InferenceSession("empty.onnx")


@program
def external_data_is_missing(ort):
    w = TensorProto(name="w", data_type=FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    w.external_data.add(key="location", value="weights.bin")
    data = model(
        [make_node("Add", ["x", "w"], ["y"])], [info("x", FLOAT, [3])], [info("y", FLOAT, [3])], [w]
    )
    pathlib.Path("external.onnx").write_bytes(data)
    ort.InferenceSession("external.onnx")


for _name, _data in {
    "unknown_operator": unary("Foo"),
    "operator_newer_than_its_version": unary("HardSwish", shape=(1,)),
    "unknown_attribute": unary("Neg", foo=1),
    "missing_attribute": unary("Cast"),
    "input_type": unary("Sqrt", INT64),
    "cycle": model(
        [make_node("Add", ["x", "b"], ["a"]), make_node("Neg", ["a"], ["b"])],
        [info("x", FLOAT, [3])],
        [info("b", FLOAT, [3])],
    ),
    "missing_producer": model(
        [make_node("Add", ["x", "ghost"], ["y"])], [info("x", FLOAT, [3])], [info("y", FLOAT, [3])]
    ),
    "output_without_producer": model(
        [make_node("Neg", ["x"], ["y"])], [info("x", FLOAT, [3])], [info("z", FLOAT, [3])]
    ),
    "duplicate_value": model(
        [make_node("Neg", ["x"], ["y"]), make_node("Abs", ["x"], ["y"])],
        [info("x", FLOAT, [3])],
        [info("y", FLOAT, [3])],
    ),
    "too_many_inputs": model(
        [make_node("Neg", ["x", "x"], ["y"])], [info("x", FLOAT, [3])], [info("y", FLOAT, [3])]
    ),
    "two_types": model(
        [make_node("Add", ["x", "z"], ["y"])],
        [info("x", FLOAT, [3]), info("z", INT64, [3])],
        [info("y", FLOAT, [3])],
    ),
    "ir_version": model([], [info("x", FLOAT, [3])], [info("x", FLOAT, [3])], ir=15),
    "opset": model(
        [make_node("Neg", ["x"], ["y"])], [info("x", FLOAT, [3])], [info("y", FLOAT, [3])], opset=40
    ),
    "unsorted": model(
        [make_node("Neg", ["a"], ["y"]), make_node("Abs", ["x"], ["a"])],
        [info("x", FLOAT, [3])],
        [info("y", FLOAT, [3])],
    ),
    "no_kernel": model(
        [make_node("Add", ["x", "x"], ["y"])],
        [info("x", TensorProto.BFLOAT16, [3])],
        [info("y", TensorProto.BFLOAT16, [3])],
    ),
}.items():
    PROGRAMS[f"bad_model_{_name}"] = lambda ort, data=_data: bool(ort.InferenceSession(data))


@program
def other_keywords(ort):
    return session(ort, ADD, foo=1).run(None, {"a": X, "b": X})


@program
def sess_options_by_position(ort):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return session(ort, ADD, options, ["CPUExecutionProvider"]).run(None, {"a": X, "b": X})


@program
def sess_options_that_is_falsy(ort):
    return session(ort, ADD, {}).get_providers()


@program
def sess_options_of_another_type(ort):
    session(ort, ADD, {"a": 1})


@program
def sess_options_are_copied(ort):
    options = ort.SessionOptions()
    s = session(ort, ADD, options)
    options.intra_op_num_threads = 3
    return s.get_session_options().intra_op_num_threads


@program
def attributes_may_be_added(ort):
    s = session(ort)
    s.mine = 1
    return s.mine


@program
def context_manager(ort):
    with session(ort):
        pass


@program
def set_providers(ort):
    s = session(ort)
    s.set_providers(["CPUExecutionProvider"])
    return s.get_providers(), s.run(None, {"a": X, "b": X})


@program
def run_in_threads(ort):
    s, results = session(ort), []
    work = [
        threading.Thread(target=lambda: results.append(s.run(None, {"a": X, "b": X})))
        for _ in range(4)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    return results


def run_async_of(ort: Any, names: Any, feeds: Any) -> Any:
    got, done = [], threading.Event()

    def callback(results: Any, data: Any, error: str) -> None:
        got.extend([results, data, error])
        done.set()

    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    returned = session(ort, ADD, options).run_async(names, feeds, callback, "mine")
    done.wait(30)
    return returned, *got


@program
def run_async(ort):
    return run_async_of(ort, None, {"a": X, "b": X})


@program
def run_async_missing(ort):
    run_async_of(ort, None, {"a": X})


@program
def run_async_of_wrong_dtype(ort):
    return run_async_of(ort, None, {"a": X.astype("f8"), "b": X})


@program
def failing_node(ort):
    session(ort).run(None, {"a": X, "b": np.ones((5, 3), "f4")})


def gather(ort: Any, index: int) -> Any:
    data = model(
        [make_node("Gather", ["x", "i"], ["y"], name="g0")],
        [info("x", FLOAT, [3]), info("i", INT64, [1])],
        [info("y", FLOAT, [1])],
    )
    return session(ort, data).run(None, {"x": X[0], "i": np.array([index])})


@program
def failing_gather(ort):
    gather(ort, 7)


@program
def failing_cast(ort):
    data = unary("Cast", TensorProto.STRING, (1,), FLOAT, to=FLOAT)
    session(ort, data).run(None, {"x": np.array(["zz"], object)})
