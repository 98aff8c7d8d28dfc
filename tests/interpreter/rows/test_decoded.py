"""Pictures that a browser decoded are resized as Pillow resizes those of files."""

import numpy as np
import pytest
from PIL import Image

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.rows.decoded import Decoded
from onnxwalk.interpreter.rows.pixels import Pixels, fitted

#: large to small, small to large, one axis of each, those that Pillow 13 begins with the rows
SIZES = [(62, 80, 42, 16), (16, 41, 22, 39), (9, 7, 50, 60), (80, 33, 20, 44), (1, 5, 3, 1)]


@pytest.mark.parametrize("settings", [Pixels(), Pixels(crop=True), Pixels(resize=23)], ids=str)
@pytest.mark.parametrize("sizes", SIZES)
def test_equal_to_pillow(sizes, settings):
    width, height, new_width, new_height = sizes
    rgba = np.random.default_rng(0).integers(0, 256, (height, width, 4), dtype=np.uint8)
    rgba[..., 3] = 255
    for mode, channels in (("RGB", 3), ("L", 1)):
        theirs = fitted(Image.fromarray(rgba).convert(mode), settings, new_width, new_height)
        ours = fitted(Decoded(rgba).convert(channels), settings, new_width, new_height)
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_a_part_that_is_larger_than_the_picture():
    image = Decoded(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(InvalidInputError, match="larger --resize than 2"):
        fitted(image, Pixels(resize=2, crop=True), 3, 3)
