#!/usr/bin/env bash
# onnx's shape inference carries sizes through a Cast to bool, and misreads STFT's default.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: with data_prop=True a size that goes through bool is 0 or 1. STFT without onesided is as with
#   onesided=1, which is the schema's default.
# Seen: (300, 4) cast to bool and back is inferred as (300, 4), the true size is (1, 1). Without the
#   attribute STFT is inferred with all frequencies, with it as half of them. strict_mode and full_check
#   raise nothing.
# Output:
#   size by way of INT32: [300, 4], inferred [300, 4]
#   size by way of BOOL: [1, 1], inferred [300, 4]
#   STFT with onesided=1: [1, 3, 5, 2], inferred [1, 3, 5, 2]
#   STFT with its default, 1: [1, 3, 5, 2], inferred [1, 3, 8, 2]
# Who is hurt: optimizers that take a static shape from the inference and fold it.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

ort.set_default_logger_severity(4)


def compare(text, nodes, shape, **constants):
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node(op, ins, outs, **more) for op, ins, outs, more in nodes],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    there = list(session.run(["y"], {"x": np.ones(shape, np.float32)})[0].shape)
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    onnx.checker.check_model(inferred, full_check=True)
    here = [d.dim_value for d in inferred.graph.output[0].type.tensor_type.shape.dim]
    print(f"{text}: {there}, inferred {here}")
    return there, here


def through(kind):
    return [
        ("Shape", ["x"], ["s"], {}),
        ("Cast", ["s"], ["t"], {"to": kind}),
        ("Cast", ["t"], ["n"], {"to": TensorProto.INT64}),
        ("ConstantOfShape", ["n"], ["y"], {}),
    ]


for kind in ("INT32", "FLOAT"):
    there, here = compare(f"size by way of {kind}", through(getattr(TensorProto, kind)), [300, 4])
    assert there == here
there, here = compare("size by way of BOOL", through(TensorProto.BOOL), [300, 4])
assert there == [1, 1] and here == [300, 4]
for text, more in (("onesided=1", {"onesided": 1}), ("its default, 1", {})):
    nodes = [("STFT", ["x", "step", "", "length"], ["y"], more)]
    there, here = compare(f"STFT with {text}", nodes, [1, 16, 1], step=4, length=8)
    assert there == [1, 3, 5, 2] and (there == here) == bool(more)
PY
