#!/usr/bin/env bash
# tinygrad numbers the Indices of MaxPool anew in each channel, and transposes them for storage_order 1.
#
# Packages: tinygrad 0.14.0, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: places in the whole flattened input, as ONNX says; storage_order changes the numbers, not the shape.
# Seen: every channel begins with 0 again, so a Gather by them reads the first channel. Its own MaxUnpool takes the
#   indices so, and is right. With storage_order=1 they have rows for columns.
# Output (two channels of 2 x 3 with 0 to 11, pools of 2 x 2):
#   maxima: ONNX Runtime [4, 5, 10, 11], tinygrad [4, 5, 10, 11]
#   indices: ONNX Runtime [4, 5, 10, 11], tinygrad [4, 5, 4, 5]
#   gathered by them: ONNX Runtime [4, 5, 10, 11], tinygrad [4, 5, 4, 5]
#   indices with storage_order=1: ONNX Runtime [3, 5, 9, 11] of (1, 2, 1, 2), tinygrad [4, 5, 4, 5] of (1, 2, 2, 1)
# Who is hurt: models that gather other features where the maximum was; one channel of one picture is right.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    tinygrad==0.14.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
# tinygrad's device in Python needs no compiler.
DEV=PYTHON venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from tinygrad.nn.onnx import OnnxRunner

x = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3)


def both(**attributes):
    names = ["maxima", "indices", "gathered"]
    kinds = [TensorProto.FLOAT, TensorProto.INT64, TensorProto.FLOAT]
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("MaxPool", ["x"], ["maxima", "indices"], kernel_shape=[2, 2], **attributes),
                helper.make_node("Reshape", ["x", "all"], ["flat"]),
                helper.make_node("Gather", ["flat", "indices"], ["gathered"]),
            ],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
            [helper.make_tensor_value_info(n, k, [1, 2, 1, 2]) for n, k in zip(names, kinds)],
            [numpy_helper.from_array(np.array([-1]), "all")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "model.onnx")
    session = ort.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    here = OnnxRunner("model.onnx")({"x": x})
    return zip(names, session.run(None, {"x": x}), (here[n].numpy() for n in names))


def numbers(a):
    return a.ravel().astype(int).tolist()


for name, there, here in both():
    by = "gathered by them" if name == "gathered" else name
    print(f"{by}: ONNX Runtime {numbers(there)}, tinygrad {numbers(here)}")
    assert numbers(there) == [4, 5, 10, 11]
    assert numbers(here) == ([4, 5, 10, 11] if name == "maxima" else [4, 5, 4, 5])
_, (_, there, here), _ = both(storage_order=1)
print(f"indices with storage_order=1: ONNX Runtime {numbers(there)} of {there.shape},", end=" ")
print(f"tinygrad {numbers(here)} of {here.shape}")
assert numbers(there) == [3, 5, 9, 11] and there.shape == (1, 2, 1, 2)
assert numbers(here) == [4, 5, 4, 5] and here.shape == (1, 2, 2, 1)
PY
