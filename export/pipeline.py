"""Load, trace, convert, check, write: what happens, in that order."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.errors import ExportError, one_line
from export.quiet import quiet

if TYPE_CHECKING:
    from export.load import Architecture

STAGES = ("load", "trace", "convert", "check", "write")
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Export:
    """What an export gave: the model, each output's largest difference from Keras, and what the
    user should know."""

    model: Any  # onnx.ModelProto
    differences: dict[str, float]  # empty when the model wasn't verified
    notes: tuple[str, ...] = ()


def run(
    model_or_path: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    opset: int = 18,
    architecture: Architecture | None = None,
    verify: bool = True,
    text: Any = None,
    labels: Any = None,
    progress: Progress | None = None,
) -> Export:
    """As ``export.to_onnx``, with the differences that were found. Raises ExportError."""
    report = progress or (lambda stage: None)
    with quiet() as errors:
        from export.convert import convert
        from export.load import load
        from export.text import cut_text, given_text, label_settings, store, text_settings, told
        from export.trace import trace
        from export.verify import check

        report("load")
        model = load(model_or_path, architecture)
        _refuse_other_backends()
        model, layers = cut_text(model)
        outside = {} if text is None else given_text(text)
        report("trace")
        traced = trace(model)
        tokenizers = text_settings({**layers, **outside}, traced)
        names = {} if labels is None else label_settings(labels, traced)
        report("convert")
        proto = convert(traced, opset=opset, errors=errors)
        differences: dict[str, float] = {}
        if verify:
            report("check")
            differences = check(model, proto, traced)
        store(proto, tokenizers, names)
    if path is not None:
        report("write")
        write(proto, path)
    return Export(proto, differences, tuple(told(tokenizers, layers)))


def write(proto: Any, path: str | os.PathLike[str]) -> None:
    """Write beside ``path`` and rename, so that a file is there whole or not at all.

    Raises ExportError when it can't be written.
    """
    target = Path(path)
    temporary = None
    try:
        data = proto.SerializeToString()
        descriptor, temporary = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=".part", dir=target.parent
        )
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp's are private
        os.replace(temporary, target)
        temporary = None
    except (OSError, ValueError) as error:  # ValueError: a message beyond protobuf's 2 GB
        raise ExportError(f"{target} can't be written: {one_line(error)}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.remove(temporary)


def _refuse_other_backends() -> None:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ExportError(
            f"Keras runs on {keras.backend.backend()}: set KERAS_BACKEND=tensorflow to export"
        )
