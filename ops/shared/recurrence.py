"""How a recurrence goes through its sequences, whatever it computes at each step.

The inputs of many steps go through one product; only the recurrence is a loop, over time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from onnxwalk.ops.contract.cost import PER_ELEMENT, Cost
from onnxwalk.ops.shared.cost import PER_ARRAY, PER_CALL, cast_copies, multiply_adds
from onnxwalk.ops.shared.windows import BLOCK_BYTES, working_dtype

Activation: TypeAlias = Callable[[np.ndarray], np.ndarray]

#: step(way, xw, *states): the states and gates of some sequences (n, H) after one time step, by
#: name, the states first; ``xw`` (n, gates * H) is x[t] W' + b
Step: TypeAlias = Callable[..., Mapping[str, np.ndarray]]

#: watch(d, times, sequences, values): direction d took these sequences (n) over these time steps
#: (n), and the states and gates are now ``values``, (n, H) each
Watch: TypeAlias = Callable[[int, np.ndarray, np.ndarray, Mapping[str, np.ndarray]], Any]


class Direction(NamedTuple):
    """One direction: its weights in the dtype to compute in, and its activation functions."""

    w: np.ndarray  # W' (I, gates * H)
    r: np.ndarray  # R' (H, gates * H)
    b: np.ndarray  # (gates * H), of what the inputs contribute: Wb, and Rb as far as it isn't rb
    rb: np.ndarray  # of GRU: (H) of Rbh with linear_before_reset, or (0)
    p: np.ndarray | None  # of LSTM: (3 * H), or none
    functions: Sequence[Activation]
    reverse: bool


def run_recurrence(
    step: Step,
    ways: Sequence[Direction],
    x: np.ndarray,
    lengths: np.ndarray | None,
    layout: int,
    watch: Watch | None,
    **initial: np.ndarray | None,
) -> tuple[np.ndarray, ...]:
    """All directions over all sequences: y and the last of each state."""
    features, hidden, work = len(ways[0].w), len(ways[0].r), ways[0].r.dtype
    if layout not in (0, 1):
        raise ValueError(f"layout {layout} should be 0 or 1")
    if x.ndim != 3 or x.shape[2] != features:
        order = "(batch, steps" if layout else "(steps, batch"
        raise ValueError(f"input {x.shape} should be {order}, {features}) to go with the weights")
    inputs = (x.swapaxes(0, 1) if layout else x).astype(work, copy=False)
    steps, batch, _ = inputs.shape
    if lengths is None:
        lengths = np.full(batch, steps)
    check_shape("sequence_lens", lengths, (batch,))
    if batch and not (lengths.min() >= 0 and lengths.max() <= steps):
        raise ValueError(f"sequence_lens {lengths.tolist()} should lie between 0 and {steps}")
    states = {}
    for name, state in initial.items():
        shape = (len(ways), batch, hidden)
        if state is None:
            states[name] = np.zeros(shape, work)
            continue
        check_shape(
            f"initial_{name.lower()}", state, (batch, len(ways), hidden) if layout else shape
        )
        states[name] = np.array(state.swapaxes(0, 1) if layout else state, work)  # to be changed

    y = np.zeros((steps, len(ways), batch, hidden), work)
    with np.errstate(all="ignore"):
        for d, way in enumerate(ways):
            of_way = {name: state[d] for name, state in states.items()}
            taken = _iterate_steps(step, way, inputs, lengths.astype(np.intp), of_way)
            for times, sequences, values in taken:
                y[times, d, sequences] = values["h"]
                if watch is not None:
                    watch(d, times, sequences, values)
    results = [y, *states.values()]
    if layout:
        results = [y.transpose(2, 0, 1, 3), *(state.swapaxes(0, 1) for state in states.values())]
    return tuple(result.astype(x.dtype, copy=False) for result in results)


def _iterate_steps(
    step: Step, way: Direction, x: np.ndarray, lengths: np.ndarray, states: Mapping[str, np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray, Mapping[str, np.ndarray]]]:
    """One direction, step by step: where each sequence is that has not ended, which these are, and
    what ``step`` computes for them; ``states`` (N, H) change in place."""
    longest = int(lengths.max(initial=0))
    together = _steps_per_block(len(lengths), way.b.nbytes)
    for start in range(0, longest, together):
        counted = range(start, min(start + together, longest))
        running = [np.flatnonzero(lengths > t) for t in counted]
        places = [
            lengths[rows] - 1 - t if way.reverse else np.full(len(rows), t)
            for t, rows in zip(counted, running, strict=True)
        ]
        xw = x[np.concatenate(places), np.concatenate(running)] @ way.w
        xw += way.b
        edges = np.cumsum([len(rows) for rows in running])[:-1]
        for times, rows, now in zip(places, running, np.split(xw, edges), strict=True):
            values = step(way, now, *(state[rows] for state in states.values()))
            for name, state in states.items():
                state[rows] = values[name]
            yield times, rows, values


def _steps_per_block(batch: int, gates: int) -> int:
    """The steps whose inputs go through one product: as many as fit the cache, with so many bytes
    of gates for each sequence."""
    return max(1, BLOCK_BYTES // max(1, batch * gates))


def check_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} {array.shape} should be {shape}")


def cost_of_recurrence(x: np.ndarray, w: np.ndarray, r: np.ndarray, layout: int) -> Cost:
    """y and the states; of a block of steps the inputs, where they are, and twice what they
    contribute to the gates; some arrays of one step; the weights transposed; x and the results in
    the dtype to compute in. Some 25 calls a step."""
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
