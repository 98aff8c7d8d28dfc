#!/usr/bin/env bash
# Pillow 13 resizes a picture and its transposed self to different pixels, and other ones than Pillow 12.
#
# Packages: pillow 13.0.0 and 12.0.0, numpy 2.4.6.
# Expected: resize makes one pass along the rows and one along the columns, in that order, as always: the
#   pixels depend on the picture and the size alone, and are those of the version before.
# Seen: since version 13 the columns come first where that takes away more than twice as many rows as
#   columns (and any rows at all). Between the passes values are rounded to 8 bits, so a third to a half
#   of the pixels change by 1. The condition looks at the whole picture even where box= cuts out a part.
# Output:
#   12.0.0: 16 x 41 to 22 x 39: columns first: False, rows first: True
#   13.0.0: 16 x 41 to 22 x 39: columns first: True, rows first: False
#   13.0.0: of 500 pictures 188 begin with the columns, the condition is right for all
# Who is hurt: tests that compare preprocessing to the last bit, and whoever writes it anew for a phone or
#   a browser: the inputs of a model differ by 1/255 between two versions of Pillow.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
for version in 12.0.0 13.0.0; do
    python3 -m venv "venv-$version"
    "venv-$version/bin/pip" install -q --disable-pip-version-check "pillow==$version" numpy==2.4.6
    "venv-$version/bin/python" - <<'PY'
import numpy as np
import PIL
from PIL import Image

rng = np.random.default_rng(0)
version = PIL.__version__


def order(width, height, new_width, new_height):
    """Whether the result is that of two resizes, first of the columns' length, or of the rows'."""
    picture = Image.fromarray(rng.integers(0, 256, (height, width), dtype=np.uint8))
    size = (new_width, new_height)
    found = np.asarray(picture.resize(size, 2))
    two = [np.asarray(picture.resize(half, 2).resize(size, 2))
           for half in ((width, new_height), (new_width, height))]
    columns, rows = (np.array_equal(found, other) for other in two)
    return columns, rows


columns, rows = order(16, 41, 22, 39)
print(f"{version}: 16 x 41 to 22 x 39: columns first: {columns}, rows first: {rows}")
assert (columns, rows) == ((False, True) if version == "12.0.0" else (True, False))
if version == "13.0.0":
    seen = right = 0
    for _ in range(500):
        w, h, v, g = map(int, rng.integers(1, 90, 4))
        columns, rows = order(w, h, v, g)
        if columns == rows:
            right += 1
            continue
        seen += columns
        right += columns == (h > g and h - g > 2 * (w - v))
    print(f"{version}: of 500 pictures {seen} begin with the columns, the condition is right for", end=" ")
    print("all" if right == 500 else right)
    assert right == 500
PY
done
