"""Random inputs, to try a model without data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.ir.model import TensorInfo
from onnxwalk.interpreter.rows.arrays import ArrayRows
from onnxwalk.interpreter.rows.feed import Feed
from onnxwalk.interpreter.runtime.feeds import HasInputs
from onnxwalk.interpreter.tables.convert import declared_dtype, declared_shape


def random_feeds(
    session: HasInputs,
    feeds: Mapping[str, Feed],
    shapes: Sequence[str],
    seed: int | None,
    *,
    dims: Mapping[str, int] | None = None,
    first: int = 1,
    guesses: dict[str, str] | None = None,
) -> dict[str, Feed]:
    """Random values for the inputs without a feed; ``shapes`` are the texts of ``--shape``.

    A symbolic dimension has the size that ``dims``, ``feeds`` or ``shapes`` imply, otherwise 1, or
    ``first`` if it is the first one. Floats are drawn from 0 to 1, integers from 0 to 9, strings
    are "0" to "9". ``guesses`` gets the other open dimensions that are 1 because nothing implies
    their sizes: what to call each, and the option that sets it.

    Raises InvalidInputError for an input of unknown type or rank.
    """
    missing = [info for info in session.inputs if info.name not in feeds]
    for info in missing:
        if declared_dtype(info) is None:
            raise InvalidInputError(f"no random values for input {info}; pass it with --input")
    sizes = _parse_shapes(shapes, missing)
    symbols: dict[str, int] = dict(dims or {})
    for feed in feeds.values():
        declared = declared_shape(feed.info)
        if declared and isinstance(declared[0], str) and feed.rows.length is not None:
            symbols[declared[0]] = feed.rows.length
    for info in missing:
        pairs = zip(declared_shape(info) or (), sizes.get(info.name, ()), strict=False)
        symbols.update({dim: size for dim, size in pairs if isinstance(dim, str)})
    rng = np.random.default_rng(seed)
    added = {}
    for info in missing:
        shape = sizes.get(info.name) or _resolve_shape(info, symbols, first)
        origin = "random numbers" if seed is None else f"random numbers, seed {seed}"
        added[info.name] = Feed(info, ArrayRows(_draw(info, shape, rng)), origin)
        if guesses is not None and info.name not in sizes:
            guesses |= _guessed(info, symbols)
    return added


def _guessed(info: TensorInfo, symbols: Mapping[str, int]) -> dict[str, str]:
    """The open dimensions after the first of an input that have no size, with the options for them:
    the first is that of the batch, where 1 is no guess."""
    shape = declared_shape(info) or ()
    found = {}
    for axis, size in enumerate(shape):
        if isinstance(size, str) and axis and size not in symbols:
            found[f"'{size}' of input {info}"] = f"--dim {size}=N"
        elif size is None and axis:
            sizes = ",".join(str(s) if isinstance(s, int) else "N" for s in shape)
            found[f"dimension {axis} of input {info}"] = f"--shape {info.name}={sizes}"
    return found


def _parse_shapes(
    shapes: Sequence[str], missing: Sequence[TensorInfo]
) -> dict[str, tuple[int, ...]]:
    """Shapes by input name, from NAME=1,100, or 1,100 if only one input is random."""
    names = [info.name for info in missing]
    result: dict[str, tuple[int, ...]] = {}
    for text in shapes:
        name, equals, numbers = text.rpartition("=")
        if not equals and len(names) == 1:
            name = names[0]
        if name not in names:
            listed = "; ".join(map(str, missing)) or "none"
            raise InvalidInputError(f"--shape {text}: no such random input; there are: {listed}")
        try:
            result[name] = tuple(int(n) for n in numbers.split(",") if n.strip())
        except ValueError:
            result[name] = (-1,)
        if min(result[name], default=0) < 0:
            raise InvalidInputError(f"--shape {text}: expected sizes, as in {name}=1,100")
    return result


def _resolve_shape(info: TensorInfo, symbols: Mapping[str, int], first: int) -> tuple[int, ...]:
    shape = declared_shape(info)
    if shape is None:
        raise InvalidInputError(
            f"input {info}: unknown shape; pass it, as in --shape {info.name}=1,100"
        )
    sizes = []
    for axis, size in enumerate(shape):
        default = 1 if axis else first
        known = symbols.get(size, default) if isinstance(size, str) else size
        sizes.append(default if known is None else known)
    return tuple(sizes)


def _draw(info: TensorInfo, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    dtype = declared_dtype(info)
    assert dtype is not None
    if dtype.kind == "O":
        return rng.integers(0, 10, shape).astype(str).astype(object)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if "int" in dtype.name:
        most = {"int2": 2, "uint2": 4, "int4": 8}.get(dtype.name, 10)
        return rng.integers(0, most, shape).astype(dtype)
    if dtype.kind == "c":
        return (rng.random(shape) + 1j * rng.random(shape)).astype(dtype)
    return rng.random(shape).astype(dtype)
