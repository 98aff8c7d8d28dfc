"""Collect the data of the page within a limit of bytes.

The first walks measure shapes and times. From the shapes follows the size of each picture, and the
last walk takes a picture of each value as it is computed. No value is kept longer than in a run.
"""

from __future__ import annotations

import functools
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from onnxwalk.interpreter.analysis.explore import views
from onnxwalk.interpreter.analysis.explore.graph import (
    assign_groups,
    describe_attributes,
    input_titles,
    model_ends,
)
from onnxwalk.interpreter.analysis.explore.inside import (
    Path,
    Scopes,
    iteration_node,
    subgraph_results,
)
from onnxwalk.interpreter.analysis.explore.recurrent import SERIES, compute_series
from onnxwalk.interpreter.analysis.explore.saliency import collect_saliency
from onnxwalk.interpreter.analysis.profile import bytes_moved
from onnxwalk.interpreter.compiler.provenance import find_fates
from onnxwalk.interpreter.display import type_text
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.ir.model import Node
from onnxwalk.interpreter.runtime.trace import ITERATIONS, Event
from onnxwalk.interpreter.session import Session
from onnxwalk.interpreter.text import class_names, tokenizers
from onnxwalk.ops.shared.numpy_state import computing

#: is called with a title, how much of it is done, and of how much (0: unknown)
Progress: TypeAlias = Callable[[str, int, int], None]

_MOST_ITEMS = 20  # of a sequence or a map
_MAX_WORDS = 1000  # of a text
_MAX_SEQUENCES = 4  # of a batch, for the gates
_OVERHEAD = 160  # estimated bytes of a picture without its pixels
_STATISTICS = 420  # estimated bytes of the statistics of a value
_FEW_STATISTICS = 130  # without a histogram
_DIGITS = 4
_SALIENCY_SHARE = 10  # it may use one in so many bytes of the page


