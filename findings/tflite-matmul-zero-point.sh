#!/usr/bin/env bash
# TensorFlow Lite's 8-bit product of two inputs ignores the zero point of the second.
#
# Packages: tensorflow-cpu 2.21.0, numpy 2.4.6.
# Expected: x @ y of a fully quantized file is off by a step or two of 8 bits, whichever kernels run it.
# Seen: without delegates it is. As the interpreter runs it by default, by XNNPACK, y's zero point counts
#   as 0: x times the identity isn't x. Where y's zero point is near 0 (numbers that lie evenly around
#   zero), the answer is nearly right, which hides it. Constant weights have no zero point, and are right.
# Output (on an x86-64 CPU with AVX-512):
#   y = [[1, 0], [0, 1]]  , zero point -128: x @ y [[1.0, 2.0], [3.0, 4.0]], plain kernels [[1.0, 2.0], [3.0, 4.0]], default [[0.0, 0.5], [0.0, 0.5]]
#   y = [[1, -1], [-1, 1]], zero point   -1: x @ y [[-1.0, 1.0], [-1.0, 1.0]], plain kernels [[-1.0, 1.0], [-1.0, 1.0]], default [[-1.0, 1.0], [-1.0, 0.9]]
# Who is hurt: attention, whose second operand is computed: an 8-bit transformer on a CPU.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check tensorflow-cpu==2.21.0 numpy==2.4.6
CUDA_VISIBLE_DEVICES=-1 TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python - <<'PY' 2>errors.txt || { cat errors.txt; exit 1; }
import numpy as np
import tensorflow as tf

Kernels = tf.lite.experimental.OpResolverType


def quantized(x, y):
    """x @ y as a file of 8 bits, calibrated with these very numbers."""
    spec = [tf.TensorSpec(a.shape, tf.float32) for a in (x, y)]
    product = tf.function(tf.matmul, input_signature=spec)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [product.get_concrete_function()], product)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: iter([[x, y]])
    return converter.convert()


def run(file, x, y, kernels):
    interpreter = tf.lite.Interpreter(model_content=file, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    for place, array in zip(interpreter.get_input_details(), (x, y)):
        interpreter.set_tensor(place["index"], array)
    interpreter.invoke()
    zero_point = interpreter.get_tensor_details()[3]["quantization"][1]
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]), zero_point


x = np.array([[1, 2], [3, 4]], np.float32)
for y in ([[1, 0], [0, 1]], [[1, -1], [-1, 1]]):
    text = f"{y!s:17}"
    y = np.array(y, np.float32)
    file = quantized(x, y)
    plain, zero_point = run(file, x, y, Kernels.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    default, _ = run(file, x, y, Kernels.AUTO)
    say = [[[float(f"{v:.1f}") for v in row] for row in a] for a in (x @ y, plain, default)]
    print(f"y = {text}, zero point {zero_point:4}: x @ y {say[0]}, plain kernels {say[1]}, default {say[2]}")
    assert np.abs(plain - x @ y).max() < 0.1
    wrong = np.abs(default - x @ y).max()
    assert wrong > 3 if zero_point == -128 else wrong < 0.2
PY
