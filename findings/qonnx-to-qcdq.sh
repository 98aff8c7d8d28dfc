#!/usr/bin/env bash
# QONNX writes every rounding mode as QuantizeLinear, which rounds to the nearest, and confuses the axis of scales.
#
# Packages: qonnx 1.0.0, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: QuantToQCDQ leaves a Quant with another rounding mode than ROUND alone, as its documentation says.
# Seen: it replaces them all. And scales of one dimension, which Quant broadcasts to the last axis, become those of
#   the first; where the two sizes agree, nothing complains.
# Output:
#   ROUND: [0.2, 1.5, 1.7, -1.2], Quant [0, 2, 2, -1], QuantizeLinear [0, 2, 2, -1]
#   CEIL: [0.2, 1.5, 1.7, -1.2], Quant [1, 2, 2, -1], QuantizeLinear [0, 2, 2, -1]
#   FLOOR: [0.2, 1.5, 1.7, -1.2], Quant [0, 1, 1, -2], QuantizeLinear [0, 2, 2, -1]
#   UP: [0.2, 1.5, 1.7, -1.2], Quant [1, 2, 2, -2], QuantizeLinear [0, 2, 2, -1]
#   DOWN: [0.2, 1.5, 1.7, -1.2], Quant [0, 1, 1, -1], QuantizeLinear [0, 2, 2, -1]
#   scales [1, 10] of shape (1, 2), x = [[33, 33], [33, 33]]: Quant [[33, 30], [33, 30]], QuantizeLinear [[33, 30], [33, 30]]
#   scales [1, 10] of shape (2,), x = [[33, 33], [33, 33]]: Quant [[33, 30], [33, 30]], QuantizeLinear [[33, 33], [30, 30]]
# Who is hurt: models trained to truncate, as hardware does: half a step more everywhere; square weights with a scale
#   for each column.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    qonnx==1.0.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.transformation.qonnx_to_qcdq import QuantToQCDQ


def both(x, scale, rounding):
    """What QONNX's own Quant gives, and what ONNX Runtime gives for what QONNX makes of it."""
    domain = "qonnx.custom_op.general"
    attributes = dict(signed=1, narrow=0, rounding_mode=rounding, domain=domain)
    constants = {"s": np.array(scale, np.float32), "z": np.float32(0), "b": np.float32(8)}
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Quant", ["x", "s", "z", "b"], ["q"], **attributes),
                helper.make_node("Identity", ["q"], ["y"]),
            ],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, x.shape)],
            [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)],
        ir_version=8,
    )
    model = ModelWrapper(model).transform(InferShapes())
    there = execute_onnx(model, {"x": x})["y"]
    changed = model.transform(QuantToQCDQ()).model
    kinds = [n.op_type for n in changed.graph.node]
    assert "QuantizeLinear" in kinds and "Quant" not in kinds
    session = ort.InferenceSession(changed.SerializeToString(), providers=["CPUExecutionProvider"])
    return there.astype(int).tolist(), session.run(None, {"x": x})[0].astype(int).tolist()


x = np.array([0.2, 1.5, 1.7, -1.2], np.float32)
for rounding, expected in (
    ("ROUND", [0, 2, 2, -1]),
    ("CEIL", [1, 2, 2, -1]),
    ("FLOOR", [0, 1, 1, -2]),
    ("UP", [1, 2, 2, -2]),
    ("DOWN", [0, 1, 1, -1]),
):
    there, here = both(x, 1, rounding)
    print(f"{rounding}: {np.round(x.astype(float), 1).tolist()}, Quant {there}, QuantizeLinear {here}")
    assert there == expected and here == [0, 2, 2, -1]
x = np.full((2, 2), 33, np.float32)
by_column, by_row = [[33, 30], [33, 30]], [[33, 33], [30, 30]]
for scale, expected in (([[1, 10]], by_column), ([1, 10], by_row)):
    there, here = both(x, scale, "ROUND")
    print(f"scales [1, 10] of shape {np.shape(scale)}, x = {x.astype(int).tolist()}: Quant {there}, QuantizeLinear {here}")
    assert there == by_column and here == expected
PY
