"""Which recurrent layer an iteration is one step of: RNN, LSTM or GRU, and with which weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxwalk.interpreter.compiler.passes.cells import (
    Complement,
    Element,
    Expression,
    Function,
    Product,
    State,
    Sum,
    Unknown,
)
from onnxwalk.ops.contract.records import record


@record(frozen=True)
class Layer:
    """A layer as in ONNX: ``w`` (G·H, I), ``r`` (G·H, H), ``b`` (2·G·H) for G gates."""

    kind: str
    source: str  # its inputs
    h: int  # the number of the carried value that is h
    w: np.ndarray
    r: np.ndarray
    b: np.ndarray
    c: int | None = None
    activation: str = "Tanh"  # RNN's
    linear_before_reset: int = 0

    @property
    def hidden(self) -> int:
        return self.r.shape[1]


def find_layer(h: int, news: Sequence[Expression]) -> Layer:
    """The layer whose h is carried as value ``h``; ``news``: what an iteration makes of the carried
    values. Raises Unknown if there is none."""
    new = news[h]
    if isinstance(new, Function) and new.name in ("Tanh", "Relu", "Sigmoid"):
        return _build("RNN", h, [_gate(new.x, h)], activation=new.name)
    if isinstance(new, Product):
        return _lstm(h, new, news)
    if isinstance(new, Sum):
        return _gru(h, new)
    raise Unknown


#: a gate's source, w (I, H), r (H, H), and the biases of both
_Gate = tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _lstm(h: int, new: Product, news: Sequence[Expression]) -> Layer:
    """h = o * tanh(C), C = f * C + i * c"""
    o, shown = _either(new, lambda x: _is_function(x, "Sigmoid"))
    if not _is_function(shown, "Tanh"):
        raise Unknown
    states = [k for k, value in enumerate(news) if value is shown.x]
    if len(states) != 1 or h in states:
        raise Unknown
    kept, taken = _two_products(shown.x)
    if State(states[0]) not in (kept.a, kept.b):
        kept, taken = taken, kept
    _, f = _either(kept, lambda x: x == State(states[0]))
    i, c = _either(taken, lambda x: _is_function(x, "Sigmoid"))
    if not _is_function(f, "Sigmoid") or not _is_function(c, "Tanh"):
        raise Unknown
    return _build("LSTM", h, [_gate(gate.x, h) for gate in (i, o, f, c)], c=states[0])


def _gru(h: int, new: Sum) -> Layer:
    """h = z * h + (1 - z) * n"""
    kept, taken = _two_products(new)
    if State(h) not in (kept.a, kept.b):
        kept, taken = taken, kept
    _, z = _either(kept, lambda x: x == State(h))
    _, n = _either(taken, lambda x: x == Complement(z))
    if not _is_function(z, "Sigmoid") or not _is_function(n, "Tanh"):
        raise Unknown
    candidate = n.x
    if not isinstance(candidate, Sum):
        raise Unknown
    if candidate.terms:
        return _gru_after(h, z, candidate)
    resets = [x for x in candidate.products if isinstance(x, Product)]
    if len(resets) != 1:
        raise Unknown
    r, _ = _either(resets[0], lambda x: _is_function(x, "Sigmoid"))
    if State(h) not in (resets[0].a, resets[0].b):
        raise Unknown
    gates = [_gate(z.x, h), _gate(r.x, h), _gate(candidate, resets[0])]
    return _build("GRU", h, gates)


def _gru_after(h: int, z: Function, candidate: Sum) -> Layer:
    """n = tanh(x W + r * (h R + b))"""
    if len(candidate.terms) != 1 or not isinstance(candidate.terms[0], Product):
        raise Unknown
    r, inner = _either(candidate.terms[0], lambda x: _is_function(x, "Sigmoid"))
    if not isinstance(inner, Sum) or set(inner.products) != {State(h)} or inner.terms:
        raise Unknown
    joined = Sum({**candidate.products, **inner.products}, candidate.bias)
    if State(h) in candidate.products:
        raise Unknown
    source, w, u, bias, _ = _gate(joined, h)
    last = (source, w, u, bias, np.broadcast_to(inner.bias, bias.shape))
    gates = [_gate(z.x, h), _gate(r.x, h), last]
    return _build("GRU", h, gates, linear_before_reset=1)


def _build(kind: str, h: int, gates: Sequence[_Gate], **settings: object) -> Layer:
    """The layer of these gates. Raises Unknown unless they are of one source, size and type."""
    sources, ws, rs, biases, inner = zip(*gates, strict=True)
    shapes = {(w.shape, r.shape, w.dtype, r.dtype) for w, r in zip(ws, rs, strict=True)}
    ((_, hidden), square, dtype, other), *rest = shapes
    if rest or len(set(sources)) != 1 or square != (hidden, hidden) or dtype != other:
        raise Unknown
    if dtype not in (np.float32, np.float64):
        raise Unknown
    w, r = (np.concatenate([m.T for m in ms]) for ms in (ws, rs))
    b = np.concatenate([*biases, *inner]).astype(dtype)
    return Layer(kind, sources[0], h, w, r, b, **settings)  # type: ignore[arg-type]


def _gate(x: Expression, state: int | Product) -> _Gate:
    """The weights in ``element @ w + state @ r + bias``."""
    factor = State(state) if isinstance(state, int) else state
    if not isinstance(x, Sum) or x.terms or len(x.products) != 2 or factor not in x.products:
        raise Unknown
    (element,) = set(x.products) - {factor}
    if not isinstance(element, Element):
        raise Unknown
    w, r = x.products[element], x.products[factor]
    if w.shape[1] != r.shape[1] or x.bias.size not in (1, w.shape[1]):
        raise Unknown
    bias = np.broadcast_to(x.bias, w.shape[1])
    return element.source, w, r, bias, np.zeros_like(bias)


def _is_function(x: Expression, name: str) -> bool:
    return isinstance(x, Function) and x.name == name


def _either(product: Product, is_first: object) -> tuple[Expression, Expression]:
    """The factors of a product, that for which ``is_first`` holds first. Raises Unknown."""
    assert callable(is_first)
    for a, b in ((product.a, product.b), (product.b, product.a)):
        if is_first(a):
            return a, b
    raise Unknown


def _two_products(x: Expression) -> tuple[Product, Product]:
    """The terms of a sum of two products. Raises Unknown."""
    if not isinstance(x, Sum) or x.products or len(x.terms) != 2 or np.any(x.bias):
        raise Unknown
    a, b = x.terms
    if not isinstance(a, Product) or not isinstance(b, Product):
        raise Unknown
    return a, b
