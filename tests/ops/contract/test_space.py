"""Allocated memory never overlaps, and is overwritten only if nothing reads it any more."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxwalk.ops import registry
from onnxwalk.ops.ai_onnx import activation
from onnxwalk.ops.contract.space import Arena, Space
from tests.support.bound import run_bound


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 400_000)), max_size=80))
def test_blocks_never_overlap(requests):
    arena, used = Arena(), []
    for take, size in requests:
        if take or not used:
            block = arena.allocate(size)
            assert block.memory.nbytes >= size and block.address % 64 == 0
            used.append(block)
        else:
            arena.free(used.pop(size % len(used)))
        spans = sorted((b.address, b.address + b.memory.nbytes) for b in used)
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
        for block in used:
            assert arena.find_block(block.memory[1:]) is block


def test_freed_memory_is_used_again():
    arena = Arena()
    for _ in range(100):
        blocks = [arena.allocate(100_000) for _ in range(3)]
        for block in blocks:
            arena.free(block)
    assert arena.nbytes <= 1 << 20


@pytest.mark.parametrize("expiring", [(), (0,), (1,), (0, 1)])
def test_only_expiring_inputs_are_overwritten(expiring):
    space = Space()
    a, b = (space.array((4, 5), np.float32) for _ in range(2))
    a[...], b[...] = 1, 2
    space.hold(a)
    space.hold(b)
    space.begin([(a, b)[i] for i in expiring], (0, 0, 0, 0), (True,))
    binder = registry.lookup("", "Add", 14).binder
    y = binder(space, a, b)
    space.end()
    for place, value, dies in ((a, 1, 0 in expiring), (b, 2, 1 in expiring)):
        if not dies:
            assert (place == value).all()
    assert (y == 3).all() and (y is a or y is b) == bool(expiring)


def test_an_input_that_shares_its_memory_is_not_overwritten():
    space = Space()
    x = space.array((2, 3), np.float32)
    space.hold(x)
    view = x.reshape(3, 2)
    space.hold(view)
    x[...] = -1
    space.begin([x], (0, 0, 0, 0), (True,))
    y = registry.lookup("", "Relu", 14).binder(space, x)
    space.end()
    assert y is not x and (view == -1).all() and (y == 0).all()


def test_an_image_keeps_its_margin_of_zeros():
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 3)).astype(np.float32).transpose(0, 3, 1, 2)
    (y,) = run_bound(registry.lookup("", "Relu", 14).binder, [x], margin=(1, 2, 3, 0))
    np.testing.assert_array_equal(y, activation.relu(x))


def test_a_block_is_free_when_the_last_array_in_it_is_released():
    """Values of one block, held and released in any order, also one array twice; a value that was
    in a block which is free by now isn't one of the block that comes to lie there."""
    space = Space()
    whole = space.array((8, 16), np.float32)
    part = whole[2:]
    for array in (whole, part, part):
        space.hold(array)
    space.begin([whole, part], (0, 0, 0, 0), (True,))
    assert not space.may_overwrite(whole) and not space.may_overwrite(part)
    for array in (whole, part):
        space.release(array)
        assert space.arena.find_block(whole) is not None
    assert space.may_overwrite(part)  # of three uses one is left
    space.release(part)
    assert space.arena.find_block(whole) is None

    again = space.array((8, 16), np.float32)
    assert again.__array_interface__["data"] == whole.__array_interface__["data"]
    space.hold(again)
    space.begin([whole, again], (0, 0, 0, 0), (True,))
    space.hold(whole)  # the old array, now in the new block
    assert not space.may_overwrite(again)
    space.release(whole)
    assert space.may_overwrite(again)
    space.release(again)
    assert space.arena.find_block(again) is None
