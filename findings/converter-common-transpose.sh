#!/usr/bin/env bash
# onnxconverter-common's optimizer drops a Transpose that doesn't say perm.
#
# Packages: onnxconverter-common 1.16.0, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: without perm the axes are reversed; only perm = 0, 1, 2, … does nothing.
# Seen: the missing attribute counts as one that changes nothing, and the node is gone, with numbers in other places, or
#   another shape. With perm=[1, 0], which means the same, all is right.
# Output:
#   Neg of Transpose of 2 x 3: shape (3, 2), optimized (2, 3) by ['Neg']
#   Transpose of 2 x 2, times [[1, 2], [3, 4]]: [[6, 8], [10, 14]], optimized [[3, 4], [11, 16]] by ['MatMul']
#   Neg of Transpose of 2 x 3, perm=[1, 0]: shape (3, 2), optimized (3, 2) by ['Transpose', 'Neg']
#   Transpose of 2 x 2, perm=[1, 0], times [[1, 2], [3, 4]]: [[6, 8], [10, 14]], optimized [[6, 8], [10, 14]] by ['Transpose', 'MatMul']
# Who is hurt: hand-written graphs and exporters that leave perm out because it is the default.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnxconverter-common==1.16.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxconverter_common.optimizer import optimize_onnx_model


def run(model, x):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def both(x, kind, rest, perm):
    """Before and after: kind's output for the transposed x and the constant rest, and the operators after."""
    constants = {} if rest is None else {"w": np.array(rest, np.float32)}
    attributes = {} if perm is None else {"perm": perm}
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Transpose", ["x"], ["t"], **attributes),
                helper.make_node(kind, ["t", *constants], ["y"]),
            ],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", "columns"])],
            [numpy_helper.from_array(v, n) for n, v in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    there = run(model, x)
    changed = optimize_onnx_model(model)
    return there, run(changed, x), [n.op_type for n in changed.graph.node]


def whole(a):
    return a.astype(int).tolist()


oblong, square = np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(4, dtype=np.float32).reshape(2, 2)
factor = [[1, 2], [3, 4]]
for perm in (None, [1, 0]):
    text = "" if perm is None else f", perm={perm}"
    there, here, kinds = both(oblong, "Neg", None, perm)
    print(f"Neg of Transpose of 2 x 3{text}: shape {there.shape}, optimized {here.shape} by {kinds}")
    assert there.shape == (3, 2) and here.shape == ((2, 3) if perm is None else (3, 2))
    there, here, kinds = both(square, "MatMul", factor, perm)
    comma = text + "," if text else ","
    print(f"Transpose of 2 x 2{comma} times {factor}: {whole(there)}, optimized {whole(here)} by {kinds}")
    assert np.array_equal(there, square.T @ factor)
    assert np.array_equal(here, (square if perm is None else square.T) @ factor)
PY
