"""Compare the exported model with Keras: on random inputs, and on those that are special."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.agreement import (
    TOLERANCES,
    UNSETTLED,
    UNSETTLED_CLASSES,
    UNSETTLED_IN_ROWS,
    Arrays,
    check_output,
    check_type,
    find_allowed,
    find_denormal,
    find_differences,
    find_distances,
    find_lowest_precision,
    find_scale,
    find_unsettled,
    has_steps,
    is_class_difference,
    is_float,
    is_inexact,
    is_settled,
    max_difference,
    nudge,
    nudge_weights,
    shrink,
)
from onnxwalk.export.errors import ExportError, one_line
from onnxwalk.export.graph_runs import ends_process, run_compiled
from onnxwalk.export.parting import find_parting
from onnxwalk.export.precision import run_in_float64
from onnxwalk.export.random_inputs import Sizes, make_random_inputs
from onnxwalk.export.special_feeds import EMPTY_BATCH, Feed, make_special_feeds
from onnxwalk.export.tracing.trace import Trace, get_input_structure
from onnxwalk.interpreter.errors import OnnxWalkError

__all__ = ["MODES", "check_output", "make_random_inputs", "read_mode", "run_keras", "verify_model"]

#: how much is compared: random and special inputs at once; each special value in each input on its
#: own, too; nothing
MODES = ("quick", "full", "none")

#: how often Keras is run with changed last bits
_NUDGES = 3
#: time steps that are tried until Keras takes them: a spectrogram needs some for one window
_TIMES = (12, 300, 5000)
#: rows of special values that are tried at a time where Keras doesn't take all of them
_FEW = 4

_WHAT_TO_DO = (
    "Nothing was written. Please report it with this line; --verify none (verify='none') writes "
    "the file as it is"
)


def read_mode(verify: bool | str) -> str:
    """One of ``MODES``; True and False are quick and none. Raises ExportError."""
    if isinstance(verify, bool):
        return "quick" if verify else "none"
    if verify not in MODES:
        raise ExportError(f"verify={verify!r}: it is one of {', '.join(MODES)}")
    return verify


def verify_model(
    model: Any, proto: Any, trace: Trace, *, mode: str = "quick", seed: int = 0
) -> dict[str, float]:
    """Run Keras and the interpreter on random inputs and on those of ``make_special_feeds``.

    ``proto``: whatever ``onnxwalk.load`` accepts. ``mode``: "quick" or "full". Returns output name
    -> largest absolute difference on the random inputs, relative to the largest absolute value of
    Keras's output if that is more than 1.

    Special inputs that Keras doesn't take are passed over. Raises ExportError that names the
    output, what was fed, and the layer when shapes or dtypes differ, or values by the rule in
    ``agreement.py``; and when the interpreter can't run the model, or Keras doesn't take random
    inputs of any size in open dimensions.
    """
    import onnxwalk

    try:
        session = onnxwalk.load(proto)
    except OnnxWalkError as error:
        raise ExportError(f"the exported model doesn't run: {one_line(error)}") from error
    sides = Both(model, session, trace)
    random, expected = sides.start(seed)
    feed = Feed(random, ("random numbers",))
    sides.sizes = [e.shape[1:] for e in expected]
    actual = sides.run_file(feed)
    found = sides.find_difference(feed, expected, actual)
    special = make_special_feeds(trace, random, full=mode == "full", seed=seed)
    while found is None:
        feed_or_none = next(special, None)
        if feed_or_none is None:
            outputs = zip(trace.outputs, actual, expected, strict=True)
            return {port.name: max_difference(a, e) for port, a, e in outputs}
        for part, values in sides.accepted(feed_or_none):
            found = found or sides.compare(part, values)
    found = sides.narrow(found)
    place = find_parting(model, proto, found.feed.values, TOLERANCES[sides.kind])
    raise ExportError(found.describe(place))


class Difference(NamedTuple):
    """An element of an output in which the file differs from Keras."""

    output: str
    feed: Feed
    position: tuple[int, ...]
    actual: Any
    expected: Any
    by: float  # relative to the largest number in the row
    tolerance: float

    def describe(self, place: str) -> str:
        """The message of the error; ``place``: where the two part, if that is known."""
        row = self.position[0] if len(self.feed.rows) > 1 and self.position else None
        by = f" by {self.by:.3g} (tolerance {self.tolerance:.3g})"
        if isinstance(self.expected, (str, bytes)):
            by = ""
        parting = f", first in {place}" if place else ""
        return (
            f"output {self.output} differs from Keras{by}, fed with {self.feed.describe(row)}: "
            f"{self.actual} instead of {self.expected} at {list(self.position)}{parting}. "
            + _WHAT_TO_DO
        )


class Both:
    """A Keras model and its file, run on the same feeds."""

    def __init__(self, model: Any, session: Any, trace: Trace) -> None:
        self.model, self.session, self.trace = model, session, trace
        self.kind = find_lowest_precision(trace)
        self.sizes: list[tuple[int, ...]] = []  # of the outputs' rows, for random inputs

    def run_keras(
        self, values: dict[str, NDArray[Any]], weights: list[tuple[Any, Any]] | None = None
    ) -> Arrays:
        """Keras's outputs, see ``run_keras``."""
        return run_keras(self.model, [values[port.name] for port in self.trace.inputs], weights)

    def start(self, seed: int) -> tuple[dict[str, NDArray[Any]], Arrays]:
        """Random inputs with Keras's outputs, of the first of several sizes that Keras takes."""
        shapes = [(port.shape or ())[1:] for port in self.trace.inputs]
        times = _TIMES if any(None in shape for shape in shapes) else _TIMES[:1]
        for time in times:
            random = make_random_inputs(self.trace, seed=seed, sizes=Sizes(time=time))
            try:
                return random, self.run_keras(random)
            except Exception as error:
                failure = error
        raise ExportError(
            f"Keras doesn't take random inputs of the shapes "
            f"{', '.join(str(list(x.shape)) for x in random.values())}: {one_line(failure)}. "
            "--verify none (verify='none') writes the file without a comparison"
        ) from failure

    def compare(self, feed: Feed, expected: Arrays) -> Difference | None:
        """See ``find_difference``. Raises ExportError for what the file doesn't run, except for an
        empty batch, for which ``predict`` raises an error, too: a Reshape can't find the size -1 of
        no elements."""
        try:
            actual = self.run_file(feed)
        except ExportError:
            if self._inputs(feed)[0].shape[:1] == (0,):
                return None
            raise
        return self.find_difference(feed, expected, actual)

    def _call(self, inputs: list[Any]) -> list[Any]:
        return call_keras(self.model, inputs)

    def _inputs(self, feed: Feed) -> list[NDArray[Any]]:
        return [feed.values[port.name] for port in self.trace.inputs]

    def run_file(self, feed: Feed) -> Arrays:
        """The file's outputs. Raises ExportError if it doesn't run."""
        try:
            return list(self.session.run(None, feed.values))
        except OnnxWalkError as error:
            raise ExportError(
                f"the exported model doesn't run with {feed.describe()}: {one_line(error)}. "
                + _WHAT_TO_DO
            ) from error

    def accepted(self, feed: Feed) -> Iterator[tuple[Feed, Arrays]]:
        """The feed with Keras's outputs, or the parts of it that Keras takes: a row that it doesn't
        take must not hide the others."""
        if ends_process(self._call, self.trace, self._inputs(feed)):
            return
        try:
            yield feed, self.run_keras(feed.values)
            return
        except Exception:
            if len(feed.rows) <= _FEW or not feed.has_rows:
                return
        for start in range(0, len(feed.rows), _FEW):
            yield from self.accepted(feed.pick(start, _FEW))

    def find_difference(self, feed: Feed, expected: Arrays, actual: Arrays) -> Difference | None:
        """The largest difference of the first output that differs, by the rule of ``agreement``.
        Raises ExportError for another shape or dtype."""
        if not self._is_consistent(feed, expected):
            return None
        for port, a, e in zip(self.trace.outputs, actual, expected, strict=True):
            check_type(port.name, a, e)
        by_row = len(feed.rows) > 1
        allowed = [find_allowed(e, TOLERANCES[self.kind], by_row=by_row) for e in expected]
        masks = list(map(find_differences, actual, expected, allowed))
        if any(mask.any() for mask in masks):
            moved = self._nudged(feed)
            allowed = [
                find_allowed(e, TOLERANCES[self.kind], [m[i] for m in moved], by_row=by_row)
                for i, e in enumerate(expected)
            ]
            masks = list(map(find_differences, actual, expected, allowed))
            masks = self._without_unsettled(feed, actual, expected, allowed, masks)
            masks = self._without_denormal(feed, expected, masks)
            masks = self._without_range(feed, actual, expected, masks)
            masks = self._without_imprecise(feed, actual, expected, masks)
            masks = self._without_rounded(feed, actual, expected, masks)
        for port, a, e, most, mask in zip(
            self.trace.outputs, actual, expected, allowed, masks, strict=True
        ):
            if mask.any():
                far = np.where(mask, find_distances(a, e), -1.0)
                index = tuple(int(i) for i in np.unravel_index(np.argmax(far), far.shape))
                scale = np.broadcast_to(find_scale(e, by_row=by_row), e.shape)[index]
                by, tolerance = (float(x[index] / scale) for x in (far, most))
                return Difference(port.name, feed, index, a[index], e[index], by, tolerance)
        return None

    def _is_consistent(self, feed: Feed, expected: Arrays) -> bool:
        """Whether the outputs have the shapes that the model declares, and without rows those that
        rows have otherwise: for an empty batch some of TensorFlow's convolutions return the shape
        of their input."""
        shapes = [port.shape for port in self.trace.outputs]
        if feed.rows == (EMPTY_BATCH,) and self.sizes:
            shapes = [s and (s[0], *sizes) for s, sizes in zip(shapes, self.sizes, strict=True)]
        return all(
            shape is None
            or (
                len(shape) == e.ndim
                and all(size in (None, found) for size, found in zip(shape, e.shape, strict=True))
            )
            for shape, e in zip(shapes, expected, strict=True)
        )

    def narrow(self, found: Difference) -> Difference:
        """The same difference, with the one row alone in which it is, if it is there, too."""
        if not found.feed.has_rows or len(found.feed.rows) < 2 or not found.position:
            return found
        for feed, expected in self.accepted(found.feed.pick(found.position[0])):
            alone = self.compare(feed, expected)
            if alone is not None:
                return alone
        return found

    def _nudged(self, feed: Feed) -> list[Arrays]:
        """Keras's outputs with some last bits of weights and inputs changed."""
        whole = not has_steps(self.trace)
        return [
            self.run_keras(
                {n: nudge(v, self.kind, seed, whole=whole) for n, v in feed.values.items()},
                nudge_weights(self.model, self.kind, seed),
            )
            for seed in range(_NUDGES)
        ]

    def _without_unsettled(
        self, feed: Feed, actual: Arrays, expected: Arrays, allowed: Arrays, masks: Arrays
    ) -> Arrays:
        """The differences, without those in outputs on which TensorFlow's kernels don't agree."""
        operators = find_unsettled(self.trace) if any(mask.any() for mask in masks) else set()
        if not operators:
            return masks
        inner_kinds = UNSETTLED - UNSETTLED_CLASSES
        compiled = run_compiled(self._call, self._inputs(feed), inner_kinds)
        if compiled is None:
            return masks
        by_row = len(feed.rows) > 1 and operators <= UNSETTLED_IN_ROWS
        settled = [
            is_settled(e, c, most, by_row=by_row)
            for e, c, most in zip(expected, compiled.outputs, allowed, strict=True)
        ]
        if operators <= UNSETTLED_CLASSES:
            settled = [
                s | ~is_class_difference(a, e)
                for s, a, e in zip(settled, actual, expected, strict=True)
            ]
        masks = [mask & s for mask, s in zip(masks, settled, strict=True)]
        for plain, inner in compiled.inner:  # rounding, too, is otherwise by XLA
            same = plain == inner if not is_float(plain) else ~is_class_difference(plain, inner)
            masks = [mask & _in_rows(same, mask, len(feed.rows)) for mask in masks]
        for undefined in compiled.undefined:
            masks = [mask & _in_rows(~undefined, mask, len(feed.rows)) for mask in masks]
        return masks

    def _without_denormal(self, feed: Feed, expected: Arrays, masks: Arrays) -> Arrays:
        """The differences, without those of whole numbers and booleans in the rows in which the
        file computes with denormal numbers."""
        if not any(m.any() and not is_float(e) for m, e in zip(masks, expected, strict=True)):
            return masks
        found: list[NDArray[np.bool_]] = []
        for event in self.session.trace(feed.values):
            found += [find_denormal(x) for x in event.outputs.values() if isinstance(x, np.ndarray)]
        for denormal in found:
            if denormal.any():
                masks = [
                    mask if is_float(e) else mask & _in_rows(~denormal, mask, len(feed.rows))
                    for mask, e in zip(masks, expected, strict=True)
                ]
        return masks

    def _without_range(self, feed: Feed, actual: Arrays, expected: Arrays, masks: Arrays) -> Arrays:
        """The differences, without those that go when what was fed is smaller, if it was large."""
        for overflow in (True, False):
            if not any(mask.any() for mask in masks):
                break
            smaller = {name: shrink(v, overflow=overflow) for name, v in feed.values.items()}
            if all(smaller[name] is v for name, v in feed.values.items()):
                continue
            if overflow:
                masks = self._without_rewritten(feed, smaller, actual, expected, masks)
            small = feed._replace(values=smaller)
            ours, theirs, moved = self.run_file(small), self.run_keras(smaller), self._nudged(small)
            by_row = len(feed.rows) > 1
            for i, (mask, a, e) in enumerate(zip(masks, ours, theirs, strict=True)):
                if a.shape != mask.shape or e.shape != mask.shape:
                    continue
                rounded = [m[i] for m in moved]
                allowed = find_allowed(e, TOLERANCES[self.kind], rounded, by_row=by_row)
                gone = ~find_differences(a, e, allowed)
                if not overflow:
                    gone &= is_class_difference(actual[i], expected[i])
                masks[i] = mask & ~gone
        return masks

    def _without_rewritten(
        self, feed: Feed, smaller: Any, actual: Arrays, expected: Arrays, masks: Arrays
    ) -> Arrays:
        """The differences, without those in rows with other numbers in ``smaller`` that the file's
        own nodes don't have."""
        written, kept = self._as_written(feed, actual), []
        for mask, a, e in zip(masks, written, expected, strict=True):
            is_same = np.asarray(True)
            for name, x in feed.values.items():
                is_same = is_same & _in_rows((x == smaller[name]) | (x != x), mask, len(feed.rows))
            differs = find_differences(a, e, find_allowed(e, TOLERANCES[self.kind]))
            kept.append(mask & (differs | is_same))
        return kept

    def _without_imprecise(
        self, feed: Feed, actual: Arrays, expected: Arrays, masks: Arrays
    ) -> Arrays:
        """The differences, without those in which the file gives what Keras does in float64."""
        if self.kind != "float32" or not any(mask.any() for mask in masks):
            return masks
        inputs = [feed.values[port.name] for port in self.trace.inputs]
        exact = run_in_float64(lambda tensors: call_keras(self.model, tensors), inputs)
        return [
            mask & is_inexact(a, e, wide, TOLERANCES[self.kind], by_row=len(feed.rows) > 1)
            for mask, a, e, wide in zip(masks, actual, expected, exact or expected, strict=True)
        ]

    def _without_rounded(
        self, feed: Feed, actual: Arrays, expected: Arrays, masks: Arrays
    ) -> Arrays:
        """The differences, without those of numbers that the file itself has when the last bits of
        all that its nodes compute are changed. (Whole numbers that went through floats in the
        file alone would change, too; and short floats would change too much to tell anything.)"""
        if self.kind not in ("float32", "float64"):
            return masks
        if not any(m.any() and is_float(e) for m, e in zip(masks, expected, strict=True)):
            return masks
        moved = [self._rounded(feed, actual, seed) for seed in range(_NUDGES)]
        by_row = len(feed.rows) > 1
        allowed = [
            find_allowed(a, TOLERANCES[self.kind], [m[i] for m in moved], by_row=by_row)
            for i, a in enumerate(actual)
        ]
        return [
            mask & (find_differences(a, e, most) | is_class_difference(a, e))
            if is_float(e)
            else mask
            for mask, a, e, most in zip(masks, actual, expected, allowed, strict=True)
        ]

    def _as_written(self, feed: Feed, actual: Arrays) -> Arrays:
        """The file's outputs, those that are ``actual`` with rewrites, node by node."""
        found = {output.name: a for output, a in zip(self.session.outputs, actual, strict=True)}
        for event in self.session.trace(feed.values):
            found |= {name: np.array(x) for name, x in event.outputs.items() if name in found}
        return list(found.values())

    def _rounded(self, feed: Feed, actual: Arrays, seed: int) -> Arrays:
        """The file's outputs ``actual`` with some last bits of each inner value changed."""
        whole = not has_steps(self.trace)
        found = {output.name: a for output, a in zip(self.session.outputs, actual, strict=True)}
        for event in self.session.trace(feed.values):
            for name, value in event.outputs.items():
                if isinstance(value, np.ndarray) and is_float(value) and value.flags.writeable:
                    value[...] = nudge(value, self.kind, seed, whole=whole)  # later nodes read it
                if name in found:
                    found[name] = np.array(value)
        return list(found.values())


