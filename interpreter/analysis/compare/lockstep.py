"""Two streams of values, compared as they come, with little held back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

from onnxwalk.interpreter.analysis.compare.metrics import nbytes

#: gives the named values one after the other, in an order of its own
Stream = Callable[[Collection[str]], Iterator[tuple[str, Any]]]


class Pair(NamedTuple):
    """What is the same value on both sides: its name on each, and the Keras layer it leaves."""

    a: str
    b: str
    layer: str = ""


def lockstep(
    a: Stream, b: Stream, pairs: Sequence[Pair], memory: int
) -> Iterator[tuple[Pair, Any, Any]]:
    """Each pair with both its values, in the order in which ``a`` gives them.

    Values of ``b`` that come before their time are held until then, but not more than ``memory``
    bytes of them: where the sides go different ways the rest is left for another pass over both.
    Pairs of which one side gives nothing are left out.
    """
    waiting = list(pairs)
    while waiting:
        late: list[Pair] = []
        yield from _pass(a, b, waiting, memory, late)
        waiting = late


def _pass(
    a: Stream, b: Stream, pairs: Sequence[Pair], memory: int, late: list[Pair]
) -> Iterator[tuple[Pair, Any, Any]]:
    """One pass. ``late`` gets the pairs whose value of ``b`` has passed and couldn't be held: never
    all of them, because the first value of ``a`` is found in any case, or is nowhere."""
    of_a = {pair.a: pair for pair in pairs}
    held: dict[str, Any] = {}
    passed: set[str] = set()
    free = memory
    theirs = b([pair.b for pair in pairs])
    for name, value in a(list(of_a)):
        pair = of_a[name]
        if pair.b in passed:
            late.append(pair)
            continue
        while pair.b not in held:
            other = next(theirs, None)
            if other is None:
                break
            size = nbytes(other[1])
            if size <= free or other[0] == pair.b:
                held[other[0]] = other[1]
                free -= size
            else:
                passed.add(other[0])
            del other
        if pair.b in held:
            counterpart = held.pop(pair.b)
            free += nbytes(counterpart)
            yield pair, value, counterpart
            del counterpart
        del value
