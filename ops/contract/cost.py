"""What a call takes at most: known before it is made, so that a limit can be kept.

``@operator.cost`` registers a function of the operator's inputs and attributes, which has their
values at hand and gives a ``Cost``. It is called as the operator is: inputs by position, those
attributes that the node has by keyword, and so may be ``n_outputs`` and ``rng``; what it doesn't
look at goes to ``**_``. It computes nothing but sizes, in Python's integers: whatever a file asks
for (2**62 copies) must give an answer, never an error. What is wrong with the inputs (wrong ranks,
negative sizes) is the operator's to tell: where a rule raises, so must the operator, before it
makes anything large (``Operator.cost`` then takes the ``usual`` for granted).

A view takes nothing, and neither does what an operator's subgraphs make: they are asked
themselves. Blocks of which there is one at a time, ``BLOCK`` at most, aren't counted.

Operators that compute their results value by value, of the size that their inputs have together or
to which they broadcast, need none: ``usual`` is theirs. What the rules of families are made of
is in ``ops.shared.cost``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np


class Cost(NamedTuple):
    """What one call takes at most."""

    #: bytes that are new, all at once: the results and what they are computed with
    memory: int
    #: nanoseconds on one slow core
    work: int = 0


Rule = Callable[..., Cost]

#: bytes of intermediate results that an operator which works block by block may have
BLOCK = 1 << 21
#: of ``usual``: arrays of the result's size that there may be at once, each element in 8 bytes
_COPIES = 3
#: nanoseconds for an element: of functions such as exp, with numbers that take them longer, huge
#: or tiny ones
PER_ELEMENT = 60


# --- rules ----------------------------------------------------------------------------------------


def usual(*inputs: Any, **attributes: Any) -> Cost:
    """Of an operator that computes value by value, or reduces, or normalizes."""
    arrays = list(arrays_in(inputs))
    count = max(size(broadcast(x.shape for x in arrays)), sum(x.size for x in arrays))
    return Cost(_COPIES * 8 * count, PER_ELEMENT * count)


def nothing(*inputs: Any, **attributes: Any) -> Cost:
    """Of an operator that looks at its inputs in another way, or asks for their shapes."""
    return Cost(0)


# --- sizes ----------------------------------------------------------------------------------------


def size(shape: Iterable[int]) -> int:
    """How many elements; 0 for a shape that can't be."""
    sizes = [int(n) for n in shape]
    return math.prod(sizes) if min(sizes, default=0) >= 0 else 0


def broadcast(shapes: Iterable[Sequence[int]]) -> tuple[int, ...]:
    """The shape that holds them all, axis by axis from the last, whether they fit or not."""
    by_axis = itertools.zip_longest(*(reversed(shape) for shape in shapes), fillvalue=1)
    return tuple(0 if 0 in sizes else max(sizes) for sizes in by_axis)[::-1]


def arrays_in(values: Iterable[Any]) -> Iterator[np.ndarray]:
    """The arrays among values, and in sequences of them."""
    for value in values:
        if isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, list | tuple):
            yield from arrays_in(value)
