#!/usr/bin/env bash
# The transformers optimizer of onnxruntime makes every normalization one over the last axis.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, sympy 1.14.0.
# Expected: (x - mean) / deviation over axis 1, or over two axes, is no LayerNormalization over the last
#   one; onnxruntime's session optimizer leaves these alone.
# Seen: optimize_model fuses without looking at the axes of ReduceMean. The scale and bias have the length
#   of the last axis in all cases, and that is enough.
# Output:
#   mean over axes [-1]: 1 nodes, differs by 0.00
#   mean over axes [1]: 1 nodes, differs by 2.25
#   mean over axes [1, 2]: 1 nodes, differs by 1.44
#   mean over axes [0]: 1 nodes, differs by 2.46
# Who is hurt: normalizations over time or channels (time series, speech, mixers) in models optimized as
#   bert; the model stays valid.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 sympy==1.14.0
venv/bin/python - <<'PY'
import logging

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.transformers.optimizer import optimize_model

logging.disable(logging.WARNING)


def run(path):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def compare(axes):
    node = helper.make_node
    constants = {"two": 2, "e": 1e-5, "g": [1] * 4, "b": [0] * 4}
    model = helper.make_model(
        helper.make_graph(
            [
                node("ReduceMean", ["x"], ["m"], axes=axes),
                node("Sub", ["x", "m"], ["d"]),
                node("Pow", ["d", "two"], ["p"]),
                node("ReduceMean", ["p"], ["v"], axes=axes),
                node("Add", ["v", "e"], ["w"]),
                node("Sqrt", ["w"], ["s"]),
                node("Div", ["d", "s"], ["n"]),
                node("Mul", ["n", "g"], ["h"]),
                node("Add", ["h", "b"], ["y"]),
            ],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3, 4])],
            [numpy_helper.from_array(np.array(v, np.float32), k) for k, v in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "float.onnx")
    fused = optimize_model("float.onnx", model_type="bert", num_heads=2, hidden_size=4, opt_level=0)
    fused.save_model_to_file("fused.onnx")
    there, here = run("float.onnx"), run("fused.onnx")
    ops = [n.op_type for n in fused.model.graph.node]
    print(f"mean over axes {axes}: {len(ops)} nodes, differs by {np.abs(there - here).max():.2f}")
    return ops, there, here


x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
ops, right, here = compare([-1])
assert ops == ["LayerNormalization"] and np.allclose(right, here, atol=1e-4)
for axes in ([1], [1, 2], [0]):
    ops, there, here = compare(axes)
    assert ops == ["LayerNormalization"] and np.allclose(here, right, atol=1e-4)
    assert np.abs(there - here).max() > 0.3
PY
