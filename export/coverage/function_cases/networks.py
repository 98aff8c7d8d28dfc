"""Convolutions, pooling, attention, losses."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from onnxwalk.export.coverage.function_cases import FLOATS, FunctionCase, Given, calls
from onnxwalk.export.coverage.function_cases.values import MILD, PLAIN, SMALL, between, ids

_SHORT = ("float32", "float16", "bfloat16")


def cases() -> list[FunctionCase]:
    return [*_convolutions(), *_attention(), *_crossentropies(), *_losses(), *_loss_classes()]


def _convolutions() -> list[FunctionCase]:
    picture = Given((6, 7, 4), values=PLAIN)

    def kernel(*shape: int, **options: Any) -> Any:
        label = ", ".join(f"{k}={v}" for k, v in options.items())
        numbers = np.linspace(-1, 1, int(np.prod(shape)), dtype="float32").reshape(shape)
        return label, lambda f, x: f(x, keras.ops.cast(numbers, x.dtype), **options)

    pool: dict[str, Any] = {"dtypes": FLOATS, "given": [picture]}
    # TensorFlow's convolution of no pictures has the shape of its input
    conv: dict[str, Any] = {"dtypes": _SHORT, "given": [picture], "empty": False}
    return [
        *calls("average_pool max_pool", {"pool_size": 2}, {"pool_size": 3, "padding": "same"},
               {"pool_size": 2, "strides": 1}, **pool),
        *calls("adaptive_average_pool adaptive_max_pool", {"output_size": (2, 3)}, **pool),
        *calls("conv", kernel(3, 3, 4, 2), kernel(3, 3, 4, 2, strides=2, padding="same"),
               ("groups", kernel(2, 3, 2, 4)[1]), kernel(2, 2, 4, 3, dilation_rate=2), **conv),
        *calls("depthwise_conv", kernel(3, 3, 4, 2), kernel(3, 3, 4, 1, padding="same"), **conv),
        *calls("conv_transpose", kernel(3, 3, 2, 4), kernel(3, 3, 2, 4, strides=2), **conv),
        *calls("separable_conv", ("", lambda f, x: f(
            x, keras.ops.ones((3, 3, 4, 1), x.dtype), keras.ops.ones((1, 1, 4, 2), x.dtype))),
            **conv),
        *calls("fold", {"output_size": (4, 5), "kernel_size": 2}, dtypes=_SHORT, empty=False,
               given=[Given((8, 12), values=PLAIN)]),
        *calls("unfold", {"kernel_size": 2}, {"kernel_size": 3, "padding": 1, "stride": 2},
               dtypes=_SHORT, given=[Given((2, 4, 5), values=PLAIN)]),
    ]  # fmt: skip


def _attention() -> list[FunctionCase]:
    heads = [Given((5, 2, 4), values=PLAIN)] * 3
    return [
        *calls("dot_product_attention", {}, {"is_causal": True}, {"scale": 0.3},
               {"attn_logits_soft_cap": 2.0}, dtypes=_SHORT, given=heads),
        *calls("dot_product_attention", ("mask", lambda f, q, k, v, m: f(q, k, v, mask=m)),
               dtypes=_SHORT, given=[*heads, Given((1, 5, 5), "bool")]),
        *calls("ctc_loss", ("", lambda f, t, y: f(t[:, :2], y, t[:, 0] * 0 + 2, t[:, 0] * 0 + 6)),
               dtypes=["float32"], given=[Given((2,), "int32", between(1, 3)),
                                          Given((6, 4), values=PLAIN)]),
        *calls("ctc_decode", ("", lambda f, y, n: f(y, n[:, 0])), dtypes=["float32"],
               given=[Given((6, 4), values=PLAIN), Given((1,), "int32", between(3, 6))]),
    ]  # fmt: skip


def _crossentropies() -> list[FunctionCase]:
    part, score = Given((3, 4), values=between(0, 1)), Given((3, 4), values=MILD)
    target = Given((3,), "int32", ids(4))
    options = [{}, {"from_logits": True}]
    sparse = "sparse_categorical_crossentropy"
    return [
        *calls(
            "binary_crossentropy categorical_crossentropy",
            *options,
            dtypes=FLOATS,
            few=FLOATS,
            given=[part, part],
        ),
        *calls(
            "binary_crossentropy categorical_crossentropy",
            {"from_logits": True},
            dtypes=FLOATS,
            given=[part, score],
            note="special scores",
        ),
        *calls(
            f"{sparse} losses.{sparse}", *options, dtypes=FLOATS, few=FLOATS, given=[target, part]
        ),
        *calls(f"losses.{sparse}", {"ignore_class": 1}, dtypes=FLOATS, given=[target, part]),
    ]


def _losses() -> list[FunctionCase]:
    pair = [Given((3, 4), values=between(0, 1))] * 2
    special = [Given((3, 4), values=SMALL)] * 2
    entropies = "binary_crossentropy binary_focal_crossentropy categorical_crossentropy"
    entropies += " categorical_focal_crossentropy"
    distances = (
        "categorical_hinge cosine_similarity hinge huber kl_divergence log_cosh "
        "mean_absolute_error mean_absolute_percentage_error mean_squared_error "
        "mean_squared_logarithmic_error poisson squared_hinge"
    )
    return [
        *calls(_prefixed(entropies), {}, {"from_logits": True}, {"label_smoothing": 0.1},
               dtypes=FLOATS, given=pair),
        *calls("losses.binary_focal_crossentropy", {"apply_class_balancing": True, "gamma": 3.0},
               dtypes=FLOATS, given=pair),
        *calls(_prefixed(distances), dtypes=FLOATS, given=pair),
        *calls(_prefixed(distances), dtypes=("float32", "int32", "int8"), given=special,
               note="special"),
        *calls("losses.huber", {"delta": 0.3}, dtypes=FLOATS, given=pair),
        *calls("losses.categorical_generalized_cross_entropy", {"q": 0.5}, dtypes=FLOATS,
               given=[Given((3,), "int32", ids(4)), pair[0]]),
        *calls("losses.dice losses.tversky", {}, {"axis": (1, 2)}, dtypes=FLOATS, given=pair),
        *calls("losses.circle", ("", lambda f, t, y: f(t[:, 0], y)), dtypes=("float32",),
               given=[Given((1,), "int32", ids(3)), Given((4,), values=PLAIN)]),
        *calls("losses.ctc", ("", lambda f, t, y: f(t, y)), dtypes=("float32",),
               given=[Given((2,), "int32", between(1, 3)), Given((6, 4), values=between(0, 1))]),
    ]  # fmt: skip


def _loss_classes() -> list[FunctionCase]:
    pair = [Given((3, 4), values=between(0, 1))] * 2
    names = (
        "BinaryCrossentropy BinaryFocalCrossentropy CategoricalCrossentropy "
        "CategoricalFocalCrossentropy CategoricalHinge "
        "CosineSimilarity Dice Hinge Huber KLDivergence LogCosh MeanAbsoluteError "
        "MeanAbsolutePercentageError MeanSquaredError MeanSquaredLogarithmicError Poisson "
        "SquaredHinge Tversky"
    )

    def of(**options: Any) -> Any:
        label = ", ".join(f"{k}={v}" for k, v in options.items())
        return label, lambda loss, t, y: loss(**options)(t, y)

    return [
        *calls(_prefixed(names), of(), of(reduction="sum"), of(reduction=None), dtypes=FLOATS,
               given=pair),
        *calls("losses.SparseCategoricalCrossentropy "
               "losses.CategoricalGeneralizedCrossEntropy", of(), dtypes=FLOATS,
               given=[Given((3,), "int32", ids(4)), pair[0]]),
        *calls("losses.Circle", ("", lambda loss, t, y: loss()(t[:, 0], y)),
               dtypes=("float32",), empty=False,
               given=[Given((1,), "int32", ids(3)), Given((4,), values=PLAIN)]),
        *calls("losses.CTC", of(), dtypes=("float32",),
               given=[Given((2,), "int32", between(1, 3)), Given((6, 4), values=between(0, 1))]),
    ]  # fmt: skip


def _prefixed(names: str) -> str:
    return " ".join(f"losses.{name}" for name in names.split())
