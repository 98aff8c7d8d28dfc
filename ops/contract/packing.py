"""Where the blocks of an arena lie best, once it is known when each is used.

An arena that places each block when it is asked for can't know what comes later: small blocks that
last come to lie in the hole of a large one, whose memory the next large one can't take. So a plan
that is worth it is bound twice, at first without making the calls, only to see which blocks there
are and for how long. Then the largest are placed first, each as low as those allow that are used at
the same time ("greedy by size": Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net
Inference", 2020).
"""

from __future__ import annotations

import bisect

from onnxwalk.ops.contract.records import record

#: for more blocks it takes too long
_MOST = 3000


class Uses:
    """The blocks that an arena gave, in their order: what ``pack`` needs to know of them."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        #: the moments from and until which each is used
        self.spans: list[tuple[int, float]] = []
        self._clock = 0

    def begin(self, nbytes: int) -> int:
        """Note a new block; returns its number."""
        self._clock += 1
        self.sizes.append(nbytes)
        self.spans.append((self._clock, float("inf")))
        return len(self.sizes) - 1

    def end(self, number: int) -> None:
        self._clock += 1
        self.spans[number] = (self.spans[number][0], self._clock)


@record(frozen=True)
class Packing:
    """The size and the place of each block, in the order in which an arena is asked for them; the
    bytes of all."""

    sizes: list[int]
    places: list[int]
    nbytes: int


def pack(uses: Uses) -> Packing | None:
    """The places of all blocks; ``None`` for very many."""
    if len(uses.sizes) > _MOST:
        return None
    places = [0] * len(uses.sizes)
    taken: list[tuple[int, int, int, float]] = []  # of the blocks placed so far, by place
    for number in sorted(range(len(places)), key=lambda n: -uses.sizes[n]):
        size, (begin, end) = uses.sizes[number], uses.spans[number]
        place = 0
        for start, stop, since, until in taken:
            if since < end and begin < until:
                if place + size <= start:
                    break
                place = max(place, stop)
        places[number] = place
        bisect.insort(taken, (place, place + size, begin, end))
    nbytes = max((stop for _, stop, *_ in taken), default=0)
    return Packing(uses.sizes, places, nbytes)
