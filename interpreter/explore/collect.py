"""Everything that the page shows, as plain data, within a budget of bytes.

The first walks find shapes and times; with the shapes known the bytes are shared out, and the last
walk takes a picture of each value as it comes by. No value is kept longer than a run keeps it.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from interpreter.costs import bytes_moved, operations
from interpreter.errors import InvalidInputError
from interpreter.explore import views
from interpreter.explore.graph import attributes, ends, fold, titles
from interpreter.explore.recurrent import SERIES, recurrence
from interpreter.profile import spelled
from interpreter.session import Session
from interpreter.text import class_names, tokenizers
from interpreter.trace import Event
from ops import Operator
from ops.fast.calls import computing

_WORDS = 1000  # of a text
_SEQUENCES = 4  # of a batch, whose gates are shown
_OVERHEAD = 160  # bytes of a picture that aren't its pixels
_FIGURES = 420  # and of a value's statistics
_FEW_FIGURES = 130  # without a histogram
_DIGITS = 4


def collect(
    session: Session,
    feeds: Mapping[str, Any],
    *,
    limit: int,
    labels: list[str] | None = None,
    runs: int = 3,
) -> dict[str, Any]:
    """The graph and one run of it, in at most ``limit`` bytes of JSON.

    ``labels``: of the classes, instead of those in the file. Times are medians of ``runs``.

    Raises InvalidInputError when the graph alone takes more, and what ``run`` raises.
    """
    walk = _Walk(session, feeds, labels)
    walk.measure(runs)
    data = walk.described()
    room, bins = walk.shared(size(data), limit)
    while True:
        walk.look(room, bins)
        if size(data) <= limit:
            return data
        if not room:
            raise walk.too_much(limit)
        room = room * 2 // 3  # shares are estimates: what isn't pixels may be more than thought


def size(data: Any) -> int:
    """The bytes of data on the page."""
    return len(dumped(data).encode())


def dumped(data: Any) -> str:
    """As JSON that may stand in a script element of HTML."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


