"""``onnxwalk saliency``: which pixels, words or steps moved a score."""

from __future__ import annotations

import argparse
import io
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.analysis.saliency import (
    METHODS,
    Attribution,
    Explainer,
    Saliency,
    draw,
)
from onnxwalk.interpreter.analysis.saliency.page import build_page, build_svg
from onnxwalk.interpreter.analysis.saliency.result import PARTS, place
from onnxwalk.interpreter.cli import _report, _show
from onnxwalk.interpreter.cli._arguments import (
    add_command,
    add_integer,
    add_repeated,
)
from onnxwalk.interpreter.cli._feeds import add_inputs, fill_feeds, read_feeds
from onnxwalk.interpreter.cli._progress import progress
from onnxwalk.interpreter.cli._session import add_session, open_session
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.files import check_folder, write_file
from onnxwalk.interpreter.names import find_value
from onnxwalk.interpreter.rows.classes import read_labels
from onnxwalk.interpreter.rows.feed import Feed
from onnxwalk.interpreter.session import Session
from onnxwalk.interpreter.tables.convert import declared_shape
from onnxwalk.interpreter.text import TextRows, tokenizers

_DESCRIPTION = """\
Show which parts of the inputs moved a score: pixels of pictures, words of texts, steps of
sequences, or numbers. Positive ones raised the score, negative ones lowered it.

The score is the largest one before the softmax or the sigmoid that the first output comes from,
or that of --class. Ids have no gradients: a word's part is that of the vector which is looked up
for it.

methods
  gradient          how the score changes with each number
  gradient-x-input  the same times the number
  integrated        gradients on the way from --baseline, times the way: they add up to the
                    difference of the two scores, with the error that is shown
  smoothgrad        gradients at noisy copies, averaged
  grad-cam          where in a picture the last convolution found the class

FILE of --output may be
  .html        a page: pictures with an overlay, words in colours, tables
  .png, .svg   each picture, and next to it the same with the overlay
  .npy, .npz   the attributions, of the shape of the input (ids: of the vectors that are looked up)
  .json        what --json prints
"""

_SUFFIXES = (".html", ".png", ".svg", ".npy", ".npz", ".json")
_MOST_SAMPLES = 16  # of pictures in a file, and of samples in a terminal
_MOST_PARTS = 40  # that a terminal shows of a sample
_SHADES = " .:-=+*#%@"
_MOST_COLUMNS = 32
_BAR = 20


def add_parser(commands: Any) -> None:
    """Add ``saliency`` to the commands."""
    text = "show which pixels, words or steps moved a score"
    parser = add_command(commands, "saliency", run, text, _DESCRIPTION)
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    add_inputs(parser)
    parser.add_argument(
        "--method",
        choices=METHODS,
        metavar="NAME",
        help=f"{', '.join(METHODS)} (default: integrated)",
        default="integrated",
    )
    parser.add_argument(
        "--class",
        dest="target",
        metavar="CLASS",
        help="the class to explain, by name or number (default: the largest)",
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="class names (default: those in the model)"
    )
    parser.add_argument(
        "--of",
        metavar="NAME",
        help="value or Keras layer that holds the scores (default: before the softmax)",
    )
    add_repeated(
        parser,
        "--at",
        metavar="NAME",
        help="value or Keras layer to attribute to (default: inputs)",
    )
    add_integer(parser, "--steps", "gradients to average (default: 64; smoothgrad: 32)")
    parser.add_argument(
        "--baseline", type=float, default=0, metavar="V", help="baseline value (default: 0)"
    )
    parser.add_argument("--sample", type=int, metavar="K", help="explain row K only, from 0 on")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the result")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_session(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command. Raises OnnxWalkError."""
    if args.output:
        if args.output.suffix.lower() not in _SUFFIXES:
            raise InvalidInputError(f"{args.output}: expected a {', '.join(_SUFFIXES)} file")
        check_folder(args.output)
    if not math.isfinite(args.baseline):
        raise InvalidInputError(f"--baseline {args.baseline}: expected a finite number")
    labels = read_labels(args.labels) if args.labels else None
    session = open_session(args)
    feeds = _feeds(session, args)
    samples = _Samples(session, feeds, args.sample)
    of = None if args.of is None else find_value(session.model, session.graph, args.of, "--of")
    at = [find_value(session.model, session.graph, name, "--at") for name in args.at]
    explainer = Explainer(
        session, samples.values, method=args.method, of=of, at=at or None, labels=labels
    )
    with progress("gradients") as tell:
        found = explainer.explain(
            args.target, steps=args.steps, baseline=args.baseline, progress=tell
        )
    samples.count, samples.has_rows = len(found.scores), explainer.has_rows
    if args.output:
        _write(args.output, found, samples, args)
    if args.json:
        _show.print_json(_report_of(found, samples, args))
    else:
        _print(found, samples, args)
    return 0


