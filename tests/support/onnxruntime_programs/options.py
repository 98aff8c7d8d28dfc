"""SessionOptions and RunOptions."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import onnx
from onnx import TensorProto
from onnx.helper import make_node

from tests.support.onnxruntime_programs.models import (
    ADD,
    FLOAT,
    PROGRAMS,
    X,
    info,
    model,
    overridable,
    program,
    session,
)


@program
def defaults_of_session_options(ort):
    options = ort.SessionOptions()
    names = [n for n in sorted(dir(options)) if not callable(getattr(options, n)) and n[0] != "_"]
    real = [n for n in names if n in SESSION_OPTIONS]
    return [(n, getattr(options, n)) for n in real]


SESSION_OPTIONS = """
enable_cpu_mem_arena enable_mem_pattern enable_mem_reuse enable_profiling execution_mode
execution_order graph_optimization_level inter_op_num_threads intra_op_num_threads
log_severity_level log_verbosity_level logid optimized_model_filepath profile_file_prefix
use_deterministic_compute use_per_session_threads
""".split()


@program
def defaults_of_run_options(ort):
    options = ort.RunOptions()
    names = "log_severity_level log_verbosity_level logid only_execute_path_to_fetches terminate"
    return [getattr(options, n) for n in names.split()]


for _name, _value in {
    "execution_mode_int": ("execution_mode", 1),
    "level_str": ("graph_optimization_level", "all"),
    "threads_str": ("intra_op_num_threads", "2"),
    "threads_float": ("intra_op_num_threads", 2.0),
    "threads_none": ("intra_op_num_threads", None),
    "threads_bool": ("intra_op_num_threads", True),
    "threads_negative": ("intra_op_num_threads", -1),
    "logid_int": ("logid", 3),
    "path_path": ("optimized_model_filepath", pathlib.Path("a")),
    "bool_str": ("enable_profiling", "yes"),
    "bool_int": ("enable_mem_reuse", 0),
    "unknown": ("nonsense", 1),
}.items():

    def _set(ort, name=_value[0], value=_value[1]):
        options = ort.SessionOptions()
        setattr(options, name, value)
        return getattr(options, name)

    PROGRAMS[f"set_{_name}"] = _set


@program
def config_entries(ort):
    options = ort.SessionOptions()
    options.add_session_config_entry("session.x", "1")
    return options.get_session_config_entry("session.x")


@program
def config_entry_that_is_missing(ort):
    ort.SessionOptions().get_session_config_entry("nope")


@program
def config_key_that_is_empty(ort):
    ort.SessionOptions().add_session_config_entry("", "1")


@program
def config_value_that_is_no_str(ort):
    ort.SessionOptions().add_session_config_entry("a", 1)


@program
def run_config_entry_that_is_missing(ort):
    ort.RunOptions().get_run_config_entry("zz")


@program
def enums(ort):
    levels, modes = ort.GraphOptimizationLevel, ort.ExecutionMode
    found = [levels.ORT_ENABLE_ALL, modes.ORT_PARALLEL, ort.ExecutionOrder.PRIORITY_BASED]
    return [(repr(e), str(e), e == int(e), e.name, e.value) for e in found], levels(99).name


@program
def free_dimension(ort):
    options = ort.SessionOptions()
    options.add_free_dimension_override_by_name("N", 2)
    options.add_free_dimension_override_by_name("unknown", 2)
    s = session(ort, ADD, options)
    return s.get_inputs()[0].shape, s.run(None, {"a": X, "b": X})


@program
def free_dimension_is_enforced(ort):
    options = ort.SessionOptions()
    options.add_free_dimension_override_by_name("N", 2)
    session(ort, ADD, options).run(None, {"a": X[:1], "b": X[:1]})


@program
def free_dimension_first_size_counts(ort):
    options = ort.SessionOptions()
    options.add_free_dimension_override_by_name("N", 2)
    options.add_free_dimension_override_by_name("N", 5)
    return session(ort, ADD, options).get_inputs()[0].shape


def denoted(ort, sizes, named=(), shape=("N", 3), marked=("a", "b")):
    """A session of ADD, of whose inputs the first dimension is a batch, with sizes for batches."""
    made = onnx.load_from_string(ADD)
    for value in made.graph.input:
        dimension = value.type.tensor_type.shape.dim[0]
        dimension.CopyFrom(info("v", FLOAT, shape).type.tensor_type.shape.dim[0])
        if value.name in marked:
            dimension.denotation = "DATA_BATCH"
    options = ort.SessionOptions()
    for meaning, size in sizes:
        options.add_free_dimension_override_by_denotation(meaning, size)
    for name, size in named:
        options.add_free_dimension_override_by_name(name, size)
    return session(ort, made.SerializeToString(), options)


def sizes_of(s):
    return [(arg.name, arg.shape) for arg in (*s.get_inputs(), *s.get_outputs())]


BATCH = ("DATA_BATCH", 2)
for _name, _arguments in {
    "capitals": {"sizes": [BATCH]},
    "small_letters": {"sizes": [("data_Batch", 2)]},
    "unknown": {"sizes": [("DATA_CHANNEL", 2)]},
    "empty": {"sizes": [("", 2)]},
    "twice": {"sizes": [BATCH, ("data_batch", 5)]},
    "without_a_symbol": {"sizes": [BATCH], "shape": (None, 3)},
    "of_one_input": {"sizes": [BATCH], "marked": ("a",)},
    "fixed_to_the_same": {"sizes": [BATCH], "shape": (2, 3)},
    "fixed_to_another": {"sizes": [BATCH], "shape": (4, 3)},
    "with_the_same_by_name": {"sizes": [BATCH], "named": [("N", 2)]},
    "with_another_by_name": {"sizes": [BATCH], "named": [("N", 3)]},
}.items():

    def _denoted(ort, arguments=_arguments):
        return sizes_of(denoted(ort, **arguments))

    PROGRAMS[f"denotation_{_name}"] = _denoted


@program
def denotation_is_enforced(ort):
    denoted(ort, [BATCH]).run(None, {"a": X[:1], "b": X[:1]})


@program
def session_options_take_no_arguments(ort):
    ort.SessionOptions(x=1)


@program
def custom_ops_library_that_is_missing(ort):
    try:
        ort.SessionOptions().register_custom_ops_library("no/such/library.so")
    except Exception as error:
        return type(error).__name__


@program
def add_initializer(ort):
    options = ort.SessionOptions()
    value = ort.OrtValue.ortvalue_from_numpy(np.full(3, 5, "f4"))
    options.add_initializer("w", value)
    return session(ort, overridable(8, False), options).run(None, {"x": X})


@program
def external_initializers(ort):
    w = TensorProto(name="w", data_type=FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    w.external_data.add(key="location", value="weights.bin")
    w.external_data.add(key="length", value="12")
    data = model(
        [make_node("Add", ["x", "w"], ["y"])], [info("x", FLOAT, [3])], [info("y", FLOAT, [3])], [w]
    )
    options = ort.SessionOptions()
    content = np.array([1, 2, 3], "f4").tobytes()
    options.add_external_initializers_from_files_in_memory(["weights.bin"], [content], [12])
    first = session(ort, data, options).run(None, {"x": X[0]})
    options = ort.SessionOptions()
    value = ort.OrtValue.ortvalue_from_numpy(np.array([4, 5, 6], "f4"))
    options.add_external_initializers(["w"], [value])
    return first, session(ort, data, options).run(None, {"x": X[0]})


@program
def terminate(ort):
    options = ort.RunOptions()
    options.terminate = True
    session(ort).run(None, {"a": X, "b": X}, options)


@program
def run_options_of_another_type(ort):
    session(ort).run(None, {"a": X, "b": X}, {"a": 1})


@program
def run_options_by_name(ort):
    options = ort.RunOptions()
    options.log_severity_level = 3
    return session(ort).run(None, {"a": X, "b": X}, run_options=options)


@program
def every_optimization_level(ort):
    results = []
    for name in ("DISABLE_ALL", "ENABLE_BASIC", "ENABLE_EXTENDED", "ENABLE_ALL"):
        options = ort.SessionOptions()
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_{name}")
        results.append(session(ort, ADD, options).run(None, {"a": X, "b": X}))
    return results


@program
def optimized_model(ort):
    options = ort.SessionOptions()
    options.optimized_model_filepath = "optimized.onnx"
    session(ort, ADD, options)
    return ort.InferenceSession("optimized.onnx").run(None, {"a": X, "b": X})


def optimized(ort, data, target):
    options = ort.SessionOptions()
    options.optimized_model_filepath = target
    session(ort, data, options)
    return ort.InferenceSession(target).run(None, {"x": X[0]})


@program
def optimized_model_in_a_folder_that_is_missing(ort):
    optimized(ort, ADD, "missing/optimized.onnx")


@program
def optimized_model_that_is_a_folder(ort):
    pathlib.Path("folder").mkdir(exist_ok=True)
    optimized(ort, ADD, "folder")


@program
def optimized_model_of_external_data(ort):
    pathlib.Path("other").mkdir(exist_ok=True)
    made = onnx.load_from_string(overridable(8, False))
    onnx.save(made, "model.onnx", save_as_external_data=True, location="w", size_threshold=0)
    results = [optimized(ort, "model.onnx", name) for name in ("model.onnx", "beside.onnx")]
    try:  # its data stays where it is
        optimized(ort, "model.onnx", "other/optimized.onnx")
    except Exception as error:
        results.append(type(error).__name__)
    return results, pathlib.Path("other/optimized.onnx").exists()


@program
def profiling(ort):
    options = ort.SessionOptions()
    options.enable_profiling = True
    s = session(ort, ADD, options)
    results = s.run(None, {"a": X, "b": X})
    name = s.end_profiling()
    events = json.loads(pathlib.Path(name).read_text())
    kinds = {event["cat"] for event in events}
    names = {event["name"] for event in events}
    wanted = {"add0_kernel_time", "model_run"} <= names
    return results, name[:21], name[-5:], wanted, sorted(kinds), s.end_profiling()


@program
def profiling_that_is_off(ort):
    s = session(ort)
    return s.end_profiling(), s.get_profiling_start_time_ns()
