"""Two streams of values side by side, with little held in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

from onnxwalk.interpreter.analysis.compare.metrics import nbytes

#: a function that returns an iterator over the named values, in any order
Stream = Callable[[Collection[str]], Iterator[tuple[str, Any]]]


class Pair(NamedTuple):
    """A value of both sides: its name on each, and the Keras layer whose output it is."""

    a: str
    b: str
    layer: str = ""


def lockstep(
    a: Stream, b: Stream, pairs: Sequence[Pair], memory: int
) -> Iterator[tuple[Pair, Any, Any]]:
    """Each pair with both values, in the order of ``a``.

    Values of ``b`` that come early are held, up to ``memory`` bytes; if the orders differ too much
    for that, the rest is left for another pass over both streams. Pairs that one of the sides
    doesn't compute are left out.
    """
    remaining = list(pairs)
    while remaining:
        skipped: list[Pair] = []
        yield from _run_pass(a, b, remaining, memory, skipped)
        remaining = skipped


def _run_pass(
    a: Stream, b: Stream, pairs: Sequence[Pair], memory: int, skipped: list[Pair]
) -> Iterator[tuple[Pair, Any, Any]]:
    """One pass; ``skipped`` gets the pairs whose value of ``b`` came early and couldn't be held.
    These are never all of them, since the first value of ``a`` is never skipped."""
    by_name = {pair.a: pair for pair in pairs}
    held: dict[str, Any] = {}
    dropped: set[str] = set()
    free = memory
    theirs = b([pair.b for pair in pairs])
    for name, value in a(list(by_name)):
        pair = by_name[name]
        if pair.b in dropped:
            skipped.append(pair)
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
                dropped.add(other[0])
            del other
        if pair.b in held:
            counterpart = held.pop(pair.b)
            free += nbytes(counterpart)
            yield pair, value, counterpart
            del counterpart
        del value
