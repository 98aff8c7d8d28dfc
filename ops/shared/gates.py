"""The activation functions of recurrent layers, by the names the spec gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

#: changes an array in place
Activation = Callable[[np.ndarray], Any]


def bound(clip: float | None) -> Activation:
    """Clip an array to [-clip, clip] in place, if at all; gives the array back."""
    if clip is None:
        return lambda v: v
    if clip <= 0:
        raise ValueError(f"clip {clip} should be positive")
    return lambda v: np.clip(v, -clip, clip, out=v)


def sigmoid(v: np.ndarray) -> None:
    """1 / (1 + exp(-v)) = tanh(v / 2) / 2 + 1/2, which can't overflow"""
    v *= 0.5
    np.tanh(v, out=v)
    v *= 0.5
    v += 0.5


def tanh(v: np.ndarray) -> None:
    np.tanh(v, out=v)


def relu(v: np.ndarray) -> None:
    np.maximum(v, 0, out=v)


def _softsign(v: np.ndarray) -> None:
    """v / (1 + |v|)"""
    v /= 1 + np.abs(v)


def _softplus(v: np.ndarray) -> None:
    """log(1 + exp(v))"""
    np.logaddexp(v, 0, out=v)


def _affine(v: np.ndarray, alpha: float, beta: float) -> None:
    v *= alpha
    v += beta


def _leaky_relu(v: np.ndarray, alpha: float) -> None:
    np.multiply(v, alpha, out=v, where=v < 0)


def _thresholded_relu(v: np.ndarray, alpha: float) -> None:
    v[v < alpha] = 0


def _scaled_tanh(v: np.ndarray, alpha: float, beta: float) -> None:
    """alpha * tanh(beta * v)"""
    v *= beta
    np.tanh(v, out=v)
    v *= alpha


def _hard_sigmoid(v: np.ndarray, alpha: float, beta: float) -> None:
    """min(max(alpha * v + beta, 0), 1)"""
    _affine(v, alpha, beta)
    np.clip(v, 0, 1, out=v)


def _elu(v: np.ndarray, alpha: float) -> None:
    """v if v >= 0 else alpha * (exp(v) - 1)"""
    np.copyto(v, alpha * np.expm1(np.minimum(v, 0)), where=v < 0)


_PLAIN: dict[str, Activation] = {
    "relu": relu,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "softsign": _softsign,
    "softplus": _softplus,
}

#: with the defaults of alpha and beta, "the same as of corresponding ONNX operators"; Affine's are
#: those it had as an experimental operator, and ScaledTanh had none
_WITH_PARAMETERS: dict[str, tuple[Callable[..., None], tuple[float | None, ...]]] = {
    "affine": (_affine, (1.0, 0.0)),
    "leakyrelu": (_leaky_relu, (0.01,)),
    "thresholdedrelu": (_thresholded_relu, (1.0,)),
    "scaledtanh": (_scaled_tanh, (None, None)),
    "hardsigmoid": (_hard_sigmoid, (0.2, 0.5)),
    "elu": (_elu, (1.0,)),
}


def activations_of(
    names: Sequence[str] | None,
    defaults: Sequence[str],
    directions: int,
    alphas: Sequence[float] | None,
    betas: Sequence[float] | None,
) -> list[tuple[Activation, ...]]:
    """For each direction its activation functions, with their alphas and betas bound.

    Each function that has an alpha (or beta) takes the next of the list, as ONNX Runtime does.
    """
    names = names or [*defaults] * directions
    if len(names) != len(defaults) * directions:
        raise ValueError(
            f"activations {list(names)} should be {len(defaults) * directions} names, "
            f"{len(defaults)} for each direction"
        )
    parameters = iter(alphas or ()), iter(betas or ())
    found = [_activation(name, *parameters) for name in names]
    count = len(defaults)
    return [tuple(found[start : start + count]) for start in range(0, len(found), count)]


def _activation(name: str, alphas: Iterator[float], betas: Iterator[float]) -> Activation:
    key = name.lower()
    if key in _PLAIN:
        return _PLAIN[key]
    if key not in _WITH_PARAMETERS:
        raise ValueError(f"{name!r} is not an activation of the spec")
    function, defaults = _WITH_PARAMETERS[key]
    values = [
        next(given, default) for given, default in zip((alphas, betas), defaults, strict=False)
    ]
    if None in values:
        raise ValueError(f"{name} needs activation_alpha and activation_beta")
    return lambda v: function(v, *values)
