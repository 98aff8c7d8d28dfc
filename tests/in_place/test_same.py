"""Small programs give the same results and errors with ONNX Runtime and with us."""

from __future__ import annotations

import numpy as np
import pytest

import onnxwalk.onnxruntime as ours
from tests.support.onnxruntime_programs import PROGRAMS

real = pytest.importorskip("onnxruntime")

#: program -> what we do otherwise, and why. docs/IN_PLACE.md has them for readers.
OTHERWISE = {
    "feed_complex64": "complex is a type like any other here: the declared one isn't complex",
    "copy_tensors": "the CPU build can't copy from CPU to CPU",
    "backend_with_too_few_inputs": "the number of inputs is reported in words",
    "bad_model_unknown_operator": "NotImplemented lists all operators that aren't known",
    "bad_model_cycle": "all errors in a graph are InvalidGraph",
    "bad_model_missing_producer": "all errors in a graph are InvalidGraph",
    "bad_model_output_without_producer": "all errors in a graph are InvalidGraph",
    "bad_model_duplicate_value": "all errors in a graph are InvalidGraph",
    "bad_model_two_types": "all errors in a graph are InvalidGraph",
    "bad_model_opset": "an operator set that isn't known is NotImplemented",
    "bad_model_no_kernel": "bfloat16 has kernels here",
    "shape_of_reshape_rest": "a symbol where ONNX Runtime has None",
    "shape_through_other_values": "a symbol where ONNX Runtime has None",
    "shapes_that_contradict_each_other": "sizes that a file declares are believed",
    "enums": "every enum is equal to its number, not only two of them",
}

#: the beginnings of names of programs whose errors are of the same class, in other words
OWN_WORDS = (
    *("none_for_required", "sequence_of_another_type", "sequence_tuple", "outputs_as_str"),
    *("outputs_of_int", "argument_has_no_setter", "constructor_of_node_arg", "providers_int"),
    *("model_empty_str", "model_garbage", "model_text", "model_cut_off", "model_folder"),
    *("external_data_is_missing", "bad_model_", "failing_", "set_", "config_value_that_is_no_str"),
    *("session_options_take_no_arguments", "sess_options_of_another_type", "binding_strings"),
    *("run_options_of_another_type", "ort_value_from_shape_of_unknown_type", "ort_value_on_cuda"),
    *(
        "ort_value_constructor",
        "device_of_nothing",
        "binding_unknown_output",
        "logger_severity_out_of_range",
    ),
)


def plain(value):
    """A result in a form that can be compared and shown: arrays with dtype and shape."""
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, type):
        return value.__name__
    if value is None or isinstance(value, str | bool | float):
        return value
    if type(value).__name__ == "InferenceSession":
        return "session"
    return int(value)  # numbers, and enums of both packages


def outcome(run, ort):
    try:
        return "result", plain(run(ort))
    except Exception as error:
        return type(error).__name__, str(error)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.filterwarnings("ignore:Specified provider")
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_same(name, capfd):
    kind, result = outcome(PROGRAMS[name], ours)
    expected_kind, expected = outcome(PROGRAMS[name], real)
    if name in OTHERWISE:
        assert (kind, result) != (expected_kind, expected), "is the same now: no exception"
        return
    assert kind == expected_kind, result
    if not name.startswith(OWN_WORDS) or kind == "result":
        assert result == expected


def test_exceptions_name_the_program(capfd):
    assert set(OTHERWISE) <= set(PROGRAMS)
    for start in OWN_WORDS:
        assert any(name.startswith(start) for name in PROGRAMS), start