def _feeds(session: Session, args: argparse.Namespace) -> dict[str, Feed]:
    feeds = read_feeds(session, args)
    return feeds | fill_feeds(session, feeds, args)


class _Samples:
    """The values of the inputs, and what people read in their place."""

    def __init__(self, session: Session, feeds: Mapping[str, Feed], sample: int | None) -> None:
        self.feeds = feeds
        self.values = {name: feed.read() for name, feed in feeds.items()}
        self._rows = {name: feed.rows for name, feed in feeds.items()}
        self.count, self.has_rows = 1, True
        self._first = 0
        if sample is not None:
            self._select(sample)
        self._tokenizers = tokenizers(session.model.metadata)
        names = next((feed.rows.names for feed in feeds.values() if feed.rows.names), None)
        self._names = names or []

    def _select(self, sample: int) -> None:
        for name, feed in self.feeds.items():
            first = (declared_shape(feed.info) or (1,))[:1]
            if feed.rows.length is None or (first and isinstance(first[0], int)):
                continue
            if not 0 <= sample < feed.rows.length:
                raise InvalidInputError(
                    f"--sample {sample}: input '{name}' has {feed.rows.length} rows, from 0 on"
                )
            self.values[name] = self.values[name][sample : sample + 1]
        self._first = sample

    def name(self, sample: int) -> str:
        number = self._first + sample
        return self._names[number] if number < len(self._names) else f"sample {number}"

    def words(self, name: str, sample: int) -> list[str] | None:
        """The words of a sample without its padding, if the input has ids; those that the
        vocabulary lacks as they are in the text, ids without a vocabulary as numbers."""
        ids = self.values.get(name)
        if not isinstance(ids, np.ndarray) or ids.ndim != 2 or ids.dtype.kind not in "iu":
            return None
        rows = self._rows[name]
        if isinstance(rows, TextRows):
            return rows.words(self._first + sample)
        row = ids[sample]
        length = int(np.flatnonzero(row)[-1]) + 1 if row.any() else 0
        if (known := self._tokenizers.get(name)) is None:
            return [str(i) for i in row[:length]]
        words = known.vocabulary
        return [words[i] if 0 <= i < len(words) else "?" for i in map(int, row[:length])]

    def pictures(self, found: Saliency) -> dict[str, np.ndarray]:
        """The inputs over which an overlay can be drawn."""
        drawn = {a.input for a in found.attributions.values() if a.kind in ("picture", "map")}
        values = {name: self.values[name] for name in drawn if name in self.values}
        if not self.has_rows:
            values = {name: value[None] for name, value in values.items()}
        return {name: value for name, value in values.items() if np.ndim(value) in (3, 4)}


# --- files


def _write(path: Path, found: Saliency, samples: _Samples, args: argparse.Namespace) -> None:
    suffix = path.suffix.lower()
    if suffix == ".json":
        write_file(path, _show.json_text(_report_of(found, samples, args)))
    elif suffix in (".npy", ".npz"):
        _write_arrays(path, found)
    elif suffix == ".html":
        title = f"{Path(args.model).name}: {args.method} at {found.of}"
        words = {
            a.input: [samples.words(a.input, k) or [] for k in range(samples.count)]
            for a in found.attributions.values()
            if a.kind == "text" and samples.words(a.input, 0) is not None
        }
        names = [samples.name(k) for k in range(samples.count)]
        pictures = samples.pictures(found)
        write_file(path, build_page(found, title, names=names, words=words, pictures=pictures))
    else:
        _write_pictures(path, found, samples, args)


