"""TensorFlow through tf2onnx: functions, and the same as TensorFlow Lite files, some of 8 bits"""

import re

import numpy as np
import tensorflow as tf
import tf2onnx
from writing import write

REQUIREMENTS = ["tf2onnx==1.17.0", "tensorflow-cpu==2.21.0", "onnx==1.23.2", "numpy==2.4.6"]
REFUSED = 16
KNOWN = {
    "function-*-gelu": "Erfc, TensorFlow's operator, is left in the file",
    "function-*-l2-loss": "L2Loss, TensorFlow's operator, is left in the file",
    "function-*-special-log1p": "Expm1 and Log1p, TensorFlow's operators, are left in the file",
    "function-*-multiply-no-nan": "MulNoNan, TensorFlow's operator, is left in the file",
    "function-*-complex": "Complex and Real, TensorFlow's operators, are left in the file",
    "function-*-searchsorted": "LowerBound, TensorFlow's operator, is left in the file",
    "function-*-scan": "TensorFlow's operators for lists are left in the file",
    "function-*-truncatemod": "TruncateMod, TensorFlow's operator, is left in the file",
    "lite-*-gelu": "TFL_GELU, TensorFlow Lite's operator, is left in the file",
    "lite-*-special-clip": "TFL_RELU_N1_TO_1, TensorFlow Lite's operator, is left in the file",
    "lite-*-diagonal": "MatrixSetDiag, TensorFlow's operator, is left in the file",
    "*-scatter-nd": "what is written to one place twice is added in TensorFlow, not in ScatterND",
    "lite-*-scatter-update": "additions to one place: ScatterND without reduction, the last counts",
    "lite-*-scan": "the first step's result is not in the list",
    "*-int32-divide": "Div cuts off, // rounds down: findings/tf2onnx-integers.sh",
    "*-int32-floormod": "Div cuts off, // rounds down: findings/tf2onnx-integers.sh",
    "*-special-atan2": "computed of signs, for which -0 is 0: atan2(-0, -inf) is pi, not -pi",
    "onnxruntime:*-special-reduce": "ReduceMax and ReduceMin of ONNX Runtime pass over NaN",
    "specification:*-special-argmax": "ArgMax of NaN: ONNX Runtime and TensorFlow pass over it, "
    "ONNX's reference evaluator takes it for the largest",
    "function-*-special-softmax": "TensorFlow's kernel gives 0 beside NaN, where all is NaN",
    "lite-*-special-sign": "TensorFlow Lite's sign of NaN is 0",
    "lite-*-special-exp": "TensorFlow Lite: exp(NaN) is 0, sqrt(infinity) is NaN",
    "lite-*-special-log1p": "TensorFlow Lite: exp(NaN) is 0",
    "lite-*-special-softplus": "TensorFlow Lite's softplus of NaN is 0",
    "lite-*-special-binary": "TensorFlow Lite's maximum and minimum of x and NaN are x",
    "lite-8bit-attention": "TensorFlow Lite itself: findings/tflite-matmul-zero-point.sh",
}
inf, nan = np.inf, np.nan
rng = np.random.default_rng(0)
x = rng.normal(size=(4, 6)).astype(np.float32)
image = rng.normal(size=(2, 8, 9, 3)).astype(np.float32)
sequence = rng.normal(size=(2, 5, 4)).astype(np.float32)
special = np.array([0.0, -0.0, 0.5, 1.5, -2.5, 2.5, 1e-30, inf, -inf, nan], np.float32)
whole = np.array([-7, 7, -8, 8, 0, 5], np.int32)
by = np.array([3, -3, 3, 5, 2, -2], np.int32)
kernel = rng.normal(size=(3, 3, 3, 4)).astype(np.float32)
weight = rng.normal(size=(6, 3)).astype(np.float32)
M, N = tf.math, tf.nn


def check(number, name, function, *arrays):
    signature = [tf.TensorSpec(a.shape, a.dtype) for a in arrays]
    traced = tf.function(function, input_signature=signature, autograph=True)
    opset = 15 + number % 4

    def to(path):
        tf2onnx.convert.from_function(
            traced, input_signature=signature, opset=opset, output_path=path
        )

    write(
        f"function-{opset}-{name}",
        to,
        list(arrays),
        lambda *xs: [y.numpy() for y in tf.nest.flatten(traced(*map(tf.constant, xs)))],
    )
    check_lite(f"lite-{opset}-{name}", traced, opset, arrays)


