"""What RNN, LSTM and GRU share: their weights by direction, and when a layer has a fast form."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx.recurrent_activations import activation_functions, activation_names
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.space import with_bind
from onnxwalk.ops.fast.recurrent import make_binder
from onnxwalk.ops.fast.recurrent_steps import Cell
from onnxwalk.ops.shared.recurrence import Direction, check_shape, cost_of_recurrence
from onnxwalk.ops.shared.windows import working_dtype


def lay_out(
    w: np.ndarray | None,
    r: np.ndarray,
    b: np.ndarray | None,
    p: np.ndarray | None,
    defaults: Sequence[str],
    gates: int,
    *,
    activation_alpha: Sequence[float] | None = None,
    activation_beta: Sequence[float] | None = None,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    apart: int = 0,
    **_: Any,
) -> list[Direction]:
    """The weights and functions of each direction, for a layer whose activation functions are
    ``defaults`` where a node names none. Without w and b for the way back, which needs none.

    The last ``apart`` of Rb aren't added to Wb. Raises ValueError for what doesn't fit.
    """
    reversals = find_reversals(w, r, b, gates, direction, hidden_size)
    names = activation_names(activations, defaults, len(reversals))
    functions = activation_functions(names, activation_alpha, activation_beta, clip)
    if p is not None:
        check_shape("P", p, (len(r), 3 * r.shape[2]))
    dtype, count = working_dtype(r.dtype), len(functions) // len(reversals)
    biases = np.zeros((len(r), 2 * r.shape[1])) if b is None else b
    ways = []
    for d, reverse in enumerate(reversals):
        wb, rb = np.split(biases[d].astype(dtype), 2)
        joined = len(rb) - apart
        wb[:joined] += rb[:joined]
        w_d, r_d = (
            np.array(() if weights is None else weights[d].T, dtype, order="C")
            for weights in (w, r)
        )
        p_d = None if p is None else p[d].astype(dtype, copy=False)
        chosen = functions[d * count : (d + 1) * count]
        ways.append(Direction(w_d, r_d, wb, rb[joined:], p_d, chosen, reverse))
    return ways


def find_reversals(
    w: np.ndarray | None,
    r: np.ndarray,
    b: np.ndarray | None,
    gates: int,
    direction: str,
    hidden_size: int | None,
) -> list[bool]:
    """For each direction whether it runs backwards. Raises ValueError for weights that don't fit
    these directions, or the hidden size, which R states and the attribute may repeat."""
    named = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    named["foward"] = [False]  # GRU-1's
    if direction not in named:
        raise ValueError(f"direction {direction!r} is not forward, reverse or bidirectional")
    if r.ndim != 3 or (w is not None and w.ndim != 3):
        raise ValueError(f"W {None if w is None else w.shape} and R {r.shape} should have rank 3")
    directions, hidden = len(named[direction]), r.shape[2]
    if hidden_size is not None and hidden_size != hidden:
        raise ValueError(f"hidden_size {hidden_size} does not match R {r.shape}")
    check_shape("R", r, (directions, gates * hidden, hidden))
    if w is not None:
        check_shape("W", w, (directions, gates * hidden, w.shape[2]))
    if b is not None:
        check_shape("B", b, (directions, 2 * gates * hidden))
    return named[direction]


# ------------------------------------------------------------------------------- known weights


def add_binder(
    apply: Callable[..., Any],
    cells: Mapping[tuple[str, ...], Callable[..., Cell]],
    gates: int,
    w: np.ndarray,
    r: np.ndarray,
    b: np.ndarray | None,
    table: np.ndarray | None,
    *,
    activations: Sequence[str] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
    **_: Any,
) -> Callable[..., Any]:
    """``apply`` with its fast form if the layer is a usual one; ``cells`` maps activation functions
    to the fast form's cells."""
    reversals = find_reversals(w, r, b, gates, direction, hidden_size)
    usual = w.dtype == r.dtype == working_dtype(w.dtype)
    if cells and usual and clip is None and not input_forget and not layout:
        names = activation_names(activations, next(iter(cells)), len(reversals))
        for functions, make_cell in cells.items():
            if [name.lower() for name in names] == [*functions] * len(reversals):
                cell = partial(make_cell, w, r, b, reversals)
                return with_bind(apply, make_binder(cell, table))
    return apply


def look_up_embedding(x: np.ndarray, table: np.ndarray | None) -> np.ndarray:
    """The rows of ``table`` at the indices x; x itself without a table. The rewrite
    ``lift_embedding`` passes ``_table`` to a layer whose inputs are embeddings."""
    return x if table is None else table[x]


# ------------------------------------------------------------------------------------------ costs


def cost_of_layer(
    x: np.ndarray, w: np.ndarray, r: np.ndarray, *_: Any, layout: int = 0, **__: Any
) -> Cost:
    return cost_of_recurrence(x, w, r, layout)


def flops_of_layer(outputs, x, w, r, *others, **_):
    """Two products for each step, sequence and direction; padding that is left out counts too."""
    return 2 * math.prod(x.shape[:2]) * (w.size + r.size)
