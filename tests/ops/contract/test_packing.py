"""Where the blocks of an arena lie, once it is known when each is used."""

import itertools

import numpy as np

from onnxwalk.ops.contract.packing import Uses, pack
from onnxwalk.ops.contract.space import Arena, Space


def ask(arena, sizes):
    """Of each step the large block of the one before is freed, and a small one stays."""
    kept, last = [], None
    for size in sizes:
        block = arena.allocate(size)
        kept.append(arena.allocate(64 * 100))
        if last is not None:
            arena.free(last)
        last = block
    for block in (last, *kept):
        arena.free(block)
    return block


def test_blocks_that_are_used_at_once_lie_apart():
    rng = np.random.default_rng(0)
    uses, current = Uses(), []
    for _ in range(300):
        if current and rng.random() < 0.45:
            uses.end(current.pop(rng.integers(len(current))))
        else:
            current.append(uses.begin(64 * int(rng.integers(1, 100))))
    packing = pack(uses)
    ends = [place + size for place, size in zip(packing.places, packing.sizes, strict=True)]
    assert packing.nbytes == max(ends)
    for a, b in itertools.combinations(range(len(ends)), 2):
        (since, until), (begin, end) = uses.spans[a], uses.spans[b]
        if since < end and begin < until:
            assert ends[a] <= packing.places[b] or ends[b] <= packing.places[a]


def test_an_arena_places_the_same_blocks_by_it():
    sizes = [1 << 20, 3 << 19, 1 << 21, 5 << 19, 3 << 20]
    first = Arena()
    ask(first, sizes)
    packing = pack(first.uses)
    second = Arena(packing=packing)
    ask(second, sizes)
    assert second.nbytes == packing.nbytes < first.nbytes
    assert packing.nbytes == sum(sizes[-2:]) + 64 * 100 * len(sizes)


def test_other_blocks_than_were_foreseen_find_a_place():
    first = Arena()
    ask(first, [1 << 20, 1 << 21])
    second = Arena(packing=pack(first.uses))
    ask(second, [1 << 20, 3 << 20, 1 << 22])
    assert second.nbytes >= (3 << 20) + (1 << 22)


def test_a_rehearsal_makes_no_calls():
    space = Space(is_rehearsal=True)
    space.call(lambda: 1 / 0)
    assert len(space.calls) == 1
