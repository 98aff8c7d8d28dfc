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

from onnxwalk.interpreter.analysis.explore import views
from onnxwalk.interpreter.analysis.explore.graph import attributes, ends, fold, titles
from onnxwalk.interpreter.analysis.explore.inside import Path, Scopes, beginning, left, runs
from onnxwalk.interpreter.analysis.explore.recurrent import SERIES, recurrence
from onnxwalk.interpreter.analysis.profile import bytes_moved
from onnxwalk.interpreter.compiler.provenance import find_fates
from onnxwalk.interpreter.display import type_text
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.ir.model import Node
from onnxwalk.interpreter.runtime.trace import ITERATIONS, Event
from onnxwalk.interpreter.session import Session
from onnxwalk.interpreter.text import class_names, tokenizers
from onnxwalk.ops.shared.numpy_state import computing

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
    iterations: int = ITERATIONS,
) -> dict[str, Any]:
    """The graph and one run of it, in at most ``limit`` bytes of JSON.

    ``labels``: of the classes, instead of those in the file. Times are medians of ``runs``. Of what
    is within If, Loop and Scan the first ``iterations`` are shown.

    Raises InvalidInputError when the graph alone takes more, and what ``run`` raises.
    """
    walk = _Walk(session, feeds, labels, iterations)
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
        self,
        session: Session,
        feeds: Mapping[str, Any],
        labels: list[str] | None,
        iterations: int,
    ) -> None:
        self.session, self.feeds = session, feeds
        self.iterations = iterations
        self.trace = session.trace(feeds, iterations=iterations)
        self.scopes = Scopes()
        self.numbers: dict[str, int] = {}
        self.values: dict[str, dict[str, Any]] = {}  # by name, in the order of their numbers
        self.nodes: list[dict[str, Any]] = []  # of the page, in the order of the walk
        self.where: list[Path] = []  # of each, what it is within
        self.computed: list[int] = []  # those that are of the trace, in its order
        self.places: dict[tuple[Path, Node], int] = {}
        self.beginnings: dict[Path, dict[str, Any] | None] = {}
        self.read: set[int] = set()  # values that some node takes
        #: operator, attributes, inputs and outputs of each node, for ``views.roles``
        self.told: list[tuple[str, Mapping[str, Any], list[str], list[str]]] = []
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
        for event in self.trace:
            self._add_node(event)
        times: dict[int, list[float]] = {k: [] for k in self.computed}
        for _ in range(runs):
            for k, event in self._again():
                times[k].append(event.seconds)
        for k, seconds in times.items():
            self.nodes[k]["seconds"] = _rounded(statistics.median(seconds or [0.0]))
        self._tell_fates()
        shapes = {name: array.shape for name, array in self.stand_ins.items()}
        self.roles = views.roles(self.told, shapes, list(self.feeds))

    def _tell_fates(self) -> None:
        """What each node became in the plan that a run takes, and with which others."""
        found = find_fates(self.session._program.rewrite_stages())
        for (path, node), k in self.places.items():
            fate = found[node]
            parts = [self.places.get((path, part)) for part in fate.parts if len(fate.parts) > 1]
            became: dict[str, Any] = {"text": str(fate)}
            self.nodes[k]["became"] = became
            if not fate.is_kept:
                became["parts"] = [part for part in parts if part is not None]
                became["by"] = list(fate.rewrites)

    def _again(self) -> Iterator[tuple[int, Event]]:
        """One more walk: each node's number and what it computed, as far as the walk is the same:
        random numbers may lead a loop elsewhere."""
        for k, event in zip(self.computed, self.trace, strict=False):
            if self.nodes[k]["name"] != event.name:
                return
            yield k, event

    def described(self) -> dict[str, Any]:
        """The page's data, as yet without what values look like. Later steps add to it."""
        fold(self.nodes, self.where)
        entries, exits = ends(self.session, self.numbers)
        for node in self.nodes:  # which now begin behind the inputs
            if parts := node.get("became", {}).get("parts"):
                node["became"]["parts"] = [k + len(entries) for k in parts]
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
        for k, event in self._again():
            for name, value in event.inputs.items():
                if self.scopes.is_given(event.path, name):
                    self._look_at(self.scopes.full(event.path, name), value, room, bins)
            for name, value in event.outputs.items():
                self._look_at(self.scopes.full(event.path, name), value, room, bins)
            if k in self.inside and event.node.is_one_of(*SERIES):
                self.nodes[k]["inside"] = self._gates(event, room)
            elif room and (weights := self._weights(event)) is not None:
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
            "walk": _rounded(sum(n["seconds"] for n in self.nodes if self._is_whole(n))),
        }

    @staticmethod
    def _is_whole(node: Mapping[str, Any]) -> bool:
        """Whether a node has a time that isn't part of another's."""
        return "seconds" in node and "part" not in node

    def _add(self, name: str, value: Any) -> int:
        """A value's number; it gets one when it is first met."""
        if name not in self.values:
            entry: dict[str, Any] = {"name": name, "type": type_text(value)}
            if name in self.labels:
                entry["labels"] = name
            if isinstance(value, np.ndarray) and not views.is_text(value):
                nothing = views.plain(np.zeros((), value.dtype))
                self.stand_ins[name] = np.broadcast_to(nothing, value.shape)
            self.numbers[name] = len(self.numbers)
            self.values[name] = entry
        return self.numbers[name]

    def _add_node(self, event: Event) -> None:
        node, operator, path = event.node, event.operator, event.path
        for depth in range(1, len(path) + 1):
            self._begin(path[:depth])
        formal = titles(node, operator)
        taken: dict[str, tuple[str, Any]] = {}
        captured = ((name, "inside") for name in event.inputs)  # by graphs among the attributes
        for name, title in (*zip(node.inputs, formal, strict=True), *captured):
            full = self.scopes.full(path, name)
            if not name or full in taken:
                continue
            value = event.inputs.get(name)
            taken[full] = title, value
            if full in self.values:
                continue
            if self.scopes.is_given(path, name):
                self._given(self.scopes.of(path, name), full, value)
            else:
                self.constants[full] = value
        made = {self.scopes.full(path, name): value for name, value in event.outputs.items()}
        entry: dict[str, Any] = {
            "name": event.name,
            "op": node.op_type,
            "version": f"{node.domain or 'ai.onnx'}, since {operator.since}",
            "doc": self.docs.setdefault(operator.documentation, len(self.docs)),
            "in": [[title, self._add(name, value)] for name, (title, value) in taken.items()],
            "out": [["", self._add(name, value)] for name, value in made.items()],
            "attributes": attributes(node, operator),
        }
        read = [self.scopes.full(path, name) for name in node.inputs]
        self.told.append((node.operator_name, node.attributes, read, [*made]))
        for name in taken:
            if name in self.constants:
                self.values[name]["constant"] = 1
        if event.runs:
            inner = left(event, self.iterations, self.scopes, self.numbers, self.read)
            entry["in"] += [[title, self.numbers[name]] for title, name in inner]
            entry["runs"] = runs(event, self.iterations)
        if path:
            entry["part"] = 1
        self.read |= {number for _, number in entry["in"]}
        arrays: list[Any] = [event.inputs.get(name) for name in node.inputs]
        results = list(event.outputs.values())
        entry["flop"] = event.operator.flops(arrays, results, node.attributes)
        entry["bytes"] = bytes_moved(arrays, results)
        if (weights := self._weights(event)) is not None:
            self.inside[len(self.nodes)] = views.wanted(weights, "")
        if node.is_one_of(*SERIES):
            x, r = arrays[0], arrays[2]
            steps, batch = x.shape[:2] if not node.attributes.get("layout") else x.shape[1::-1]
            pixels = steps * r.shape[2] * len(r) * len(SERIES[node.op_type])
            self.inside[len(self.nodes)] = pixels * min(batch, _SEQUENCES)
        self.computed.append(len(self.nodes))
        self.places[path, node] = len(self.nodes)
        self.nodes.append(entry)
        self.where.append(path)

    def _begin(self, path: Path) -> None:
        """The node that a new iteration begins with."""
        if path in self.beginnings:
            return
        entry = self.beginnings[path] = beginning(path, self.scopes, self.numbers)
        if entry is not None:
            self.read |= {number for _, number in entry["in"]}
            self.nodes.append(entry)
            self.where.append(path)

    def _given(self, path: Path, full: str, value: Any) -> None:
        """An input of a graph, which its first reader shows."""
        entry = self.beginnings[path]
        assert entry is not None
        entry["out"].append(["", self._add(full, value)])

    def _look_at(self, name: str, value: Any, room: int, bins: bool) -> None:
        entry = self.values[name]
        if isinstance(value, list):
            entry["items"] = [type_text(item) for item in value[:20]]
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

    def _weights(self, event: Event) -> np.ndarray | None:
        """What an attention node gives each key, (B, heads, queries, keys): the operator computes
        it anyway, as an output that few nodes name."""
        rule = event.operator.facts.get("attention_weights")
        if rule is None:
            return None
        with computing():
            weights = rule(*map(event.inputs.get, event.node.inputs), **event.node.attributes)
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