def _in_rows(holds: NDArray[np.bool_], mask: NDArray[np.bool_], rows: int) -> NDArray[np.bool_]:
    """Whether something holds for all of each row, for ``mask``'s rows if both have so many, else
    for all of them."""
    if holds.shape[:1] == mask.shape[:1] == (rows,):
        return holds.reshape(rows, -1).all(axis=1).reshape(-1, *[1] * (mask.ndim - 1))
    return np.asarray(holds.all())


def run_keras(
    model: Any, inputs: list[NDArray[Any]], weights: list[tuple[Any, Any]] | None = None
) -> list[NDArray[Any]]:
    """Keras's outputs, flattened, for inputs in order; leaves the states of the model alone.

    ``weights``: pairs of a variable and its value in this run.
    """
    import tensorflow as tf

    # TensorFlow takes texts as its own tensors only
    given = [tf.constant(x) if x.dtype == object else x for x in inputs]
    # a bfloat16 scalar of TensorFlow is no array to NumPy until it is NumPy's own
    return [np.asarray(output.numpy()) for output in call_keras(model, given, weights)]


def call_keras(
    model: Any, inputs: list[Any], weights: list[tuple[Any, Any]] | None = None
) -> list[Any]:
    """The tensors of the outputs, see ``run_keras``.

    They are those of ``predict``, where preprocessing layers cast their input to the model's type
    first; called on arrays they don't, and Resizing rounds integers.
    """
    import keras
    from keras.src.utils.backend_utils import TFGraphScope

    structure = keras.tree.pack_sequence_as(get_input_structure(model), inputs)
    with keras.StatelessScope(weights), TFGraphScope():
        return list(keras.tree.flatten(model(structure, training=False)))
