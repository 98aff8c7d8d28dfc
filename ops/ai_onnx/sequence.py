"""Sequences and optionals.

A sequence is a Python list of tensors, and no operator changes one that it was given. An optional
is its value, or ``None``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxwalk.ops.ai_onnx.joining import concatenate, cost_of_views, split_views
from onnxwalk.ops.contract.cost import Cost, arrays_in, no_cost, size
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.graphs import runs_graphs
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared import types
from onnxwalk.ops.shared.axes import normalize_axis
from onnxwalk.ops.shared.cost import PER_ARRAY, PER_ITEM, total_bytes
from onnxwalk.ops.shared.values import all_ints, as_int

# --- sequences ------------------------------------------------------------------------------------


@op("SequenceEmpty", since=11)
def sequence_empty(*, dtype=None):
    """An empty sequence of tensors of type ``dtype``. Spec: SequenceEmpty-11."""
    return []


@op("SequenceConstruct", since=11)
def sequence_construct(*inputs):
    """The inputs as a sequence. Spec: SequenceConstruct-11."""
    for tensor in inputs[1:]:
        _check_same_type(inputs[0], tensor)
    return list(inputs)


@op("SequenceLength", since=11)
def sequence_length(input_sequence):
    """The number of tensors: int64, rank 0. Spec: SequenceLength-11."""
    return np.array(len(input_sequence), np.int64)


@op("SequenceAt", since=11)
def sequence_at(input_sequence, position):
    """The tensor at ``position``; negative counts from the end. Spec: SequenceAt-11."""
    return input_sequence[_to_index(position, len(input_sequence), len(input_sequence) - 1)]


@op("SequenceInsert", since=11)
def sequence_insert(input_sequence, tensor, position=None):
    """A sequence with ``tensor`` before the one now at ``position``, or at the end.

    Spec: SequenceInsert-11.
    """
    if input_sequence:
        _check_same_type(input_sequence[0], tensor)
    n = len(input_sequence)
    place = n if position is None else _to_index(position, n, n)
    return [*input_sequence[:place], tensor, *input_sequence[place:]]


@op("SequenceErase", since=11)
def sequence_erase(input_sequence, position=None):
    """A sequence without the tensor at ``position``, or the last. Spec: SequenceErase-11."""
    n = len(input_sequence)
    place = _to_index(np.array(-1) if position is None else position, n, n - 1)
    return [*input_sequence[:place], *input_sequence[place + 1 :]]


def _to_index(position: np.ndarray, n: int, last: int) -> int:
    """``position`` as a non-negative index; ValueError unless it is within [-n, last]."""
    place = as_int(position, "position")
    if not -n <= place <= last:
        raise ValueError(f"position {place} is out of range for a sequence of {n} tensors")
    return place + n if place < 0 else place


def _check_same_type(one: np.ndarray, other: np.ndarray) -> None:
    if one.dtype != other.dtype:
        raise ValueError(f"a sequence can't hold both {one.dtype} and {other.dtype}")


@op("SplitToSequence", since=11)
def split_to_sequence(input, split=None, *, axis=0, keepdims=1):
    """Consecutive parts along ``axis``: of the lengths in ``split``, or all of one length.

    A scalar ``split`` is the length of every part, but the last may be shorter. Without it the
    parts are single slices, and ``keepdims`` = 0 drops their axis. Spec: SplitToSequence-11.
    """
    axis = normalize_axis(axis, input.ndim)
    total = input.shape[axis]
    if split is None:
        slices = split_views(input, (1,) * total, axis)
        return list(slices) if keepdims else [np.squeeze(one, axis) for one in slices]
    if split.ndim:
        return list(split_views(input, all_ints(split), axis))
    length = as_int(split, "split")
    if length <= 0:
        raise ValueError(f"split {length} should be positive")
    full, rest = divmod(total, length)
    return list(split_views(input, (length,) * full + ((rest,) if rest else ()), axis))


@op("ConcatFromSequence", since=11)
def concat_from_sequence(input_sequence, *, axis, new_axis=0):
    """The tensors of a sequence along ``axis``, a new one if ``new_axis``.

    Spec: ConcatFromSequence-11.
    """
    if not input_sequence:
        raise ValueError("can't concatenate an empty sequence")
    if not new_axis:
        return concatenate(input_sequence, axis)
    axis = normalize_axis(axis, input_sequence[0].ndim + 1)
    return concatenate([np.expand_dims(tensor, axis) for tensor in input_sequence], axis)


@op("SequenceMap", since=17)
@runs_graphs
def sequence_map(input_sequence, *additional_inputs, body):
    """``body`` of the i-th tensors of the sequences, and of the other inputs, for every i.

    body(*tensors) returns a tuple; each of its elements becomes a sequence. Spec: SequenceMap-17.
    """
    inputs = (input_sequence, *additional_inputs)
    n = len(input_sequence)
    for other in additional_inputs:
        if isinstance(other, list) and len(other) != n:
            raise ValueError(
                f"SequenceMap needs sequences of equal length, got {n} and {len(other)}"
            )
    results = []
    for i in range(n):
        results.append((yield body, tuple(x[i] if isinstance(x, list) else x for x in inputs)))
    if not results:
        return tuple([] for _ in body.output_types)
    return tuple(list(values) for values in zip(*results, strict=True))


# --- optionals ------------------------------------------------------------------------------------


@op("Optional", since=15)
def optional(input=None, *, type=None):
    """An optional that holds the input, or without one, nothing of the given type.

    Spec: Optional-15.
    """
    return input


@op("OptionalHasElement", since=18)
def optional_has_element(input=None):
    """Whether there is a value: bool, rank 0. Spec: OptionalHasElement-18."""
    return np.array(input is not None)


@op("OptionalHasElement", since=15)
def optional_has_element_15(input):
    """OptionalHasElement when its input could not be left out. Spec: OptionalHasElement-15."""
    return np.array(input is not None)


@op("OptionalGetElement", since=15)
def optional_get_element(input):
    """The value in an optional; a tensor or sequence is its own. Spec: OptionalGetElement-18."""
    if input is None:
        raise ValueError("can't get the element of an empty optional")
    return input


# ------------------------------------------------------------------------------------- gradients


@sequence_construct.vjp
def vjp_of_sequence_construct(dys):
    return tuple(dys)


@sequence_at.vjp
def vjp_of_sequence_at(dy, position, *, input_sequence_shape):
    """Zeros for the other tensors."""
    dxs = [np.zeros(shape, dy.dtype) for shape in input_sequence_shape]
    dxs[_to_index(position, len(dxs), len(dxs) - 1)] = dy
    return dxs


@sequence_insert.vjp
def vjp_of_sequence_insert(dys, position):
    n = len(dys) - 1
    place = n if position is None else _to_index(position, n, n)
    return [*dys[:place], *dys[place + 1 :]], dys[place]


@sequence_erase.vjp
def vjp_of_sequence_erase(dys, position, *, input_sequence_shape, input_sequence_dtype):
    n = len(input_sequence_shape)
    place = _to_index(np.array(-1) if position is None else position, n, n - 1)
    erased = np.zeros(input_sequence_shape[place], input_sequence_dtype[place])
    return [*dys[:place], erased, *dys[place:]]


@split_to_sequence.vjp
def vjp_of_split_to_sequence(dys, split, *, input_shape, input_dtype, axis, keepdims):
    if not dys:
        return np.zeros(input_shape, input_dtype)
    axis = normalize_axis(axis, len(input_shape))
    return np.concatenate(dys, axis) if split is not None or keepdims else np.stack(dys, axis)


@concat_from_sequence.vjp
def vjp_of_concat_from_sequence(dy, *, input_sequence_shape, axis, new_axis):
    shapes = input_sequence_shape
    axis = normalize_axis(axis, dy.ndim)
    lengths = [1] * len(shapes) if new_axis else [shape[axis] for shape in shapes]
    parts = split_views(dy, lengths, axis)
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


@optional.vjp
@optional_get_element.vjp
def vjp_of_optional(dy):
    return dy


@vjp_of_sequence_construct.cost
@vjp_of_sequence_at.cost
@vjp_of_sequence_insert.cost
@vjp_of_sequence_erase.cost
@vjp_of_split_to_sequence.cost
@vjp_of_concat_from_sequence.cost
@vjp_of_optional.cost
def cost_of_vjp_of_sequences(dys, *_, input_sequence_shape=(), **__):
    """All tensors, zeros for the others, and lists of them and of their shapes."""
    arrays = list(arrays_in([dys]))
    numbers = sum(map(size, input_sequence_shape))
    item = max((x.itemsize for x in arrays), default=8)
    count = len(arrays) + len(input_sequence_shape)
    memory = total_bytes(arrays) + item * numbers
    return Cost(memory + 500 * count, memory + 20 * PER_ITEM * count)


# ------------------------------------------------------------------------------------------- costs

for _function in (
    sequence_empty, sequence_length, sequence_at, sequence_map,
    optional, optional_has_element, optional_has_element_15, optional_get_element,
):  # fmt: skip
    _function.cost(no_cost)


@sequence_construct.cost
@sequence_insert.cost
@sequence_erase.cost
def cost_of_list(*inputs: Any) -> Cost:
    """A list, joined from two parts."""
    count = sum(len(x) if isinstance(x, list) else 1 for x in inputs)
    return Cost(24 * count, 100 * count)


@split_to_sequence.cost
def cost_of_split_to_sequence(
    input: np.ndarray, split: np.ndarray | None = None, *, axis: int = 0, **_: Any
) -> Cost:
    if split is not None and split.ndim:
        return cost_of_views(input, split.size)
    length = 1 if split is None else as_int(split, "split")
    count = -(-input.shape[normalize_axis(axis, input.ndim)] // length)
    cost = cost_of_views(input, count)
    return Cost(2 * cost.memory, 2 * cost.work)


@concat_from_sequence.cost
def cost_of_concat_from_sequence(
    input_sequence: list[np.ndarray], *, new_axis: int = 0, **_: Any
) -> Cost:
    """The result; lists of the tensors, or of views of them that have the new axis."""
    memory, count = total_bytes(input_sequence), len(input_sequence)
    return Cost(memory + (PER_ARRAY if new_axis else 56) * count, memory + 10 * PER_ITEM * count)


declare(sequence_construct, split_to_sequence, output_type=types.sequence_of)
declare(sequence_at, concat_from_sequence, output_type=types.content_of)
sequence_empty.output_type(
    lambda first, *, dtype, **_: types.sequence_of(types.element_name(dtype))
)
optional.output_type(lambda first, *, type, **_: types.optional_of(first or type or ""))


@optional_get_element.output_type
def type_of_optional_get_element(first: str):
    return types.content_of(first) if first.startswith("optional(") else first


declare(
    sequence_empty, sequence_length, optional_has_element, optional_has_element_15,
    vjp=no_gradient,
)  # fmt: skip
