"""What saliency found, and how it is summed up to the parts of an input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxwalk.interpreter.display import as_text, type_text

#: the kinds of attributed values, and what a part of them is
PARTS = {
    "picture": "pixel",
    "text": "word",
    "sequence": "step",
    "map": "place",
    "numbers": "number",
}


@dataclass(frozen=True)
class Attribution:
    """The saliency of one value.

    ``name``: the value that was attributed to; ``input``: the input of the model that it is, or is
    computed from. ``values``: an array of the value's shape; of "grad-cam" (N, height, width).
    ``kind``: "picture", "text", "sequence", "map" (of a convolution) or "numbers". ``parts``: the
    values of each sample added up over channels or features, (N, height, width) or (N, steps);
    (N, …) where there is nothing to add up. Here N is 1 if the model has no axis of samples.
    """

    name: str
    input: str
    kind: str
    values: np.ndarray
    parts: np.ndarray


@dataclass(frozen=True)
class Saliency:
    """How much the parts of the inputs moved one score, for each sample.

    ``method``: as it was asked for. ``of``: the name of the value that holds the scores.
    ``targets``: for each sample the class that was explained, as an index into ``of`` without its
    batch axis; for the one score of a sigmoid (0,) or (1,), the two classes. ``labels``: the names
    of these, or "". ``scores``: their scores, (N,). ``attributions``: by the name of the value.

    Of "integrated" only: ``difference`` (N,) is the score minus that of the baseline, which the
    attributions should add up to; ``error`` (N,) is their sum minus it. Else ``None``.
    """

    method: str
    of: str
    targets: list[tuple[int, ...]]
    labels: list[str]
    scores: np.ndarray
    attributions: dict[str, Attribution]
    difference: np.ndarray | None = None
    error: np.ndarray | None = None

    def __getitem__(self, name: str) -> np.ndarray:
        """The values attributed to an input or another value, by its name."""
        for attribution in self.attributions.values():
            if name in (attribution.name, attribution.input):
                return attribution.values
        raise KeyError(name)

    def target_text(self, sample: int) -> str:
        """The class of one sample as people read it."""
        label, target = self.labels[sample], self.targets[sample]
        number = ", ".join(map(str, target))
        return label or (f"class {number}" if target else "the score")

    def __repr__(self) -> str:
        rows = [("method", self.method), ("of", self.of)]
        classes = [self.target_text(sample) for sample in range(min(len(self.targets), 5))]
        rows.append(("classes", ", ".join(classes) + ", …" * (len(self.targets) > 5)))
        rows += [(a.kind, f"{a.name}: {type_text(a.values)}") for a in self.attributions.values()]
        if self.error is not None:
            rows.append(("error", f"{np.abs(self.error).max(initial=0):.2g}"))
        return as_text("Saliency", rows)


def channel_axis(shape: Sequence[Any]) -> int | None:
    """The axis of the channels of pictures (N, H, W, C) or (N, C, H, W); ``None`` for a value that
    has another shape."""
    if len(shape) != 4:
        return None
    return next((axis for axis in (3, 1) if shape[axis] in (1, 3, 4)), None)


def place(position: int, shape: Sequence[int]) -> str:
    """The indexes of an element, by its position among all of an array, as people read them."""
    return ", ".join(str(int(i)) for i in np.unravel_index(position, tuple(shape)))


def kind_of(values: np.ndarray, token_rank: int | None) -> tuple[str, tuple[int, ...]]:
    """The kind of a value, and its axes that are added up. ``token_rank``: the rank of the ids
    that the value was looked up for; ``None``: it wasn't."""
    if token_rank is not None and 1 <= token_rank < values.ndim:
        return "text", tuple(range(token_rank, values.ndim))
    axis = channel_axis(values.shape)
    if axis is not None:
        return "picture", (axis,)
    return ("sequence", (2,)) if values.ndim == 3 else ("numbers", ())


def resized(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """(…, h, w) to (…, height, width), bilinear between the centres of the pixels; beyond the
    outer centres the nearest."""
    for axis, size in ((-2, height), (-1, width)):
        count = maps.shape[axis]
        at = np.clip((np.arange(size) + 0.5) * count / size - 0.5, 0, count - 1)
        low = np.floor(at).astype(int)
        share = (at - low).astype(maps.dtype).reshape(-1, *[1] * (-1 - axis))
        high = np.minimum(low + 1, count - 1)
        maps = maps.take(low, axis) * (1 - share) + maps.take(high, axis) * share
    return maps
