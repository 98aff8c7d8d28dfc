#!/usr/bin/env bash
# NNCF's 4-bit weights below opset 21: alpha, beta and transA of Gemm are gone, and so is the order of a MatMul.
#
# Packages: nncf 3.4.0, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: the same answers up to 4 bits; these weights are 0 and 7, which 4 bits hold exactly.
# Seen: the node becomes a MatMulNBits of its other input, weights and bias, whatever its attributes and whichever side the
#   weights were on. With square weights nothing complains. From opset 21 on DequantizeLinear is used, which is right.
# Output (x = 1 to 1024 in 32 rows, weights that move everything by one column or row, b = 1000; the first three of y):
#   MatMul(x, w): [224, 7, 14], opset 17 [224, 7, 14], opset 21 [224, 7, 14]
#   MatMul(w, x): [231, 238, 245], opset 17 [224, 7, 14], opset 21 [231, 238, 245]
#   Gemm(x, w, b): [1224, 1007, 1014], opset 17 [1224, 1007, 1014], opset 21 [1224, 1007, 1014]
#   Gemm(x, w, b), alpha=2: [1448, 1014, 1028], opset 17 [1224, 1007, 1014], opset 21 [1448, 1014, 1028]
#   Gemm(x, w, b), beta=0.5: [724, 507, 514], opset 17 [1224, 1007, 1014], opset 21 [724, 507, 514]
#   Gemm(x, w, b), transA=1: [7951, 1007, 1231], opset 17 [1224, 1007, 1014], opset 21 [7951, 1007, 1231]
# Who is hurt: models compressed to INT4 whose files say opset 20 or less, if they scale in a Gemm or have weights on the
#   left.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    nncf==3.4.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import io
import logging
from contextlib import redirect_stdout

import nncf
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

logging.disable(logging.WARNING)
x = np.arange(1, 1025, dtype=np.float32).reshape(32, 32)
w = np.roll(7 * np.eye(32, dtype=np.float32), 1, axis=1)
b = np.full(32, 1000, np.float32)


def run(model):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def both(kind, names, opset, **attributes):
    held = {"w": w, "b": b}
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node(kind, names, ["y"], name="product", **attributes)],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [32, 32])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [32, 32])],
            [numpy_helper.from_array(held[n], n) for n in names if n in held],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=10,
    )
    onnx.checker.check_model(model, full_check=True)
    there = run(model)
    with redirect_stdout(io.StringIO()):
        mode = nncf.CompressWeightsMode.INT4_SYM
        smaller = nncf.compress_weights(model, mode=mode, group_size=16, all_layers=True)
    kinds = [n.op_type for n in smaller.graph.node]
    assert kinds == (["MatMulNBits"] if opset < 21 else ["DequantizeLinear", kind])
    return there, run(smaller)


def start(y):
    return np.round(y[0, :3]).astype(int).tolist()


plain = {"MatMul": x @ w, "Gemm": x @ w + b}
for text, kind, names, attributes, right in (
    ("MatMul(x, w)", "MatMul", ["x", "w"], {}, x @ w),
    ("MatMul(w, x)", "MatMul", ["w", "x"], {}, w @ x),
    ("Gemm(x, w, b)", "Gemm", ["x", "w", "b"], {}, x @ w + b),
    ("Gemm(x, w, b), alpha=2", "Gemm", ["x", "w", "b"], {"alpha": 2.0}, 2 * x @ w + b),
    ("Gemm(x, w, b), beta=0.5", "Gemm", ["x", "w", "b"], {"beta": 0.5}, x @ w + b / 2),
    ("Gemm(x, w, b), transA=1", "Gemm", ["x", "w", "b"], {"transA": 1}, x.T @ w + b),
):
    there, seventeen = both(kind, names, 17, **attributes)
    there_too, twenty_one = both(kind, names, 21, **attributes)
    print(f"{text}: {start(there)}, opset 17 {start(seventeen)}, opset 21 {start(twenty_one)}")
    assert np.allclose(there, right) and np.allclose(there_too, right) and np.allclose(twenty_one, right)
    assert np.allclose(seventeen, plain[kind])
PY
