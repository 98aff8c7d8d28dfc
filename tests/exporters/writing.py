"""What programs write. This file is copied next to a program, whose environment has NumPy alone in
common with the others: it imports nothing of ours."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

warnings.simplefilter("ignore")
_REFUSED = Path("refused.json")


def write(
    name: str,
    export: Callable[[str], Any],
    feeds: Mapping[str, Any] | Sequence[Any] | Callable[[str], Any],
    answer: Callable[..., Any],
) -> None:
    """Export a model to ``NAME.onnx``; write inputs and the framework's own answers next to it.

    ``feeds`` are the inputs by name, or in the order of the file's inputs; a list of lists or of
    mappings is several feeds. ``answer`` is called with the inputs and returns one array or
    several; one that is None isn't compared. What the exporter refuses is noted with its reason.
    """
    several = isinstance(feeds, list) and feeds and isinstance(feeds[0], list | dict)
    all_feeds = feeds if several else [feeds]
    try:
        with open("exporters.log", "a") as log, contextlib.redirect_stdout(log):
            export(f"{name}.onnx")
    except Exception as error:  # whatever the exporter raises is its refusal, listed in the page
        reason = str(error).strip().splitlines() or [""]
        refuse(name, f"{type(error).__name__}: {reason[0]}")
        return
    arrays: dict[str, Any] = {}
    for number, feed in enumerate(all_feeds):
        named = feed if isinstance(feed, dict) else {str(i): x for i, x in enumerate(feed)}
        for key, x in named.items():
            arrays[f"{number}/in/{key}"] = as_array(x)
        for position, y in enumerate(flat(answer(*named.values()))):
            if y is not None:
                arrays[f"{number}/out/{position}"] = as_array(y)
    np.savez(f"{name}.npz", **arrays)


def refuse(name: str, reason: str) -> None:
    """Note that the exporter writes no file of this name, and why."""
    Path(f"{name}.onnx").unlink(missing_ok=True)
    refused = json.loads(_REFUSED.read_text()) if _REFUSED.exists() else {}
    refused[name] = reason
    _REFUSED.write_text(json.dumps(refused))


def flat(answers: Any) -> list[Any]:
    """Arrays in tuples, lists and mappings, in their order."""
    if isinstance(answers, dict):
        return flat(list(answers.values()))
    if isinstance(answers, tuple | list):
        return [y for part in answers for y in flat(part)]
    return [answers]


def as_array(x: Any) -> np.ndarray:
    """An array that can be saved without pickles; bfloat16, which can't, as float32."""
    if hasattr(x, "detach"):
        x = x.detach()
        x = x.float() if str(x.dtype) == "torch.bfloat16" else x
    array = np.asarray(x)
    if array.dtype == object:
        array = array.astype(str)
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array
