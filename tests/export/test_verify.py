"""The check that every export goes through must find what is wrong, and use inputs that matter."""

import logging
import os

import numpy as np
import onnx
import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

import onnxwalk.export.pipeline
from onnxwalk import export
from onnxwalk.export import ExportError
from onnxwalk.export.conversion.draft import detach_weights
from onnxwalk.export.coverage.random_weights import randomize
from onnxwalk.export.quiet import quiet
from onnxwalk.export.study.assignment import cnn, recurrent
from onnxwalk.export.verify import check_output, make_random_inputs, verify_model
from tests.export.helpers import converted


def test_ids_have_every_kind_of_padding():
    _, traced = converted(recurrent(words=50, length=20, mask_zero=True))
    ids = make_random_inputs(traced)["ids"]
    assert ids.shape == (6, 20) and ids.dtype == np.int32 and ids.min() == 0 and ids.max() < 50
    end, start, holes, everywhere, nowhere, _ = ids == 0
    assert end[10:].all() and not end[:10].any()
    assert start[:6].all() and not start[6:].any()
    assert 0 < holes.sum() < 20
    assert everywhere.all() and not nowhere.any()


def test_a_difference_is_found_and_nothing_is_written(tmp_path, monkeypatch):
    model = randomize(cnn((16,), 3, activation=None, name="net"))
    proto, traced = converted(model)
    assert max(verify_model(model, proto, traced).values()) < 1e-5
    for tensor in proto.graph.initializer:
        if "/dense" in tensor.name and tensor.name.endswith("/bias"):
            values = onnx.numpy_helper.to_array(tensor) + np.float32(0.01)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    with pytest.raises(ExportError, match=r"output dense\w* differs from Keras by 0\.0"):
        verify_model(model, proto, traced)

    draft = detach_weights(proto)
    monkeypatch.setattr("onnxwalk.export.pipeline.build_draft", lambda *_, **__: draft)
    with pytest.raises(ExportError, match="differs from Keras"):
        export.to_onnx(model, tmp_path / "wrong.onnx")
    assert not list(tmp_path.iterdir())
    export.to_onnx(model, tmp_path / "wrong.onnx", verify=False)
    assert [p.name for p in tmp_path.iterdir()] == ["wrong.onnx"]


def test_difference():
    a = np.array([1.0, np.nan, np.inf, -np.inf], np.float32)
    assert check_output("y", a, a) == 0
    assert check_output("y", np.float32([1000.01]), np.float32([1000])) < 2e-5
    assert check_output("y", np.zeros((0, 3)), np.zeros((0, 3))) == 0
    with pytest.raises(
        ExportError, match=r"output y: expected float64\[4\] as in Keras, got float32\[4\]"
    ):
        check_output("y", a, a.astype(np.float64))
    with pytest.raises(ExportError, match="differs from Keras by inf"):
        check_output("y", np.float32([np.inf]), np.float32([1]))
    with pytest.raises(ExportError, match="differs from Keras by inf"):
        check_output("y", np.float32([1]), np.float32([np.nan]))


def test_logging_is_left_alone(capfd):
    logger = logging.getLogger("tensorflow")
    before = logger.level, logger.propagate, logger.handlers[:], dict(os.environ)
    with quiet() as errors:
        logger.error("not seen")
        logging.getLogger("tf2onnx.tfonnx").error("kept")
    assert errors == ["kept"]
    assert before == (logger.level, logger.propagate, logger.handlers[:], dict(os.environ))
    assert capfd.readouterr().err == ""


def test_progress_and_failure_to_write(tmp_path):
    stages = []
    model = cnn((16,), 3)
    export.to_onnx(model, tmp_path / "m.onnx", progress=stages.append)
    assert stages == list(onnxwalk.export.pipeline.STAGES)
    onnx.checker.check_model(str(tmp_path / "m.onnx"))
    with pytest.raises(ExportError, match="can't be written"):
        export.to_onnx(model, tmp_path / "nowhere" / "m.onnx")
