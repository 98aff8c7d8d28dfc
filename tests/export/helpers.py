"""Running an exported model by ONNX Runtime and by onnxwalk, and what is asked of both."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

import onnxwalk
from onnxwalk.export.conversion.convert import convert
from onnxwalk.export.conversion.draft import all_nodes
from onnxwalk.export.quiet import quiet
from onnxwalk.export.tracing.trace import Trace, trace
from onnxwalk.export.verify import make_random_inputs, run_keras

onnxruntime.set_default_logger_severity(4)

RECURRENT = ("RNN", "LSTM", "GRU")


def converted(model: Any, opset: int | None = 18) -> tuple[Any, Trace]:
    with quiet() as errors:
        traced = trace(model)
        return convert(traced, opset=opset, errors=errors), traced


def operators(proto: Any) -> Counter[str]:
    return Counter(node.op_type for node in all_nodes(proto.graph))


def run_onnxruntime(proto: Any, feeds: dict[str, Any]) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # threads that wait for each other are slower on small models
    return onnxruntime.InferenceSession(proto.SerializeToString(), options).run(None, feeds)


def run_onnxwalk(proto: Any, feeds: dict[str, Any], **options: Any) -> list[Any]:
    return onnxwalk.load(proto, **options).run(None, feeds)


def assert_same_as_keras(model: Any, opset: int = 18, tolerance: float = 1e-5) -> Any:
    """Export, run by both on random inputs, compare with Keras; returns the ONNX model."""
    proto, traced = converted(model, opset)
    feeds = make_random_inputs(traced)
    expected = run_keras(model, [feeds[port.name] for port in traced.inputs])
    for run in (run_onnxruntime, run_onnxwalk):
        for port, actual, wanted in zip(traced.outputs, run(proto, feeds), expected, strict=True):
            assert actual.shape == wanted.shape and actual.dtype == wanted.dtype
            np.testing.assert_allclose(
                actual,
                wanted,
                rtol=tolerance,
                atol=tolerance,
                err_msg=f"{run.__name__} {port.name}",
            )
    return proto


def check(
    function: Any,
    given: list[Any],
    expected: Any,
    opset: int | None = None,
    *,
    engines: Any = (run_onnxruntime, run_onnxwalk),
    shapes: list[Any] | None = None,
) -> Any:
    """A model of ``function`` of these arrays gives the expected one (or a list of them), in Keras
    and exported; returns the ONNX model.

    ``shapes``: those of the inputs, without the batch, if they aren't the arrays'.
    """
    import keras

    inputs = [
        keras.Input(shapes[i] if shapes else x.shape[1:], dtype=x.dtype.name, name=f"x{i}")
        for i, x in enumerate(given)
    ]
    model = keras.Model(inputs, function(*inputs))
    wanted = expected if isinstance(expected, list) else [expected]
    outputs = run_keras(model, given)
    proto, _ = converted(model, opset)
    feeds = {f"x{i}": x for i, x in enumerate(given)}
    for name, found in (
        ("Keras", outputs),
        *((run.__name__, run(proto, feeds)) for run in engines),
    ):
        for actual, keras_output, wanted_output in zip(found, outputs, wanted, strict=True):
            assert actual.dtype == keras_output.dtype and actual.shape == wanted_output.shape
            np.testing.assert_allclose(actual, wanted_output, rtol=1e-6, err_msg=name)
    return proto
