"""Layers that move elements about."""

from __future__ import annotations

from typing import Any

from onnxwalk.export.coverage.layer_cases import Case, grid, uniform


def cases() -> list[Case]:
    first: dict[str, Any] = {"data_format": "channels_first"}
    found = [
        *grid("Flatten", (3, 4, 2), {}, first),
        *grid("Flatten", (None, 4), {}, note="open sizes"),
        *grid("Flatten", (4,), {}, note="flat"),
        *grid("Flatten", (), {}, note="scalars"),
        *grid("Reshape", (3, 4, 2), *({"target_shape": s} for s in (
            (24,), (4, 6), (-1,), (2, -1), (-1, 3, 2), (2, 3, 4, 1)))),
        *grid("Reshape", (None, 6), *({"target_shape": s} for s in ((-1, 2), (-1, 3, 2))),
              note="open sizes"),
        *grid("Permute", (3, 4, 2), *({"dims": d} for d in ((2, 1, 3), (3, 1, 2), (1, 2, 3)))),
        *grid("Permute", (None, 4), {"dims": (2, 1)}, note="open sizes"),
        *grid("RepeatVector", (4,), {"n": 3}, {"n": 1}),
        *grid("Cropping1D", (9, 4), *({"cropping": c} for c in (1, (2, 3), (0, 1), (0, 0)))),
        *grid("Cropping1D", (None, 4), {"cropping": (2, 3)}, note="open sizes"),
        *grid("Cropping2D", (9, 8, 4), *({"cropping": c} for c in (
            1, (2, 1), ((1, 2), (0, 3)), ((0, 0), (2, 0))))),
        *grid("Cropping2D", (4, 9, 8), {"cropping": (2, 1)}, **first, note="channels_first"),
        *grid("Cropping2D", (None, None, 4), {"cropping": ((1, 2), (0, 3))}, note="open sizes"),
        *grid("Cropping3D", (6, 7, 5, 2), *({"cropping": c} for c in (
            1, (2, 1, 0), ((1, 2), (0, 3), (1, 0))))),
        *grid("Cropping3D", (2, 6, 7, 5), {"cropping": ((1, 2), (0, 3), (1, 0))}, **first,
              note="channels_first"),
        *grid("ZeroPadding1D", (5, 4), *({"padding": p} for p in (1, (2, 3), (0, 1)))),
        *grid("ZeroPadding1D", (4, 5), {"padding": (2, 3)}, **first, note="channels_first"),
        *grid("ZeroPadding1D", (None, 4), {"padding": 2}, note="open sizes"),
        *grid("ZeroPadding2D", (5, 4, 3), *({"padding": p} for p in (1, (2, 0), ((1, 2), (0, 3))))),
        *grid("ZeroPadding2D", (3, 5, 4), {"padding": ((1, 2), (0, 3))}, **first,
              note="channels_first"),
        *grid("ZeroPadding2D", (None, None, 3), {"padding": (1, 2)}, note="open sizes"),
        *grid("ZeroPadding3D", (3, 4, 5, 2), *({"padding": p} for p in (
            1, (2, 0, 1), ((1, 2), (0, 3), (1, 0))))),
        *grid("ZeroPadding3D", (2, 3, 4, 5), {"padding": (2, 0, 1)}, **first,
              note="channels_first"),
        *grid("UpSampling1D", (5, 4), {"size": 2}, {"size": 3}, {"size": 1}),
        *grid("UpSampling1D", (None, 4), {"size": 2}, note="open sizes"),
        *grid("UpSampling3D", (3, 4, 2, 2), {"size": 2}, {"size": (1, 2, 3)}),
        *grid("UpSampling3D", (2, 3, 4, 2), {"size": (1, 2, 3)}, **first, note="channels_first"),
        *grid("UpSampling3D", (None, None, None, 2), {"size": 2}, note="open sizes"),
    ]  # fmt: skip
    for interpolation in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"):
        s = {"interpolation": interpolation}
        found += grid("UpSampling2D", (5, 7, 3), {**s, "size": 2}, {**s, "size": (3, 2)})
        found += grid("UpSampling2D", (3, 5, 7), {**s, "size": (3, 2)}, **first,
                      note="channels_first")  # fmt: skip
        if interpolation in ("nearest", "bilinear"):
            found += grid("UpSampling2D", (None, None, 3), {**s, "size": 2}, note="open sizes")
        else:
            found += grid("UpSampling2D", (None, None, 3), {**s, "size": 2}, note="open sizes",
                          refused="fixed height and width")  # fmt: skip
    return found + _resizing()


def _resizing() -> list[Case]:
    images = uniform(3, 11, 14, 3)
    tall = uniform(3, 14, 9, 3)
    found: list[Case] = []
    for interpolation in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5", "area"):
        sizes = [
            {"height": h, "width": w, "interpolation": interpolation}
            for h, w in ((22, 28), (5, 6), (17, 9), (1, 1), (11, 14))
        ]
        found += grid("Resizing", (11, 14, 3), *sizes, inputs=images)
        for flag in ("crop_to_aspect_ratio", "pad_to_aspect_ratio", "antialias"):
            wanted = [s | {flag: True} for s in sizes[:3]]
            found += grid("Resizing", (11, 14, 3), *wanted, inputs=images)
            found += grid("Resizing", (14, 9, 3), *wanted[:2], inputs=tall, note="tall")
        found += grid(
            "Resizing", (11, 14, 3), sizes[1] | {"antialias": True, "crop_to_aspect_ratio": True},
            inputs=images,
        )  # fmt: skip
        found += grid(
            "Resizing", (3, 11, 14), sizes[0], sizes[1], data_format="channels_first",
            inputs=uniform(3, 3, 11, 14), note="channels_first",
        )  # fmt: skip
        refused = None if interpolation in ("nearest", "bilinear") else "fixed height and width"
        found += grid("Resizing", (None, None, 3), *sizes[:3], inputs=images, refused=refused,
                      note="open sizes")  # fmt: skip
    found += grid(
        "Resizing", (None, None, 3),
        {"height": 5, "width": 6, "crop_to_aspect_ratio": True},
        {"height": 5, "width": 6, "pad_to_aspect_ratio": True},
        inputs=images, note="open sizes",
    )  # fmt: skip
    found += grid(
        "Resizing", (None, None, 3), {"height": 5, "width": 6, "antialias": True},
        inputs=images, note="open sizes", refused="fixed height and width",
    )  # fmt: skip
    found += grid(
        "Resizing", (11, 14, 3),
        {"height": 5, "width": 5, "pad_to_aspect_ratio": True, "fill_value": 7.0},
        inputs=images,
    )  # fmt: skip
    found += grid("Resizing", (11, 14, 3), {"height": 5, "width": 6}, dtype="uint8",
                  inputs=uniform(3, 11, 14, 3, dtype="uint8"), note="uint8")  # fmt: skip
    return found
