"""JAX through jax2onnx: functions of jax.numpy and jax.lax, and Flax modules"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jax2onnx import to_onnx
from writing import write

REQUIREMENTS = [
    "jax2onnx==0.17.1",
    "jax==0.10.2",
    "flax==0.12.8",
    "equinox==0.13.8",
    "onnx==1.23.2",
    "numpy==2.4.6",
]
REFUSED = 9
KNOWN = {
    "onnxruntime:jnp-arg???": "ONNX Runtime passes over NaN",
    "onnxruntime:jnp-m[ai][nx]": "ONNX Runtime passes over NaN",
    "int32-left_shift": "BitShift of signed integers, which ONNX doesn't have",
    "int32-right-shift": "BitShift of signed integers, which ONNX doesn't have",
    "int32-power": "BitShift of signed integers, which ONNX doesn't have",
    "take-[fo]*": "JAX fills or moves indices beyond the ends, Gather refuses them",
    "jnp-copysign": "BitCast at opset 23; ONNX has it from 26 on",
    "jnp-signbit": "BitCast at opset 23; ONNX has it from 26 on",
    "jnp-cumprod": "CumProd at opset 23; ONNX has it from 26 on",
    "jnp-arctan2": "computed of the quotient, which is NaN for two infinities",
    "one-hot": "findings/jax2onnx-clamped-indices.sh",
    "dynamic-slice": "findings/jax2onnx-clamped-indices.sh",
    "fft": "findings/jax2onnx-complex-size.sh",
    "resize-nearest": "a centre between two pixels goes to the first, in JAX to the second",
}
inf, nan = np.inf, np.nan
rng = np.random.default_rng(0)
f = np.array([0.0, -0.0, 0.5, 1.5, -2.5, 2.5, -3.7, inf, -inf, nan, 1e30], np.float32)
g = np.array([1.0, 2.0, -0.5, nan, 3.0, -inf, 2.0, inf, 2.0, 1.0, -2.0], np.float32)
x = rng.normal(size=(4, 5)).astype(np.float32)
image = rng.normal(size=(2, 8, 8, 3)).astype(np.float32)
i = np.array([-(2**31), -7, 7, -1, 0, 3, 2**31 - 1], np.int32)
j = np.array([3, 2, -2, 5, 4, -3, 2], np.int32)
u = np.array([0, 1, 7, 200, 255], np.uint8)


def check(name, function, *arrays):
    def to(path):
        inputs = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in arrays]
        to_onnx(function, inputs, return_mode="file", output_path=path)

    write(name, to, list(arrays), lambda *xs: jax.tree.leaves(function(*map(jnp.asarray, xs))))


for name in (
    "abs arccos arcsin arcsinh arctan cbrt ceil cos cosh deg2rad exp exp2 expm1 floor "
    "isfinite isinf isnan "
    "log log10 log1p log2 negative reciprocal rint round sign signbit sin sinc sinh sqrt "
    "square tan tanh "
    "trunc nan_to_num cumsum cumprod sort argsort argmax argmin max min nanmax nansum unique"
).split():
    check(f"jnp-{name}", getattr(jnp, name), f)
for name in (
    "add arctan2 copysign divide equal floor_divide fmod greater heaviside hypot less "
    "logaddexp maximum fmax "
    "minimum fmin mod multiply nextafter power remainder subtract"
).split():
    check(f"jnp-{name}", getattr(jnp, name), f, g)
for name in (
    "add bitwise_and bitwise_or bitwise_xor floor_divide fmod maximum mod multiply power "
    "subtract left_shift"
).split():
    a, b = (i, np.abs(j)) if name in ("power", "left_shift") else (i, j)
    check(f"int32-{name}", getattr(jnp, name), a, b)
check("int32-right-shift", lambda a: (a >> 2, lax.shift_right_logical(a, jnp.full_like(a, 2))), i)
check("int32-abs-sign", lambda a: (jnp.abs(a), jnp.sign(a), ~a, -a), i)
check("int32-sums", lambda a: (a.sum(), a.prod(), jnp.cumsum(a), a.mean(), a.max()), i)
check("int32-clip", lambda a: jnp.clip(a, -5, 5), i)
check("int32-popcount", lambda a: (lax.population_count(a), lax.clz(a)), i)
check("uint8-add", lambda a: (a + a, a * 3, a // 7, a - 1), u)
check("uint8-shift", lambda a: (a << 3, a >> 1), u)
check("integer-division", lambda a, b: (lax.div(a, b), lax.rem(a, b)), i, j)
for name, function in {
    "softmax": jax.nn.softmax,
    "log-softmax": jax.nn.log_softmax,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "relu6": jax.nn.relu6,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "softplus": jax.nn.softplus,
    "leaky-relu": jax.nn.leaky_relu,
    "celu": jax.nn.celu,
    "hard-swish": jax.nn.hard_swish,
    "mish": jax.nn.mish,
    "logsumexp": jax.nn.logsumexp,
    "glu": lambda a: jax.nn.glu(a, 0),
    "standardize": jax.nn.standardize,
    "softmax-axis": lambda a: jax.nn.softmax(a, 0),
    "sigmoid": jax.nn.sigmoid,
    "log-sigmoid": jax.nn.log_sigmoid,
    "matmul": lambda a: a @ a.T,
    "einsum": lambda a: jnp.einsum("ij,kj->ik", a, a),
    "outer": lambda a: jnp.outer(a[0], a[1]),
    "var-std": lambda a: (a.var(0), a.std(1, ddof=1)),
    "median": lambda a: jnp.median(a, 1),
    "roll": lambda a: jnp.roll(a, 2, 1),
    "flip": lambda a: a[::-1, ::2],
    "take": lambda a: a[jnp.array([0, -1, 2])],
    "take-out-of-bounds": lambda a: a[jnp.array([0, 9])],
    "take-clip": lambda a: jnp.take(a, jnp.array([0, 9, -9]), axis=0, mode="clip"),
    "take-fill": lambda a: jnp.take(a, jnp.array([0, 9, -1]), axis=0),
    "at-set": lambda a: a.at[jnp.array([0, 2])].set(1.0),
    "at-add": lambda a: a.at[jnp.array([0, 0])].add(1.0),
    "at-max": lambda a: a.at[1, jnp.array([0, 0])].max(3.0),
    "at-mul": lambda a: a.at[:, 1].mul(3.0),
    "top-k": lambda a: lax.top_k(a, 2),
    "where": lambda a: jnp.where(a > 0, a, a * 0.1),
    "tril": lambda a: jnp.tril(a, -1),
    "pad": lambda a: (
        jnp.pad(a, 1, mode="reflect"),
        jnp.pad(a, ((1, 2), (0, 0)), mode="wrap"),
        jnp.pad(a, 1, mode="edge"),
    ),
    "pad-negative": lambda a: lax.pad(a, 0.0, ((1, -1, 1), (-1, 2, 0))),
    "dynamic-slice": lambda a: lax.dynamic_slice(a, (3, 4), (2, 2)),
    "dynamic-update": lambda a: lax.dynamic_update_slice(a, jnp.ones((2, 2)), (3, 4)),
    "scan": lambda a: lax.scan(lambda c, r: (c + r, c * r), jnp.zeros(5), a),
    "while": lambda a: lax.while_loop(lambda c: c.sum() < 100, lambda c: c * 2 + 1, jnp.abs(a)),
    "fori": lambda a: lax.fori_loop(0, 5, lambda k, c: c * 0.5 + k, a),
    "cond": lambda a: lax.cond(a.sum() > 0, lambda a: a * 2, lambda a: -a, a),
    "switch": lambda a: lax.switch(7, [lambda a: a, lambda a: a * 2, lambda a: a * 3], a),
    "vmap": lambda a: jax.vmap(lambda r: r / jnp.linalg.norm(r))(a),
    "grad": jax.grad(lambda a: (jnp.tanh(a) ** 2).sum()),
    "cumsum-reverse": lambda a: lax.cumsum(a, 1, reverse=True),
    "cummax": lambda a: (lax.cummax(a, 1), lax.cumlogsumexp(a, 1)),
    "reduce-window": lambda a: lax.reduce_window(a, -jnp.inf, lax.max, (2, 2), (1, 2), "SAME"),
    "clamp": lambda a: lax.clamp(-0.5, a, 0.5),
    "rsqrt": lambda a: lax.rsqrt(jnp.abs(a)),
    "erf": lambda a: (lax.erf(a), lax.erfc(a)),
    "erf-inv": lambda a: lax.erf_inv(jnp.tanh(a)),
    "digamma": lambda a: lax.lgamma(jnp.abs(a)),
    "integer-pow": lambda a: (a**3, a**-2),
    "to-int": lambda a: (a * 3).astype(jnp.int32),
    "to-bool": lambda a: a.astype(bool),
    "one-hot": lambda a: jax.nn.one_hot(jnp.array([0, -1, 5]), 4) + a.sum() * 0,
    "searchsorted": lambda a: jnp.searchsorted(jnp.sort(a[0]), a[1]),
    "sort-axis": lambda a: jnp.sort(a, 0, descending=True),
    "argsort-descending": lambda a: jnp.argsort(a, 1, descending=True),
    "linspace": lambda a: a + jnp.linspace(0, 1, 5),
    "tile": lambda a: jnp.tile(a, (2, 1)),
    "repeat": lambda a: jnp.repeat(a, 2, 1),
    "logaddexp": lambda a: jnp.logaddexp(a, a * 2),
    "resize": lambda a: jax.image.resize(a, (7, 9), "bilinear"),
    "resize-small": lambda a: jax.image.resize(a, (2, 3), "bilinear"),
    "resize-nearest": lambda a: jax.image.resize(a, (6, 3), "nearest"),
    "resize-cubic": lambda a: jax.image.resize(a, (7, 9), "cubic"),
    "bfloat16": lambda a: (a.astype(jnp.bfloat16) * 3).astype(jnp.float32),
    "float16": lambda a: jax.nn.softmax(a.astype(jnp.float16)),
    "fft": lambda a: jnp.abs(jnp.fft.rfft(a)),
    "attention": lambda a: jax.nn.dot_product_attention(
        *[a.reshape(1, 4, 1, 5)] * 3, is_causal=True
    ),
}.items():
    check(name, function, x)
check("softmax-special", jax.nn.softmax, f)
check("relu-special", lambda a: (jax.nn.relu(a), jnp.clip(a, -1, 1), jax.nn.leaky_relu(a)), f)
check("to-int-special", lambda a: a.astype(jnp.int32), f[:7])
check("max-two-axes", lambda a: (a.max((1, 2)), a.mean((0, 1))), image)
check(
    "avg-pool",
    lambda a: lax.reduce_window(a, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"),
    image,
)
rngs = nnx.Rngs(0)
for name, module, a in (
    ("linear", nnx.Linear(5, 3, rngs=rngs), x),
    ("conv-same", nnx.Conv(3, 4, (3, 3), strides=2, rngs=rngs), image),
    (
        "conv-dilated",
        nnx.Conv(
            3, 6, (3, 3), kernel_dilation=2, feature_group_count=3, padding="VALID", rngs=rngs
        ),
        image,
    ),
    ("conv-transpose", nnx.ConvTranspose(3, 4, (3, 3), strides=(2, 2), rngs=rngs), image),
    (
        "conv-transpose-valid",
        nnx.ConvTranspose(3, 4, (2, 3), strides=(2, 1), padding="VALID", rngs=rngs),
        image,
    ),
    ("layer-norm", nnx.LayerNorm(5, rngs=rngs), x),
    ("rms-norm", nnx.RMSNorm(5, rngs=rngs), x),
    ("group-norm", nnx.GroupNorm(3, num_groups=3, rngs=rngs), image),
    ("batch-norm", nnx.BatchNorm(3, use_running_average=True, rngs=rngs), image),
    (
        "attention",
        nnx.MultiHeadAttention(2, 4, 8, decode=False, rngs=rngs),
        rng.normal(size=(2, 3, 4)).astype(np.float32),
    ),
    ("max-pool", lambda a: nnx.max_pool(a, (3, 3), (2, 2), "SAME"), image),
    ("avg-pool", lambda a: nnx.avg_pool(a, (3, 3), (2, 2), "SAME", count_include_pad=False), image),
):
    check(f"flax-{name}", module, a)
