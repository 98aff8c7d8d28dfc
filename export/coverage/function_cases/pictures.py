"""Functions of ``keras.ops.image``."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from onnxwalk.export.coverage.function_cases import FunctionCase, Given, calls
from onnxwalk.export.coverage.function_cases.values import between

_PICTURE = Given((8, 9, 3), values=between(0, 1))
_TYPES = ("float32", "float16", "float64")


def _floats(values: Any) -> Any:
    return np.array(values, np.float32)


def cases() -> list[FunctionCase]:
    options: dict[str, Any] = {"given": [_PICTURE], "dtypes": _TYPES}
    transform = _floats([[1, 0.1, 1, 0, 0.9, -1, 0, 0]])
    corners = _floats([[[0, 0], [7, 0], [0, 8], [7, 8]]])
    return [
        *calls("image.affine_transform", *(
            (f"interpolation={i}, fill_mode={m}", lambda f, x, i=i, m=m: f(
                x, keras.ops.tile(transform, (keras.ops.shape(x)[0], 1)),
                interpolation=i, fill_mode=m))
            for i, m in (("bilinear", "constant"), ("nearest", "reflect"), ("bilinear", "wrap"))),
            inside=True, **options),
        *calls("image.crop_images", {"top_cropping": 1, "left_cropping": 2, "target_height": 4,
               "target_width": 5}, **options),
        *calls("image.pad_images", {"top_padding": 1, "left_padding": 2, "target_height": 12,
               "target_width": 13}, **options),
        *calls("image.elastic_transform", {"seed": 1}, inside=True, **options),
        *calls("image.extract_patches", {"size": 3}, {"size": (2, 3), "strides": 2,
               "padding": "same"}, empty=False, **options),
        *calls("image.extract_patches_3d", {"size": 2}, dtypes=_TYPES, empty=False,
               given=[Given((4, 4, 5, 2), values=between(0, 1))]),
        *calls("image.gaussian_blur", {}, {"kernel_size": (5, 3), "sigma": (0.5, 2.0)}, **options),
        *calls("image.hsv_to_rgb image.rgb_to_hsv image.rgb_to_grayscale image.sobel_edges",
               **options),
        *calls("image.map_coordinates", *(
            (f"order={o}, fill_mode={m}", lambda f, x, o=o, m=m: f(
                x[0, :, :, 0], _floats([[0.5, 1, 9], [1.5, -2, 3]]), order=o, fill_mode=m))
            for o, m in ((1, "constant"), (0, "nearest"), (1, "reflect"), (1, "mirror"),
                         (1, "wrap"))), **options),
        *calls("image.perspective_transform", ("", lambda f, x: f(
            x[:1], corners, corners + _floats([[[1, 0], [0, 1], [0, 0], [1, 1]]]))),
            **options),
        *calls("image.resize", *({"size": (5, 12), "interpolation": i} for i in (
            "bilinear", "nearest", "bicubic", "area", "lanczos3")),
            {"size": (4, 4), "antialias": True}, {"size": (4, 6), "crop_to_aspect_ratio": True},
            {"size": (4, 6), "pad_to_aspect_ratio": True},
            dtypes=(*_TYPES, "uint8"), given=[_PICTURE]),
        *calls("image.scale_and_translate", *(
            (f"method={m}", lambda f, x, m=m: f(
                x[0], (6, 7, 3), _floats([0.5, 1.2]), _floats([1.0, -0.5]), (0, 1), m))
            for m in ("linear", "cubic", "lanczos3")), **options),
        *calls("image.ssim", {"filter_size": 5}, dtypes=_TYPES, given=[_PICTURE, _PICTURE]),
    ]  # fmt: skip
