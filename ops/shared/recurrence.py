"""How a recurrence walks through its sequences, whatever it computes at each step.

The inputs of many steps go through one GEMM; only the recurrence is a loop, over time. Inside it
everything is done in place, on arrays that the call owns. With ``sequence_lens`` the sequences are
packed: sorted by length, so that those still running at a step are the first rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from onnxwalk.ops.contract.needs import BLOCK, PER_ELEMENT, Need
from onnxwalk.ops.shared.needs import PER_CALL, multiply_adds
from onnxwalk.ops.shared.windows import BLOCK_BYTES, working_dtype

#: step(out, projected, h, *cells): one time step of n sequences, from what the inputs contribute to
#: the gates. The new hidden state goes to ``out``; ``cells`` change in place.
Step = Callable[..., Any]


class Direction(NamedTuple):
    """One direction's way through the sequence."""

    weights: np.ndarray  # of the inputs, (I, gates * H)
    bias: np.ndarray | None  # (gates * H)
    step_for: Callable[[int], Step]  # the step for a batch of that size, with its scratch space
    reverse: bool


def walk(
    directions: Sequence[Direction],
    hidden: int,
    x: np.ndarray,
    lengths: np.ndarray | None,
    layout: int,
    **initial: np.ndarray | None,
) -> tuple[np.ndarray, ...]:
    """All directions over all sequences: y and the last of each state."""
    features = len(directions[0].weights)
    if layout not in (0, 1):
        raise ValueError(f"layout {layout} should be 0 or 1")
    if x.ndim != 3 or x.shape[2] != features:
        order = "(batch, steps" if layout else "(steps, batch"
        raise ValueError(f"input {x.shape} should be {order}, {features}) to go with the weights")
    if layout:
        x = x.swapaxes(0, 1)
    steps, batch, _ = x.shape
    work = directions[0].weights.dtype
    inputs = x.astype(work, copy=False)
    lengths = _checked_lengths(lengths, steps, batch)
    states = []
    for name, state in initial.items():
        shape = (len(directions), batch, hidden)
        if state is None:
            states.append(np.zeros(shape, work))
            continue
        expect(name, state, (batch, len(directions), hidden) if layout else shape)
        # A copy of our own, since steps change the state in place.
        states.append(np.array(state.swapaxes(0, 1) if layout else state, work, order="C"))

    y = np.zeros((steps, len(directions), batch, hidden), work)
    for d, direction in enumerate(directions):
        state_d = [state[d] for state in states]
        if lengths is None:
            _walk(direction, inputs, y[:, d], state_d)
        else:
            _walk_packed(direction, inputs, lengths, y[:, d], state_d)
    if layout:
        y = y.transpose(2, 0, 1, 3)
        states = [state.swapaxes(0, 1) for state in states]
    return tuple(result.astype(x.dtype, copy=False) for result in (y, *states))


def _walk(direction: Direction, x: np.ndarray, y: np.ndarray, states: list[np.ndarray]) -> None:
    """One direction when every sequence is full. Writes y (T, N, H) and the states (N, H)."""
    steps, batch, features = x.shape
    step = direction.step_for(batch)
    h, cells = states[0], states[1:]
    order = range(steps)[::-1] if direction.reverse else range(steps)
    # The inputs of as many steps as fit the cache go through one GEMM.
    together = max(1, BLOCK_BYTES // max(1, batch * direction.weights[0].nbytes))
    for start in range(0, steps, together):
        block = order[start : start + together]
        first, last = min(block), max(block)
        rows = x[first : last + 1].reshape(len(block) * batch, features)
        gates = _project(direction, rows).reshape(len(block), batch, direction.weights.shape[1])
        backwards = -1 if direction.reverse else 1
        for out, now in zip(y[first : last + 1][::backwards], gates[::backwards], strict=True):
            step(out, now, h, *cells)
            h = out
    states[0][...] = h


def _walk_packed(
    direction: Direction,
    x: np.ndarray,
    lengths: np.ndarray,
    y: np.ndarray,
    states: list[np.ndarray],
) -> None:
    """One direction when each sequence has its length.

    Longest first, the sequences still running at a step are the first rows of the batch; only
    what they really hold is computed, packed step by step.
    """
    longest_first = np.argsort(-lengths, kind="stable")
    running = lengths[longest_first] > np.arange(x.shape[0])[:, None]
    times, ranks = np.nonzero(running)
    batch = longest_first[ranks]
    places = lengths[batch] - 1 - times if direction.reverse else times
    gates = _project(direction, x[places, batch])
    outputs = np.empty((len(gates), y.shape[-1]), y.dtype)
    h, *cells = (state[longest_first] for state in states)
    start, step_count = 0, -1
    for count in running.sum(axis=1).tolist():
        now = slice(start, start + count)
        if count != step_count:
            step, step_count = direction.step_for(count), count
        step(outputs[now], gates[now], h[:count], *(cell[:count] for cell in cells))
        h[:count] = outputs[now]
        start += count
    y[places, batch] = outputs
    for state, last in zip(states, (h, *cells), strict=True):
        state[longest_first] = last


def _project(direction: Direction, rows: np.ndarray) -> np.ndarray:
    """What the inputs (rows, I) of many steps contribute to the gates."""
    gates = rows @ direction.weights
    if direction.bias is not None:
        gates += direction.bias
    return gates


def expect(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} {array.shape} should be {shape}")


def _checked_lengths(lengths: np.ndarray | None, steps: int, batch: int) -> np.ndarray | None:
    """sequence_lens, or ``None`` when they say nothing: every sequence is full."""
    if lengths is None:
        return None
    expect("sequence_lens", lengths, (batch,))
    if batch and not (lengths.min() >= 0 and lengths.max() <= steps):
        raise ValueError(f"sequence_lens {lengths.tolist()} should lie between 0 and {steps}")
    return None if (lengths == steps).all() else lengths.astype(np.int64)


def needs_of_walk(
    x: np.ndarray, w: np.ndarray, r: np.ndarray, layout: int, *, packed: bool
) -> Need:
    """x in the working dtype; y, the states and scratch space of a step; the weights transposed,
    and once more with half the scale; the gates of a block of steps, or packed of all of them,
    with the inputs and results in that order. Some twenty calls a step."""
    work = working_dtype(w.dtype)
    item = work.itemsize
    directions, gates, hidden = len(r), r.shape[1], r.shape[2]
    batch, steps = x.shape[:2] if layout else x.shape[1::-1]
    y = steps * directions * batch * hidden
    inputs = x.size if x.dtype != work else 0
    if layout:
        inputs += x.size  # rows of a block that aren't next to each other
    together = steps * batch if packed else batch
    memory = item * (inputs + y + 4 * directions * batch * hidden + 3 * batch * gates)
    memory += item * (2 * together * gates + 3 * (w.size + r.size) + x.size + y // 2) + BLOCK
    if packed:
        memory += item * (x.size + y) + 40 * steps * batch
    memory += (x.itemsize * (y + 2 * directions * batch * hidden)) if x.dtype != work else 0
    macs = batch * steps * (w.size + r.size)
    called = multiply_adds(macs, work) + directions * steps * 12 * PER_CALL
    read = directions * steps * gates * hidden  # a small batch reads R in each step
    elements = directions * steps * batch * gates
    return Need(memory, called + 4 * read + PER_ELEMENT * elements + 20 * (x.size + w.size))
