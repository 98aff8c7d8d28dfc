"""The saliency of the page's sample: some classes by some methods, computed beforehand."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from onnxwalk.interpreter.analysis.explore import views
from onnxwalk.interpreter.analysis.saliency import METHODS, Attribution, Explainer, Saliency
from onnxwalk.interpreter.analysis.saliency.draw import coloured, largest
from onnxwalk.interpreter.analysis.saliency.methods import STEPS
from onnxwalk.interpreter.analysis.saliency.result import PARTS
from onnxwalk.interpreter.errors import InvalidInputError, OnnxWalkError
from onnxwalk.interpreter.session import Session

_METHODS = ("gradient", "integrated", "grad-cam")
_MOST_CLASSES = 10
#: seconds after which no further class is begun
_SECONDS = 10.0
#: the most and least gradients to average; fewer than the most if that takes longer than this
_STEPS, _FEWEST_STEPS, _SECONDS_OF_STEPS = 32, 8, 3.0
_MOST_NUMBERS = 1000  # of a text or a sequence
_SIDES = (4, 96)  # the least and most pixels of a picture's side


def collect_saliency(
    session: Session,
    feeds: Mapping[str, Any],
    words: Mapping[str, list[str]],
    labels: list[str] | None,
    room: int,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """The data of the page's saliency in about ``room`` bytes, of the first sample.

    ``words``: of that sample, by the name of the input. Without any gradients there is only a
    "note" that says why.
    """
    explainers: dict[str, Explainer] = {}
    try:
        for method in _METHODS:
            try:
                explainers[method] = Explainer(session, feeds, method=method, labels=labels)
            except InvalidInputError:
                if method != "grad-cam":  # there may be no convolution
                    raise
        results, note = _explain(explainers, progress or (lambda done, total: None))
    except OnnxWalkError as error:
        return {"note": str(error)}
    classes = list(dict.fromkeys(k for k, _ in results))
    side = int(np.clip(math.sqrt(room / (len(results) + 3) * 3 / 4), *_SIDES))
    first = next(iter(results.values()))
    data: dict[str, Any] = {
        "of": first.of,
        "methods": {method: METHODS[method] for method in explainers},
        "classes": [
            [results[k, "gradient"].target_text(0), _short(results[k, "gradient"].scores[0])]
            for k in classes
        ],
        "entries": [
            {
                "class": classes.index(k),
                "method": method,
                "parts": [_part(a, words, side) for a in result.attributions.values()],
                **_completeness(result),
            }
            for (k, method), result in results.items()
        ],
        "pictures": {},
    }
    if note:
        data["note"] = note
    has_rows = explainers["gradient"].has_rows
    for result in results.values():
        for a in result.attributions.values():
            if a.kind in ("picture", "map") and a.input in feeds:
                value = np.asarray(feeds[a.input])
                sample = value[0] if has_rows else value
                if sample.ndim in (2, 3) and a.parts[0].ndim == 2:
                    data["pictures"].setdefault(a.input, _picture(sample, side))
    return data


def _explain(
    explainers: Mapping[str, Explainer], tell: Callable[[int, int], None]
) -> tuple[dict[tuple[int, str], Saliency], str]:
    """The results by the number of the class, the largest score first, and by the method; and what
    is left out."""
    found: dict[tuple[int, str], Saliency] = {}
    targets = list(_targets(explainers["gradient"]))
    explainers["gradient"].explain(targets[0])  # the first run of a graph takes longer
    start = time.monotonic()
    explainers["gradient"].explain(targets[0])
    fitting = int(_SECONDS_OF_STEPS / max(time.monotonic() - start, 1e-9))
    steps = max(_FEWEST_STEPS, min(_STEPS, fitting))
    for k, target in enumerate(targets):
        if k and time.monotonic() - start > _SECONDS:
            return found, (
                f"The {k} largest scores of {len(targets)}: more would take over {_SECONDS:g} s."
            )
        for method, explainer in explainers.items():
            averaged = steps if method in STEPS else None
            found[k, method] = explainer.explain(target, steps=averaged)
            tell(len(found), len(targets) * len(explainers))
    return found, ""


def _targets(explainer: Explainer) -> Iterator[Any]:
    """The classes to show, as targets of ``explain``: those of the largest scores of a sample."""
    scores = explainer.scores()[0]
    samples = len(explainer.scores())
    if scores.size == 1:
        is_pair = explainer.is_sigmoid or len(explainer.labels) == 2
        order = [1, 0] if scores[0] >= 0 else [0, 1]
        yield from ([k] * samples for k in order) if is_pair else [None]
        return
    shape = explainer.value.shape[1:] if explainer.has_rows else explainer.value.shape
    for k in np.argsort(-scores, kind="stable")[:_MOST_CLASSES]:
        yield [tuple(map(int, np.unravel_index(k, shape)))] * samples


def _completeness(found: Saliency) -> dict[str, float | None]:
    if found.error is None or found.difference is None:
        return {}
    return {"difference": _short(found.difference[0]), "error": _short(found.error[0])}


def _part(a: Attribution, words: Mapping[str, list[str]], side: int) -> dict[str, Any]:
    """What was attributed to one value, of the first sample."""
    parts = views.to_real(a.parts[0])
    entry: dict[str, Any] = {
        "name": a.name, "input": a.input, "kind": a.kind, "part": PARTS[a.kind],
        "most": _short(largest(parts)),
    }  # fmt: skip
    if a.kind in ("picture", "map") and parts.ndim == 2:
        size = [min(n, side) for n in parts.shape]
        small = views.downsample(parts[None].astype(np.float32), *size)[0]
        return entry | {"h": size[0], "w": size[1], **views.encode(small)}
    numbers = parts.ravel()
    most = min(_MOST_NUMBERS, side * side)
    if a.kind == "text" and a.input in words and parts.ndim == 1:
        entry["words"] = words[a.input][:most]
    entry["shape"] = list(parts.shape)
    return entry | {"numbers": [_short(n) for n in numbers[:most]]}


def _picture(sample: np.ndarray, side: int) -> dict[str, Any]:
    pixels = coloured(sample)
    h, w = (min(n, side) for n in pixels.shape[:2])
    small = views.downsample(pixels[None].astype(np.float32), h, w)[0]
    return {"h": h, "w": w, "data": views.to_base64((small * 255).round().astype(np.uint8))}


def _short(number: Any) -> float | None:
    """Four digits; ``None`` for what isn't finite, which JSON has no number for."""
    return float(f"{float(number):.4g}") if math.isfinite(number) else None
