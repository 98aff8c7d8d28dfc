"""The cost of a call: an upper limit, known before the call, so that limits can be enforced.

``@operator.cost`` registers a rule, which gets the operator's inputs and attributes and returns a
``Cost``. It is called like the operator: inputs by position; the attributes that the node has, and
``n_outputs`` and ``rng``, by keyword; what it doesn't use goes to ``**_``. It computes sizes only,
in Python's integers: whatever a file asks for (2**62 copies), the rule must return a cost.
Reporting invalid inputs (wrong ranks, negative sizes) is left to the operator: where a rule raises,
the operator must raise too, before it allocates anything large (``Operator.cost`` then returns
``default_cost``).

Views cost nothing. The calls inside subgraphs have costs of their own. Blocks of at most ``BLOCK``
bytes, one at a time, aren't counted.

Elementwise operators, reductions and the like need no rule: ``default_cost`` is theirs. The
building blocks of the other rules are in ``ops.shared.cost``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np


class Cost(NamedTuple):
    """What one call uses at most."""

    #: peak of the new bytes: the results and all temporary arrays
    memory: int
    #: nanoseconds on one slow core
    work: int = 0


Rule = Callable[..., Cost]

#: bytes of intermediate results that aren't counted, of an operator that works block by block
BLOCK = 1 << 21
#: of ``default_cost``: how many arrays of the result's size, in 8 bytes per element, exist at once
_COPIES = 3
#: nanoseconds for an element of functions such as exp, for the huge and tiny numbers that are slow
PER_ELEMENT = 60


# --- rules ----------------------------------------------------------------------------------------


def default_cost(*inputs: Any, **attributes: Any) -> Cost:
    """The cost of an operator that is elementwise, reduces or normalizes."""
    arrays = list(arrays_in(inputs))
    count = max(size(broadcast(x.shape for x in arrays)), sum(x.size for x in arrays))
    return Cost(_COPIES * 8 * count, PER_ELEMENT * count)


def no_cost(*inputs: Any, **attributes: Any) -> Cost:
    """The cost of an operator that returns a view, or only reads shapes."""
    return Cost(0)


# --- sizes ----------------------------------------------------------------------------------------


def size(shape: Iterable[int]) -> int:
    """The number of elements; 0 for an invalid shape."""
    sizes = [int(n) for n in shape]
    return math.prod(sizes) if min(sizes, default=0) >= 0 else 0


def broadcast(shapes: Iterable[Sequence[int]]) -> tuple[int, ...]:
    """The shape to which the shapes broadcast, or would if sizes that differ were compatible."""
    given = [tuple(shape) for shape in shapes]
    if given and given.count(given[0]) == len(given):  # as most are
        return given[0]
    by_axis = itertools.zip_longest(*(reversed(shape) for shape in given), fillvalue=1)
    return tuple(0 if 0 in sizes else max(sizes) for sizes in by_axis)[::-1]


def arrays_in(values: Iterable[Any]) -> Iterator[np.ndarray]:
    """The arrays among values, and inside lists and tuples."""
    for value in values:
        if isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, list | tuple):
            yield from arrays_in(value)
