"""What is left of a conversion that nobody needs: one file per idea, each Draft -> Draft in place.

The order matters: constants first, since the others look for them; scales last, because a
BatchNormalization meets its convolution only when no Transpose stands between them.
"""

from __future__ import annotations

from export.clean.constants import fold_constants, share_constants
from export.clean.duplicates import share_nodes
from export.clean.scales import fold_scales
from export.clean.shapes import drop_identities, keep_reduced, merge_reshapes, static_reshapes
from export.clean.transposes import cancel_transposes
from export.draft import Draft

PASSES = (
    drop_identities,
    fold_constants,
    static_reshapes,
    share_nodes,
    keep_reduced,
    cancel_transposes,
    fold_scales,
    merge_reshapes,
    keep_reduced,
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
