"""PaddlePaddle through paddle2onnx: layers and functions"""

import os
import re
import signal

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from writing import flat, refuse, write

REQUIREMENTS = [
    "paddle2onnx==2.1.0",
    "paddlepaddle==3.3.1",
    "onnx==1.17.0",
    "packaging==26.4",
    "requests==2.34.2",
    "numpy==2.4.6",
]
REFUSED = 8
KNOWN = {
    "float-floor-divide": "the floor of a rounded quotient: 3, where Paddle gives 2",
    "gelu-tanh": "approximate=True is left out",
    "hardtanh": "the bounds are left out: findings/paddle2onnx-lost-arguments.sh",
    "int??-floor-divide": "divided as float32, which rounds 2**31 - 1",
    "int??-sum": "the sum of all numbers gets the shape (1,)",
    "mean": "the sum of all numbers gets the shape (1,)",
    "lstm": "the states of the last layer alone: findings/paddle2onnx-lost-arguments.sh",
    "norms": "the norm of a matrix is one for each row: findings/paddle2onnx-lost-arguments.sh",
    "rnn": "nodes read values that are nowhere in the file",
    "specification:special-argmax": "ArgMax of NaN: ONNX Runtime and Paddle pass over it, "
    "ONNX's reference evaluator takes it for the largest",
    "special-leaky": "a slope that nobody wrote: findings/paddle2onnx-leaky-slope.sh",
    "onnxruntime:special-max": "ReduceMax of NaN: ONNX Runtime passes over it",
    "special-relu": "Paddle's relu of NaN is 0",
    "special-sqrt": "Paddle's sqrt of infinity is NaN",
}
SECONDS = 120
paddle.seed(0)
rng = np.random.default_rng(0)
x = rng.normal(size=(3, 5)).astype(np.float32)
image = rng.normal(size=(2, 4, 9, 10)).astype(np.float32)
sequence = rng.normal(size=(2, 6, 5)).astype(np.float32)
special = np.array([[0.0, -0.0, 0.5, 1.5, -2.5, 2.5, np.inf, -np.inf, np.nan]], np.float32)
whole = np.array([-7, 7, -8, 8, 2**31 - 1], np.int32)
by = np.array([3, -3, 3, 5, 2], np.int32)