def check_lite(name, traced, opset, arrays, calibrate=None):
    """The function as a TensorFlow Lite file; of 8 bits if there are inputs to calibrate with."""
    content = []

    def to(path):
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [traced.get_concrete_function()], traced
        )
        if calibrate:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = calibrate
        try:
            content.append(converter.convert())
        except Exception as error:  # its converter's own refusal, of which one line says why
            reasons = re.findall("error: (.+)", str(error))
            raise RuntimeError(f"TensorFlow Lite: {(reasons or [error])[0]}") from error
        with open("model.tflite", "wb") as target:
            target.write(content[0])
        tf2onnx.convert.from_tflite("model.tflite", opset=opset, output_path=path)

    def answer(*xs):
        interpreter = tf.lite.Interpreter(model_content=content[0])
        interpreter.allocate_tensors()
        for place, value in zip(interpreter.get_input_details(), xs, strict=True):
            interpreter.set_tensor(place["index"], value)
        interpreter.invoke()
        return [interpreter.get_tensor(y["index"]) for y in interpreter.get_output_details()]

    write(name, to, list(arrays), answer)


def countdown(a):
    i = tf.constant(0)
    while tf.reduce_sum(a) > 0.5:
        a = a * 0.5
        i += 1
    return a, i


def choose(a):
    if tf.reduce_sum(a) > 0:
        return a * 2
    return a - 1


