"""Pooling: windows, global, adaptive."""

from __future__ import annotations

from typing import Any

from onnxwalk.export.coverage.layer_cases import Case, channels_first, grid, open_sizes

_SHAPES = {1: (13, 4), 2: (9, 11, 4), 3: (6, 7, 5, 4)}


def cases() -> list[Case]:
    found: list[Case] = []
    for n, shape in _SHAPES.items():
        for kind in ("Max", "Average"):
            name = f"{kind}Pooling{n}D"
            settings: list[dict[str, Any]] = [
                {"pool_size": 2},
                {"pool_size": 2, "padding": "same"},
                {"pool_size": 3, "strides": 2},
                {"pool_size": 3, "strides": 2, "padding": "same"},
                {"pool_size": 3, "strides": 1, "padding": "same"},
                {"pool_size": 2, "strides": 3, "padding": "same"},
                {"pool_size": 1, "strides": 2},
            ]
            if n > 1:
                settings += [
                    {"pool_size": (3, 2, 1)[:n]},
                    {"pool_size": (2, 3, 2)[:n], "strides": (1, 2, 2)[:n], "padding": "same"},
                ]
            found += grid(name, shape, *settings)
            found += open_sizes(name, shape, *settings[:4])
            found += channels_first(name, shape, *settings[:4])
            name = f"Global{kind}Pooling{n}D"
            found += grid(name, shape, {}, {"keepdims": True})
            found += open_sizes(name, shape, {}, {"keepdims": True})
            found += channels_first(name, shape, {}, {"keepdims": True})
            name = f"Adaptive{kind}Pooling{n}D"
            sizes: list[dict[str, Any]] = [{"output_size": 2}, {"output_size": 4 if n < 3 else 3}]
            if n > 1:
                sizes += [{"output_size": (3, 2, 2)[:n]}]
            found += grid(name, shape, *sizes)
            found += grid(name, shape, {"output_size": 1}, refused="global pooling")
            even = tuple(2 * size for size in shape[:-1]) + shape[-1:]
            found += grid(name, even, {"output_size": 2}, note="even sizes")
            found += channels_first(name, shape, *sizes[:2])
    return found
