"""What the page's worker calls: models are opened, fed and run, and values go back.

Files lie in folders of the worker's own file system. All that comes and goes is plain: texts,
numbers, dicts, lists and bytes.
"""

from __future__ import annotations

import functools
import io
import itertools
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.analysis.compare import Tolerance, compare, open_sides
from onnxwalk.interpreter.analysis.explore.collect import (
    collect,
    find_value,
    saliency_of,
    to_json,
)
from onnxwalk.interpreter.errors import InvalidInputError, OnnxWalkError, wrap_error
from onnxwalk.interpreter.ir.model import TensorInfo
from onnxwalk.interpreter.limits import Limits
from onnxwalk.interpreter.playground.sounds import sound_row, takes_sound
from onnxwalk.interpreter.rows.arrays import ArrayRows
from onnxwalk.interpreter.rows.decoded import picture_feed
from onnxwalk.interpreter.rows.feed import Feed
from onnxwalk.interpreter.rows.images import Layout, find_layout
from onnxwalk.interpreter.rows.pixels import UNSAID, Pixels
from onnxwalk.interpreter.rows.random_values import random_feeds
from onnxwalk.interpreter.rows.reader import Reader
from onnxwalk.interpreter.session import Session, load
from onnxwalk.interpreter.tables.convert import declared_dtype, declared_shape, tensor_type
from onnxwalk.interpreter.text import TextRows, tokenizers

#: what a model may use: a tab has 2 to 4 GB in all, and nobody waits for longer
LIMITS = Limits(max_memory=1 << 30, max_seconds=60.0, max_nodes=50_000)
_PAGE_BYTES = 8_000_000  # the most that a run sends to the page
_COMPARED_BYTES = 1 << 28  # the values that a comparison holds at a time
_MOST_ROWS = 500  # of a comparison that are shown

#: is called with a title, how much of it is done, and of how much (0: unknown)
Tell = Callable[[str, int, int], None]


def serve(tell: Tell) -> Callable[[str, str], str | bytes]:
    """The function that the worker calls with the name of a method of ``Engine`` and its arguments
    as JSON. It returns bytes, or JSON: {"result": …}, or {"error": "one line"}."""
    engine = Engine(tell)

    def call(method: str, arguments: str) -> str | bytes:
        try:
            result = getattr(engine, method)(**json.loads(arguments))
            return result if isinstance(result, bytes) else to_json({"result": result})
        except OnnxWalkError as error:
            return to_json({"error": str(error)})
        except Exception as error:
            return to_json({"error": str(wrap_error(error, "the page"))})

    return call