class Of(nn.Layer):
    """A function of one array as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class OfTwo(Of):
    def forward(self, x, y):
        return self.function(x, y)


def of(function, kind=Of):
    """What makes a layer of a function."""
    return lambda: kind(function)


def check(name, make, *arrays):
    """Write a case in a process of its own: what paddle2onnx can't convert ends or stops it.

    The layer, which ``make`` makes, is made there, too: a process that has computed has threads,
    which a fork doesn't take along.
    """
    child = os.fork()
    if not child:
        signal.alarm(SECONDS)
        with open("exporters.log", "ab", buffering=0) as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        convert(name, make(), arrays)
        os._exit(0)
    start = os.path.getsize("exporters.log") if os.path.exists("exporters.log") else 0
    status = os.waitpid(child, 0)[1]
    if status:
        with open("exporters.log", errors="replace") as log:
            log.seek(start)
            refuse(name, reason(log.read(), os.waitstatus_to_exitcode(status)))


def reason(said, code):
    """What paddle2onnx said before it ended the process."""
    if code == -signal.SIGALRM:
        return f"paddle2onnx doesn't end within {SECONDS} seconds"
    errors = re.findall(r"\[ERROR\]\s*(.+)|(Oops.+)", re.sub(r"\x1b\[[0-9;]*m", "", said))
    return f"paddle2onnx ends the process: {max(errors[0]) if errors else code}"


def convert(name, layer, arrays):
    layer.eval()

    def to(path):
        spec = [paddle.static.InputSpec(a.shape, str(a.dtype)) for a in arrays]
        paddle.onnx.export(layer, path.removesuffix(".onnx"), spec, opset_version=17)
        if not os.path.exists(path):
            raise RuntimeError("paddle2onnx writes no file")

    def answer(*xs):
        results = layer(*map(paddle.to_tensor, xs))
        return [y.numpy() for y in flat(results)]

    write(name, to, list(arrays), answer)


for name, layer in {
    "conv": lambda: nn.Conv2D(4, 6, 3, 2, 1),
    "conv-groups": lambda: nn.Conv2D(4, 8, 3, groups=2, dilation=2),
    "conv-transpose": lambda: nn.Conv2DTranspose(4, 3, 3, 2, 1, output_padding=1),
    "batch-norm": lambda: nn.BatchNorm2D(4),
    "group-norm": lambda: nn.GroupNorm(2, 4),
    "instance-norm": lambda: nn.InstanceNorm2D(4),
    "max-pool": lambda: nn.MaxPool2D(3, 2, 1, ceil_mode=True),
    "avg-pool": lambda: nn.AvgPool2D(3, 2, 1, exclusive=False),
    "avg-pool-exclusive": lambda: nn.AvgPool2D(3, 2, 1, ceil_mode=True),
    "adaptive-avg": lambda: nn.AdaptiveAvgPool2D((3, 5)),
    "adaptive-max": lambda: nn.AdaptiveMaxPool2D((3, 5)),
    "pixel-shuffle": lambda: nn.PixelShuffle(2),
    "up-nearest": lambda: nn.Upsample(scale_factor=1.5, mode="nearest"),
    "up-bilinear": lambda: nn.Upsample(size=[13, 7], mode="bilinear"),
    "up-corners": lambda: nn.Upsample(size=[13, 7], mode="bilinear", align_corners=True),
    "up-bicubic": lambda: nn.Upsample(size=[13, 7], mode="bicubic"),
    "pad-reflect": lambda: nn.Pad2D([1, 2, 3, 0], mode="reflect"),
    "pad-circular": lambda: nn.Pad2D([1, 2, 3, 0], mode="circular"),
    "unfold": lambda: nn.Unfold(3, 2, 1),
    "prelu": lambda: nn.PReLU(4),
    "dropout": lambda: nn.Dropout2D(0.5),
}.items():
    check(name, layer, image)
for name, function in {
    "mean": lambda a: (a.mean([1, 3]), a.max(2), a.sum(), a.prod(1)),
    "grid-sample": lambda a: F.grid_sample(
        a, a[:, :2, :, :2].tanh().transpose([0, 2, 3, 1]), align_corners=False
    ),
}.items():
    check(name, of(function), image)
for name, layer in {
    "layer-norm": lambda: nn.LayerNorm(5),
    "lstm": lambda: nn.LSTM(5, 4, 2),
    "lstm-both": lambda: nn.LSTM(5, 4, direction="bidirect"),
    "gru": lambda: nn.GRU(5, 4),
    "rnn": lambda: nn.SimpleRNN(5, 4),
    "attention": lambda: nn.MultiHeadAttention(5, 1),
    "encoder": lambda: nn.TransformerEncoderLayer(5, 1, 8),
    "encoder-gelu": lambda: nn.TransformerEncoderLayer(
        5, 1, 8, activation="gelu", normalize_before=True
    ),
}.items():
    check(name, layer, sequence)
for name, layer in {
    "linear": lambda: nn.Linear(5, 3),
    "gelu": lambda: nn.GELU(),
    "gelu-tanh": lambda: nn.GELU(True),
    "swish": lambda: nn.Swish(),
    "mish": lambda: nn.Mish(),
    "hardswish": lambda: nn.Hardswish(),
    "hardsigmoid": lambda: nn.Hardsigmoid(),
    "softplus-beta": lambda: nn.Softplus(beta=2, threshold=1),
    "selu": lambda: nn.SELU(),
    "elu": lambda: nn.ELU(0.5),
    "celu": lambda: nn.CELU(0.5),
    "thresholded": lambda: nn.ThresholdedReLU(0.5),
    "softshrink": lambda: nn.Softshrink(0.3),
    "hardshrink": lambda: nn.Hardshrink(0.3),
    "tanhshrink": lambda: nn.Tanhshrink(),
    "hardtanh": lambda: nn.Hardtanh(-0.5, 0.7),
    "log-softmax": lambda: nn.LogSoftmax(0),
    "softmax-axis": lambda: nn.Softmax(0),
}.items():
    check(name, layer, x)
for name, function in {
    "hardsigmoid-slope": lambda a: F.hardsigmoid(a, 0.3, 0.4),
    "topk": lambda a: paddle.topk(a, 2, axis=1),
    "topk-smallest": lambda a: paddle.topk(a, 2, axis=0, largest=False),
    "sort": lambda a: (paddle.sort(a, 1, descending=True), paddle.argsort(a, 0)),
    "cumsum": lambda a: (paddle.cumsum(a, 1), paddle.cumsum(a)),
    "norms": lambda a: (paddle.norm(a, 2), paddle.norm(a, 1, 1), paddle.logsumexp(a, 1)),
    "std": lambda a: (a.std(1), a.var(0)),
    "clip": lambda a: paddle.clip(a, -0.5, 0.5),
    "slices": lambda a: (a[::-1, 1:4:2], a[-1], a[:, :-1]),
    "gather": lambda a: (
        paddle.gather(a, paddle.to_tensor([0, 2]), 0),
        paddle.index_select(a, paddle.to_tensor([4, 1]), 1),
    ),
    "gather-nd": lambda a: paddle.gather_nd(a, paddle.to_tensor([[0, 4], [2, 1]])),
    "scatter": lambda a: paddle.scatter(a, paddle.to_tensor([2, 0]), paddle.ones([2, 5])),
    "scatter-add": lambda a: paddle.scatter(
        a, paddle.to_tensor([2, 2]), paddle.ones([2, 5]), overwrite=False
    ),
    "scatter-nd-add": lambda a: paddle.scatter_nd_add(
        a, paddle.to_tensor([[1], [1]]), paddle.ones([2, 5])
    ),
    "where": lambda a: paddle.where(a > 0, a, a * 0.1),
    "nonzero": lambda a: paddle.nonzero(a > 0),
    "mask": lambda a: paddle.masked_select(a, a > 0),
    "one-hot": lambda a: F.one_hot(paddle.argmax(a, 1), 5),
    "einsum": lambda a: paddle.einsum("ij,kj->ik", a, a),
    "matmul": lambda a: paddle.matmul(a, a, transpose_y=True),
    "tril": lambda a: (paddle.tril(a, -1), paddle.triu(a, 1)),
    "roll-flip": lambda a: (paddle.roll(a, 2, 1), paddle.flip(a, [0])),
    "tile-expand": lambda a: (paddle.tile(a, [2, 1]), paddle.expand(a, [2, 3, 5])),
    "split-stack": lambda a: (*paddle.split(a, [2, -1], 1), paddle.stack([a, a], 1)),
    "cast": lambda a: ((a * 3).astype("int32"), a.astype("bool"), a.astype("float64")),
    "label-smooth": lambda a: F.label_smooth(a),
    "cosine": lambda a: F.cosine_similarity(a, a.flip(0)),
    "normalize": lambda a: F.normalize(a, axis=0),
    "loss": lambda a: F.cross_entropy(a, paddle.to_tensor([0, 4, 1])),
    "mse": lambda a: F.mse_loss(a, a * 2),
    "embedding": lambda a: F.embedding(paddle.argmax(a, 1), paddle.eye(5)),
    "pow": lambda a: (
        a**2,
        paddle.pow(a.abs(), 0.5),
        paddle.rsqrt(a.abs()),
        paddle.erf(a),
        paddle.log1p(a.abs()),
    ),
}.items():
    check(name, of(function), x)
for name, function in {
    "round": paddle.round,
    "floor": paddle.floor,
    "sign": paddle.sign,
    "trunc": paddle.trunc,
    "relu": F.relu,
    "relu6": F.relu6,
    "leaky": F.leaky_relu,
    "clip": lambda a: paddle.clip(a, -1, 1),
    "isnan": paddle.isnan,
    "isinf": paddle.isinf,
    "isfinite": paddle.isfinite,
    "exp": paddle.exp,
    "tanh": paddle.tanh,
    "max": lambda a: a.max(1),
    "argmax": lambda a: paddle.argmax(a, 1),
    "sigmoid": F.sigmoid,
    "sqrt": lambda a: paddle.sqrt(paddle.abs(a)),
    "softmax": F.softmax,
    "hardswish": F.hardswish,
    "silu": F.silu,
    "softplus": F.softplus,
}.items():
    check(f"special-{name}", of(function), special)
for name, function in {
    "add": lambda a, b: a + b,
    "multiply": lambda a, b: a * b,
    "floor-divide": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
    "divide": lambda a, b: a / b,
    "compare": lambda a, b: (a < b, a == b, a != b),
    "bitwise": lambda a, b: (a & b, a | b, a ^ b, ~a),
    "maximum": paddle.maximum,
    "sum": lambda a, b: (a.sum(), a.max(), b.sum()),
    "pow": lambda a, b: (b**2, a**3),
}.items():
    check(f"int32-{name}", of(function, OfTwo), whole, by)
    check(f"int64-{name}", of(function, OfTwo), whole.astype(np.int64), by.astype(np.int64))
for name, function in {
    "remainder": paddle.remainder,
    "floor-divide": paddle.floor_divide,
    "atan2": paddle.atan2,
    "pow": paddle.pow,
}.items():
    check(f"float-{name}", of(function, OfTwo), np.abs(x) * 3 if name == "pow" else x * 3, x)
