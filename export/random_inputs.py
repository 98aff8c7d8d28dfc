"""Random inputs of a traced model, as users might feed it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.errors import ExportError
from onnxwalk.export.tracing.trace import Trace


class Sizes(NamedTuple):
    """The sizes of open dimensions: of the batch, time steps, and the two sides of images."""

    batch: int = 6
    time: int = 12
    height: int = 64
    width: int = 64


#: sizes that are no multiples of a stride, and sides that can't be mistaken for each other
ODD_SIZES = Sizes(batch=3, time=7, height=33, width=45)
_USUAL = Sizes()


def make_random_inputs(
    trace: Trace, *, seed: int = 0, sizes: Sizes = _USUAL
) -> dict[str, NDArray[Any]]:
    """A value for every input; its open dimensions are of ``sizes``.

    Inputs that feed an Embedding get ids below its size, one row each with padding at the end, at
    the start, in holes, everywhere, and nowhere; inputs of a Masking layer are padded in the same
    way. Other integers are 0 … 9, floats are normally distributed.
    """
    rng = np.random.default_rng(seed)
    feeds: dict[str, NDArray[Any]] = {}
    for port in trace.inputs:
        if port.shape is None:
            raise ExportError(
                f"input {port.name} has an unknown rank: export it with --verify none "
                "(verify='none')"
            )
        shape = tuple(
            _open_size(port.shape, axis, sizes) if size is None else size
            for axis, size in enumerate(port.shape)
        )
        values: NDArray[Any]
        if port.name in trace.vocabulary:
            size = trace.vocabulary[port.name]
            values = rng.integers(min(1, size - 1), size, shape)
            values[_padding_mask(rng, shape)] = 0
        elif port.name in trace.keys or port.dtype == "string":
            known = trace.keys.get(port.name, [])
            only = port.name in trace.known_only
            values = _random_keys(rng, shape, known, port.dtype, known_only=only)
        elif port.dtype == "bool":
            values = rng.integers(0, 2, shape)
        elif port.dtype.startswith(("int", "uint")):
            values = rng.integers(0, 10, shape)
        else:
            values = rng.standard_normal(shape)
            if port.name in trace.masking:
                values[_padding_mask(rng, shape)] = trace.masking[port.name]
        feeds[port.name] = values.astype(object if port.dtype == "string" else port.dtype)
    return feeds


def _open_size(shape: tuple[int | None, ...], axis: int, sizes: Sizes) -> int:
    """The size of an open dimension. One in the middle counts time steps, unless there are several:
    images leave their width open, too. Volumes have half of the sides of images, to be as quick."""
    if axis == 0:
        return sizes.batch
    if len(shape) < 4 or (axis == 1 and None not in shape[2:]):
        return sizes.time
    side = sizes.height if axis % 2 else sizes.width
    return side if len(shape) < 5 else -(-side // 2)


def _random_keys(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    known: list[Any],
    dtype: str,
    *,
    known_only: bool,
) -> Any:
    """Mostly keys of a lookup, and some that it doesn't know if it takes them."""
    text = dtype == "string"
    strange = ["", "?", "straße"] if text else [0, -1, 10**6 + 1]
    strange = [] if known_only else strange
    choice = np.array([*known, *known, *strange], object if text else "int64")
    return rng.choice(choice, shape)


def _padding_mask(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    """(batch, time) bool, another kind of padding in each row; (batch,) False without time."""
    if len(shape) < 2 or not shape[1]:
        return np.zeros(shape[:1], bool)
    length = shape[1]
    patterns = (
        np.arange(length) >= (length + 1) // 2,  # at the end
        np.arange(length) < length // 3,  # at the start
        rng.random(length) < 0.4,  # holes
        np.ones(length, bool),  # everywhere
        np.zeros(length, bool),
    )
    return np.stack([patterns[row % len(patterns)] for row in range(shape[0])])
