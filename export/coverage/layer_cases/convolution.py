"""Convolutions of one to three dimensions."""

from __future__ import annotations

from typing import Any

from onnxwalk.export.coverage.layer_cases import Case, channels_first, grid, open_sizes

_SHAPES = {1: (13, 4), 2: (9, 11, 4), 3: (6, 7, 5, 4)}


def cases() -> list[Case]:
    found: list[Case] = []
    for n, shape in _SHAPES.items():
        found += _plain(n, shape) + _transposed(n, shape)
        if n < 3:
            found += _depthwise(n, shape) + _separable(n, shape)
    return found


def _plain(n: int, shape: tuple[int, ...]) -> list[Case]:
    uneven = tuple([3, 2, 1][:n])
    steps = tuple([1, 2, 1][-n:])
    settings: list[dict[str, Any]] = [
        {},
        {"padding": "same"},
        {"strides": 2},
        {"strides": 2, "padding": "same"},
        {"strides": 3, "padding": "same", "use_bias": False},
        {"kernel_size": uneven, "padding": "same"},
        {"kernel_size": uneven, "strides": steps},
        {"dilation_rate": 2},
        {"dilation_rate": 2, "padding": "same"},
        {"groups": 2},
        {"groups": 4, "padding": "same", "strides": 2},
        {"groups": 2, "dilation_rate": 2, "padding": "same"},
        {"activation": "gelu"},
        {"kernel_size": 1},
    ]
    if n == 1:
        settings += [
            {"padding": "causal"},
            {"padding": "causal", "dilation_rate": 2},
            {"padding": "causal", "groups": 2},
            {"padding": "causal", "strides": 2},
        ]
    settings = [{"kernel_size": 2 if n == 3 else 3} | s for s in settings]
    name = f"Conv{n}D"
    found = grid(name, shape, *settings, filters=8)
    if n < 3:
        found += open_sizes(name, shape, *settings[:4], settings[8], filters=8)
    # TensorFlow's CPU kernels accept only channels last, but for the 1-D kind
    return found + channels_first(name, shape, settings[0], settings[1], settings[3], filters=8)


def _transposed(n: int, shape: tuple[int, ...]) -> list[Case]:
    settings: list[dict[str, Any]] = [
        {},
        {"padding": "same"},
        {"strides": 2},
        {"strides": 2, "padding": "same"},
        {"strides": 3, "kernel_size": 2, "padding": "same"},
        {"strides": 3, "kernel_size": 2},
        {"strides": 2, "padding": "same", "output_padding": 1},
        {"strides": 2, "padding": "same", "output_padding": 0},
        {"strides": 3, "kernel_size": 5, "padding": "same", "use_bias": False},
        {"strides": 2, "output_padding": 1},
        {"strides": 2, "activation": "relu"},
    ]
    if n == 2:
        settings += [{"strides": (1, 2), "kernel_size": (3, 4), "padding": "same"}]
    if n < 3:
        settings += [{"dilation_rate": 2}, {"dilation_rate": 2, "padding": "same"}]
    settings = [{"kernel_size": 3} | s for s in settings]
    name = f"Conv{n}DTranspose"
    return [
        *grid(name, shape, *settings, filters=6),
        *open_sizes(name, shape, *settings[:4], filters=6),
        *channels_first(name, shape, settings[0], settings[3], filters=6),
    ]


def _depthwise(n: int, shape: tuple[int, ...]) -> list[Case]:
    settings: list[dict[str, Any]] = [
        {},
        {"padding": "same"},
        {"strides": 2, "padding": "same"},
        {"depth_multiplier": 2},
        {"depth_multiplier": 3, "strides": 2, "padding": "same"},
        {"dilation_rate": 2},
        {"dilation_rate": 2, "padding": "same", "depth_multiplier": 2},
        {"use_bias": False, "activation": "relu6"},
    ]
    name = f"DepthwiseConv{n}D"
    return [
        *grid(name, shape, *settings, kernel_size=3),
        *open_sizes(name, shape, *settings[1:4], kernel_size=3),
        *channels_first(name, shape, *settings[:2], kernel_size=3),
    ]


def _separable(n: int, shape: tuple[int, ...]) -> list[Case]:
    settings: list[dict[str, Any]] = [
        {},
        {"padding": "same"},
        {"strides": 2, "padding": "same"},
        {"depth_multiplier": 2},
        {"dilation_rate": 2},
        {"dilation_rate": 2, "padding": "same", "depth_multiplier": 2},
        {"use_bias": False, "activation": "relu"},
    ]
    name = f"SeparableConv{n}D"
    return [
        *grid(name, shape, *settings, filters=6, kernel_size=3),
        *open_sizes(name, shape, *settings[1:3], filters=6, kernel_size=3),
    ]
