"""Run an operator's bound form as a plan does: bind once, then replay on other values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.space import Space, memory_order


def run_bound(
    bind: Callable[..., Any],
    inputs: Sequence[np.ndarray | None],
    *,
    known: Sequence[int] = (),
    margin: tuple[int, int, int, int] = (0, 0, 0, 0),
    used_outputs: tuple[bool, ...] = (True,),
    expiring: Sequence[int] = (),
    **attributes: Any,
) -> tuple[np.ndarray, ...] | None:
    """The results for ``inputs``, of which ``known`` are constants and ``expiring`` are not needed
    afterwards; ``None`` if ``bind`` declines.

    It is bound on other values first, and before the calls are made the plan's memory is filled
    with rubbish, as other operators leave it there: what comes out was computed by these calls.
    """
    space = Space()
    places: list[np.ndarray | None] = []
    for position, x in enumerate(inputs):
        if x is None or position in known:
            places.append(None if x is None else space.mark_constant(x))
            continue
        place = space.array(x.shape, x.dtype, memory_order(x))
        np.copyto(place, other_values(x))
        space.hold(place)
        places.append(place)
    space.begin([places[i] for i in expiring if places[i] is not None], margin, used_outputs)
    results = bind(space, *places, **attributes)
    space.end()
    if results is None:
        return None
    results = results if isinstance(results, tuple) else (results,)
    for chunk in space.arena.chunks:
        chunk[: 1 << 24] = 0xA5
    for x, place in zip(inputs, places, strict=True):
        if place is not None and x is not place:
            np.copyto(place, x)
    for function, arguments in space.calls:
        function(*arguments)
    if any(margin):
        assert_zeros_around(space, results[0], margin)
    return tuple(np.array(result) for result in results)


def other_values(x: np.ndarray) -> np.ndarray:
    """The same numbers in another order: as valid as indices, and not as answers."""
    return np.ascontiguousarray(x.reshape(-1)[::-1]).reshape(x.shape)


def assert_zeros_around(space: Space, image: np.ndarray, margin: tuple[int, int, int, int]) -> None:
    """Around an (N, C, H, W) result there are the zeros that its readers asked for."""
    around = space.with_border(image, margin)
    assert around is not None
    top, left, bottom, right = margin
    border = np.array(around)
    h, w = border.shape[2:]
    border[:, :, top : h - bottom, left : w - right] = 0
    assert not border.any()
