"""Layers with several inputs and one output."""

from __future__ import annotations

from onnxwalk.export.coverage.layer_cases import Case, grid


def cases() -> list[Case]:
    same, wide = [(3, 4)] * 2, [(3, 4), (1, 4), (3, 1)]
    found: list[Case] = []
    for name in ("Add", "Average", "Maximum", "Minimum", "Multiply"):
        found += grid(name, same, {}, note="two")
        found += grid(name, [(3, 4)] * 3, {}, note="three")
        found += grid(name, wide, {}, note="broadcast")
        found += grid(name, [(None, 4)] * 2, {}, note="open sizes")
    found += grid("Subtract", same, {}, note="two")
    found += grid("Subtract", [(3, 4), (1, 4)], {}, note="broadcast")
    found += grid("Add", same, {}, dtype="int32", note="int32")
    found += grid("Add", [(3, 4), (4,)], {}, note="of different ranks")
    found += grid("Concatenate", [(3, 4), (3, 2), (3, 1)], {})
    found += grid("Concatenate", [(3, 4), (2, 4)], {"axis": 1}, {"axis": -2})
    found += grid("Concatenate", [(None, 4), (None, 2)], {}, note="open sizes")
    found += grid("Concatenate", [(3, 4, 2), (3, 4, 5)], {"axis": 3})
    found += grid("Dot", [(4,), (4,)], {"axes": 1}, {"axes": 1, "normalize": True}, note="flat")
    found += grid("Dot", [(3, 4), (5, 4)], {"axes": 2}, {"axes": -1}, {"axes": (2, 2)})
    found += grid("Dot", [(3, 4), (4, 5)], {"axes": (2, 1)}, {"axes": (2, 1), "normalize": True})
    found += grid("Dot", [(3, 4), (3, 5)], {"axes": 1}, {"axes": 1, "normalize": True})
    found += grid("Dot", [(3, 4), (4,)], {"axes": (2, 1)}, note="of different ranks")
    found += grid("Dot", [(None, 4), (None, 4)], {"axes": 2}, note="open sizes")
    return found
