"""Layers that move elements about."""

from __future__ import annotations

from onnxwalk.export.coverage.layer_cases import (
    Case,
    channels_first,
    grid,
    open_sizes,
    uniform,
)


def cases() -> list[Case]:
    found = [
        *grid("Flatten", (3, 4, 2), {}, {"data_format": "channels_first"}),
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
        *channels_first("Cropping2D", (9, 8, 4), {"cropping": (2, 1)}),
        *open_sizes("Cropping2D", (9, 8, 4), {"cropping": ((1, 2), (0, 3))}),
        *grid("Cropping3D", (6, 7, 5, 2), *({"cropping": c} for c in (
            1, (2, 1, 0), ((1, 2), (0, 3), (1, 0))))),
        *channels_first("Cropping3D", (6, 7, 5, 2), {"cropping": ((1, 2), (0, 3), (1, 0))}),
        *grid("ZeroPadding1D", (5, 4), *({"padding": p} for p in (1, (2, 3), (0, 1)))),
        *channels_first("ZeroPadding1D", (5, 4), {"padding": (2, 3)}),
        *open_sizes("ZeroPadding1D", (5, 4), {"padding": 2}),
        *grid("ZeroPadding2D", (5, 4, 3), *({"padding": p} for p in (1, (2, 0), ((1, 2), (0, 3))))),
        *channels_first("ZeroPadding2D", (5, 4, 3), {"padding": ((1, 2), (0, 3))}),
        *open_sizes("ZeroPadding2D", (5, 4, 3), {"padding": (1, 2)}),
        *grid("ZeroPadding3D", (3, 4, 5, 2), *({"padding": p} for p in (
            1, (2, 0, 1), ((1, 2), (0, 3), (1, 0))))),
        *channels_first("ZeroPadding3D", (3, 4, 5, 2), {"padding": (2, 0, 1)}),
        *grid("UpSampling1D", (5, 4), {"size": 2}, {"size": 3}, {"size": 1}),
        *grid("UpSampling1D", (None, 4), {"size": 2}, note="open sizes"),
        *grid("UpSampling3D", (3, 4, 2, 2), {"size": 2}, {"size": (1, 2, 3)}),
        *channels_first("UpSampling3D", (3, 4, 2, 2), {"size": (1, 2, 3)}),
        *open_sizes("UpSampling3D", (3, 4, 2, 2), {"size": 2}),
    ]  # fmt: skip
    for interpolation in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"):
        s = {"interpolation": interpolation}
        found += grid("UpSampling2D", (5, 7, 3), {**s, "size": 2}, {**s, "size": (3, 2)})
        found += channels_first("UpSampling2D", (5, 7, 3), {**s, "size": (3, 2)})
        refused = None if interpolation in ("nearest", "bilinear") else "fixed height and width"
        found += open_sizes("UpSampling2D", (5, 7, 3), {**s, "size": 2}, refused=refused)
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
            flagged = [s | {flag: True} for s in sizes[:3]]
            found += grid("Resizing", (11, 14, 3), *flagged, inputs=images)
            found += grid("Resizing", (14, 9, 3), *flagged[:2], inputs=tall, note="tall")
        found += grid(
            "Resizing", (11, 14, 3), sizes[1] | {"antialias": True, "crop_to_aspect_ratio": True},
            inputs=images,
        )  # fmt: skip
        found += channels_first("Resizing", (11, 14, 3), *sizes[:2], inputs=uniform(3, 3, 11, 14))
        refused = None if interpolation in ("nearest", "bilinear") else "fixed height and width"
        found += open_sizes("Resizing", (11, 14, 3), *sizes[:3], inputs=images, refused=refused)
    size = {"height": 5, "width": 6}
    ratios = [size | {"crop_to_aspect_ratio": True}, size | {"pad_to_aspect_ratio": True}]
    found += open_sizes("Resizing", (11, 14, 3), *ratios, inputs=images)
    found += open_sizes("Resizing", (11, 14, 3), size | {"antialias": True}, inputs=images,
                        refused="fixed height and width")  # fmt: skip
    found += grid(
        "Resizing", (11, 14, 3),
        {"height": 5, "width": 5, "pad_to_aspect_ratio": True, "fill_value": 7.0},
        inputs=images,
    )  # fmt: skip
    found += grid("Resizing", (11, 14, 3), {"height": 5, "width": 6}, dtype="uint8",
                  inputs=uniform(3, 11, 14, 3, dtype="uint8"), note="uint8")  # fmt: skip
    return found
