#!/usr/bin/env bash
# onnxsim folds a factor of five dimensions into a Conv, and a dimension of the answer is gone.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, onnxsim 0.8.1.
# Expected: (2, 3, 4, 4) times (1, 1, 3, 1, 1) is (1, 2, 3, 4, 4): either that is kept, or the Mul stays.
# Seen: the factor is folded as one of the channels; the answer has four dimensions, the model still
#   declares five. simplify says that its check passed; ONNX Runtime warns and goes on.
# Output:
#   factor [3, 1, 1]: [2, 3, 4, 4], simplified [2, 3, 4, 4], declared [2, 3, 4, 4], check True
#   factor [1, 1, 3, 1, 1]: [1, 2, 3, 4, 4], simplified [2, 3, 4, 4], declared [1, 2, 3, 4, 4], check True
# Who is hurt: whoever indexes what follows: y[0] is one image where it was all of them.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 onnxsim==0.8.1
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
import onnxsim
from onnx import TensorProto, helper, numpy_helper


def shape(model):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": np.ones((2, 3, 4, 4), np.float32)})[0].shape)


def compare(factor):
    result = np.broadcast_shapes((2, 3, 4, 4), factor)
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Conv", ["x", "w"], ["t"]), helper.make_node("Mul", ["t", "k"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 4, 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, result)],
            [
                numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "w"),
                numpy_helper.from_array(np.full(factor, 2, np.float32), "k"),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    smaller, same = onnxsim.simplify(model)
    there, here = shape(model), shape(smaller)
    declared = [d.dim_value for d in smaller.graph.output[0].type.tensor_type.shape.dim]
    print(f"factor {list(factor)}: {there}, simplified {here}, declared {declared}, check {same}")
    return there, here, declared


assert compare((3, 1, 1))[:2] == ([2, 3, 4, 4],) * 2
there, here, declared = compare((1, 1, 3, 1, 1))
assert there == [1, 2, 3, 4, 4] and here == [2, 3, 4, 4]
PY
