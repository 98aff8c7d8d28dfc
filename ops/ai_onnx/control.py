"""If, Loop and Scan: operators that run other graphs.

``outputs = yield body, inputs`` runs a graph (see ``ops.contract.graphs``), and
``body.output_types`` has the ``dtype`` and ``shape`` of each of its outputs, or ``None`` for what
the file doesn't say. ``body.attempt`` is a call apart from the run, which only shows what a first
iteration would give, or ``None`` if it fails. ``body.reserve`` counts memory used for the results
of the calls. ``body.run_ahead(number, states, rows, count, goes_on)`` runs up to ``count``
iterations at once, if it can: it returns how many there were, the states after them, and each
element of theirs stacked, or ``None``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import no_cost
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.graphs import Calls, Subgraphs, runs_graphs
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared import flops
from onnxwalk.ops.shared.axes import normalize_axis
from onnxwalk.ops.shared.values import all_ints, as_int, as_scalar, zero


@op("If", since=1)
@runs_graphs
def if_(cond, *, then_branch, else_branch):
    """The outputs of one graph or of the other. Spec: If-1, If-11, If-13, If-16."""
    return (yield (then_branch if as_scalar(cond, "cond") else else_branch), ())


@op("Loop", since=1)
@runs_graphs
def loop(m=None, cond=None, *v_initial, body):
    """Run ``body`` up to ``m`` times, as long as ``cond`` is true; without one, it doesn't count.

    body(i, cond, *carried) returns (cond, *carried, *elements). The outputs are the carried values
    of the last iteration, then each element stacked over all iterations.
    Spec: Loop-1, Loop-11, Loop-13, Loop-16.
    """
    trips = None if m is None else as_int(m, "M")
    keep_going = np.array(True) if cond is None else cond
    carried = v_initial
    n = len(carried)
    collected: list[Sequence[np.ndarray]] = []
    i = 0
    while (trips is None or i < trips) and (cond is None or as_scalar(keep_going, "cond")):
        left = sys.maxsize if trips is None else trips - i
        ahead = body.run_ahead(i, (keep_going, *carried), (), left, cond is not None)
        if ahead is not None:
            count, (keep_going, *carried), stacked = ahead
        else:
            results = yield body, (np.array(i, np.int64), keep_going, *carried)
            count, stacked = 1, [x[None] for x in results[1 + n :]]
            keep_going, carried = results[0], results[1 : 1 + n]
        collected.append(stacked)
        i += count
    if collected:
        elements = _stack(collected, body, 1 + n)
    else:
        elements = _no_elements(body, 1 + n, (np.array(0), np.array(True), *carried))
    return (*carried, *elements)


@op("Scan", since=9)
@runs_graphs
def scan(
    *initial_state_and_scan_inputs,
    body,
    num_scan_inputs,
    scan_input_axes=None,
    scan_input_directions=None,
    scan_output_axes=None,
    scan_output_directions=None,
):
    """Run ``body`` on one slice of the scan inputs after the other.

    body(*states, *slices) returns (*states, *elements). The outputs are the last states, then each
    element stacked over all iterations, along its axis of ``scan_output_axes``. Direction 1 reads
    from the end, or stacks from the end. Spec: Scan-9, Scan-11.
    """
    states, scanned = _split_inputs(initial_state_and_scan_inputs, num_scan_inputs)
    count = len(scanned)
    axes = _one_per_value(scan_input_axes, count, "scan_input_axes")
    backward = _one_per_value(scan_input_directions, count, "scan_input_directions")
    by_time = [
        np.moveaxis(x, normalize_axis(axis, x.ndim), 0)
        for x, axis in zip(scanned, axes, strict=True)
    ]
    states, outputs = yield from _scan(states, by_time, backward, body, _scan_length(by_time))
    axes = _one_per_value(scan_output_axes, len(outputs), "scan_output_axes")
    backward = _one_per_value(scan_output_directions, len(outputs), "scan_output_directions")
    results = [
        np.moveaxis(y[::-1] if reverse else y, 0, normalize_axis(axis, y.ndim))
        for y, axis, reverse in zip(outputs, axes, backward, strict=True)
    ]
    return (*states, *results)


@op("Scan", since=8, until=9)
@runs_graphs
def scan_8(
    sequence_lens=None, *initial_state_and_scan_inputs, body, num_scan_inputs, directions=None
):
    """Scan each sequence of a batch by itself: axis 0 is the batch, axis 1 is scanned.

    A sequence may be shorter than the tensor; the spec leaves open what fills the outputs beyond
    its end, and it is zeros here. Scanning backwards begins at the end of the sequence.
    Spec: Scan-8.
    """
    states, scanned = _split_inputs(initial_state_and_scan_inputs, num_scan_inputs)
    backward = _one_per_value(directions, len(scanned), "directions")
    for x in scanned:
        if x.ndim < 2:
            raise ValueError(f"a Scan-8 input must be (batch, time, …), not {x.shape}")
    longest = _scan_length([x.swapaxes(0, 1) for x in scanned])
    batch = len(scanned[0])
    lengths = (longest,) * batch if sequence_lens is None else all_ints(sequence_lens)
    if any(len(x) != batch for x in (*states, *scanned)) or len(lengths) != batch:
        raise ValueError("the inputs of Scan-8 differ in batch size")
    if min(lengths, default=0) < 0 or max(lengths, default=0) > longest:
        raise ValueError(f"sequence lengths should be from 0 to {longest}")
    final: list[Sequence[Any]] = []
    stacked: list[Sequence[np.ndarray]] = []
    for b, length in enumerate(lengths):
        last_states, outputs = yield from _scan(
            [state[b, ...] for state in states],
            [x[b, :length] for x in scanned],
            backward,
            body,
            length,
        )
        final.append(last_states)
        stacked.append([_pad_to_length(y, longest) for y in outputs])
    if not batch:
        given = (*(_zeros_within(x) for x in states), *(_zeros_within(x, 2) for x in scanned))
        return (*states, *_no_elements(body, len(states), given, (0, longest)))
    return (
        *(np.stack(values) for values in zip(*final, strict=True)),
        *(np.stack(values) for values in zip(*stacked, strict=True)),
    )


def _split_inputs(
    inputs: Sequence[Any], num_scan_inputs: int
) -> tuple[Sequence[Any], Sequence[Any]]:
    """The initial states and the scan inputs."""
    if not 1 <= num_scan_inputs <= len(inputs):
        raise ValueError(
            f"num_scan_inputs {num_scan_inputs} should be from 1 to {len(inputs)}, the inputs"
        )
    return inputs[: len(inputs) - num_scan_inputs], inputs[len(inputs) - num_scan_inputs :]


def _one_per_value(values: Sequence[int] | None, count: int, name: str) -> Sequence[int]:
    if values is None:
        return [0] * count
    if len(values) != count:
        raise ValueError(f"{name} must have {count} entries, not {len(values)}")
    return values


def _scan_length(by_time: Sequence[np.ndarray]) -> int:
    lengths = {len(x) for x in by_time}
    if len(lengths) != 1:
        raise ValueError(f"the scan inputs differ in length: {sorted(lengths)}")
    return lengths.pop()


def _scan(
    states: Sequence[Any],
    by_time: Sequence[np.ndarray],
    backward: Sequence[int],
    body: Any,
    length: int,
) -> Calls[tuple[Sequence[Any], list[np.ndarray]]]:
    """The last states, and each element stacked along axis 0."""
    n = len(states)
    by_time = [x[::-1] if reverse else x for x, reverse in zip(by_time, backward, strict=True)]
    collected = []
    t = 0
    while t < length:
        ahead = body.run_ahead(None, states, [x[t:] for x in by_time], length - t, False)
        if ahead is not None:
            count, states, stacked = ahead
        else:
            results = yield body, (*states, *(x[t, ...] for x in by_time))
            count, states, stacked = 1, results[:n], [x[None] for x in results[n:]]
        collected.append(stacked)
        t += count
    if not collected:
        return states, _no_elements(body, n, (*states, *(_zeros_within(x) for x in by_time)))
    return states, _stack(collected, body, n)


def _stack(collected: Sequence[Sequence[np.ndarray]], body: Any, first: int) -> list[np.ndarray]:
    """The body's outputs from ``first`` on, each of all iterations, which are along axis 0."""
    stacked = []
    for k, values in enumerate(zip(*collected, strict=True), first):
        kinds = {(value.dtype, value.shape[1:]) for value in values}
        if len(kinds) > 1:
            one, other, *_ = (f"{dtype} {shape}" for dtype, shape in kinds)
            raise ValueError(f"output {k} of the body changes between iterations: {one}, {other}")
        body.reserve(sum(value.nbytes for value in values))  # small views may become large arrays
        stacked.append(np.concatenate(values))
    return stacked


