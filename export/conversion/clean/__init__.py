"""Passes that simplify a converted model, one file per idea; each changes the draft in place.

The order matters: constants first, since the other passes look for them; scales last, because a
BatchNormalization is next to its convolution only when there is no Transpose between them.
"""

from __future__ import annotations

from onnxwalk.export.conversion.clean.constants import fold_constants, share_constants
from onnxwalk.export.conversion.clean.duplicates import share_nodes
from onnxwalk.export.conversion.clean.scales import fold_scales
from onnxwalk.export.conversion.clean.shapes import (
    drop_identities,
    keep_reduced_axes,
    make_reshapes_static,
    merge_reshapes,
)
from onnxwalk.export.conversion.clean.transposes import cancel_transposes
from onnxwalk.export.conversion.draft import Draft

PASSES = (
    drop_identities,
    fold_constants,
    make_reshapes_static,
    share_nodes,
    keep_reduced_axes,
    cancel_transposes,
    fold_scales,
    merge_reshapes,
    keep_reduced_axes,
    cancel_transposes,
    fold_scales,
    drop_identities,
    fold_constants,
    share_constants,
)


def clean(draft: Draft) -> None:
    """Apply every pass, in order."""
    for improve in PASSES:
        improve(draft)
