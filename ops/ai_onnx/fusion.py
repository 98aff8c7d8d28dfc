"""What fused operators share: activations by name, and a convolution with what follows it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx import activation as activations
from onnxwalk.ops.ai_onnx import conv
from onnxwalk.ops.ai_onnx.pool import max_pool
from onnxwalk.ops.contract.cost import Cost, size
from onnxwalk.ops.contract.facts import Facts
from onnxwalk.ops.contract.space import with_bind
from onnxwalk.ops.fast import epilogue
from onnxwalk.ops.shared.cost import wide_itemsize
from onnxwalk.ops.shared.numeric import check_same_dtype

#: the function of each name and its parameters, all of which a node must give
ACTIVATIONS: dict[str, tuple[Callable[..., np.ndarray], tuple[str, ...]]] = {
    "Relu": (activations.relu, ()),
    "Tanh": (activations.tanh, ()),
    "Sigmoid": (activations.sigmoid, ()),
    "Softplus": (activations.softplus, ()),
    "Softsign": (activations.softsign, ()),
    "HardSwish": (activations.hard_swish, ()),
    "Swish": (activations.swish, ()),
    "LeakyRelu": (activations.leaky_relu, ("alpha",)),
    "Elu": (activations.elu, ("alpha",)),
    "Celu": (activations.celu, ("alpha",)),
    "ThresholdedRelu": (activations.thresholded_relu, ("alpha",)),
    "Selu": (activations.selu, ("alpha", "gamma")),
    "HardSigmoid": (activations.hard_sigmoid, ("alpha", "beta")),
    "ParametricSoftplus": (
        lambda x, alpha, beta: alpha * activations.softplus(beta * x),
        ("alpha", "beta"),
    ),
    "Clip": (lambda x, minimum, maximum: np.clip(x, minimum, maximum), ("minimum", "maximum")),
}


def activation(
    name: str | None, parameters: dict[str, float | None], allowed: Sequence[str]
) -> Callable[[np.ndarray], np.ndarray]:
    """The function that an attribute ``activation`` names; none is the identity."""
    given = {key: value for key, value in parameters.items() if value is not None}
    if not name:
        return lambda x: x
    if name not in allowed:
        raise NotImplementedError(f"activation {name!r} is not one of {', '.join(allowed)}")
    function, names = ACTIVATIONS[name]
    if set(given) != set(names):
        raise ValueError(f"activation {name} needs {list(names)}, got {list(given)}")
    return lambda x: function(x, **given).astype(x.dtype, copy=False)


def through_activation(
    dy: np.ndarray, x: np.ndarray, name: str | None, parameters: Mapping[str, float | None]
) -> np.ndarray:
    """The gradient of x, of ``activation`` with these parameters."""
    given = {key: value for key, value in parameters.items() if value is not None}
    if not name:
        return dy
    if name == "ParametricSoftplus":
        slope = activations.sigmoid((given["beta"] * x).astype(x.dtype, copy=False))
        return dy * (given["alpha"] * given["beta"]) * slope
    if name == "Clip":
        return np.where((x >= given["minimum"]) & (x <= given["maximum"]), dy, 0)
    function, _ = ACTIVATIONS[name]
    rule = Facts.of(function).of_gradient("vjp")
    if name == "Swish":
        given = {"alpha": 1.0}
    parameters_of_rule = inspect.signature(rule).parameters
    read = {key: value for key, value in given.items() if key in parameters_of_rule}
    if "y" in parameters_of_rule:
        return rule(dy, y=function(x, **given), **read)
    return rule(dy, x, **read)


def parameters_from_list(name: str | None, parameters: Sequence[float] | None) -> dict[str, float]:
    """The parameters of an activation by name, from a list of them."""
    names = ACTIVATIONS[name][1] if name in ACTIVATIONS else ()
    return dict(zip(names, parameters or (), strict=False))


def get_activation_from_list(
    name: str | None, parameters: Sequence[float], allowed: Sequence[str]
) -> Callable[[np.ndarray], np.ndarray]:
    """``activation`` with its parameters in a list; Requantize too: low, high, and one multiplier
    or one for each channel."""
    if name == "Requantize" and name in allowed:
        low, high, *multipliers = np.array(parameters, np.float32)
        return lambda x: _requantize(x, low, high, np.array(multipliers))
    names = ACTIVATIONS[name][1] if name in ACTIVATIONS else ()
    if name == "HardSwish" and [round(value, 6) for value in parameters] == [0.166667, 0.5]:
        parameters = ()  # they may be given, but only with these values
    if len(parameters) != len(names):
        raise ValueError(f"activation {name} needs {list(names)}, got {list(parameters)}")
    return activation(name, dict(zip(names, parameters, strict=True)), allowed)


def _requantize(
    x: np.ndarray, low: np.floating, high: np.floating, multipliers: np.ndarray
) -> np.ndarray:
    by_channel = multipliers.reshape(-1, *[1] * (x.ndim - 2))
    return np.clip(np.rint(x * by_channel), low, high)


def prepare_conv(
    w: np.ndarray,
    b: np.ndarray | None,
    *,
    activation: str | None = None,
    activation_params: Sequence[float] | None = None,
    allowed: Sequence[str],
    z_broadcasts: bool = False,
    pool: bool = False,
    **attributes: Any,
) -> Callable[..., np.ndarray]:
    """activation(Conv(x, w, b) + z) as a function of x and z; w and b are laid out once.

    ``z_broadcasts``: z may have another shape than the convolution. ``pool``: the result is that
    of MaxPool over 2 × 2, by steps of 2.
    """
    convolve = conv.prepare_conv(w, b, **attributes)
    activate = get_activation_from_list(activation, activation_params or (), allowed)

    def apply(x: np.ndarray, z: np.ndarray | None = None) -> np.ndarray:
        y = convolve(x)
        if z is not None:
            check_same_dtype(y, z)
            if z.shape != y.shape and not z_broadcasts:
                raise ValueError(f"Z {z.shape} should have the shape of the convolution, {y.shape}")
            y = y + z
        y = activate(y)
        return max_pool(y, kernel_shape=(2, 2), strides=(2, 2)) if pool else y

    bind_conv = getattr(convolve, "bind", None)
    if bind_conv is None:
        return apply

    def bind(space: Any, x: np.ndarray, z: np.ndarray | None = None) -> Any:
        if activation not in (None, *epilogue.ACTIVATION_NAMES):
            return None
        if z is not None:
            fits = z_broadcasts or z.shape == conv.shape_of_conv(x, w, **attributes)
            if z.dtype != x.dtype or not fits:
                return None
        followed_by = epilogue.activation(activation, activation_params or ())
        return bind_conv(space, x, z, followed_by, pool)

    return with_bind(apply, bind, bind_conv.margin)


def add_activation_cost(cost: Cost, shape: Iterable[int], item: int, more: int = 2) -> Cost:
    """The cost with an activation after it: one or two more arrays, and one for a sum before it."""
    count = size(shape)
    return Cost(cost.memory + more * item * count, cost.work + 150 * count)


def cost_of_conv(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    z: np.ndarray | None = None,
    *,
    activation: str | None = None,
    activation_params: Sequence[float] | None = None,
    **attributes: Any,
) -> Cost:
    """The cost of the convolution, of the sum and of the activation."""
    shape = conv.shape_of_conv(x, w, **attributes)
    cost = conv.cost_of_conv(x, w, b, **attributes)
    return add_activation_cost(cost, shape, wide_itemsize(x.dtype), 1 if z is None else 2)
