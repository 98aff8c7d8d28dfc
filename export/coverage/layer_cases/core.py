"""Dense, Embedding and the layers that are there to hold others."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers as L

from onnxwalk.export.coverage.layer_cases import Case, grid, model
from onnxwalk.export.coverage.random_weights import randomize


def cases() -> list[Case]:
    return [
        *grid("Dense", (5,), {}, {"use_bias": False}, {"activation": "softmax"}, units=4),
        *grid("Dense", (3, 5), {}, {"activation": "tanh"}, units=4, note="of a sequence"),
        *grid("Dense", (None, 5), {}, units=4, note="open sizes"),
        *grid("Dense", (2, 3, 4, 5), {}, units=4, note="of a volume"),
        *grid("Dense", (5,), {"lora_rank": 2}, units=4),
        *grid(
            "EinsumDense", (3, 5),
            {"equation": "abc,cd->abd", "output_shape": (None, 4), "bias_axes": "d"},
            {"equation": "abc,cde->abde", "output_shape": (3, 2, 4), "bias_axes": "de"},
            {"equation": "abc,bcd->abd", "output_shape": (3, 4), "bias_axes": "bd"},
            {"equation": "abc,bc->ab", "output_shape": 3},
            {"equation": "...x,xy->...y", "output_shape": (3, 4), "bias_axes": "y"},
            {"equation": "abc,cd->adb", "output_shape": (4, 3), "activation": "relu"},
        ),
        *grid(
            "EinsumDense", (None, 2, 4),
            {"equation": "btnh,nhd->btd", "output_shape": (None, 6), "bias_axes": "d"},
            note="open sizes",
        ),
        *grid("Embedding", (7,), {}, {"mask_zero": True}, dtype="int32", input_dim=9, output_dim=4),
        *grid("Embedding", (None,), {}, dtype="int32", input_dim=9, output_dim=4, note="open"),
        *grid("Embedding", (2, 3), {}, dtype="int64", input_dim=9, output_dim=4, note="2-D, int64"),
        *grid("Embedding", (7,), {}, input_dim=9, output_dim=4, note="float ids"),
        *grid("Embedding", (7,), {"lora_rank": 2}, dtype="int32", input_dim=9, output_dim=4),
        *grid("ReversibleEmbedding", (7,), {}, {"tie_weights": False}, dtype="int32", input_dim=9,
              output_dim=4),
        *(Case("ReversibleEmbedding", label, build) for label, build in _reversed().items()),
        *grid("Identity", (3, 4), {}),
        *(Case(layer, label, build) for layer, label, build in _models()),
        Case("TFSMLayer", "of an exported model", _saved, refused="SavedModel"),
        *grid("Masking", (5, 3), {"mask_value": 0.5}, note="values only"),
    ]  # fmt: skip


def _reversed() -> dict[str, Callable[[], Any]]:
    """There and back: ids to vectors to a score for each id."""

    def back(**arguments: Any) -> Callable[[Any], Any]:
        def body(ids: Any) -> Any:
            layer = L.ReversibleEmbedding(9, 4, **arguments)
            return layer(layer(ids), reverse=True)

        return body

    return {
        "reverse": lambda: model((7,), back(), dtype="int32"),
        "reverse, tie_weights=False": lambda: model((7,), back(tie_weights=False), dtype="int32"),
        "reverse, logit_soft_cap=3": lambda: model((7,), back(logit_soft_cap=3.0), dtype="int32"),
    }


def _models() -> list[tuple[str, str, Callable[[], Any]]]:
    class Scale(L.Layer):
        def build(self, shape):
            self.scale = self.add_weight(shape=(shape[-1],), name="scale")

        def call(self, x, training=False):
            return x * self.scale + (keras.ops.max(x) if training else 0.0)

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.blocks = [L.Dense(4, activation="relu"), Scale(), L.Dropout(0.5)]
            self.head = L.Dense(2)

        def call(self, x, training=False):
            for block in self.blocks:
                x = x + block(x)
            return {"logits": self.head(x), "features": x}

    def subclassed() -> Any:
        net = Net()
        net(np.ones((2, 4), np.float32))
        return randomize(net)

    def shared(x: Any) -> Any:
        dense, norm = L.Dense(5), L.BatchNormalization()
        return [norm(dense(x)), dense(norm(dense(x)))]

    def nested(x: Any) -> Any:
        inner = keras.Sequential([L.Conv2D(4, 3), L.ReLU()])
        middle = keras.Sequential([inner, L.MaxPooling2D()])
        return L.Flatten()(middle(x))

    def several(given: Any) -> Any:
        a, b = given
        left = L.Dense(4, activation="relu")(a)
        return {"mixed": L.Concatenate()([left, b]), "left": left}

    def rules(given: Any) -> Any:
        k = keras.ops
        return k.where(given > 0, k.sqrt(k.abs(given)), k.cumsum(given, axis=1))

    def division(x: Any) -> Any:
        whole = keras.ops.cast(x * 5, "int32")
        return [whole // 3, whole % 3, whole % -3, x // 0.7, x % 0.7, x % -0.7]

    def arithmetic(x: Any) -> Any:
        k = keras.ops
        positive = k.abs(x) + 0.5
        return [
            k.round(k.round(x * 9) / 2), k.sign(x), k.floor(x), k.trunc(x * 3), k.log1p(positive),
            k.expm1(x),
            k.sin(x), k.arctan(x), k.erf(x), k.rsqrt(positive), k.power(positive, x),
            k.sort(x, axis=-1), k.argmax(x, axis=-1), k.top_k(x, 2)[0], k.clip(x, -0.5, 0.5),
            k.logsumexp(x, axis=-1), k.norm(x, axis=-1), k.var(x, axis=1), k.prod(x, axis=1),
            k.cumsum(x, axis=1), k.flip(x, axis=1), k.roll(x, 1, axis=1), k.tile(x, (1, 2, 1)),
            k.matmul(x, k.transpose(x, (0, 2, 1))), k.einsum("bij,bkj->bik", x, x), k.tril(x),
            k.isnan(x), k.logical_and(x > 0, x < 1), k.any(x > 1, axis=-1), k.minimum(x, 0.0),
        ]  # fmt: skip

    def classes(x: Any) -> Any:
        return keras.ops.one_hot(keras.ops.cast(x * 3, "int32"), 4)

    return [
        ("Lambda", "floored division", lambda: model((3, 4), division)),
        ("Lambda", "one_hot, out of range", lambda: model((3, 4), classes)),
        ("Layer", "of one's own", lambda: model((3, 4), Scale())),
        ("Layer", "subclassed model, dict of outputs", subclassed),
        ("Layer", "shared layers", lambda: model((5,), shared)),
        ("Layer", "nested models", lambda: model((8, 8, 3), nested)),
        ("Layer", "keras.ops", lambda: model((3, 4), rules)),
        ("InputLayer", "two inputs, two outputs", lambda: model([(3,), (2,)], several)),
        ("InputLayer", "in front of Sequential", lambda: keras.Sequential(
            [L.InputLayer((4,), dtype="float32"), L.Dense(3)])),
        ("InputLayer", "float64", lambda: model((3,), L.Identity(dtype="float64"),
                                                dtype="float64")),
        ("Lambda", "of keras.ops", lambda: model((3, 4), L.Lambda(
            lambda x: keras.ops.logsumexp(x, axis=-1)))),
        ("Lambda", "slices", lambda: model((6, 4), L.Lambda(lambda x: x[:, ::2, -1]))),
        ("Lambda", "math of keras.ops", lambda: model((3, 4), arithmetic)),
        ("Wrapper", "of Dense", lambda: model((4,), _wrapper()(L.Dense(3)))),
    ]  # fmt: skip


def _saved() -> Any:
    """A TFSMLayer, around what was a Keras model."""
    with tempfile.TemporaryDirectory() as folder:
        model((4,), keras.layers.Dense(3)).export(folder, verbose=False)
        layer = keras.layers.TFSMLayer(folder, call_endpoint="serve")
        return keras.Sequential([keras.Input((4,)), layer])


def _wrapper() -> type:
    class Twice(L.Wrapper):
        def call(self, x):
            return 2 * self.layer(x)

    return Twice
