"""What a call takes at most: known before it is made, so that a limit can be kept.

``@operator.needs`` registers a function of the operator's inputs and attributes, which has their
values at hand and gives a ``Need``. It computes nothing but sizes, in Python's integers: whatever a
file asks for (2**62 copies) must give an answer, never an error. What is wrong with the inputs
(wrong ranks, negative sizes) is the operator's to tell.

Operators that compute their results value by value, of the size that their inputs have together or
to which they broadcast, need none: ``usual`` is theirs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np


class Need(NamedTuple):
    """What one call takes at most."""

    #: bytes that are new, all at once: the results and what they are computed with
    memory: int
    #: nanoseconds on one slow core
    work: int = 0


#: of ``usual``: arrays of the result's size that there may be at once, each element in 8 bytes
_COPIES = 3
#: of ``usual``: nanoseconds for an element (powers and gamma functions take 50)
_PER_ELEMENT = 60


def usual(*inputs: Any, **attributes: Any) -> Need:
    """Of an operator that computes value by value, or reduces, or normalizes."""
    arrays = list(arrays_in(inputs))
    count = max(size(broadcast(x.shape for x in arrays)), sum(x.size for x in arrays))
    return Need(_COPIES * 8 * count, _PER_ELEMENT * count)


def nothing(*inputs: Any, **attributes: Any) -> Need:
    """Of an operator that looks at its inputs in another way, or asks for their shapes."""
    return Need(0)


def result(shape: Iterable[int], dtype: Any, *, copies: float = 1, per_element: int = 5) -> Need:
    """Of an operator that fills an array of this shape, with ``copies`` of its size at once and
    ``per_element`` nanoseconds for each element."""
    count = size(shape)
    return Need(math.ceil(copies * count * np.dtype(dtype).itemsize), per_element * count)


def size(shape: Iterable[int]) -> int:
    """How many elements; 0 for a shape that can't be."""
    sizes = [int(n) for n in shape]
    return math.prod(sizes) if min(sizes, default=0) >= 0 else 0


def broadcast(shapes: Iterable[Sequence[int]]) -> tuple[int, ...]:
    """The shape that holds them all, axis by axis from the last, whether they fit or not."""
    by_axis = zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1)
    return tuple(0 if 0 in sizes else max(sizes) for sizes in by_axis)[::-1]


def arrays_in(values: Iterable[Any]) -> Iterator[np.ndarray]:
    """The arrays among values, and in sequences of them."""
    for value in values:
        if isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, list | tuple):
            yield from arrays_in(value)
