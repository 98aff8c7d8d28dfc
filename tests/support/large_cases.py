"""Calls of operators that take some ten megabytes each, for what they need: one of every rule."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from onnxwalk.ops import Operator, registry
from tests.support.generators import Body, gpt, integer

ML, MS, TRAINING = "ai.onnx.ml", "com.microsoft", "ai.onnx.preview.training"
N = 1 << 22


class Large(NamedTuple):
    """One call: inputs and keywords as the walk has them."""

    operator: Operator
    inputs: list[Any]
    keywords: dict[str, Any]
    note: str

    def __str__(self) -> str:
        return f"{self.operator}{' ' + self.note if self.note else ''}"


def large(
    name: str,
    opset: int,
    /,
    *inputs: Any,
    domain: str = "",
    note: str = "",
    outputs: int = 1,
    **keywords: Any,
) -> Large:
    operator = registry.lookup(domain, name, opset)
    assert operator is not None, name
    if "n_outputs" in operator.reserved:
        keywords["n_outputs"] = outputs
    if "rng" in operator.reserved:
        keywords["rng"] = np.random.default_rng(0)
    return Large(operator, list(inputs), keywords, note)


@functools.cache
def _drawn(dtype: str, count: int) -> np.ndarray:
    """Numbers that are the same in every case, so that they are drawn once."""
    numbers = np.random.default_rng(0).random(count, np.float32)
    if dtype in ("int8", "uint8", "int32", "int64"):
        return (numbers * 100).astype(dtype)
    return numbers.astype(getattr(ml_dtypes, dtype, dtype))


def f(*shape: int, dtype: str = "float32") -> np.ndarray:
    count = int(np.prod(shape))
    return _drawn(dtype, 1 << max(count - 1, 1).bit_length())[:count].reshape(shape)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def scalar(value: Any, dtype: Any = np.int64) -> np.ndarray:
    return np.array(value, dtype)


def strings(count: int, text: str = "some words, and numbers") -> np.ndarray:
    return np.array([f"{text} {i}" for i in range(count)], object)


def image(side: int) -> np.ndarray:
    from PIL import Image

    file = io.BytesIO()
    pixels = np.broadcast_to(np.arange(side, dtype=np.uint8)[:, None], (side, side))
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    return np.frombuffer(file.getvalue(), np.uint8)


def of_values() -> Iterator[Large]:
    """Value by value, reductions, normalizations."""
    x, wide, short = f(N), f(N, dtype="float64"), f(N, dtype="bfloat16")
    half, whole = f(N, dtype="float16"), f(N // 4, dtype="int64") + 1
    yield large("Add", 14, x, x)
    yield large("Add", 14, x.reshape(-1, 64), x[:64], note="broadcast")
    yield large("Add", 6, x, x)
    yield large("Div", 14, whole, whole, note="of integers")
    yield large("Mod", 13, wide, wide, fmod=1)
    yield large("Pow", 15, x, np.array(1.5, np.float32))
    yield large("Pow", 15, whole, np.array(3), note="of integers")
    yield large("Pow", 15, x, np.arange(N) % 3, note="to integers")
    yield large("Sum", 13, x, x, x)
    yield large("Mean", 13, short, short, note="short")
    yield large("Clip", 13, x, np.array(0, np.float32))
    yield large("Clip", 6, half)
    yield large("BitShift", 28, whole, whole, direction="LEFT")
    yield large("Relu", 14, x)
    yield large("LeakyRelu", 16, x, alpha=2.0)
    yield large("PRelu", 16, x, x[:1])
    yield large("ThresholdedRelu", 22, x)
    yield large("Sigmoid", 13, x)
    yield large("Sigmoid", 13, half, note="short")
    yield large("Gelu", 20, x)
    yield large("Softmax", 13, x.reshape(-1, 64))
    yield large("Softmax", 13, x.reshape(-1, 1), note="of single numbers")
    yield large("LogSoftmax", 13, x.reshape(-1, 64))
    yield large("Hardmax", 13, x.reshape(-1, 64))
    yield large("Tan", 22, wide)
    yield large("Tan", 22, short, note="short")
    yield large("Erf", 13, x)
    yield large("Equal", 19, x, x)
    yield large("Equal", 19, strings(N // 16), strings(1), note="of strings")
    yield large("IsInf", 20, x)
    yield large("Where", 16, x > 0.5, x, x)
    for name in ("ReduceSum", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceProd"):
        yield large(name, 18, x.reshape(64, -1), ints(0))
    yield large("ReduceMean", 18, f(N, dtype="int32"), ints(0), note="of integers")
    yield large("ArgMax", 13, x.reshape(64, -1))
    yield large("CumSum", 14, x.reshape(64, -1), scalar(0))
    yield large("CumSum", 14, half, scalar(0), note="short")
    images, c = x.reshape(16, 64, -1, 64), x[:64]
    yield large("BatchNormalization", 15, images, c, c, c, c)
    yield large("BatchNormalization", 15, images, c, c, c, c, training_mode=1, note="training")
    yield large("InstanceNormalization", 22, images, c, c)
    yield large("LayerNormalization", 17, images, c, c)
    yield large("LayerNormalization", 17, half.reshape(-1, 64), half[:64], note="short")
    yield large("GroupNormalization", 21, images, c, c, num_groups=8)
    yield large("RMSNormalization", 23, images, c)
    yield large("MeanVarianceNormalization", 13, images)
    yield large("LpNormalization", 22, images)
    yield large("LRN", 13, images, size=5)
    yield large("Dropout", 13, x, scalar(0.5, np.float32), scalar(True, bool))
    scores, target = x.reshape(-1, 64), f(N // 64, dtype="int64") % 64
    one_class = x[: N // 4].reshape(-1, 1), 0 * f(N // 4, dtype="int64")
    yield large("NegativeLogLikelihoodLoss", 22, *one_class)
    yield large("SoftmaxCrossEntropyLoss", 13, scores, target)
    r, t = scalar(0.1, np.float32), scalar(1)
    yield large("Adagrad", 1, r, t, x, x, x, domain=TRAINING)
    yield large("Adam", 1, r, t, x, x, x, x, domain=TRAINING)
    momentum = {"alpha": 0.9, "beta": 0.1, "mode": "nesterov", "norm_coefficient": 0.1}
    yield large("Momentum", 1, r, t, x, x, x, domain=TRAINING, **momentum)


def of_types() -> Iterator[Large]:
    """Cast, and quantized tensors."""
    x, wide = f(N), f(N, dtype="float64")
    yield large("Cast", 24, x, to=11)
    yield large("Cast", 24, f(N, dtype="bfloat16"), to=1, note="from bfloat16")
    yield large("Cast", 24, 1e6 * x, to=17, note="to float8")
    yield large("Cast", 24, 1e6 * wide, to=17, note="double to float8")
    yield large("Cast", 24, x, to=24, note="to float8e8m0")
    yield large("Cast", 24, x[: N // 128], to=8, note="to strings")
    yield large("Cast", 24, x[: N // 32].astype(str).astype(object), to=1, note="from strings")
    one, zero = scalar(0.01, np.float32), scalar(3, np.uint8)
    yield large("QuantizeLinear", 21, x, one, zero)
    yield large("QuantizeLinear", 24, x, one, output_dtype=17, note="to float8")
    many = f(N // 64, 4) + 1
    yield large("QuantizeLinear", 21, f(N // 64, 64), many, axis=1, block_size=16, note="blocks")
    steps = f(N, dtype="uint8")
    yield large("DequantizeLinear", 21, steps, one, zero)
    yield large("DequantizeLinear", 21, f(N, dtype="int32"), one, scalar(0, np.int32), note="int32")
    yield large("DynamicQuantizeLinear", 11, x)
    a, b = steps.reshape(2048, -1)[:, :512], steps.reshape(512, -1)[:, :1024]
    yield large("MatMulInteger", 10, a, b)
    yield large("QLinearMatMul", 21, a, one, zero, b, one, zero, one, zero)
    images, kernel = steps[: 1 << 19].reshape(4, 8, 128, 128), f(16, 8, 3, 3, dtype="uint8")
    yield large("ConvInteger", 10, images, kernel, pads=[1, 1, 1, 1])
    conv = [images, one, zero, kernel, one, zero, one, zero]
    yield large("QLinearConv", 10, *conv)
    yield large("QLinearConv", 1, *conv, domain=MS)
    for name in ("QLinearAdd", "QLinearMul"):
        yield large(name, 1, steps, one, zero, steps, one, zero, one, zero, domain=MS)
    yield large("QLinearSigmoid", 1, steps, one, zero, one, zero, domain=MS)
    yield large("QLinearSoftmax", 1, a, one, zero, one, zero, domain=MS, opset=13)
    yield large(
        "QLinearWhere", 1, x > 0.5, steps, one, zero, steps, one, zero, one, zero, domain=MS
    )
    yield large("QLinearConcat", 1, one, zero, *[steps, one, zero] * 2, axis=0, domain=MS)
    pool = {"kernel_shape": [3, 3], "domain": MS}
    yield large("QLinearAveragePool", 1, images, one, zero, one, zero, **pool)
    yield large("QLinearGlobalAveragePool", 1, images, one, zero, one, zero, domain=MS)
    yield large("MulInteger", 1, steps, None, steps, domain=MS)
    sixteen = a[:, :64].astype(np.int16), b[:64].astype(np.int16)
    yield large("MatMulInteger16", 1, *sixteen, domain=MS)
    yield large("MatMulIntegerToFloat", 1, a, b, one, one, domain=MS)
    yield large("DynamicQuantizeMatMul", 1, f(2048, 512), b, one, domain=MS)
    yield large("QGemm", 1, a, one, zero, b, one, zero, None, one, zero, domain=MS)


def of_places() -> Iterator[Large]:
    """Elements that are made, moved, chosen, joined."""
    x, places = f(N), f(N // 2, dtype="int64") % 64
    yield large("ConstantOfShape", 9, ints(N))
    yield large("EyeLike", 9, f(2048, 2048))
    yield large("Range", 11, scalar(0), scalar(N), scalar(1))
    yield large("Range", 11, *(scalar(n, np.float32) for n in (0, N, 1)), note="of floats")
    yield large("OneHot", 11, f(N // 64, dtype="int64"), scalar(64), f(2))
    yield large("RandomNormal", 1, shape=[N])
    yield large("RandomUniformLike", 1, x, dtype=10)
    yield large("Bernoulli", 15, x)
    yield large("Multinomial", 7, f(64, 1024), sample_size=1 << 12)
    yield large("Reshape", 14, f(2048, 2048).T, ints(-1))
    yield large("DepthToSpace", 13, f(16, 64, 64, 64), blocksize=4)
    yield large("Tile", 13, f(1024, 16), ints(4, 64))
    yield large("Tile", 5, f(1024, 16), scalar(256), scalar(0))
    yield large("Concat", 13, x, x, axis=0)
    yield large("Split", 18, f(1 << 15), axis=0, num_outputs=1 << 15)
    yield large("Split", 18, f(1 << 15), np.ones(1 << 15, np.int64), note="lengths")
    yield large("SplitToSequence", 24, f(1 << 15), keepdims=0)
    yield large("SequenceInsert", 11, [x[:1]] * N, x[:1])
    yield large("ConcatFromSequence", 11, [x[:1]] * (N // 32), axis=0)
    yield large("ConcatFromSequence", 11, [x, x], axis=0, new_axis=1, note="of two")
    yield large("Pad", 21, f(1024, 1024), ints(512, 512, 512, 512))
    yield large("Pad", 21, f(1024, 1024), ints(512, 512, 512, 512), mode="reflect", note="reflect")
    yield large("CenterCropPad", 18, f(1024, 1024), ints(2048, 2048))
    yield large("Trilu", 14, f(2048, 2048))
    yield large("Gather", 13, f(64, 64), places[: N // 64])
    yield large("Gather", 13, f(64, 64), places[: N // 64].astype(np.int32), note="int32")
    yield large("GatherElements", 13, x, places)
    yield large("GatherElements", 13, x, places - 64, note="from the end")
    yield large("GatherND", 13, f(64, 64, 2), places.reshape(-1, 2))
    yield large("ScatterElements", 18, x, places, x[: N // 2])
    yield large("ScatterElements", 18, x, places, x[: N // 2], reduction="add", note="sums")
    yield large("ScatterND", 18, f(64, 64), places[: N // 64].reshape(-1, 1), f(N // 64, 64))
    yield large("TopK", 24, f(64, N // 256), ints(N // 256), note="all")
    yield large("TopK", 24, f(64, N // 64), ints(10))
    yield large("NonZero", 13, f(1024, 1024) + 1)
    yield large("Compress", 11, x, x >= 0)
    yield large("Unique", 11, f(N // 4))
    yield large("Unique", 11, f(N // 64, 4), axis=0, note="rows")
    yield large("ReverseSequence", 10, f(1024, 64, 64), np.arange(64, dtype=np.int64))
    yield large("TensorScatter", 24, f(16, 4, 1024, 64), f(16, 4, 8, 64))
    yield large("StringConcat", 20, strings(N // 64), strings(1))
    yield large("StringSplit", 20, strings(N // 64), delimiter=" ")
    yield large("StringNormalizer", 10, strings(N // 512), case_change_action="UPPER")
    yield large("RegexFullMatch", 20, strings(N // 64), pattern="some.*")
    grams = {"max_gram_length": 1, "max_skip_count": 0, "min_gram_length": 1, "mode": "TFIDF"}
    pool = {"ngram_counts": [0], "ngram_indexes": [*range(1000)], "pool_int64s": [*range(1000)]}
    yield large("TfIdfVectorizer", 9, f(1024, 8, dtype="int64"), **grams, **pool)
    tokens = {"mark": 0, "mincharnum": 4, "pad_value": "", "domain": MS}
    yield large("Tokenizer", 1, strings(N // 256), separators=[" "], **tokens)


def of_images() -> Iterator[Large]:
    """Convolutions, pools, what reads between pixels, signals."""
    images, kernel = f(4, 8, 256, 256), f(16, 8, 3, 3)
    pads = {"pads": [1, 1, 1, 1]}
    last = f(4, 256, 256, 8).transpose(0, 3, 1, 2)
    yield large("Conv", 22, images, kernel, **pads)
    yield large("Conv", 22, last, kernel, **pads, note="channels last")
    yield large("Conv", 22, images, f(16, 8, 1, 1), note="pointwise")
    yield large("Conv", 22, images, f(8, 1, 3, 3), group=8, **pads, note="depthwise")
    yield large("Conv", 22, images.astype(np.float16), kernel.astype(np.float16), note="short")
    yield large("FusedConv", 1, images, kernel, domain=MS, activation="Sigmoid", **pads)
    yield large("ConvTranspose", 22, images[:1], f(8, 8, 3, 3), strides=[2, 2])
    yield large("ConvTranspose", 22, last[:1], f(8, 8, 3, 3), strides=[2, 2], note="channels last")
    yield large("DeformConv", 22, f(1, 4, 64, 64), f(8, 4, 3, 3), f(1, 18, 62, 62))
    window = {"kernel_shape": [3, 3]}
    yield large("MaxPool", 22, images, **window)
    yield large("MaxPool", 22, images[:1], **window, outputs=2, note="with places")
    yield large("AveragePool", 22, images, **window)
    yield large("AveragePool", 22, images.astype(np.float16), **window, note="short")
    yield large("LpPool", 22, images, **window)
    yield large("GlobalAveragePool", 22, f(N // 4, 2, 2))
    yield large("GlobalLpPool", 22, images)
    yield large("GlobalMaxPool", 22, f(N // 4, 2, 2))
    pooled, where = f(4, 8, 128, 128), np.arange(1 << 19).reshape(4, 8, 128, 128)
    yield large("MaxUnpool", 22, pooled, where, kernel_shape=[2, 2], strides=[2, 2])
    boxes = np.array([[0, 0, 0, 100, 100]] * 8, np.float32)
    yield large("MaxRoiPool", 22, f(1, 64, 128, 128), boxes, pooled_shape=[32, 32])
    yield large("RoiAlign", 22, f(1, 64, 64, 64), boxes[:, 1:], ints(*[0] * 8), output_height=32,
                output_width=32, sampling_ratio=2)  # fmt: skip
    yield large("GridSample", 22, f(1, 4, 64, 64), f(1, 512, 512, 2))
    yield large("GridSample", 22, f(1, 4, 64, 64), f(1, 256, 256, 2), mode="cubic", note="cubic")
    yield large(
        "GridSample", 22, f(1, 4, 64, 64), f(1, 512, 512, 2), mode="nearest", note="nearest"
    )
    yield large("AffineGrid", 20, f(4, 2, 3), ints(4, 1, 512, 512))
    twice, small = np.array([1, 1, 2, 2], np.float32), f(1, 8, 256, 256)
    yield large("Resize", 19, small, None, twice)
    yield large("Resize", 19, small, None, twice, mode="linear", note="linear")
    yield large("Resize", 19, small, None, twice, mode="cubic", note="cubic")
    yield large("Resize", 19, f(1, 1, 2, N // 8), None, twice, mode="linear", note="long")
    yield large("Resize", 19, f(1, 8, 256, 256, dtype="uint8"), None, twice, mode="linear",
                note="of integers")  # fmt: skip
    yield large("Resize", 19, f(1, 8, 1024, 1024), None, 1 / twice / twice, mode="linear",
                antialias=1, note="antialias")  # fmt: skip
    yield large("Upsample", 9, small, twice)
    yield large("CropAndResize", 1, f(1, 8, 64, 64), f(8, 4), np.zeros(8, np.int32), ints(128, 128),
                domain=MS)  # fmt: skip
    yield large("Col2Im", 18, f(1, 8 * 4, 128 * 128), ints(256, 256), ints(2, 2), strides=[2, 2])
    yield large("NonMaxSuppression", 11, f(1, 1 << 12, 4), f(1, 4, 1 << 12), ints(1 << 10),
                scalar(1.0, np.float32))  # fmt: skip
    yield large("ImageDecoder", 20, image(1024))
    yield large("DFT", 20, f(64, 1 << 14, 1))
    yield large("DFT", 20, f(64, 1 << 14, 2), inverse=1, note="inverse")
    yield large("DFT", 20, f(64, 1 << 14, 1), onesided=1, note="one-sided")
    yield large("STFT", 17, f(4, 1 << 14, 1), scalar(32), f(256))
    yield large("HannWindow", 17, scalar(N // 4))
    yield large("MelWeightMatrix", 17, scalar(256), scalar(1 << 13), scalar(16000),
                scalar(0, np.float32), scalar(8000, np.float32))  # fmt: skip


def of_products() -> Iterator[Large]:
    """Matrix products, attention, recurrent layers."""
    a, b = f(2048, 256), f(256, 2048)
    yield large("MatMul", 13, a, b)
    yield large("MatMul", 13, f(4, 1 << 18), f(1 << 18), note="by a vector")
    yield large("MatMul", 13, a.astype(np.float16), b.astype(np.float16), note="short")
    yield large(
        "MatMul", 13, f(2048, 64, dtype="int64"), f(64, 512, dtype="int64"), note="integers"
    )
    yield large("Gemm", 13, a, b, b[0], alpha=0.5)
    yield large("Gemm", 13, a, b, b[0], note="plain")
    yield large("Einsum", 12, a, b, equation="ij,jk->ik")
    yield large("Einsum", 12, f(16, 256, 64), f(16, 64, 256), equation="bij,bjk->bik", note="batch")
    yield large("Einsum", 12, f(64, 64), f(64, 64), f(64, 64, 64), equation="ij,jk,kli->lj",
                note="three")  # fmt: skip
    yield large("Det", 22, f(1 << 14, 8, 8))
    yield large("Inverse", 1, f(1 << 14, 8, 8), domain=MS)
    yield large("FusedMatMul", 1, a, b, alpha=0.5, domain=MS)
    yield large("FusedGemm", 1, a, b, None, activation="Sigmoid", domain=MS)
    q = f(2, 8, 512, 64)
    yield large("Attention", 24, q, q, q, is_causal=1)
    yield large("Attention", 23, q, q, q, f(512, 512), note="with a mask")
    yield large("Attention", 23, q, q, q, f(2, 8, 512, 512), note="with a mask of all")
    yield large("Attention", 24, q, q, q, f(2, 8, 512, 1) > 2, note="with a short mask")
    packed, shared = f(2, 512, 512), f(2, 512, 64)
    heads = {"q_num_heads": 8, "kv_num_heads": 1}
    yield large("Attention", 24, packed, shared, shared, **heads, note="packed")
    yield large("FlexAttention", 1, q, q, q, domain="ai.onnx.preview")
    yield large("RotaryEmbedding", 23, q, f(2, 512, 32), f(2, 512, 32))
    packed = f(2, 256, 512)
    yield large("LinearAttention", 27, packed, packed, packed, update_rule="linear", q_num_heads=8,
                kv_num_heads=8)  # fmt: skip
    yield large("CausalConvWithState", 27, f(4, 64, 1 << 12), f(64, 1, 4))
    yield large("SwiGLU", 28, f(N // 4), f(N // 4))
    tokens, weights = f(4, 512, 256), f(256, 768)
    yield large("Attention", 1, tokens, weights, domain=MS, num_heads=8)
    eight = tokens.astype(np.int8), weights.astype(np.int8)
    one = scalar(0.01, np.float32)
    yield large("QAttention", 1, *eight, f(768), one, one, domain=MS, num_heads=8)
    yield large("MultiHeadAttention", 1, tokens, tokens, tokens, domain=MS, num_heads=8)
    cache = f(64, 8, 512, 64)
    yield large("DecoderMaskedMultiHeadAttention", 1, *[f(64, 1, 512)] * 3, None, None, cache,
                cache, ints(500).astype(np.int32), domain=MS, num_heads=8,
                past_present_share_buffer=1)  # fmt: skip
    yield large("GroupQueryAttention", 1, tokens, tokens, tokens, None, None,
                np.full(4, 511, np.int32), scalar(512, np.int32), domain=MS, num_heads=8,
                kv_num_heads=8)  # fmt: skip
    at = np.arange(512)[None].repeat(2, 0)
    yield large("RotaryEmbedding", 1, q, at, f(512, 32), f(512, 32), domain=MS)
    yield large("SkipLayerNormalization", 1, f(64, 256, 64), f(64, 256, 64), f(64), domain=MS)
    yield large("SkipSimplifiedLayerNormalization", 1, f(64, 256, 64), f(64, 256, 64), f(64),
                domain=MS)  # fmt: skip
    yield large("SimplifiedLayerNormalization", 1, f(64, 256, 64), f(64))
    ids = f(64, 256, dtype="int32")
    yield large("EmbedLayerNormalization", 1, ids, None, f(128, 64), f(256, 64), None, f(64), f(64),
                domain=MS)  # fmt: skip
    yield large("BiasDropout", 1, f(N // 2), f(N // 2), domain=MS)
    yield large("BiasGelu", 1, f(N // 64, 64), f(64), domain=MS)
    yield large("BiasSplitGelu", 1, f(N // 64, 64), f(64), domain=MS)
    nbits = f(1024, 8, 64, dtype="uint8"), f(1024, 8)
    yield large("MatMulNBits", 1, f(16, 1024), *nbits, K=1024, N=1024, block_size=128, domain=MS)
    yield large("GatherBlockQuantized", 1, f(1024, 64, dtype="uint8"), f(1 << 14, dtype="int64"),
                f(1024, 1), domain=MS)  # fmt: skip
    x = f(256, 16, 64)
    for name, gates in (("RNN", 1), ("LSTM", 4), ("GRU", 3)):
        weights = f(1, gates * 128, 64), f(1, gates * 128, 128)
        yield large(name, 22, x, *weights)
    lengths = np.full(16, 200, np.int32)
    yield large("LSTM", 22, x, f(1, 512, 64), f(1, 512, 128), None, lengths, note="lengths")
    yield large("LSTM", 22, f(1 << 12, 1, 8), f(1, 32, 8), f(1, 32, 8), note="small steps")


def of_tables() -> Iterator[Large]:
    """ai.onnx.ml"""
    x = f(N // 64, 64)
    yield large("Scaler", 1, x, domain=ML, offset=[0.0], scale=[1.0])
    yield large("Normalizer", 1, x, domain=ML, norm="L2")
    yield large("Binarizer", 1, x, domain=ML)
    yield large("Imputer", 1, x, domain=ML, imputed_value_floats=[1.0])
    yield large("FeatureVectorizer", 1, x, x, domain=ML)
    yield large("ArrayFeatureExtractor", 1, x, np.arange(64), domain=ML)
    labels = {"keys_int64s": [*range(100)], "values_floats": [1.0] * 100}
    yield large("LabelEncoder", 4, f(N // 4, dtype="int64"), domain=ML, **labels)
    words = {"keys_strings": ["a", "b"], "values_int64s": [1, 2]}
    yield large("LabelEncoder", 4, strings(N // 64), domain=ML, **words, note="of strings")
    yield large("OneHotEncoder", 1, f(N // 64, dtype="int64"), domain=ML, cats_int64s=[*range(64)])
    yield large("ZipMap", 1, f(1 << 12, 8), domain=ML, classlabels_int64s=[*range(8)])
    weights = {"coefficients": [0.5] * 64 * 10, "intercepts": [0.0] * 10}
    yield large("LinearRegressor", 1, x, domain=ML, targets=10, **weights)
    yield large("LinearClassifier", 1, x, domain=ML, classlabels_ints=[*range(10)], **weights,
                post_transform="SOFTMAX")  # fmt: skip
    svm = {"support_vectors": [0.5] * 64 * 128, "coefficients": [0.5] * 128, "rho": [0.0]}
    kernel = {"kernel_type": "RBF", "kernel_params": [0.1, 0.0, 0.0], "n_supports": 128}
    yield large("SVMRegressor", 1, x[:8192], domain=ML, **svm, **kernel)
    depth = 6
    inner, every = 2**depth - 1, range(2 ** (depth + 1) - 1)
    trees = {
        "nodes_treeids": [t for t in range(20) for _ in every],
        "nodes_nodeids": [*every] * 20,
        "nodes_featureids": [n % 64 for n in every] * 20,
        "nodes_modes": ["BRANCH_LEQ" if n < inner else "LEAF" for n in every] * 20,
        "nodes_values": [0.5] * len(every) * 20,
        "nodes_truenodeids": [2 * n + 1 if n < inner else 0 for n in every] * 20,
        "nodes_falsenodeids": [2 * n + 2 if n < inner else 0 for n in every] * 20,
        "target_treeids": [t for t in range(20) for _ in range(inner, len(every))],
        "target_nodeids": [*range(inner, len(every))] * 20,
        "target_ids": [0] * (inner + 1) * 20,
        "target_weights": [0.5] * (inner + 1) * 20,
        "n_targets": 1,
    }
    yield large("TreeEnsembleRegressor", 3, f(1 << 14, 64), domain=ML, **trees)


def of_microsoft() -> Iterator[Large]:
    """com.microsoft, and what ONNX Runtime has in ai.onnx"""
    yield large("CDist", 1, f(1 << 11, 64), f(1 << 11, 64), domain=MS, metric="euclidean")
    yield large("DynamicTimeWarping", 1, f(1 << 10, 1 << 11), domain=MS)
    yield large("MurmurHash3", 1, f(N, dtype="int64"), domain=MS)
    yield large("NGramRepeatBlock", 1, f(64, 1 << 14, dtype="int64"), f(64, 1 << 15), domain=MS,
                ngram_size=8)  # fmt: skip
    decoder, prompts = Body(gpt()), np.full((1 << 9, 3), 5, np.int32)
    ends = {"decoder": decoder, "eos_token_id": 1, "pad_token_id": 0}
    yield large("GreedySearch", 1, prompts, integer(8), domain=MS, **ends)
    yield large("BeamSearch", 1, prompts[:128], integer(8), None, integer(4), integer(4),
                domain=MS, **ends)  # fmt: skip
    tokens = np.arange(1 << 20)
    yield large("BifurcationDetector", 1, tokens, tokens, ints(0), np.arange((1 << 20) + 1),
                domain=MS, max_ngram_size=8)  # fmt: skip
    images = f(8, 16, 128, 128)
    yield large("GridSample", 1, images, f(8, 128, 128, 2), domain=MS)
    yield large("MaxpoolWithMask", 1, images, f(1, 1, 128, 128, dtype="int32"), domain=MS,
                kernel_shape=[3, 3])  # fmt: skip
    yield large("UnfoldTensor", 1, f(N // 4), domain=MS, size=8)
    experts = f(8, 512, 256), None, f(8, 256, 512)
    same = np.zeros((1024, 8), np.float32)  # all tokens choose the same experts
    yield large("MoE", 1, f(1024, 256), same, *experts, domain=MS, k=2)
    packed, scales = f(4, 1024, 512, dtype="uint8"), f(4, 1024)
    yield large("QMoE", 1, f(16, 1024), f(16, 4), packed, scales, None, packed, scales, domain=MS)
    yield large("MatMulBnb4", 1, f(16, 1024), f(1 << 19, dtype="uint8"), f(1 << 14), domain=MS,
                K=1024, N=1024, block_size=64, quant_type=1)  # fmt: skip
    packed, tokens = f(2, 256, 512), f(2, 512, 256)
    yield large("LinearAttention", 1, packed[:, :, :256], packed, packed, domain=MS,
                update_rule="linear", q_num_heads=4, kv_num_heads=8)  # fmt: skip
    yield large("LinearAttentionGate", 1, f(16, 1 << 12, 32), f(32), f(32), domain=MS)
    yield large("CausalConvWithState", 1, f(4, 1 << 12, 64), f(64, 1, 4), domain=MS,
                channels_last=1, dilation=2)  # fmt: skip
    cache = f(2, 8, 1024, 32)
    blocks = np.arange(17)[None].astype(np.int32)
    yield large("SparseAttention", 1, tokens, tokens, tokens, cache, cache, blocks, blocks,
                scalar(512, np.int32), np.full(2, 512, np.int32), domain=MS, num_heads=8,
                kv_num_heads=8, sparse_block_size=64)  # fmt: skip
    rows = f(1 << 10, 8, 256)
    yield large("GatedRMSNorm", 1, rows, f(256), rows, domain=MS)
    yield large("HyperConnectionPostMix", 1, rows, f(1 << 10, 256), f(1 << 10, 8),
                f(1 << 10, 8, 8), domain=MS)  # fmt: skip
    yield large("MoEGroupRouter", 1, f(1 << 13, 64), f(64), domain=MS, top_k=4, n_group=8,
                topk_group=2)  # fmt: skip
    yield large("WordConvEmbedding", 1, f(1 << 12, 16, dtype="int32"), f(64, 1, 3, 32), f(64),
                f(128, 32), domain=MS)  # fmt: skip
    yield large("ScaledTanh", 1, f(N), alpha=2.0, beta=0.5)
    yield large("Affine", 1, f(N))
    yield large("Crop", 1, images, border=[1, 1, 1, 1])


def large_cases() -> Iterator[Large]:
    """One after the other, so that each is let go before the next."""
    for cases in (
        of_values, of_types, of_places, of_images, of_products, of_tables, of_microsoft
    ):  # fmt: skip
        yield from cases()