class _Walk:
    def __init__(
        self, session: Session, feeds: Mapping[str, Any], labels: list[str] | None
    ) -> None:
        self.session, self.feeds = session, feeds
        self.trace = session.trace(feeds)
        self.numbers: dict[str, int] = {}
        self.values: dict[str, dict[str, Any]] = {}  # by name, in the order of their numbers
        self.nodes: list[dict[str, Any]] = []
        self.operators: list[Operator] = []
        self.docs: dict[str, int] = {}
        self.constants: dict[str, Any] = {}
        #: as large as the values, but without their memory: what views need to know of them
        self.stand_ins: dict[str, np.ndarray] = {}
        self.inside: dict[int, int] = {}  # bytes that the gates or weights of a node would take
        stored = class_names(session.model.metadata)
        self.labels = {o.name: labels for o in session.outputs} if labels else stored

    def measure(self, runs: int) -> None:
        """What can be said without looking at values: shapes, times, costs."""
        for name, value in self.feeds.items():
            self._add(name, value)
        for event, step in zip(self.trace, self.trace.plan.steps, strict=True):
            self._add_node(event, step.operator)
        times: list[list[float]] = [[] for _ in self.nodes]
        for _ in range(runs):
            for seconds_of, (*_, seconds) in zip(times, self.trace.steps(), strict=True):
                seconds_of.append(seconds)
        for node, seconds_of in zip(self.nodes, times, strict=True):
            node["seconds"] = _rounded(statistics.median(seconds_of))
        told = [
            (step.node.op_type, step.node.attributes, step.node.inputs, step.node.outputs)
            for step in self.trace.plan.steps
        ]
        shapes = {name: array.shape for name, array in self.stand_ins.items()}
        self.roles = views.roles(told, shapes, list(self.feeds))

    def described(self) -> dict[str, Any]:
        """The page's data, as yet without what values look like. Later steps add to it."""
        fold(self.nodes)
        entries, exits = ends(self.session, self.numbers)
        return {
            "model": self._model(),
            "nodes": [*entries, *self.nodes, *exits],
            "values": list(self.values.values()),
            "docs": list(self.docs),
            "labels": self.labels,
            "series": SERIES,
        }

    def shared(self, taken: int, limit: int) -> tuple[int, bool]:
        """The most bytes a picture may have, and whether there's room for histograms."""
        sizes = {name: views.wanted(a, self.roles.get(name, "")) for name, a in self._seen()}
        pictures = [s for s in (*sizes.values(), *self.inside.values()) if s]
        count = len(self.values)
        for figures in (_FIGURES, _FEW_FIGURES):
            left = limit - taken - figures * count - _OVERHEAD * len(pictures)
            if left > limit // 3 or (figures == _FEW_FIGURES and left >= 0):
                pixels = left * 3 // 4 - 4 * len(pictures)  # what base64 makes of them
                return views.shares(pictures, max(pixels, 0)), figures == _FIGURES
        raise self.too_much(limit)

    def too_much(self, limit: int) -> InvalidInputError:
        return InvalidInputError(
            f"{len(self.nodes):,} nodes alone take more than {limit / 1e6:g} MB: give --size"
        )

    def look(self, room: int, bins: bool) -> None:
        """The last walk: what each value looks like, in at most ``room`` bytes."""
        for name, value in (*self.feeds.items(), *self.constants.items()):
            self._look_at(name, value, room, bins)
        for k, event in enumerate(self.trace):
            for name, value in event.outputs.items():
                if name in self.values:
                    self._look_at(name, value, room, bins)
            if k in self.inside and event.node.op_type in SERIES:
                self.nodes[k]["inside"] = self._gates(event, room)
            elif room and (weights := self._weights(k, event)) is not None:
                figures = views.statistics(weights, bins=bins)
                self.nodes[k]["weights"] = {
                    "figures": figures,
                    "view": views.view(weights, "", room),
                }

    def _seen(self) -> Iterator[tuple[str, np.ndarray]]:
        return ((name, a) for name, a in self.stand_ins.items() if a.size)

    def _model(self) -> dict[str, Any]:
        model = self.session.model
        took = []
        for _ in range(4):  # the first one binds, which isn't what a run takes
            start = time.perf_counter()
            self.session.run(None, self.feeds)
            took.append(time.perf_counter() - start)
        return {
            "source": model.source.replace("\\", "/").rpartition("/")[2],  # where it lay is private
            "producer": " ".join(filter(None, (model.producer_name, model.producer_version))),
            "opsets": {domain or "ai.onnx": version for domain, version in model.opsets.items()},
            "parameters": sum(a.size for a in self.constants.values() if isinstance(a, np.ndarray)),
            "seconds": _rounded(statistics.median(took[1:])),
            "walk": _rounded(sum(node["seconds"] for node in self.nodes)),
        }

    def _add(self, name: str, value: Any) -> int:
        """A value's number; it gets one when it is first met."""
        if name not in self.values:
            entry: dict[str, Any] = {"name": name, "type": spelled(value)}
            if name in self.labels:
                entry["labels"] = name
            if isinstance(value, np.ndarray) and not views.is_text(value):
                nothing = views.plain(np.zeros((), value.dtype))
                self.stand_ins[name] = np.broadcast_to(nothing, value.shape)
            self.numbers[name] = len(self.numbers)
            self.values[name] = entry
        return self.numbers[name]

    def _add_node(self, event: Event, operator: Operator) -> None:
        node = event.node
        formal = titles(node, operator)
        given: list[tuple[str, str]] = []
        captured = ((name, "inside") for name in event.inputs)  # by graphs among the attributes
        for name, title in (*zip(node.inputs, formal, strict=True), *captured):
            if not name or any(name == known for known, _ in given):
                continue
            if name not in self.values:
                self.constants[name] = event.inputs.get(name)
            given.append((name, title))
        entry = {
            "name": node.name or next((name for name in node.outputs if name), ""),
            "op": node.op_type,
            "version": f"{node.domain or 'ai.onnx'}, since {operator.since}",
            "doc": self.docs.setdefault(operator.documentation, len(self.docs)),
            "in": [[title, self._add(name, event.inputs.get(name))] for name, title in given],
            "out": [["", self._add(name, value)] for name, value in event.outputs.items()],
            "attributes": attributes(node, operator),
        }
        for name, _ in given:
            if name in self.constants:
                self.values[name]["constant"] = 1
        arrays: list[Any] = [event.inputs.get(name) for name in node.inputs]
        results = list(event.outputs.values())
        entry["flop"] = operations(node, arrays, results)
        entry["bytes"] = bytes_moved(arrays, results)
        self.operators.append(operator)
        if (weights := self._weights(len(self.nodes), event)) is not None:
            self.inside[len(self.nodes)] = views.wanted(weights, "")
        if node.op_type in SERIES and node.domain == "":
            x, r = arrays[0], arrays[2]
            steps, batch = x.shape[:2] if not node.attributes.get("layout") else x.shape[1::-1]
            pixels = steps * r.shape[2] * len(r) * len(SERIES[node.op_type])
            self.inside[len(self.nodes)] = pixels * min(batch, _SEQUENCES)
        self.nodes.append(entry)

    def _look_at(self, name: str, value: Any, room: int, bins: bool) -> None:
        entry = self.values[name]
        if isinstance(value, list):
            entry["items"] = [spelled(item) for item in value[:20]]
        elif isinstance(value, dict):
            entry["items"] = [f"{key}: {item}" for key, item in list(value.items())[:20]]
        if not isinstance(value, np.ndarray) or not value.size:
            return
        if views.is_text(value):
            entry["texts"] = views.texts(value, 50 if bins else 3)
            return
        entry["figures"] = views.statistics(value, bins=bins)
        entry.pop("view", None)
        if room:
            entry["view"] = views.view(value, self.roles.get(name, ""), room)
        if words := self._words(name):
            entry["words"] = words

    def _words(self, name: str) -> list[str] | None:
        """The words behind the ids of an input's first sample, where the file has them."""
        known = tokenizers(self.session.model.metadata).get(name) if name in self.feeds else None
        if known is None or self.feeds[name].ndim != 2 or not self.feeds[name].size:
            return None
        words = known.vocabulary
        ids = self.feeds[name][0, :_WORDS].tolist()
        return [words[i] if 0 <= i < len(words) else "?" for i in map(int, ids)]

    def _weights(self, k: int, event: Event) -> np.ndarray | None:
        """What an attention node gives each key, (B, heads, queries, keys): the operator computes
        it anyway, as an output that few nodes name."""
        node, operator = event.node, self.operators[k]
        if node.op_type != "Attention" or node.domain != "":
            return None
        given = [event.inputs.get(name) for name in node.inputs]
        told = {**node.attributes, "qk_matmul_output_mode": 3}
        with computing():
            weights = operator.function(*given, **told)[3]
        return weights if weights.size else None

    def _gates(self, event: Event, room: int) -> dict[str, Any]:
        """A recurrent node over time: each series in bytes, (sequences, units, steps)."""
        node = event.node
        given = [event.inputs.get(name) for name in node.inputs]
        found = recurrence(node.op_type, given, node.attributes, _SEQUENCES)
        kept = {(w, s): a for w, way in enumerate(found.ways) for s, a in way.series.items()}
        steps, sequences, units = found.ways[0].series["h"].shape
        pixels = max(room // len(kept) // max(sequences, 1), 1)
        shown_steps = min(steps, max(pixels // 8, 1))
        shown_units = min(units, max(pixels // max(shown_steps, 1), 1))
        chosen, chosen_steps = views.spread(units, shown_units), views.spread(steps, shown_steps)
        entry: dict[str, Any] = {
            "lengths": found.lengths.tolist(),
            "steps": steps,
            "units": units,
            "n": sequences,
            "shown": [shown_units, shown_steps],
            "ways": [{"reverse": way.reverse, "series": {}} for way in found.ways],
        }
        for (w, letter), values in kept.items():
            part = values[chosen_steps][:, :, chosen].transpose(1, 2, 0)
            entry["ways"][w]["series"][letter] = views.coded(part)
        y = event.outputs.get(node.outputs[0]) if node.outputs else None
        if y is not None:
            if node.attributes.get("layout"):
                y = y.transpose(1, 2, 0, 3)
            with np.errstate(invalid="ignore"):
                difference = np.abs(y[:, :, :sequences] - found.y())
            entry["differs"] = _rounded(np.nan_to_num(difference).max(initial=0))
        read = [words for name in self.feeds if (words := self._words(name))]
        if len(read) == 1 and len(read[0]) == steps and "" not in read[0][: found.lengths[0]]:
            entry["words"] = read[0]
        return entry


def _rounded(number: Any) -> float:
    value = float(f"{float(number):.{_DIGITS}g}")
    return value if np.isfinite(value) else 0.0