def _write_pictures(
    path: Path, found: Saliency, samples: _Samples, args: argparse.Namespace
) -> None:
    pictures = samples.pictures(found)
    drawn = [a for a in found.attributions.values() if a.input in pictures and a.parts.ndim == 3]
    if not drawn:
        kinds = ", ".join(f"{a.name} ({a.kind})" for a in found.attributions.values())
        raise InvalidInputError(f"{path}: there is no picture to draw over, but {kinds}; use .html")
    if samples.count > _MOST_SAMPLES:
        raise InvalidInputError(
            f"{path}: {samples.count} pictures; at most {_MOST_SAMPLES} go into one file: pass "
            "--sample K, or use .html"
        )
    a = drawn[0]
    pixels = draw.stacked(
        [draw.overlay(pictures[a.input][k], a.parts[k]) for k in range(samples.count)]
    )
    if path.suffix.lower() == ".svg":
        write_file(path, build_svg(pixels, f"{Path(args.model).name}: {args.method}"))
    else:
        write_file(path, draw.png(pixels))


def _write_arrays(path: Path, found: Saliency) -> None:
    arrays = {name: _show.storable(a.values) for name, a in found.attributions.items()}
    if path.suffix.lower() == ".npy" and len(arrays) != 1:
        raise InvalidInputError(
            f"{path}: an .npy file holds one array, but there are {len(arrays)} "
            f"({', '.join(arrays)}); use .npz"
        )
    content = io.BytesIO()
    if path.suffix.lower() == ".npy":
        np.save(content, next(iter(arrays.values())), allow_pickle=False)
    else:
        with zipfile.ZipFile(content, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
    write_file(path, content.getvalue())


def _report_of(found: Saliency, samples: _Samples, args: argparse.Namespace) -> dict[str, Any]:
    report: dict[str, Any] = {
        "model": args.model,
        "method": found.method,
        "of": found.of,
        "samples": [
            {
                "name": samples.name(k),
                "class": list(found.targets[k]),
                "label": found.labels[k] or None,
                "score": found.scores[k],
                **(
                    {}
                    if found.error is None or found.difference is None
                    else {"difference": found.difference[k], "error": found.error[k]}
                ),
            }
            for k in range(samples.count)
        ],
        "attributions": [
            {
                "value": a.name,
                "input": a.input,
                "kind": a.kind,
                "shape": list(a.values.shape),
                "parts": a.parts if a.parts.size <= _report.MOST_VALUES else None,
                **_words_of(a, samples),
            }
            for a in found.attributions.values()
        ],
        "output": None if args.output is None else str(args.output),
    }
    return report


def _words_of(a: Attribution, samples: _Samples) -> dict[str, Any]:
    if a.kind != "text" or samples.words(a.input, 0) is None:
        return {}
    return {"words": [samples.words(a.input, k) for k in range(samples.count)]}


# --- text


def _print(found: Saliency, samples: _Samples, args: argparse.Namespace) -> None:
    _show.line(f"{METHODS[found.method]}; scores: '{found.of}'", style="bold")
    for a in found.attributions.values():
        how = "" if a.name == a.input else f", from '{a.input}'" if a.input else ""
        _show.line(f"by {PARTS[a.kind]} of '{a.name}'{how}: {a.values.dtype} {a.values.shape}")
    for name, feed in samples.feeds.items():
        _show.line(f"{name}: {'; '.join([feed.origin, *feed.notes])}")
    for k in range(min(samples.count, _MOST_SAMPLES)):
        _show.heading(f"{samples.name(k)}: {found.target_text(k)}, score {found.scores[k]:.4g}")
        for a in found.attributions.values():
            _print_parts(a, k, samples)
        if found.error is not None and found.difference is not None:
            total = found.difference[k] + found.error[k]
            _show.line(
                f"  sum {total:.4g}; above the baseline {found.difference[k]:.4g} "
                f"(error {found.error[k]:+.2g})"
            )
    if samples.count > _MOST_SAMPLES:
        _show.line()
        _show.line(f"… and {samples.count - _MOST_SAMPLES:,} more; --sample K, --json or --output")
    if args.output:
        _show.line()
        _show.line(f"written to {args.output}")


def _print_parts(a: Attribution, sample: int, samples: _Samples) -> None:
    parts = a.parts[sample]
    words = samples.words(a.input, sample) if a.kind == "text" and parts.ndim == 1 else None
    if a.kind in ("picture", "map") and parts.ndim == 2:
        _print_map(parts)
    elif words is not None:
        _print_words(words, parts)
    else:
        _print_table(PARTS[a.kind], parts.ravel(), lambda i: place(i, parts.shape))


def _print_map(parts: np.ndarray) -> None:
    """A map in shades, two characters for each of its places, the first of which is "-" where the
    value is negative; and the extremes."""
    times = -(-max(parts.shape) // _MOST_COLUMNS)
    height, width = (size // times for size in parts.shape)
    cells = parts[: height * times, : width * times].reshape(height, times, width, times)
    cells = cells.mean(axis=(1, 3), dtype=np.float64)
    shares = np.clip(np.abs(cells) / draw.largest(cells), 0, 1)
    codes = np.nan_to_num(shares * (len(_SHADES) - 1)).round().astype(int)
    for values, row in zip(cells, codes, strict=True):
        shaded: list[_show.Part] = [("  ", "")]
        for value, code in zip(values, row, strict=True):
            sign = "-" if value < 0 and code else _SHADES[code]
            shaded.append((sign + _SHADES[code], "dark_orange3" if value > 0 else "blue"))
        _show.styled(shaded)
    low, high = (np.unravel_index(f(parts), parts.shape) for f in (np.argmin, np.argmax))
    _show.line(
        f"  from {parts[low]:+.3g} at row {low[0]}, column {low[1]} "
        f"to {parts[high]:+.3g} at row {high[0]}, column {high[1]}"
    )


def _print_words(words: Sequence[str], parts: np.ndarray) -> None:
    most = draw.largest(parts[: len(words)])
    line: list[_show.Part] = [("  ", "")]
    for word, value in zip(words, parts, strict=False):
        share = min(abs(float(value)) / most, 1) * 0.75
        base = draw.POSITIVE if value > 0 else draw.NEGATIVE
        colour = tuple(round(c * share + 255 * (1 - share)) for c in base)
        style = f"black on rgb({colour[0]},{colour[1]},{colour[2]})"
        line += [(f" {_show.printable(word)} ", style), (" ", "")]
    _show.styled(line)
    labels = list(words)
    values = parts[: len(words)]
    if len(words) < len(parts) and parts[len(words) :].any():
        labels.append("(padding)")
        values = np.append(values, parts[len(words) :].sum())
    _print_table("word", values, labels.__getitem__, in_order=True)


def _print_table(
    title: str, values: np.ndarray, label: Callable[[int], str], *, in_order: bool = False
) -> None:
    """The values as bars; of many, the largest."""
    sizes = np.abs(values)
    order = np.argsort(-sizes, kind="stable")[:_MOST_PARTS]
    if in_order or len(values) <= _MOST_PARTS:
        order = np.sort(order)
    most = float(sizes[np.isfinite(sizes)].max(initial=0)) or 1.0
    rows = []
    for i in order:
        length = round(min(float(np.nan_to_num(sizes[i])) / most, 1) * _BAR)
        rows.append((label(int(i)), f"{values[i]:+.3g}", ("+" if values[i] > 0 else "-") * length))
    _show.table((title, "saliency", ""), rows, right=("saliency",), indent=2)
    if len(order) < len(values):
        _show.line(f"  … and {len(values) - len(order):,} smaller ones")
