#!/usr/bin/env bash
# tf2onnx makes a sum of products of tf.where: what the mask left out comes back as NaN.
#
# Packages: tensorflow 2.21.0, tf2onnx 1.17.0, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: Where, which ONNX has since opset 9 and which never looks at what isn't chosen.
# Seen: Cast of the mask times one plus Cast of its opposite times the other, in opset 17: 0 times NaN is NaN, and so is
#   0 times infinity. Every tf.where that was tried goes this way.
# Output:
#   where(isfinite(x), x, 0): TensorFlow [1.0, 0.0, 0.0, 0.0], ONNX [1.0, nan, nan, 0.0] by Mul, Mul, Add
#   where(isfinite(x), x, y): TensorFlow [1.0, 0.0, 0.0, 0.0], ONNX [1.0, nan, nan, 0.0] by Mul, Mul, Add
#   where(x > 0, log(x), 0): TensorFlow [0.0, 0.0, 0.0], ONNX [0.0, nan, nan] by Mul, Mul, Add
# Who is hurt: models that replace missing values, and guards such as tf.where(x > 0, tf.math.log(x), 0.0).
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    tensorflow==2.21.0 tf2onnx==1.17.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python - <<'PY' 2>/dev/null
import numpy as np
import onnxruntime as ort
import tensorflow as tf
import tf2onnx


def both(function, *inputs):
    """TensorFlow's answer, ONNX Runtime's, and the operators of the converted model."""
    signature = [tf.TensorSpec(v.shape, v.dtype) for v in inputs]
    function = tf.function(function, input_signature=signature)
    model, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=17)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {i.name: v for i, v in zip(session.get_inputs(), inputs)}
    return function(*inputs).numpy(), session.run(None, feeds)[0], [n.op_type for n in model.graph.node]


x = np.array([1.0, np.nan, np.inf, 0.0], np.float32)
mask, zeros = np.isfinite(x), np.zeros(4, np.float32)
logarithms = np.array([1, 0, -1], np.float32)
for text, function, inputs, right, wrong in (
    ("isfinite(x), x, 0", lambda m, x: tf.where(m, x, 0.0), (mask, x), [1, 0, 0, 0], [1, np.nan, np.nan, 0]),
    ("isfinite(x), x, y", lambda m, x, y: tf.where(m, x, y), (mask, x, zeros), [1, 0, 0, 0], [1, np.nan, np.nan, 0]),
    (
        "x > 0, log(x), 0", lambda x: tf.where(x > 0, tf.math.log(x), 0.0), (logarithms,),
        [0, 0, 0], [0, np.nan, np.nan],
    ),
):
    there, here, operators = both(function, *inputs)
    operators = [o for o in operators if o in ("Where", "Mul", "Add")]
    print(f"where({text}): TensorFlow {there.tolist()}, ONNX {here.tolist()} by {', '.join(operators)}")
    assert np.array_equal(there, right) and np.array_equal(here, wrong, equal_nan=True)
PY
