#!/usr/bin/env bash
# onnxruntime's symbolic shape inference states wrong shapes for valid models.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, sympy 1.14.0.
# Expected: a shape is either right or unknown. The tool runs before quantization (quant_pre_process) and
#   in the transformers optimizer.
# Seen: Split's uneven last part is as long as the first; Reshape with allowzero copies; Resize reads its
#   sizes without axes and policy; Einsum puts the ellipsis first; division of a negative number rounds
#   down, where ONNX rounds to zero. No warning.
# Output:
#   last of Split of 6 in 3: [2, 4], inferred [2, 4]
#   last of Split of 7 in 3: [1, 4], inferred [2, 4]
#   Reshape (0, 4) to (4, 0), allowzero: [4, 0], inferred [4, 4]
#   Resize to (10, 9), not_larger: [1, 1, 6, 9], inferred [10, 9]
#   Einsum ...b->b...: [4, 2, 3], inferred [2, 3, 4]
#   10 + 7 // -2: [7], inferred [6]
# Who is hurt: models prepared with it carry the wrong shapes in value_info and outputs, which other tools
#   believe.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 sympy==1.14.0
venv/bin/python - <<'PY'
import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference


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
    inferred = SymbolicShapeInference.infer_shapes(model).graph.output[0].type.tensor_type.shape
    here = [d.dim_value for d in inferred.dim]
    print(f"{text}: {there}, inferred {here}")
    return there, here


image = [1, 1, 5, 7]
sizes = {"keep_aspect_ratio_policy": "not_larger", "axes": [2, 3]}
there, here = compare("last of Split of 6 in 3", [("Split", ["x"], ["a", "b", "y"], {"num_outputs": 3})], [6, 4])
assert there == here
for there, here in (
    compare("last of Split of 7 in 3", [("Split", ["x"], ["a", "b", "y"], {"num_outputs": 3})], [7, 4]),
    compare("Reshape (0, 4) to (4, 0), allowzero", [("Reshape", ["x", "k"], ["y"], {"allowzero": 1})], [0, 4], k=[4, 0]),
    compare("Resize to (10, 9), not_larger", [("Resize", ["x", "", "", "z"], ["y"], sizes)], image, z=[10, 9]),
    compare("Einsum ...b->b...", [("Einsum", ["x"], ["y"], {"equation": "...b->b..."})], [2, 3, 4]),
    compare(
        "10 + 7 // -2",
        [
            ("Shape", ["x"], ["s"], {}),
            ("Div", ["s", "k"], ["d"], {}),
            ("Add", ["d", "ten"], ["n"], {}),
            ("ConstantOfShape", ["n"], ["y"], {}),
        ],
        [7],
        k=[-2],
        ten=[10],
    ),
):
    assert there != here
PY
