"""Attention of every kind, with causal and padded masks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from keras import layers as L

from onnxwalk.export.coverage.layer_cases import Case, model

_Q, _V = (5, 8), (7, 8)


def cases() -> list[Case]:
    found: list[Case] = []

    def add(layer: str, label: str, build: Callable[[], Any], inputs: Any = None) -> None:
        found.append(Case(layer, label, build, inputs))

    def three(make: Callable[[], Any], shapes: Any = (_Q, _V), **call: Any) -> Callable[[], Any]:
        """Query and value (and key) in; ``call`` are arguments of the call."""
        return lambda: model(list(shapes), lambda given: make()(*given, **call))

    def itself(make: Callable[[], Any], shape: Any = (None, 8), **call: Any) -> Callable[[], Any]:
        return lambda: model(shape, lambda x: make()(x, x, **call))

    def ids(make: Callable[[], Any], **call: Any) -> Callable[[], Any]:
        """Ids of padded texts, whose mask Embedding carries to the layer."""

        def body(x: Any) -> Any:
            tokens = L.Embedding(20, 8, mask_zero=True)(x)
            return make()(tokens, tokens, **call)

        return lambda: model((6,), body, dtype="int32")

    def listed(make: Callable[[], Any], masked: bool = False, **call: Any) -> Callable[[], Any]:
        def body(given: Any) -> Any:
            parts = list(given)
            if masked:
                masks = [m > 0 for m in parts[2:]]
                return make()(parts[:2], mask=masks, **call)
            return make()(parts, **call)

        shapes = [_Q, _V, (5,), (7,)] if masked else [_Q, _V, _V]
        return lambda: model(shapes, body)

    kinds: dict[str, Callable[..., Callable[[], Any]]] = {
        "MultiHeadAttention": lambda **s: (
            lambda: L.MultiHeadAttention(**{"num_heads": 2, "key_dim": 3, **s})
        ),
        "GroupQueryAttention": lambda **s: (
            lambda: L.GroupQueryAttention(
                **{"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2, **s}
            )
        ),
    }
    for name, make in kinds.items():
        add(name, "cross", three(make()))
        add(name, "cross, with key", three(make(), (_Q, _V, _V)))
        add(name, "self, open sizes", itself(make()))
        add(name, "use_bias=False", itself(make(use_bias=False), (6, 8)))
        add(name, "causal", itself(make(), (6, 8), use_causal_mask=True))
        add(name, "causal, open sizes", itself(make(), use_causal_mask=True))
        add(name, "scores returned", three(make(), return_attention_scores=True))
        add(name, "padded mask", ids(make()))
        add(name, "padded and causal", ids(make(), use_causal_mask=True))
        add(name, "dropout", itself(make(dropout=0.3), (6, 8)))
        add(name, "attention_mask", _with_mask(make(), (5, 7)))
        add(name, "flash_attention=False", itself(make(flash_attention=False), (6, 8)))
    make = kinds["MultiHeadAttention"]
    add("MultiHeadAttention", "value_dim=5", three(make(value_dim=5)))
    add("MultiHeadAttention", "output_shape=4", three(make(output_shape=4)))
    add("MultiHeadAttention", "num_heads=1", three(make(num_heads=1)))
    add("MultiHeadAttention", "of an image, attention_axes=(1, 2)",
        itself(make(attention_axes=(1, 2)), (3, 4, 8)))  # fmt: skip
    add("MultiHeadAttention", "of an image, attention_axes=2",
        itself(make(attention_axes=2), (3, 4, 8)))  # fmt: skip
    group = kinds["GroupQueryAttention"]
    add("GroupQueryAttention", "one key", three(group(num_key_value_heads=1)))
    add("GroupQueryAttention", "as many keys", three(group(num_key_value_heads=4)))

    for name, cls, settings in (
        ("Attention", L.Attention, ({}, {"use_scale": True}, {"score_mode": "concat"})),
        ("AdditiveAttention", L.AdditiveAttention, ({}, {"use_scale": False})),
    ):
        for s in settings:
            label = ", ".join(f"{k}={v}" for k, v in s.items())

            def make_one(cls: Any = cls, s: Any = s) -> Any:
                return cls(**s)

            add(name, label or "value only", _pair(make_one))
            add(name, f"{label or 'plain'}, with key", listed(make_one))
        add(name, "scores returned", listed(cls, return_attention_scores=True))
        add(name, "causal", listed(cls, use_causal_mask=True))
        add(name, "masked", listed(cls, masked=True))
        add(name, "masked and causal", listed(cls, masked=True, use_causal_mask=True))
        add(name, "open sizes", _pair(cls, [(None, 8), (None, 8)]))
        add(name, "dropout", listed(partial(cls, dropout=0.4)))
    return found


def _pair(make: Callable[[], Any], shapes: Any = (_Q, _V)) -> Callable[[], Any]:
    return lambda: model(list(shapes), lambda given: make()(given))


def _with_mask(make: Callable[[], Any], shape: tuple[int, int]) -> Callable[[], Any]:
    """A mask (batch, query, value) as an input; positive numbers let see."""

    def body(given: Any) -> Any:
        query, value, mask = given
        return make()(query, value, attention_mask=mask > np.float32(0))

    return lambda: model([_Q, _V, shape], body)
