"""Cutting work into pieces that stay in the cache."""

from __future__ import annotations


def parts(size: int, most: int) -> list[tuple[int, int]]:
    """(start, stop) of the pieces of at most ``most`` that make up ``size``, as even as can be."""
    count = -(-size // max(1, most))
    edges = [size * i // count for i in range(count + 1)]
    return list(zip(edges, edges[1:], strict=False))
