"""The loop of RNN, LSTM and GRU over the steps of sequences.

The inputs of many steps are multiplied by the weights at once; only the recurrence is a loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from onnxwalk.ops.contract.cost import PER_ELEMENT, Cost
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.cost import PER_ARRAY, PER_CALL, cast_copies, multiply_adds
from onnxwalk.ops.shared.windows import BLOCK_BYTES, working_dtype

#: step(direction, xw, *states) -> the states and gates (n, H) of n sequences after one time step,
#: by name, the states first; ``xw`` (n, gates * H) is x[t] W' + b
Step: TypeAlias = Callable[..., Mapping[str, np.ndarray]]

#: watch(d, times, sequences, values): called after each step of direction d, with the time steps
#: (n) and indices (n) of its sequences, and their states and gates, (n, H) each
Watch: TypeAlias = Callable[[int, np.ndarray, np.ndarray, Mapping[str, np.ndarray]], Any]


class Activation(Protocol):
    """An activation function y = f(v)."""

    def __call__(self, v: np.ndarray, /) -> np.ndarray: ...

    def kept(self, v: np.ndarray, y: np.ndarray) -> np.ndarray:
        """What is kept of a call for the way back."""


class Direction(NamedTuple):
    """The weights of one direction, in the dtype to compute in, and its activation functions."""

    w: np.ndarray  # W' (I, gates * H)
    r: np.ndarray  # R' (H, gates * H)
    b: np.ndarray  # (gates * H): Wb, plus the part of Rb that isn't in rb
    rb: np.ndarray  # GRU with linear_before_reset: Rbh (H); else (0)
    p: np.ndarray | None  # LSTM: (3 * H) or None
    functions: Sequence[Activation]
    reverse: bool


def run_recurrence(
    step: Step,
    directions: Sequence[Direction],
    x: np.ndarray,
    lengths: np.ndarray | None,
    layout: int,
    watch: Watch | None,
    **initial: np.ndarray | None,
) -> tuple[np.ndarray, ...]:
    """Run all directions over all sequences; returns y and the final states.

    x is (T, N, I), or (N, T, I) with ``layout`` 1. Raises ValueError for shapes that don't match.
    """
    features, hidden, work = len(directions[0].w), len(directions[0].r), directions[0].r.dtype
    if layout not in (0, 1):
        raise ValueError(f"layout {layout} should be 0 or 1")
    if x.ndim != 3 or x.shape[2] != features:
        order = "(batch, steps" if layout else "(steps, batch"
        raise ValueError(f"input {x.shape} should be {order}, {features}) to match the weights")
    inputs = (x.swapaxes(0, 1) if layout else x).astype(work, copy=False)
    steps, batch, _ = inputs.shape
    if lengths is None:
        lengths = np.full(batch, steps)
    check_shape("sequence_lens", lengths, (batch,))
    if batch and not (lengths.min() >= 0 and lengths.max() <= steps):
        raise ValueError(f"sequence_lens {lengths.tolist()} should lie between 0 and {steps}")
    states = {}
    for name, state in initial.items():
        shape = (len(directions), batch, hidden)
        if state is None:
            states[name] = np.zeros(shape, work)
            continue
        check_shape(
            f"initial_{name.lower()}", state, (batch, len(directions), hidden) if layout else shape
        )
        states[name] = np.array(state.swapaxes(0, 1) if layout else state, work)  # a copy

    y = np.zeros((steps, len(directions), batch, hidden), work)
    with np.errstate(all="ignore"):
        for d, direction in enumerate(directions):
            own_states = {name: state[d] for name, state in states.items()}
            for times, sequences, values in _iterate_steps(
                step, direction, inputs, lengths.astype(np.intp), own_states
            ):
                y[times, d, sequences] = values["h"]
                if watch is not None:
                    watch(d, times, sequences, values)
    results = [y, *states.values()]
    if layout:
        results = [y.transpose(2, 0, 1, 3), *(state.swapaxes(0, 1) for state in states.values())]
    return tuple(result.astype(x.dtype, copy=False) for result in results)


def _iterate_steps(
    step: Step,
    direction: Direction,
    x: np.ndarray,
    lengths: np.ndarray,
    states: Mapping[str, np.ndarray],
) -> Iterator[tuple[np.ndarray, np.ndarray, Mapping[str, np.ndarray]]]:
    """Yields for each step of one direction the time steps and indices of the sequences that
    haven't ended, and the result of ``step`` for them; updates ``states`` (N, H) in place."""
    longest = int(lengths.max(initial=0))
    block = _steps_per_block(len(lengths), direction.b.nbytes)
    for start in range(0, longest, block):
        steps = range(start, min(start + block, longest))
        running = [np.flatnonzero(lengths > t) for t in steps]
        times = [
            lengths[rows] - 1 - t if direction.reverse else np.full(len(rows), t)
            for t, rows in zip(steps, running, strict=True)
        ]
        xw = products.matmul(x[np.concatenate(times), np.concatenate(running)], direction.w)
        xw += direction.b
        edges = np.cumsum([len(rows) for rows in running])[:-1]
        for t, rows, projected in zip(times, running, np.split(xw, edges), strict=True):
            values = step(direction, projected, *(state[rows] for state in states.values()))
            for name, state in states.items():
                state[rows] = values[name]
            yield t, rows, values


def _steps_per_block(batch: int, gates: int) -> int:
    """How many steps to project at once, so that the gates (bytes for each sequence) fit the
    cache."""
    return max(1, BLOCK_BYTES // max(1, batch * gates))


def check_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} {array.shape} should be {shape}")


def cost_of_recurrence(x: np.ndarray, w: np.ndarray, r: np.ndarray, layout: int) -> Cost:
    """y and the states; for a block of steps the inputs, their indices, and their projections
    twice; some arrays of one step; the transposed weights; x and the results in the dtype to
    compute in. About 25 calls a step."""
    work = working_dtype(w.dtype)
    item = work.itemsize
    directions, gates, hidden = len(r), r.shape[1], r.shape[2]
    batch, steps = x.shape[:2] if layout else x.shape[1::-1]
    together = min(steps, _steps_per_block(batch, item * gates))
    outputs = directions * batch * hidden * (steps + 4)
    block = batch * together * (item * (x.shape[2] + 2 * gates) + 40) + 4 * PER_ARRAY * together
    memory = item * (outputs + 8 * batch * gates + w.size + r.size) + block
    if x.dtype != work:
        memory += cast_copies(work, x) + x.itemsize * outputs
    macs = batch * steps * (w.size + r.size)
    called = multiply_adds(macs, work) + directions * steps * 25 * PER_CALL
    read = directions * steps * gates * hidden  # a small batch reads R in each step
    elements = directions * steps * batch * gates
    return Cost(memory, called + 4 * read + PER_ELEMENT * elements + 20 * (x.size + w.size))
