"""Long lists of numbers and of words, kept as arrays: an attribute with millions of them, as
forests have, takes four or eight bytes for each instead of forty, or one."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

#: lists from this length on are kept as ``Numbers``
LONG = 1024


class Numbers(Sequence):
    """A read-only list of ``int`` or ``float``, which NumPy takes as the array that it is."""

    __slots__ = ("array",)

    def __init__(self, array: np.ndarray) -> None:
        """``array``: (n,) of an integer type or of float32 or float64."""
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Numbers(self.array[index])
        return self.array[index].item()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.array.tolist())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """As NumPy makes an array of a list: float64 or int64 unless another dtype is asked for."""
        if dtype is None and self.array.dtype.kind == "f":
            dtype = np.float64
        return np.array(self.array, dtype=dtype, copy=copy)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return len(self) == len(other) and np.array_equal(self.array, np.asarray(other))

    def __hash__(self) -> int:
        return hash(self.array.tobytes())

    def __repr__(self) -> str:
        return f"Numbers({self.array!r})"


class Words(Sequence):
    """A read-only list of ``str`` or ``bytes`` of which few are different."""

    __slots__ = ("codes", "words")

    def __init__(self, codes: np.ndarray, words: Sequence[Any]) -> None:
        """``codes``: (n,) uint8, the place of each in ``words``."""
        self.codes = codes
        self.words = tuple(words)

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Words(self.codes[index], self.words)
        return self.words[self.codes[index]]

    def __iter__(self) -> Iterator[Any]:
        return map(self.words.__getitem__, self.codes.tolist())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """As NumPy makes an array of a list."""
        return np.array(self.words, dtype)[self.codes] if self.words else np.array([], dtype)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Words({self.codes!r}, {self.words!r})"


def number_list(array: np.ndarray) -> Sequence[Any]:
    """The numbers of an array as a list, or as ``Numbers`` if they are many."""
    return Numbers(array) if len(array) >= LONG else array.tolist()