CASES = {
    "matmul": (lambda a: tf.matmul(a, weight), x),
    "dense": (lambda a: N.relu(N.bias_add(tf.matmul(a, weight), [0.1, -0.2, 0.3])), x),
    "conv-same": (lambda a: N.conv2d(a, kernel, 2, "SAME"), image),
    "conv-valid": (lambda a: N.conv2d(a, kernel, 1, "VALID", dilations=2), image),
    "conv-explicit": (
        lambda a: N.conv2d(a, kernel, 1, [[0, 0], [1, 2], [0, 1], [0, 0]]),
        image,
    ),
    "depthwise": (lambda a: N.depthwise_conv2d(a, kernel, [1, 1, 1, 1], "SAME"), image),
    "conv-transpose": (
        lambda a: N.conv2d_transpose(a, kernel.transpose(0, 1, 3, 2), [2, 16, 18, 4], 2, "SAME"),
        image,
    ),
    "max-pool": (lambda a: N.max_pool2d(a, 3, 2, "SAME"), image),
    "avg-pool": (lambda a: N.avg_pool2d(a, 3, 2, "SAME"), image),
    "max-pool-argmax": (lambda a: N.max_pool_with_argmax(a, 2, 2, "VALID"), image),
    "batch-norm": (
        lambda a: N.batch_normalization(a, 0.1, np.float32([1, 2, 3]), None, 2.0, 1e-3),
        image,
    ),
    "lrn": (lambda a: N.local_response_normalization(a, 1, 1.0, 0.5), image),
    "depth-to-space": (lambda a: N.depth_to_space(tf.concat([a] * 4, 3), 2), image),
    "space-to-batch": (lambda a: tf.space_to_batch(a, [2, 3], [[0, 0], [0, 0]]), image),
    "resize-nearest": (lambda a: tf.image.resize(a, (5, 13), "nearest"), image),
    "resize-bilinear": (lambda a: tf.image.resize(a, (5, 13)), image),
    "resize-corners": (
        lambda a: tf.compat.v1.image.resize_bilinear(a, (5, 13), align_corners=True),
        image,
    ),
    "crop-and-resize": (
        lambda a: tf.image.crop_and_resize(a, [[0, 0, 1, 1], [0.2, 0.1, 0.9, 0.8]], [0, 1], (4, 5)),
        image,
    ),
    "crop-flip": (lambda a: tf.image.flip_left_right(tf.image.central_crop(a, 0.5)), image),
    "extract-patches": (
        lambda a: tf.image.extract_patches(a, [1, 3, 3, 1], [1, 2, 2, 1], [1, 1, 1, 1], "VALID"),
        image,
    ),
    "softmax": (lambda a: (N.softmax(a), N.log_softmax(a), N.softmax(a, 0)), x),
    "activations": (lambda a: (N.relu6(a), N.elu(a), N.selu(a), N.leaky_relu(a), N.silu(a)), x),
    "gelu": (N.gelu, x),
    "more-activations": (
        lambda a: (N.softplus(a), N.softsign(a), tf.sigmoid(a), tf.tanh(a), N.crelu(a)),
        x,
    ),
    "loss": (lambda a: N.softmax_cross_entropy_with_logits(N.softmax(a, 0), a), x),
    "sparse-loss": (
        lambda a: N.sparse_softmax_cross_entropy_with_logits([0, 5, 2, 1], a),
        x,
    ),
    "l2": (lambda a: (M.l2_normalize(a, 1), tf.norm(a)), x),
    "l2-loss": (N.l2_loss, x),
    "moments": (lambda a: (*N.moments(a, [0]), M.reduce_std(a, 1), M.reduce_logsumexp(a, 1)), x),
    "reductions": (
        lambda a: (tf.reduce_mean(a), tf.reduce_prod(a, 1), tf.argmax(a, 1), tf.reduce_max(a, 0)),
        x,
    ),
    "segment-sum": (
        lambda a: (M.segment_sum(a, [0, 0, 1, 2]), M.unsorted_segment_max(a, [2, 0, 2, 1], 3)),
        x,
    ),
    "cumulative": (
        lambda a: (tf.cumsum(a, 1, exclusive=True), tf.cumsum(a, 0, reverse=True)),
        x,
    ),
    "cumprod": (lambda a: M.cumprod(a, 1), x),
    "top-k": (lambda a: M.top_k(a, 3), x),
    "sort": (lambda a: (tf.sort(a, 1), tf.argsort(a, 1, "DESCENDING")), x),
    "einsum": (lambda a: (tf.einsum("ij,kj->ik", a, a), tf.einsum("ij->j", a)), x),
    "gather": (lambda a: (tf.gather(a, [3, 0]), tf.gather(a, [1], axis=1)), x),
    "gather-nd": (lambda a: (tf.gather_nd(a, [[0, 5], [3, 1]]), tf.gather_nd(a, [[2]])), x),
    "scatter-nd": (lambda a: tf.scatter_nd([[4], [1], [1], [0]], a, (5, 6)), x),
    "scatter-update": (
        lambda a: (
            tf.tensor_scatter_nd_update(a, [[0, 1], [3, 5]], [9.0, 8.0]),
            tf.tensor_scatter_nd_add(a, [[1], [1]], tf.ones((2, 6))),
        ),
        x,
    ),
    "slices": (lambda a: (a[::-1, 1:-1:2], a[..., 0], a[tf.newaxis, 1:3], tf.reverse(a, [1])), x),
    "boolean-mask": (lambda a: (tf.boolean_mask(a, a > 0), tf.where(a > 0)), x),
    "where": (lambda a: tf.where(a > 0, a, a * 0.1), x),
    "pads": (
        lambda a: (
            tf.pad(a, [[1, 2], [0, 1]], constant_values=7.0),
            tf.pad(a, [[1, 2], [3, 0]], "REFLECT"),
            tf.pad(a, [[1, 2], [3, 0]], "SYMMETRIC"),
        ),
        x,
    ),
    "shapes": (
        lambda a: (
            tf.tile(a, [2, 1]),
            tf.roll(a, 2, 1),
            tf.reshape(a, [-1, 3]),
            tf.stack(tf.unstack(a, axis=1)),
            tf.shape(a),
        ),
        x,
    ),
    "splits": (lambda a: (*tf.split(a, [1, 3, 2], 1), *tf.split(a, 2)), x),
    "band-part": (lambda a: (tf.linalg.band_part(a, 1, 0), tf.linalg.diag_part(a[:, :4])), x),
    "diagonal": (lambda a: (tf.linalg.diag(a), tf.linalg.set_diag(a, [1.0, 2, 3, 4])), x),
    "one-hot": (lambda a: tf.one_hot(tf.argmax(a, 1), 6, 5.0, -1.0), x),
    "unique": (lambda a: tf.unique(tf.cast(tf.reshape(a, [-1]), tf.int32)), x),
    "searchsorted": (lambda a: tf.searchsorted(tf.sort(a, 1), a), x),
    "casts": (lambda a: (tf.cast(a * 3, tf.int32), tf.cast(a, tf.bool), tf.cast(a, tf.float64)), x),
    "half": (lambda a: tf.cast(N.softmax(tf.cast(a, tf.float16)), tf.float32), x),
    "fake-quant": (lambda a: tf.quantization.fake_quant_with_min_max_args(a, -1, 2), x),
    "fft": (lambda a: tf.abs(tf.signal.rfft(a, [8])), x),
    "complex": (lambda a: M.real(tf.complex(a, a) * tf.complex(a, -a)), x),
    "matrix": (lambda a: (tf.linalg.matmul(a, a, transpose_b=True), tf.linalg.trace(a[:, :4])), x),
    "while": (countdown, np.abs(x)),
    "if": (choose, x),
    "scan": (lambda a: tf.scan(lambda s, row: s * 0.5 + row, a), x),
    "map": (lambda a: tf.map_fn(lambda row: row / tf.norm(row), a), x),
    "ranges": (lambda a: tf.zeros_like(a) + tf.range(6, dtype=tf.float32), x),
    "attention": (
        lambda a: tf.matmul(N.softmax(tf.matmul(a, a, transpose_b=True) / 2), a),
        sequence,
    ),
    "conv1d": (lambda a: N.conv1d(a, np.ones((3, 4, 2), np.float32), 1, "SAME"), sequence),
    "reverse-sequence": (lambda a: tf.reverse_sequence(a, [3, 5], seq_axis=1), sequence),
    "sequence-mask": (
        lambda a: a * tf.cast(tf.sequence_mask([3, 5])[..., None], a.dtype),
        sequence,
    ),
    "special-round": (lambda a: (tf.round(a), M.rint(a), tf.floor(a)), special),
    "special-sign": (tf.sign, special),
    "special-exp": (lambda a: (tf.exp(a), tf.tanh(a), tf.sigmoid(a), tf.sqrt(a)), special),
    "special-erf": (lambda a: (M.erf(a), M.rsqrt(a)), special),
    "special-log1p": (lambda a: (M.log1p(tf.abs(a)), M.expm1(a)), special),
    "special-relu": (lambda a: (N.relu(a), N.relu6(a)), special),
    "special-clip": (lambda a: tf.clip_by_value(a, -1, 1), special),
    "special-leaky": (lambda a: (N.leaky_relu(a), N.elu(a), N.softsign(a)), special),
    "special-softplus": (N.softplus, special),
    "special-tests": (lambda a: (M.is_nan(a), M.is_inf(a), M.is_finite(a)), special),
    "special-reduce": (lambda a: (tf.reduce_max(a), tf.reduce_min(a)), special),
    "special-argmax": (tf.argmax, special),
    "special-softmax": (N.softmax, special),
    "special-binary": (lambda a: (tf.maximum(a, a[::-1]), tf.minimum(a, a[::-1])), special),
    "divide-no-nan": (lambda a: M.divide_no_nan(a, a[::-1]), special),
    "multiply-no-nan": (lambda a: M.multiply_no_nan(a, a[::-1]), special),
    "special-atan2": (lambda a: M.atan2(a, a[::-1]), special),
    "special-pow": (
        lambda a: (tf.pow(a, 2.0), tf.square(a), M.squared_difference(a, 1.0)),
        special,
    ),
    "special-trigonometry": (lambda a: (tf.sin(a), tf.atan(a), tf.sinh(a), tf.asinh(a)), special),
    "int32": (lambda a, b: (a + b, a * b, a - b, tf.abs(a), tf.negative(a), tf.sign(a)), whole, by),
    "int32-divide": (lambda a, b: (a // b, tf.truncatediv(a, b)), whole, by),
    "int32-quotient": (lambda a, b: a / b, whole, by),
    "int32-floormod": (lambda a, b: a % b, whole, by),
    "int32-truncatemod": (tf.truncatemod, whole, by),
    "int32-compare": (lambda a, b: (a < b, tf.equal(a, b), tf.maximum(a, b)), whole, by),
    "int32-bitwise": (
        lambda a, b: (tf.bitwise.bitwise_and(a, b), tf.bitwise.bitwise_xor(a, b)),
        whole,
        by,
    ),
    "int32-shift": (
        lambda a, b: (tf.bitwise.left_shift(a, M.abs(b)), tf.bitwise.right_shift(a, M.abs(b))),
        whole,
        by,
    ),
    "int32-pow": (lambda a, b: (tf.pow(a, 3), tf.square(b)), whole, by),
    "float-divide": (lambda a, b: (a // b, a % b), x * 3, x[::-1]),
    "float-truncatemod": (tf.truncatemod, x * 3, x[::-1]),
    "logical": (
        lambda a, b: (
            tf.logical_and(a > 0, b > 0),
            M.logical_xor(a > 0, b > 0),
            tf.reduce_any(a > b, 1),
        ),
        x,
        x[::-1],
    ),
    "select": (lambda a, b: tf.where(a > b, a, 0.0), x, x[::-1]),
}
for number, (name, (function, *arrays)) in enumerate(CASES.items()):
    check(number, name, function, *arrays)
for name in (
    "dense conv-same conv-valid depthwise max-pool avg-pool softmax activations attention "
    "resize-bilinear"
).split():
    function, array = CASES[name][:2]
    traced = tf.function(function, input_signature=[tf.TensorSpec(array.shape, array.dtype)])
    check_lite(f"lite-8bit-{name}", traced, 18, [array], lambda array=array: ([array],))
