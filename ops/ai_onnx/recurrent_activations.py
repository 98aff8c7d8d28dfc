"""The activation functions of RNN, LSTM and GRU, and their derivatives."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from onnxwalk.ops.ai_onnx import activation


def _affine(v: np.ndarray, alpha: float = 1.0, beta: float = 0.0) -> np.ndarray:
    return alpha * v + beta


def _vjp_of_affine(dy: np.ndarray, y: np.ndarray, alpha: float = 1.0, **_: float) -> np.ndarray:
    return dy * alpha


def _thresholded_relu(v: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    """Unlike the operator, which returns 0 at alpha itself."""
    return np.where(v < alpha, 0, v)


def _vjp_of_thresholded_relu(dy: np.ndarray, x: np.ndarray, alpha: float = 1.0) -> np.ndarray:
    return dy * ~(x < alpha)


def _scaled_tanh(v: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    return alpha * np.tanh(beta * v)


def _vjp_of_scaled_tanh(dy: np.ndarray, x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    return alpha * beta * activation.vjp_of_tanh(dy, y=np.tanh(beta * x))


def _vjp_of_hard_sigmoid(
    dy: np.ndarray, y: np.ndarray, alpha: float = 0.2, **_: float
) -> np.ndarray:
    return activation.vjp_of_hard_sigmoid(dy, y=y, alpha=alpha)


class _Kind(NamedTuple):
    """A function, its rule vjp(dy, x, …) or vjp(dy, y, …), and which of the two that is; the names
    of its parameters among alpha and beta."""

    function: Callable[..., Any]
    vjp: Callable[..., Any]
    reads: str
    parameters: tuple[str, ...] = ()


#: by name in lower case. Their defaults are "the same as of corresponding ONNX operators"; Affine's
#: are those that it had as an experimental operator, ScaledTanh had none.
_KINDS = {
    "relu": _Kind(activation.relu, activation.vjp_of_relu, "y"),
    "tanh": _Kind(activation.tanh, activation.vjp_of_tanh, "y"),
    "sigmoid": _Kind(activation.sigmoid, activation.vjp_of_sigmoid, "y"),
    "softsign": _Kind(activation.softsign, activation.vjp_of_softsign, "x"),
    "softplus": _Kind(activation.softplus, activation.vjp_of_softplus, "x"),
    "leakyrelu": _Kind(
        activation.leaky_relu,
        lambda dy, x, alpha=0.01: activation.vjp_of_leaky_relu(dy, x, alpha=alpha),
        "x",
        ("alpha",),
    ),
    "elu": _Kind(
        activation.elu,
        lambda dy, x, alpha=1.0: activation.vjp_of_elu(dy, x, alpha=alpha),
        "x",
        ("alpha",),
    ),
    "hardsigmoid": _Kind(activation.hard_sigmoid, _vjp_of_hard_sigmoid, "y", ("alpha", "beta")),
    "thresholdedrelu": _Kind(_thresholded_relu, _vjp_of_thresholded_relu, "x", ("alpha",)),
    "affine": _Kind(_affine, _vjp_of_affine, "y", ("alpha", "beta")),
    "scaledtanh": _Kind(_scaled_tanh, _vjp_of_scaled_tanh, "x", ("alpha", "beta")),
}


class Activation:
    """An activation function with its parameters; ``clip`` bounds its argument."""

    def __init__(self, name: str, clip: float | None = None, **parameters: float) -> None:
        kind = _KINDS[name.lower()]
        self._function = partial(kind.function, **parameters)
        self._vjp = partial(kind.vjp, **parameters)
        self._reads, self._clip = kind.reads, clip

    def __call__(self, v: np.ndarray) -> np.ndarray:
        return self._function(v if self._clip is None else np.clip(v, -self._clip, self._clip))

    def kept(self, v: np.ndarray, y: np.ndarray) -> np.ndarray:
        """What must be kept of a call y = f(v) for ``value_and_slope``: y, if the derivative
        follows from it."""
        return y if self._reads == "y" and self._clip is None else v

    def value_and_slope(self, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """f(v) and its derivative, at each."""
        if self._reads == "y" and self._clip is None:
            return kept, self._vjp(np.ones_like(kept), y=kept)
        if self._clip is None:
            return self.unclipped_and_slope(kept)
        bounded = np.clip(kept, -self._clip, self._clip)
        y, slope = self.unclipped_and_slope(bounded)
        return y, slope * (bounded == kept)  # beyond the bounds nothing changes

    def unclipped(self, v: np.ndarray) -> np.ndarray:
        """The function of an argument that isn't bounded."""
        return self._function(v)

    def unclipped_and_slope(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``unclipped(v)`` and its derivative."""
        y = self._function(v)
        return y, self._vjp(np.ones_like(v), **{self._reads: v if self._reads == "x" else y})


def activation_names(
    activations: Sequence[str] | None, defaults: Sequence[str], directions: int
) -> Sequence[str]:
    """The names of the activation functions, one direction after the other."""
    # RNN's default in the spec is for two directions, and serves one, too
    if not activations or (len(defaults) == 1 and [*activations] == ["Tanh", "Tanh"]):
        return [*defaults] * directions
    if len(activations) != len(defaults) * directions:
        raise ValueError(
            f"activations {list(activations)} should be {len(defaults) * directions} names, "
            f"{len(defaults)} for each direction"
        )
    return activations


def activation_functions(
    names: Sequence[str],
    alphas: Sequence[float] | None,
    betas: Sequence[float] | None,
    clip: float | None,
) -> list[Activation]:
    """The activation functions of these names. Each that has an alpha (or beta) takes the next of
    the list, as ONNX Runtime does. ``clip`` bounds what goes into them.
    """
    if clip is not None and clip <= 0:
        raise ValueError(f"clip {clip} should be positive")
    parameters = {"alpha": iter(alphas or ()), "beta": iter(betas or ())}
    functions = []
    for name in names:
        if name.lower() not in _KINDS:
            raise ValueError(f"{name!r} is not an activation function of the spec")
        keys = _KINDS[name.lower()].parameters
        given = {key: value for key in keys for value in itertools.islice(parameters[key], 1)}
        if name.lower() == "scaledtanh" and len(given) < 2:
            raise ValueError(f"{name} needs activation_alpha and activation_beta")
        functions.append(Activation(name, clip, **given))
    return functions
