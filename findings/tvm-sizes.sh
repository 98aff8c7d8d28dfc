#!/usr/bin/env bash
# TVM ignores output_shape of ConvTranspose, rounds SAME_LOWER of MaxPool down, and stretches Resize to a whole size.
#
# Packages: apache-tvm 0.27.0.post1, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: the size that output_shape says; SAME gives ceil(size / stride) on both sides; scales are the distance of pixels.
# Seen: another size, or other pixels, without a word. AveragePool with SAME_LOWER and SAME_UPPER of both are right.
# Output:
#   ConvTranspose to 4 of 2 ones by 1, 2, 3: ONNX Runtime [2, 4, 2, 3], TVM [1, 2, 4, 2, 3]
#   MaxPool of 1 to 5, stride 2, SAME_LOWER: ONNX Runtime [1, 3, 5], TVM [2, 4]
#   AveragePool of 1 to 5, stride 2, SAME_LOWER: ONNX Runtime [1, 2.5, 4.5], TVM [1, 2.5, 4.5]
#   Resize of 1 to 5 by 0.7: ONNX Runtime [1.21, 2.64, 4.07], TVM [1.33, 3, 4.67]
#   Resize of 1 to 5 by 0.8: ONNX Runtime [1.12, 2.38, 3.62, 4.88], TVM [1.12, 2.38, 3.62, 4.88]
# Who is hurt: decoders that ask for the size of a skip connection, and pyramids of pictures by fractional scales.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    apache-tvm==0.27.0.post1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx

to_five = np.arange(1, 6, dtype=np.float32)


def both(kind, x, names, constants, length, **attributes):
    """The answers for a row, which ONNX wants as (1, 1, length); length is that of ONNX Runtime's."""
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node(kind, names, ["y"], **attributes)],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, len(x)])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, length])],
            [numpy_helper.from_array(np.array(v, np.float32), n) for n, v in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    x = x.reshape(1, 1, -1)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    there = session.run(None, {"x": x})[0]
    module = relax.transform.DecomposeOpsForInference()(from_onnx(model))
    machine = relax.VirtualMachine(tvm.compile(relax.transform.LegalizeOps()(module), target="llvm"), tvm.cpu())
    return there.ravel(), machine["main"](tvm.runtime.tensor(x)).numpy().ravel()


def text(a):
    return "[" + ", ".join(f"{round(float(v), 2):g}" for v in a) + "]"


def show(name, answers, right, wrong):
    there, here = answers
    print(f"{name}: ONNX Runtime {text(there)}, TVM {text(here)}")
    for seen, expected in ((there, right), (here, wrong)):
        assert seen.shape == np.shape(expected) and np.allclose(seen, expected, atol=0.01)


show(
    "ConvTranspose to 4 of 2 ones by 1, 2, 3",
    both(
        "ConvTranspose", np.ones(2, np.float32), ["x", "w"], {"w": [[[1, 2, 3]]]}, 4, strides=[2], output_shape=[4]
    ),
    [2, 4, 2, 3],
    [1, 2, 4, 2, 3],
)
lower = dict(kernel_shape=[2], strides=[2], auto_pad="SAME_LOWER")
show("MaxPool of 1 to 5, stride 2, SAME_LOWER", both("MaxPool", to_five, ["x"], {}, 3, **lower), [1, 3, 5], [2, 4])
show(
    "AveragePool of 1 to 5, stride 2, SAME_LOWER",
    both("AveragePool", to_five, ["x"], {}, 3, **lower),
    [1, 2.5, 4.5],
    [1, 2.5, 4.5],
)
for scale, right, wrong in (
    (0.7, [1.21, 2.64, 4.07], [1.33, 3, 4.67]),
    (0.8, [1.125, 2.375, 3.625, 4.875], [1.125, 2.375, 3.625, 4.875]),
):
    resized = both("Resize", to_five, ["x", "", "s"], {"s": [1, 1, scale]}, len(right), mode="linear")
    show(f"Resize of 1 to 5 by {scale}", resized, right, wrong)
PY