def collect(
    session: Session,
    feeds: Mapping[str, Any],
    *,
    limit: int,
    labels: list[str] | None = None,
    runs: int = 3,
    iterations: int = ITERATIONS,
    saliency: bool = True,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The graph and one run of it, in at most ``limit`` bytes of JSON.

    ``labels``: class names that replace those in the file. Times are medians of ``runs``; without
    any they are those of the first walk. Of If, Loop and Scan the first ``iterations`` are shown.
    ``saliency``: also compute what moved the scores. ``progress`` is called with a title, how much
    of it is done, and of how much.

    Raises InvalidInputError if the graph alone exceeds ``limit``, and what ``run`` raises.
    """
    tell = progress or (lambda title, done, total: None)
    collector = _Collector(session, feeds, labels, iterations, tell)
    collector.measure(runs)
    data = collector.build_data()
    if saliency:
        collector.add_saliency(data, limit)
    room, bins = collector.find_room(_count_bytes(data), limit)
    while True:
        collector.add_views(room, bins)
        if _count_bytes(data) <= limit:
            return data
        if not room:
            raise collector.size_error(limit)
        room = room * 2 // 3  # the estimates of what isn't pixels were too low


def _count_bytes(data: Any) -> int:
    return len(to_json(data).encode())


def to_json(data: Any) -> str:
    """The data as JSON that is safe in a script element of HTML."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


class _Collector:
    """The data of a page while it is collected, see ``collect``."""

    def __init__(
        self,
        session: Session,
        feeds: Mapping[str, Any],
        labels: list[str] | None,
        iterations: int,
        tell: Progress,
    ) -> None:
        self.session, self.feeds, self.tell = session, feeds, tell
        self.iterations = iterations
        self.trace = session.trace(feeds, iterations=iterations)
        self.scopes = Scopes()
        self.numbers: dict[str, int] = {}
        self.values: dict[str, dict[str, Any]] = {}  # by name, in the order of their numbers
        self.nodes: list[dict[str, Any]] = []  # of the page, in the order of the walk
        self.paths: list[Path] = []  # the subgraph and iteration of each node
        self.computed: list[int] = []  # the nodes of the trace, in its order
        self.indices: dict[tuple[Path, Node], int] = {}
        self.iteration_nodes: dict[Path, dict[str, Any] | None] = {}
        self.read: set[int] = set()  # values that some node reads
        #: operator, attributes, inputs and outputs of each node, for ``views.find_roles``
        self.calls: list[tuple[str, Mapping[str, Any], list[str], list[str]]] = []
        self.docs: dict[str, int] = {}
        self.constants: dict[str, Any] = {}
        #: arrays with the shapes and dtypes of the values that need no memory
        self.stand_ins: dict[str, np.ndarray] = {}
        self.inner_sizes: dict[int, int] = {}  # full bytes of the gates or weights of a node
        self.given_labels = labels
        stored = class_names(session.model.metadata)
        self.labels = {o.name: labels for o in session.outputs} if labels else stored

    def measure(self, runs: int) -> None:
        """Collect shapes, times and costs."""
        self.runs = runs
        for name, value in self.feeds.items():
            self._add_value(name, value)
        for event in self.trace:
            self._add_node(event)
            self.tell("first run", len(self.computed), 0)
        times: dict[int, list[float]] = {k: [] for k in self.computed}
        for number in range(1, runs + 1):
            for k, event in self._walk_again(f"run {number} of {runs}"):
                times[k].append(event.seconds)
        for k, seconds in times.items():
            if seconds:
                self.nodes[k]["seconds"] = _rounded(statistics.median(seconds))
        self._add_provenance()
        shapes = {name: array.shape for name, array in self.stand_ins.items()}
        self.roles = views.find_roles(self.calls, shapes, list(self.feeds))

    def _add_provenance(self) -> None:
        """Add what each node became in the plan of a run, and which others were fused with it."""
        by_node = find_fates(self.session._program.rewrite_stages())
        for (path, node), k in self.indices.items():
            fate = by_node[node]
            parts = [self.indices.get((path, part)) for part in fate.parts if len(fate.parts) > 1]
            became: dict[str, Any] = {"text": str(fate)}
            self.nodes[k]["became"] = became
            if not fate.is_kept:
                became["parts"] = [part for part in parts if part is not None]
                became["by"] = list(fate.rewrites)

    def _walk_again(self, title: str) -> Iterator[tuple[int, Event]]:
        """One more walk, with its progress: the index and event of each node, until the walk
        differs from the first, as it may with random operators."""
        for done, (k, event) in enumerate(zip(self.computed, self.trace, strict=False), 1):
            self.tell(title, done, len(self.computed))
            if self.nodes[k]["name"] != event.name:
                return
            yield k, event

    def build_data(self) -> dict[str, Any]:
        """The data of the page, to which ``add_views`` adds the pictures."""
        assign_groups(self.nodes, self.paths)
        entries, exits = model_ends(self.session, self.numbers)
        for node in self.nodes:  # the inputs come before them
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

    def add_saliency(self, data: dict[str, Any], limit: int) -> None:
        """Add the saliency of the sample, if there is room for it."""
        room = limit // _SALIENCY_SHARE
        tell = functools.partial(self.tell, "saliency")
        found = saliency_of(self.session, self.feeds, self.given_labels, room, tell)
        if _count_bytes(found) <= 2 * room:
            data["saliency"] = found

    def find_room(self, used: int, limit: int) -> tuple[int, bool]:
        """The most bytes of a picture, and whether there is room for histograms."""
        sizes = [views.full_size(a, self.roles.get(name, "")) for name, a in self.stand_ins.items()]
        pictures = [size for size in (*sizes, *self.inner_sizes.values()) if size]
        for statistics_size in (_STATISTICS, _FEW_STATISTICS):
            has_bins = statistics_size == _STATISTICS
            left = limit - used - statistics_size * len(self.values) - _OVERHEAD * len(pictures)
            if left > limit // 3 or (not has_bins and left >= 0):
                pixels = left * 3 // 4 - 4 * len(pictures)  # base64 makes four bytes of three
                return views.find_share(pictures, max(pixels, 0)), has_bins
        raise self.size_error(limit)

    def size_error(self, limit: int) -> InvalidInputError:
        return InvalidInputError(
            f"the {len(self.nodes):,} nodes alone need more than {limit / 1e6:.2f} MB; "
            "pass a larger --size"
        )

    def add_views(self, room: int, bins: bool) -> None:
        """The last walk: add a picture of at most ``room`` bytes of each value."""
        for name, value in (*self.feeds.items(), *self.constants.items()):
            self._add_view(name, value, room, bins)
        for k, event in self._walk_again("pictures"):
            for name, value in event.inputs.items():
                if self.scopes.is_input(event.path, name):
                    self._add_view(self.scopes.full_name(event.path, name), value, room, bins)
            for name, value in event.outputs.items():
                self._add_view(self.scopes.full_name(event.path, name), value, room, bins)
            if k in self.inner_sizes and event.node.is_one_of(*SERIES):
                self.nodes[k]["inside"] = self._gates(event, room)
            elif room and (weights := self._attention_weights(event)) is not None:
                self.nodes[k]["weights"] = {
                    "figures": views.statistics(weights, bins=bins),
                    "view": views.build_view(weights, "", room),
                }

    def _model(self) -> dict[str, Any]:
        model = self.session.model
        times = []
        for _ in range(max(self.runs, 1) + 1):  # the first one binds, which isn't part of a run
            start = time.perf_counter()
            self.session.run(None, self.feeds)
            times.append(time.perf_counter() - start)
        # A node inside another is part of the time of that.
        walk = sum(n["seconds"] for n in self.nodes if "seconds" in n and "part" not in n)
        return {
            "source": model.source.replace("\\", "/").rpartition("/")[2],  # its folder is private
            "producer": " ".join(filter(None, (model.producer_name, model.producer_version))),
            "opsets": {domain or "ai.onnx": version for domain, version in model.opsets.items()},
            "parameters": sum(a.size for a in self.constants.values() if isinstance(a, np.ndarray)),
            "seconds": _rounded(statistics.median(times[1:])),
            "walk": _rounded(walk),
        }

    def _add_value(self, name: str, value: Any) -> int:
        """The number of a value, which is assigned at its first use."""
        if name not in self.values:
            entry: dict[str, Any] = {"name": name, "type": type_text(value)}
            if name in self.labels:
                entry["labels"] = name
            if isinstance(value, np.ndarray) and not views.is_text(value):
                zero = views.to_real(np.zeros((), value.dtype))
                self.stand_ins[name] = np.broadcast_to(zero, value.shape)
            self.numbers[name] = len(self.numbers)
            self.values[name] = entry
        return self.numbers[name]

    def _add_node(self, event: Event) -> None:
        node, operator, path = event.node, event.operator, event.path
        for depth in range(1, len(path) + 1):
            self._add_iteration(path[:depth])
        inputs: dict[str, tuple[str, Any]] = {}
        captured = ((name, "inside") for name in event.inputs)  # read by subgraphs
        titled = zip(node.inputs, input_titles(node, operator), strict=True)
        for name, title in (*titled, *captured):
            full = self.scopes.full_name(path, name)
            if not name or full in inputs:
                continue
            value = event.inputs.get(name)
            inputs[full] = title, value
            if full in self.values:
                continue
            if self.scopes.is_input(path, name):
                iteration = self.iteration_nodes[self.scopes.resolve(path, name)]
                assert iteration is not None
                iteration["out"].append(["", self._add_value(full, value)])
            else:
                self.constants[full] = value
        outputs = {self.scopes.full_name(path, n): value for n, value in event.outputs.items()}
        entry: dict[str, Any] = {
            "name": event.name,
            "op": node.op_type,
            "version": f"{node.domain or 'ai.onnx'}, since {operator.since}",
            "doc": self.docs.setdefault(operator.documentation, len(self.docs)),
            "in": [
                [title, self._add_value(name, value)] for name, (title, value) in inputs.items()
            ],
            "out": [["", self._add_value(name, value)] for name, value in outputs.items()],
            "attributes": describe_attributes(node, operator),
            "seconds": _rounded(event.seconds),
        }
        read = [self.scopes.full_name(path, name) for name in node.inputs]
        self.calls.append((node.operator_name, node.attributes, read, [*outputs]))
        for name in inputs:
            if name in self.constants:
                self.values[name]["constant"] = 1
        if event.runs:
            results = subgraph_results(event, self.iterations, self.scopes, self.numbers, self.read)
            entry["in"] += [[title, self.numbers[name]] for title, name in results]
            entry["runs"] = [[g, n, min(n, self.iterations)] for g, n in event.runs.items()]
        if path:
            entry["part"] = 1
        self.read |= {number for _, number in entry["in"]}
        arrays: list[Any] = [event.inputs.get(name) for name in node.inputs]
        entry["flop"] = operator.flops(arrays, list(event.outputs.values()), node.attributes)
        entry["bytes"] = bytes_moved(arrays, list(event.outputs.values()))
        if (weights := self._attention_weights(event)) is not None:
            self.inner_sizes[len(self.nodes)] = views.full_size(weights, "")
        if node.is_one_of(*SERIES):
            x, r = arrays[0], arrays[2]
            steps, batch = x.shape[:2] if not node.attributes.get("layout") else x.shape[1::-1]
            pixels = steps * r.shape[2] * len(r) * len(SERIES[node.op_type])
            self.inner_sizes[len(self.nodes)] = pixels * min(batch, _MAX_SEQUENCES)
        self.computed.append(len(self.nodes))
        self.indices[path, node] = len(self.nodes)
        self.nodes.append(entry)
        self.paths.append(path)

    def _add_iteration(self, path: Path) -> None:
        """Add the node with which a new iteration begins."""
        if path in self.iteration_nodes:
            return
        entry = self.iteration_nodes[path] = iteration_node(path, self.scopes, self.numbers)
        if entry is not None:
            self.read |= {number for _, number in entry["in"]}
            self.nodes.append(entry)
            self.paths.append(path)

    def _add_view(self, name: str, value: Any, room: int, bins: bool) -> None:
        entry = self.values[name]
        if isinstance(value, list):
            entry["items"] = [_item_text(item) for item in value[:_MOST_ITEMS]]
            entry["items"] += _more(len(value))
        elif isinstance(value, dict):
            shown = list(value.items())[:_MOST_ITEMS]
            entry["items"] = [f"{key}: {_item_text(item)}" for key, item in shown]
            entry["items"] += _more(len(value))
        if not isinstance(value, np.ndarray) or not value.size:
            return
        if views.is_text(value):
            entry["texts"] = views.first_texts(value, 50 if bins else 3)
            return
        entry["figures"] = views.statistics(value, bins=bins)
        entry.pop("view", None)
        if room:
            entry["view"] = views.build_view(value, self.roles.get(name, ""), room)
        if words := _words(self.session, self.feeds, name):
            entry["words"] = words

    def _attention_weights(self, event: Event) -> np.ndarray | None:
        """The weights of an attention node, (B, heads, queries, keys), which is rarely an output of
        the node."""
        rule = event.operator.facts.get("attention_weights")
        if rule is None:
            return None
        with computing():
            weights = rule(*map(event.inputs.get, event.node.inputs), **event.node.attributes)
        return weights if weights.size else None

    def _gates(self, event: Event, room: int) -> dict[str, Any]:
        """The series of a recurrent node as codes, (sequences, units, steps)."""
        node = event.node
        inputs = [event.inputs.get(name) for name in node.inputs]
        recurrence = compute_series(node.op_type, inputs, node.attributes, _MAX_SEQUENCES)
        directions = recurrence.directions
        steps, sequences, units = directions[0].series["h"].shape
        count = len(directions) * len(directions[0].series)
        pixels = max(room // count // max(sequences, 1), 1)
        shown_steps = min(steps, max(pixels // 8, 1))
        shown_units = min(units, max(pixels // max(shown_steps, 1), 1))
        unit_indices = views.spread_indices(units, shown_units)
        step_indices = views.spread_indices(steps, shown_steps)
        entry: dict[str, Any] = {
            "lengths": recurrence.lengths.tolist(),
            "steps": steps,
            "units": units,
            "n": sequences,
            "shown": [shown_units, shown_steps],
            "ways": [
                {
                    "reverse": direction.reverse,
                    "series": {
                        letter: views.encode(
                            values[step_indices][:, :, unit_indices].transpose(1, 2, 0)
                        )
                        for letter, values in direction.series.items()
                    },
                }
                for direction in directions
            ],
        }
        y = event.outputs.get(node.outputs[0]) if node.outputs else None
        if y is not None:
            if node.attributes.get("layout"):
                y = y.transpose(1, 2, 0, 3)
            with np.errstate(invalid="ignore"):
                difference = np.abs(y[:, :, :sequences] - recurrence.y())
            entry["differs"] = _rounded(np.nan_to_num(difference).max(initial=0))
        texts = [words for name in self.feeds if (words := _words(self.session, self.feeds, name))]
        length = recurrence.lengths[0]
        if len(texts) == 1 and len(texts[0]) == steps and "" not in texts[0][:length]:
            entry["words"] = texts[0]
        return entry


def saliency_of(
    session: Session,
    feeds: Mapping[str, Any],
    labels: list[str] | None,
    room: int,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """What moved the scores of the first sample, for the page, in about ``room`` bytes; without any
    gradients only a "note" that says why."""
    words = {name: words for name in feeds if (words := _words(session, feeds, name))}
    return collect_saliency(session, feeds, words, labels, room, progress)


def find_value(
    session: Session, feeds: Mapping[str, Any], name: str, iterations: int = ITERATIONS
) -> Any:
    """The value that the page calls ``name``, in full, of one more walk.

    Raises InvalidInputError if there is none, and what ``run`` raises.
    """
    if name in feeds:
        return feeds[name]
    scopes = Scopes()
    for event in session.trace(feeds, iterations=iterations):
        for values in (event.outputs, event.inputs):
            for inner, value in values.items():
                if scopes.full_name(event.path, inner) == name:
                    return value
    raise InvalidInputError(f"the last run has no value {name}")


def _words(session: Session, feeds: Mapping[str, Any], name: str) -> list[str] | None:
    """The words of an input's first sample, if the file has a vocabulary for its ids."""
    tokenizer = tokenizers(session.model.metadata).get(name) if name in feeds else None
    if tokenizer is None or feeds[name].ndim != 2 or not feeds[name].size:
        return None
    words = tokenizer.vocabulary
    ids = feeds[name][0, :_MAX_WORDS].tolist()
    return [words[i] if 0 <= i < len(words) else "?" for i in map(int, ids)]


def _item_text(item: Any) -> str:
    """An item of a sequence or a map: numbers and texts themselves, of maps the first."""
    if isinstance(item, dict):
        shown = [f"{key}: {_item_text(value)}" for key, value in list(item.items())[:_MOST_ITEMS]]
        return ", ".join(shown + _more(len(item)))
    if isinstance(item, (str, bytes)):
        return str(item)
    if np.ndim(item) == 0 and isinstance(item, (float, int, np.generic, np.ndarray)):
        return f"{float(item):.6g}" if "float" in str(np.asarray(item).dtype) else str(item)
    return type_text(item)


def _more(count: int) -> list[str]:
    return [f"… and {count - _MOST_ITEMS:,} more"] if count > _MOST_ITEMS else []


def _rounded(number: Any) -> float:
    value = float(f"{float(number):.{_DIGITS}g}")
    return value if np.isfinite(value) else 0.0
