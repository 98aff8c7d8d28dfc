"""OrtValue, IOBinding, and the functions of the module."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.support.onnxruntime_programs.models import (
    ADD,
    PROGRAMS,
    TWO,
    X,
    program,
    sequence_model,
    session,
)


def ort_value(ort: Any, array: Any) -> Any:
    return ort.OrtValue.ortvalue_from_numpy(array)


@program
def ort_value_properties(ort):
    v = ort_value(ort, X)
    return [
        v.shape(), v.data_type(), v.element_type(), v.device_name(), v.is_tensor(), v.has_value(),
        v.is_tensor_sequence(), v.is_sparse_tensor(), v.numpy(), v.tensor_size_in_bytes(),
        np.asarray(v), v.data_ptr() == v.numpy().ctypes.data,
    ]  # fmt: skip


@program
def ort_value_shares_memory(ort):
    x = X.copy()
    v = ort_value(ort, x)
    v.numpy()[0, 0] = 99
    f = np.asfortranarray(X)
    w = ort_value(ort, f)
    return x[0, 0], np.shares_memory(x, v.numpy()), np.shares_memory(f, w.numpy()), w.numpy()


for _name, _value in {
    "list": [1.0],
    "scalar": 1.0,
    "none": None,
    "strings": np.array(["a"]),
    "objects": np.array(["a"], object),
}.items():
    PROGRAMS[f"ort_value_of_{_name}"] = lambda ort, v=_value: ort_value(ort, v) and None


@program
def ort_value_from_shape(ort):
    make = ort.OrtValue.ortvalue_from_shape_and_type
    found = [make([2, 3], t) for t in (np.float32, np.int64, 1, 10, None)]
    return [(v.shape(), v.data_type()) for v in found]


@program
def ort_value_from_shape_of_unknown_type(ort):
    ort.OrtValue.ortvalue_from_shape_and_type([2], 99)


@program
def ort_value_on_cuda(ort):
    ort_value_on(ort, "cuda")


@program
def ort_value_on_unknown_device(ort):
    ort_value_on(ort, "foo")


def ort_value_on(ort: Any, device: str) -> None:
    ort.OrtValue.ortvalue_from_numpy(X, device, 0)


@program
def update_inplace(ort):
    v = ort_value(ort, X.copy())
    v.update_inplace(X + 1)
    first = v.numpy().copy()
    v.update_inplace((X + 2).reshape(3, 2))
    return first, v.numpy()


@program
def update_inplace_of_another_size(ort):
    ort_value(ort, X.copy()).update_inplace(X[0])


@program
def update_inplace_of_a_list(ort):
    ort_value(ort, X.copy()).update_inplace([1.0])


@program
def ort_value_constructor(ort):
    ort.OrtValue(X)


@program
def bfloat16_from_bits(ort):
    bits = np.array([0x3F80, 0x4000], np.uint16)
    v = ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, 16)
    return v.data_type(), v.element_type(), v.shape()


@program
def run_with_ort_values(ort):
    s = session(ort)
    results = s.run_with_ort_values(["y"], {"a": ort_value(ort, X), "b": ort_value(ort, X)})
    return [(type(r).__name__, r.numpy(), r.data_type()) for r in results]


@program
def run_with_ort_values_of_arrays(ort):
    session(ort).run_with_ort_values(["y"], {"a": X, "b": X})


@program
def run_of_ort_values(ort):
    return session(ort).run(None, {"a": ort_value(ort, X), "b": X})


@program
def sequence_as_ort_value(ort):
    s = session(ort, sequence_model())
    if not hasattr(ort.OrtValue, "ort_value_from_sequence"):
        return None
    return s


@program
def binding(ort):
    s = session(ort)
    b = s.io_binding()
    b.bind_cpu_input("a", X)
    b.bind_ortvalue_input("b", ort_value(ort, X))
    b.bind_output("y")
    returned = s.run_with_iobinding(b)
    return returned, b.copy_outputs_to_cpu(), [v.numpy() for v in b.get_outputs()]


@program
def binding_of_addresses(ort):
    s, x, y = session(ort), X.copy(), np.zeros_like(X)
    b = s.io_binding()
    b.bind_input("a", "cpu", 0, np.float32, x.shape, x.ctypes.data)
    b.bind_input("b", "cpu", 0, np.float32, x.shape, x.ctypes.data)
    b.bind_output("y", "cpu", 0, np.float32, y.shape, y.ctypes.data)
    s.run_with_iobinding(b)
    return y, b.copy_outputs_to_cpu()


@program
def binding_to_an_ort_value(ort):
    s = session(ort)
    out = ort.OrtValue.ortvalue_from_shape_and_type([2, 3], np.float32)
    b = s.io_binding()
    for name in ("a", "b"):
        b.bind_cpu_input(name, X)
    b.bind_ortvalue_output("y", out)
    s.run_with_iobinding(b)
    return out.numpy()


@program
def binding_sees_changes(ort):
    s, x = session(ort), X.copy()
    b = s.io_binding()
    for name in ("a", "b"):
        b.bind_cpu_input(name, x)
    b.bind_output("y")
    s.run_with_iobinding(b)
    x += 1
    s.run_with_iobinding(b)
    return b.copy_outputs_to_cpu()


def misused_binding(ort: Any, *steps: Callable[[Any], Any]) -> Any:
    s = session(ort)
    b = s.io_binding()
    for step in steps:
        step(b)
    s.run_with_iobinding(b)
    return b.copy_outputs_to_cpu()


for _name, _steps in {
    "unknown_input": [lambda b: b.bind_cpu_input("q", X)],
    "list": [lambda b: b.bind_cpu_input("a", [1.0])],
    "strings": [lambda b: b.bind_cpu_input("a", np.array(["a"]))],
    "no_outputs": [lambda b: b.bind_cpu_input("a", X), lambda b: b.bind_cpu_input("b", X)],
    "wrong_rank": [
        lambda b: b.bind_cpu_input("a", X[0]),
        lambda b: b.bind_cpu_input("b", X),
        lambda b: b.bind_output("y"),
    ],
    "wrong_dtype": [
        lambda b: b.bind_cpu_input("a", X.astype("f8")),
        lambda b: b.bind_cpu_input("b", X),
        lambda b: b.bind_output("y"),
    ],
    "unknown_output": [
        lambda b: b.bind_cpu_input("a", X),
        lambda b: b.bind_cpu_input("b", X),
        lambda b: b.bind_output("nope"),
    ],
    "buffer_without_shape": [lambda b: b.bind_output("y", "cpu", 0, np.float32, None, 64)],
}.items():
    PROGRAMS[f"binding_{_name}"] = lambda ort, steps=_steps: misused_binding(ort, *steps)


@program
def binding_of_another_session(ort):
    session(ort).run_with_iobinding(session(ort).io_binding())


@program
def binding_with_nothing_bound(ort):
    b = session(ort).io_binding()
    b.clear_binding_inputs()
    b.clear_binding_outputs()
    return b.copy_outputs_to_cpu(), b.get_outputs()


@program
def sparse_tensor(ort):
    device = ort.OrtDevice.make("cpu", 0)
    values, indices = np.array([1, 2], "f4"), np.array([1, 4], "i8")
    t = ort.SparseTensor.sparse_coo_from_numpy(np.array([3, 3], "i8"), values, indices, device)
    v = ort.OrtValue.ort_value_from_sparse_tensor(t)
    return [
        t.values(), t.dense_shape(), t.data_type(), t.device_name(), t.format(),
        t.as_coo_view().indices(), v.is_sparse_tensor(), v.data_type(),
        v.as_sparse_tensor().values(),
    ]  # fmt: skip


@program
def sparse_matrix(ort):
    device = ort.OrtDevice.make("cpu", 0)
    t = ort.SparseTensor.sparse_csr_from_numpy(
        np.array([3, 3], "i8"),
        np.array([1, 2], "f4"),
        np.array([1, 1], "i8"),
        np.array([0, 1, 2, 2], "i8"),
        device,
    )
    view = t.as_csrc_view()
    return t.format(), view.inner(), view.outer()


@program
def devices(ort):
    made = [ort.OrtDevice.make(name, 0) for name in ("cpu", "cuda")]
    return [(d.device_type(), d.device_id(), d.device_mem_type()) for d in made]


@program
def device_that_is_unknown(ort):
    ort.OrtDevice.make("foo", 0)


@program
def device_of_nothing(ort):
    ort.OrtDevice(None)


@program
def copy_tensors(ort):
    source, target = ort_value(ort, X), ort_value(ort, np.zeros_like(X))
    ort.copy_tensors([source], [target])
    return target.numpy()


@program
def module_functions(ort):
    ort.set_default_logger_severity(3)
    ort.set_seed(1)
    ort.disable_telemetry_events()
    return ort.get_device(), ort.__version__, ort.get_version_string(), ort.get_all_providers()


@program
def logger_severity_out_of_range(ort):
    ort.set_default_logger_severity(9)


@program
def backend(ort):

    backend = importlib.import_module(f"{ort.__name__}.backend")
    rep = backend.prepare(ADD)
    return rep.run([X, X]), backend.supports_device("CPU"), backend.run(TWO, [X])


@program
def backend_with_too_few_inputs(ort):

    importlib.import_module(f"{ort.__name__}.backend").prepare(ADD).run([X])


@program
def backend_on_another_device(ort):

    importlib.import_module(f"{ort.__name__}.backend").prepare(ADD, "FOO")


@program
def exceptions(ort):

    state = importlib.import_module(f"{ort.__name__}.capi.onnxruntime_pybind11_state")
    names = "Fail InvalidArgument NoSuchFile RuntimeException InvalidProtobuf NotImplemented"
    found = [getattr(state, name) for name in f"{names} InvalidGraph EPFail".split()]
    return [(e.__name__, issubclass(e, (ValueError, RuntimeError))) for e in found]