class Engine:
    """One model, or two to compare, and what was last fed."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._sessions: dict[str, Session] = {}
        self._samples: dict[str, dict[str, Any]] = {}
        self._feeds: dict[str, Any] = {}
        self._labels: list[str] | None = None

    def open(self, slot: str, path: str, samples: str | None = None) -> dict[str, Any]:
        """Open a model in the slot "a" or "b", in place of the one before.

        ``samples``: of a demo, the prefix of its arrays in samples.npz beside it.
        """
        self._sessions.pop(slot, None)
        self._samples.pop(slot, None)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            session = self._sessions[slot] = load(path, limits=LIMITS)
        if samples is not None:
            with np.load(Path(path).with_name("samples.npz"), allow_pickle=False) as arrays:
                names = (("x", f"{samples}_x"), ("classes", f"{samples}_classes"))
                found = {key: arrays[name] for key, name in names}
                found["texts"] = arrays["texts"] if samples == "texts" else None
            self._samples[slot] = found
        if slot == "a":
            self._feeds, self._labels = {}, None
        graph = session.model.graph
        return {
            "name": Path(path).name,
            "nodes": len(graph.nodes),
            "opsets": {domain or "ai.onnx": n for domain, n in session.model.opsets.items()},
            "notes": [str(warning.message) for warning in caught],
            "inputs": [self._describe(slot, info) for info in session.inputs],
            "outputs": [str(info) for info in session.outputs],
        }

    def close(self, slot: str) -> None:
        """Forget a model."""
        self._sessions.pop(slot, None)

    def _describe(self, slot: str, info: TensorInfo) -> dict[str, Any]:
        """An input, and the ways in which it can be fed, the best first."""
        session, dtype = self._sessions[slot], declared_dtype(info)
        described: dict[str, Any] = {"name": info.name, "text": str(info)}
        kinds = []
        samples = self._samples.get(slot)
        if samples is not None:
            kinds.append("sample")
            described["samples"] = len(samples["x"])
            if samples["texts"] is not None:
                described["titles"] = samples["texts"].tolist()
        if info.name in tokenizers(session.model.metadata):
            kinds.append("text")
        if (layout := _pictures(info)) is not None:
            kinds.append("picture")
            described["picture"] = [layout.width, layout.height, layout.channels]
        if takes_sound(info) and len(declared_shape(info) or ()) > 1:
            kinds.append("sound")
        if tensor_type(info) is not None and dtype is not None:
            described["shape"] = _usual_shape(session, info, {})
            kinds += ["random", "zeros"]
        if takes_sound(info) and "sound" not in kinds:
            kinds.append("sound")  # a list of numbers may be anything
        return described | {"kinds": [*kinds, "file", "hand"]}

    def run(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Feed the first model and run it: the data of the explorer's page.

        ``settings``: by the name of the input what to feed it: {"kind": …} and what the kind needs,
        see ``_feed``.
        """
        session = self._session("a")
        feeds = self._read(session, settings)
        samples = self._samples.get("a")
        self._labels = None if samples is None else samples["classes"].tolist()
        values = {name: feed.read() for name, feed in feeds.items()}
        data = collect(
            session,
            values,
            limit=_PAGE_BYTES,
            labels=self._labels,
            runs=0,
            saliency=False,
            progress=self._tell,
        )
        self._feeds = values
        data["origins"] = {name: feed.origin for name, feed in feeds.items()}
        notes = {name: feed.describe() for name, feed in feeds.items()}
        data["notes"] = {name: list(dict.fromkeys(texts)) for name, texts in notes.items()}
        return data

    def saliency(self) -> dict[str, Any]:
        """What moved the scores of the last run, for the explorer."""
        tell = functools.partial(self._tell, "saliency")
        room = _PAGE_BYTES // 4
        return saliency_of(self._session("a"), self._feeds, self._labels, room, tell)

    def value(self, name: str) -> bytes:
        """Any value of the last run, in full, as the bytes of an .npy file."""
        value = find_value(self._session("a"), self._feeds, name)
        if not isinstance(value, np.ndarray):
            raise InvalidInputError(f"{name} is not a tensor, so it can't be an .npy file")
        file = io.BytesIO()
        np.save(file, value.astype(str) if value.dtype == object else value, allow_pickle=False)
        return file.getvalue()

    def compare(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Run both models on the same values, and compare what they have in common."""
        one, other = self._session("a"), self._session("b")
        feeds = self._read(one, settings)
        values = {name: feed.read() for name, feed in feeds.items()}
        self._tell("compare", 0, 0)
        sides = open_sides(one.model.source, other.model.source, _COMPARED_BYTES, limits=LIMITS)
        found = compare(sides, [("the inputs", values)], Tolerance(), _COMPARED_BYTES)
        rows: list[dict[str, Any]] = [
            {
                "value": " / ".join(dict.fromkeys((row.pair.a, row.pair.b))),
                "name": row.pair.a,
                "operator": sides.operators.get(row.pair.a, ""),
                "equal": row.equal,
                "relative": _finite(row.worst.relative if row.worst else 0.0),
                "absolute": _finite(row.worst.absolute if row.worst else 0.0),
                "reason": (row.worst.reason if row.worst else None) or "",
            }
            for row in found.rows
        ]
        first = next((i for i, row in enumerate(rows) if not row["equal"]), None)

        def rank(row: Mapping[str, Any]) -> tuple[bool, float]:
            return row["equal"], -np.inf if row["relative"] is None else -row["relative"]

        ranked = sorted(rows, key=rank)
        return {
            "equal": found.equal,
            "compared": len(rows),
            "differing": sum(not row["equal"] for row in rows),
            "counts": list(found.counts),
            "first": None if first is None else rows[first],
            "rows": ranked[:_MOST_ROWS],
            "alone": len(found.skipped),
        }

    def _session(self, slot: str) -> Session:
        if slot not in self._sessions:
            raise InvalidInputError(f"no {'second ' if slot == 'b' else ''}model is open")
        return self._sessions[slot]

    def _read(self, session: Session, settings: Mapping[str, Any]) -> dict[str, Feed]:
        """The feeds of all inputs."""
        feeds: dict[str, Feed] = {}
        drawn = ("random", "zeros")  # which have as many rows as the others

        def is_drawn(info: TensorInfo) -> bool:
            return settings[info.name]["kind"] in drawn

        for info in sorted(session.inputs, key=is_drawn):
            try:
                feeds[info.name] = self._feed(session, info, settings[info.name], feeds)
            except OnnxWalkError as error:
                text = str(error)
                named = text if info.name in text else f"input {info.name}: {text}"
                raise InvalidInputError(named) from error
        return {info.name: feeds[info.name] for info in session.inputs}

    def _feed(
        self,
        session: Session,
        info: TensorInfo,
        chosen: Mapping[str, Any],
        others: Mapping[str, Feed],
    ) -> Feed:
        """The feed of one input; ``others``: those of the inputs before.

        sample  "number": of the demo's samples
        text    "text"
        picture "path": of the RGBA bytes; "width", "height", "name"; "range", "bgr", "crop";
                "wide", "high": the size for an input of any
        sound   "path": of the float32 samples; "rate", "name"
        file    "path"; "row": one of the rows, or None for all
        hand    "path": of a JSON file
        random  "shape" or None, "seed"
        zeros   "shape" or None
        """
        kind = chosen["kind"]
        if kind == "sample":
            x = self._samples["a"]["x"][int(chosen["number"])][None]
            return Feed(info, ArrayRows(x.astype(info.dtype)), f"sample {chosen['number']}")
        if kind == "text":
            tokenizer = tokenizers(session.model.metadata)[info.name]
            rows = TextRows([chosen["text"]], tokenizer, declared_dtype(info) or np.dtype(np.int64))
            return Feed(info, rows, "the text")
        if kind == "picture":
            rgba = np.fromfile(chosen["path"], np.uint8)
            rgba = rgba.reshape(chosen["height"], chosen["width"], 4)
            size = chosen.get("wide"), chosen.get("high")
            feed = picture_feed(session, info, rgba, _pixels(chosen), chosen["name"], size)
            feed.notes = [note.replace(UNSAID, "the model doesn't say") for note in feed.notes]
            return feed
        if kind == "sound":
            row, note = sound_row(info, np.fromfile(chosen["path"], np.float32))
            return Feed(info, ArrayRows(row), f"{chosen['name']}, {chosen['rate']:,} Hz", [note])
        if kind in ("file", "hand"):
            return self._read_file(session, info, chosen)
        shape = chosen.get("shape") or _usual_shape(session, info, others)
        shapes = [] if shape is None else [f"{info.name}={','.join(map(str, shape))}"]
        later = {i.name: Feed(i, ArrayRows(np.zeros(())), "") for i in session.inputs if i != info}
        seed = int(chosen.get("seed", 0))
        feed = random_feeds(session, {**later, **others}, shapes, seed)[info.name]
        if kind == "zeros":
            drawn = feed.read()
            empty = "" if drawn.dtype == object else 0
            return Feed(info, ArrayRows(np.full_like(drawn, empty)), "zeros")
        return feed

    def _read_file(self, session: Session, info: TensorInfo, chosen: Mapping[str, Any]) -> Feed:
        """A file as ``run --input`` reads it, or one row of it."""
        path = Path(chosen["path"])
        feeds = Reader(session, Pixels(), None).read([f"{info.name}={path}"])
        feed = feeds[info.name]
        feed.origin = "by hand" if chosen["kind"] == "hand" else path.name
        row, length = chosen.get("row"), feed.rows.length
        is_fixed = isinstance((declared_shape(info) or (1,))[0], int)
        if row is None or length is None or is_fixed:
            return feed
        if not 0 <= row < length:
            raise InvalidInputError(f"{feed.origin} has the rows 0 to {length - 1}, not {row}")
        value = next(itertools.islice(feed.rows.pieces(1), row, None))
        return Feed(info, ArrayRows(value), f"{feed.origin}, row {row} of {length}", feed.notes)


def _usual_shape(
    session: Session, info: TensorInfo, others: Mapping[str, Feed]
) -> list[int] | None:
    """A shape for random values of an input; ``None`` if not even the rank is known. Open
    dimensions have the size that the feeds of other inputs say, else one of no surprise: 1 for the
    first of any input, 224 for the sides of a picture, 16.
    """
    shape = declared_shape(info)
    if shape is None:
        return None
    firsts: dict[Any, int] = {}
    for other in session.inputs:
        if declared := declared_shape(other):
            feed = others.get(other.name)
            length = None if feed is None else feed.rows.length
            firsts[declared[0]] = length or firsts.get(declared[0], 1)
    open_size = 224 if _pictures(info) is not None else 16
    sizes = []
    for axis, size in enumerate(shape):
        if not isinstance(size, int):
            is_first = axis == 0 or (size is not None and size in firsts)
            size = firsts.get(size, 1) if is_first else open_size
        sizes.append(size)
    return sizes


def _pictures(info: TensorInfo) -> Layout | None:
    """How an input holds pictures with channels; ``None`` if it doesn't."""
    dtype = declared_dtype(info)
    if tensor_type(info) is None or dtype is None or dtype.kind not in "iuf":
        return None
    try:
        layout = find_layout(info)
    except InvalidInputError:
        return None
    return layout if layout.channel_axis is not None else None


#: what pixels can be, besides what the model says
_RANGES: dict[str, dict[str, Any]] = {
    "model": {},
    "0 to 1": {"low": 0.0, "high": 1.0},
    "0 to 255": {"low": 0.0, "high": 255.0},
    "-1 to 1": {"low": -1.0, "high": 1.0},
    "ImageNet": {
        "low": 0.0, "high": 1.0, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225),
    },
}  # fmt: skip


def _pixels(chosen: Mapping[str, Any]) -> Pixels:
    bgr = True if chosen.get("bgr") else None
    return Pixels(bgr=bgr, crop=bool(chosen.get("crop")), **_RANGES[chosen.get("range", "model")])


def _finite(number: float) -> float | None:
    """The number; ``None`` for infinity and NaN, which JSON lacks."""
    return float(number) if np.isfinite(number) else None
