"""Made-up inputs, to try a model without data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from onnxwalk.interpreter.cli._convert import declared_dtype, declared_shape
from onnxwalk.interpreter.cli._files import Feed
from onnxwalk.interpreter.cli._rows import ArrayRows
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.ir.model import TensorInfo
from onnxwalk.interpreter.runtime.feeds import HasInputs


def make_up(
    session: HasInputs,
    given: Mapping[str, Feed],
    shapes: Sequence[str],
    seed: int | None,
    *,
    dims: Mapping[str, int] | None = None,
    first: int = 1,
) -> dict[str, Feed]:
    """A value for each input that isn't given. ``shapes`` are those of ``--shape``.

    A symbolic dimension is 1, unless ``dims``, a given input or a shape says how large it is; an
    open first dimension of which nothing is said is ``first``.
    Floats are drawn from 0 to 1, integers from 0 to 9, strings are "0" to "9".

    Raises InvalidInputError for what can't be made up.
    """
    wanted = [info for info in session.inputs if info.name not in given]
    for info in wanted:
        if declared_dtype(info) is None:
            raise InvalidInputError(f"input {info} can't be made up: give it with --input")
    sizes = _shapes(shapes, wanted)
    symbols: dict[str, int] = dict(dims or {})
    for feed in given.values():
        declared = declared_shape(feed.info)
        if declared and isinstance(declared[0], str) and feed.rows.length is not None:
            symbols[declared[0]] = feed.rows.length
    for info in wanted:
        pairs = zip(declared_shape(info) or (), sizes.get(info.name, ()), strict=False)
        symbols.update({dim: size for dim, size in pairs if isinstance(dim, str)})
    rng = np.random.default_rng(seed)
    feeds = {}
    for info in wanted:
        shape = sizes.get(info.name) or _shape(info, symbols, first)
        feeds[info.name] = Feed(info, ArrayRows(_values(info, shape, rng)), "random numbers")
    return feeds


def _shapes(shapes: Sequence[str], wanted: Sequence[TensorInfo]) -> dict[str, tuple[int, ...]]:
    """``--shape`` by input name: NAME=1,100, or 1,100 where one input is to be made up."""
    infos = {info.name: info for info in wanted}
    result: dict[str, tuple[int, ...]] = {}
    for text in shapes:
        name, equals, numbers = text.rpartition("=")
        if not equals and len(wanted) == 1:
            name = wanted[0].name
        if name not in infos:
            there = "; ".join(map(str, wanted)) or "none"
            raise InvalidInputError(f"--shape {text}: no such input is made up; there are: {there}")
        try:
            result[name] = tuple(int(n) for n in numbers.split(",") if n.strip())
        except ValueError:
            result[name] = (-1,)
        if min(result[name], default=0) < 0:
            raise InvalidInputError(f"--shape {text}: give sizes, as in {name}=1,100")
    return result


def _shape(info: TensorInfo, symbols: Mapping[str, int], first: int) -> tuple[int, ...]:
    shape = declared_shape(info)
    if shape is None:
        raise InvalidInputError(f"input {info}: give its shape, --shape {info.name}=1,100")
    sizes = []
    for axis, size in enumerate(shape):
        otherwise = 1 if axis else first
        known = symbols.get(size, otherwise) if isinstance(size, str) else size
        sizes.append(otherwise if known is None else known)
    return tuple(sizes)


def _values(info: TensorInfo, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
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