def _no_elements(
    body: Any, first: int, inputs: tuple[Any, ...], leading: tuple[int, ...] = (0,)
) -> list[np.ndarray]:
    """The body's outputs from ``first`` on, stacked over no iterations: of the type that the file
    declares, with unknown sizes as 0; if it declares none, of the type that the body gives for
    ``inputs``, those of a first iteration."""
    kinds = body.output_types[first:]
    known = all(kind and kind.dtype is not None and kind.shape is not None for kind in kinds)
    values = None if known else body.attempt(*inputs)
    if values is None:
        values = [None] * (first + len(kinds))
    return [
        _empty_output(k, kind, value, leading)
        for k, (kind, value) in enumerate(zip(kinds, values[first:], strict=True), first)
    ]


def _empty_output(
    k: int, kind: Any, value: np.ndarray | None, leading: tuple[int, ...]
) -> np.ndarray:
    """Output k over no iterations: of the declared type, or else that of ``value``."""
    dtype = value.dtype if value is not None else kind and kind.dtype
    if dtype is None:
        raise ValueError(f"no iteration ran, and the file has no type for output {k} of the body")
    if kind and kind.shape is not None:
        shape = tuple(size if isinstance(size, int) else 0 for size in kind.shape)
    else:
        shape = () if value is None else value.shape
    return np.full(leading + shape, zero(dtype), dtype)


def _zeros_within(x: np.ndarray, depth: int = 1) -> np.ndarray:
    """Zeros of the shape of the elements of an empty x, behind its first ``depth`` axes."""
    return np.full(x.shape[depth:], zero(x.dtype), x.dtype)


def _pad_to_length(y: np.ndarray, length: int) -> np.ndarray:
    """``y`` padded with zeros to ``length`` along axis 0."""
    if len(y) == length:
        return y
    padded = np.full((length, *y.shape[1:]), zero(y.dtype), y.dtype)
    padded[: len(y)] = y
    return padded


# The cost of bodies is checked there; the stacked elements are known only afterwards.
declare(if_, loop, scan, scan_8, cost=no_cost, flops=flops.zero)
if_.subgraphs(Subgraphs(lambda cond: "then_branch" if cond else "else_branch", outputs_from=0))
loop.subgraphs(Subgraphs(outputs_from=1, carried=lambda inputs, **_: inputs - 1, rereads=False))
_SCAN_SUBGRAPHS = Subgraphs(
    outputs_from=0, carried=lambda inputs, *, num_scan_inputs, **_: inputs - num_scan_inputs
)
declare(scan, scan_8, subgraphs=_SCAN_SUBGRAPHS)
