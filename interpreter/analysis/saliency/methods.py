"""``saliency``: which parts of the inputs moved a score, by the gradients of the session."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from onnxwalk.interpreter.analysis.saliency.classes import Targets, choose
from onnxwalk.interpreter.analysis.saliency.find import Places
from onnxwalk.interpreter.analysis.saliency.result import Attribution, Saliency, kind_of
from onnxwalk.interpreter.display import type_text
from onnxwalk.interpreter.errors import InvalidInputError, suggest
from onnxwalk.interpreter.session import Session
from onnxwalk.interpreter.text import class_names

#: what each method computes
METHODS = {
    "gradient": "the gradient",
    "gradient-x-input": "the gradient times the value",
    "integrated": "gradients on the way from the baseline, averaged, times the way",
    "smoothgrad": "gradients near the value, averaged",
    "grad-cam": "maps of a convolution, weighted by their mean gradients",
}
#: how many gradients are averaged
STEPS = {"integrated": 64, "smoothgrad": 32}
#: samples of one run, and elements of the inputs in it
_MOST_ROWS, _MOST_ELEMENTS = 32, 1 << 18
#: how far a sample's score may be from that in another batch, relative to the largest
_SAME = 1e-3
#: the noise of SmoothGrad, relative to the range of the value
_NOISE = 0.15

Progress = Callable[[int, int], None]


def saliency(
    session: Session,
    feeds: Mapping[str, Any],
    *,
    method: str = "gradient",
    of: str | None = None,
    target: Any = None,
    at: str | Sequence[str] | None = None,
    steps: int | None = None,
    baseline: Any = 0,
    labels: Sequence[str] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Saliency:
    """How much each part of the inputs moved a score of a model, for each sample.

    ``feeds``: as for ``session.run``; samples are the rows of the first axis, if all inputs and the
    scores have the same number of them, and should be computed independently of each other.

    ``method``: with x the value, b the baseline, f the score and f' its gradient,

        gradient             f'(x)
        gradient-x-input     x · f'(x)
        integrated           (x - b) · mean of f'(b + (x - b)·(k + ½)/steps), k = 0 … steps - 1
        smoothgrad           mean of f'(x + noise), of a deviation of 0.15 of the range of x
        grad-cam             relu(Σ_c A_c · mean of f'(A_c)), of the maps A_c of a convolution

    ``of``: the name of the value that holds the scores. By default the one before the softmax or
    the sigmoid that the first output comes from: through these gradients vanish.

    ``target``: which score: a number, a name among the model's class names (or ``labels``), a tuple
    of indexes if each sample has scores of several axes, or a list with one of these for each
    sample. By default the largest score, or the more probable class of a sigmoid.

    ``at``: names of the values to attribute to. By default the inputs; for integers, which have no
    gradients, the values that a Gather looks up for them; for "grad-cam" the last convolution with
    more than one place, after its normalization and activation.

    ``steps``: of "integrated" (64) and "smoothgrad" (32). ``baseline``: a number, or arrays by the
    names of the values; of "integrated". ``seed``: of the noise. ``progress``: called with the
    number of gradients computed and that of all.

    Raises InvalidInputError for what doesn't fit the model, UnsupportedModelError naming every
    operator in between that has no rule, and what ``run`` raises.
    """
    explainer = Explainer(session, feeds, method=method, of=of, at=at, labels=labels)
    return explainer.explain(target, steps=steps, baseline=baseline, seed=seed, progress=progress)


class Explainer:
    """The saliency of one run: of several classes, what they share is computed once."""

    def __init__(
        self,
        session: Session,
        feeds: Mapping[str, Any],
        *,
        method: str = "gradient",
        of: str | None = None,
        at: str | Sequence[str] | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        """The parameters, and what they raise: those of ``saliency``."""
        if method not in METHODS:
            raise InvalidInputError(f"no method is named {method!r}{suggest(method, METHODS)}")
        self.session, self.method = session, method
        self.feeds = session._inputs.check(feeds)
        places = self._places = Places(session)
        self.is_sigmoid = False
        stored = class_names(session.model.metadata)
        output = of
        if of is None:
            of, output, self.is_sigmoid = places.scores()
        self.of = of
        self._reached = places.reached_from(of)
        self.labels: list[str] = list(labels or stored.get(output or "", []))
        self.sources = self._find_values(at)
        values = session.run([of, *self.sources], self.feeds)
        for name, value in zip([of, *self.sources], values, strict=True):
            if not isinstance(value, np.ndarray):
                raise InvalidInputError(f"{name!r} is no tensor, but {type_text(value)}")
        self.value: np.ndarray = values[0]
        self.values: dict[str, np.ndarray] = dict(zip(self.sources, values[1:], strict=True))
        if method == "grad-cam":
            self._check_maps()
        self._opened: Session | None = None
        self._stacks: bool | None = None
        self.has_rows = self._has_rows()

    def scores(self) -> np.ndarray:
        """The scores of each sample, (N, elements)."""
        return self.value.reshape(len(self.value) if self.has_rows else 1, -1)

    def _has_rows(self) -> bool:
        """Whether the first axis of the values and of the scores is that of the samples."""
        if not self.value.ndim or {len(v) if v.ndim else 0 for v in self.values.values()} != {
            len(self.value)
        }:
            return False
        # (8,) scores of an input (8,) are one sample's, unless the file declares any number.
        return self.value.ndim > 1 or len(self.value) == 1 or not self._has_fixed_rows()

    def _has_fixed_rows(self) -> bool:
        return any(info.shape and isinstance(info.shape[0], int) for info in self.session.inputs)

    # ------------------------------------------------------------------------- where it goes to

    def _find_values(self, at: str | Sequence[str] | None) -> dict[str, str]:
        """The values to attribute to, and the input that each is, or is computed from."""
        inputs = [info.name for info in self.session.inputs]
        if at is not None:
            names = [at] if isinstance(at, str) else list(at)
            if not names:
                raise InvalidInputError("at=[]: there is nothing to attribute to")
            for name in names:
                self._check_reached(name)
            looked_up = self._places.embedded(inputs)
            origin = {v: source for source, values in looked_up.items() for v in values}
            return {name: origin.get(name, name) for name in names}
        if self.method == "grad-cam":
            return self._last_convolution()
        real = [name for name in inputs if self._places.is_real(name)]
        found = {name: name for name in real if name in self._reached}
        for source, values in self._places.embedded(set(inputs) - set(real)).items():
            found |= {value: source for value in values if value in self._reached}
        if not found:
            raise InvalidInputError(self._nothing_reached())
        return found

    def _check_reached(self, name: str) -> None:
        known = {*self._places.types, *self._places.made_by}
        if name not in known:
            raise InvalidInputError(f"no value is named {name!r}{suggest(name, known)}")
        if name not in self._places.made_by and name not in self.feeds:
            raise InvalidInputError(
                f"{name!r} is an initializer: attribute to inputs, or to what is computed from them"
            )
        if not self._places.is_real(name):
            looked_up = [v for vs in self._places.embedded([name]).values() for v in vs]
            hint = f"; attribute to what is computed from it, {looked_up[0]!r}" if looked_up else ""
            raise InvalidInputError(
                f"{name!r} is {self._places.types[name]}, which has no gradient{hint}"
            )
        if name not in self._reached:
            raise InvalidInputError(
                f"{self.of!r} doesn't depend on {name!r} through operators that have a gradient"
            )

    def _nothing_reached(self) -> str:
        listed = ", ".join(
            f"{info.name} ({self._places.types.get(info.name) or 'unknown'})"
            for info in self.session.inputs
        )
        return (
            f"{self.session.model.source}: {self.of!r} depends on no input through operators that "
            f"have a gradient: {listed or 'the model has no inputs'}; name a value with at= (--at)"
        )

    def _last_convolution(self) -> dict[str, str]:
        found = self._places.convolutions(self._reached)
        picture = next((i.name for i in self.session.inputs if _rank(self.feeds[i.name]) >= 3), "")
        for name, channels in found:
            (value,) = self.session.run([name], self.feeds)
            if value.size > value.shape[0] * value.shape[channels]:
                return {name: picture}
        where = "has more than one place" if found else f"lies before {self.of!r}"
        raise InvalidInputError(
            f"{self.session.model.source}: no convolution {where}, so there is nothing to take "
            "Grad-CAM of; name a value of shape (N, C, …) with at= (--at)"
        )

    def _check_maps(self) -> None:
        for name, value in self.values.items():
            if value.ndim < 3:
                raise InvalidInputError(
                    f"{name!r} has shape {value.shape}: Grad-CAM requires maps, (N, C, …)"
                )

    # ------------------------------------------------------------------------------ the methods

    def explain(
        self,
        target: Any = None,
        *,
        steps: int | None = None,
        baseline: Any = 0,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Saliency:
        """The saliency of one class: see ``saliency``."""
        with np.errstate(all="ignore"):  # what isn't finite is shown
            return self._explain(target, steps, baseline, seed, progress)

    def _explain(
        self, target: Any, steps: int | None, baseline: Any, seed: int, progress: Progress | None
    ) -> Saliency:
        targets = choose(
            self.value,
            self.of,
            target,
            has_rows=self.has_rows,
            is_sigmoid=self.is_sigmoid,
            labels=self.labels,
        )
        if steps is not None and self.method not in STEPS:
            raise InvalidInputError(f"steps are of {' and '.join(STEPS)}, not of {self.method}")
        if self.method != "integrated" and not (np.isscalar(baseline) and baseline == 0):
            raise InvalidInputError(f"a baseline is of integrated, not of {self.method}")
        if steps is not None and self.method not in STEPS:
            raise InvalidInputError(f"steps are of {' and '.join(STEPS)}, not of {self.method}")
        if self.method != "integrated" and not (np.isscalar(baseline) and baseline == 0):
            raise InvalidInputError(f"a baseline is of integrated, not of {self.method}")
        steps = STEPS.get(self.method, 1) if steps is None else steps
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise InvalidInputError(f"steps must be an integer from 1 on, not {steps!r}")
        tell = progress or (lambda done, total: None)
        difference = error = None
        if self.method == "integrated":
            start = self._baselines(baseline)
            slopes = self._mean_slopes(targets, self._on_the_way(start, steps), steps, tell)
            found = {name: slopes[name] * (x - start[name]) for name, x in self.values.items()}
            (ends,) = self._scores_at(targets, start)
            difference = targets.scores(self.value)[0] - ends
            error = sum(_by_sample(v, len(difference)) for v in found.values()) - difference
        elif self.method == "smoothgrad":
            found = self._mean_slopes(targets, self._nearby(steps, seed), steps, tell)
        else:
            weights = targets.seed(self.value, 1)
            names = list(self.values)
            slopes = dict(
                zip(
                    names,
                    self.session.gradients(self.of, names, self.feeds, seed=weights),
                    strict=True,
                )
            )
            tell(1, 1)
            found = slopes
            if self.method == "gradient-x-input":
                found = {name: slopes[name] * x for name, x in self.values.items()}
            elif self.method == "grad-cam":
                found = {
                    name: grad_cam(x, slopes[name], self._places.channel_axis(name))
                    for name, x in self.values.items()
                }
        return Saliency(
            self.method,
            self.of,
            targets.indices,
            targets.labels,
            targets.scores(self.value)[0],
            {name: self._attribution(name, values) for name, values in found.items()},
            difference,
            error,
        )

    def _attribution(self, name: str, values: np.ndarray) -> Attribution:
        source = self.sources[name]
        values = values.astype(self.values[name].dtype, copy=False)
        samples = values if self.has_rows else values[None]
        if self.method == "grad-cam":
            return Attribution(name, source, "map", values, samples.copy())
        rank = None
        if source != name and source in self.feeds:
            rank = _rank(self.feeds[source]) + (not self.has_rows)
            if samples.ndim == rank:  # converted, not looked up
                rank = None
        kind, axes = kind_of(samples, rank)
        return Attribution(name, source, kind, values, samples.sum(axis=axes))

    def _baselines(self, given: Any) -> dict[str, np.ndarray]:
        """The baseline of each value, of its shape and dtype."""
        by_name = given if isinstance(given, Mapping) else dict.fromkeys(self.values, given)
        if unknown := [name for name in by_name if name not in self.values]:
            raise InvalidInputError(f"baseline: {unknown[0]!r}{suggest(unknown[0], self.values)}")
        found = {}
        for name, value in self.values.items():
            one = np.asarray(by_name.get(name, 0))
            try:
                found[name] = np.broadcast_to(one, value.shape).astype(value.dtype)
            except ValueError:
                raise InvalidInputError(
                    f"baseline of {name!r}: shape {one.shape} doesn't fit {value.shape}"
                ) from None
        return found

    # -------------------------------------------------------------------- gradients at many points

    def _on_the_way(
        self, start: Mapping[str, np.ndarray], steps: int
    ) -> Iterator[dict[str, np.ndarray]]:
        for k in range(steps):
            share = (k + 0.5) / steps
            yield {
                name: (start[name] + (x - start[name]) * share).astype(x.dtype)
                for name, x in self.values.items()
            }

    def _nearby(self, count: int, seed: int) -> Iterator[dict[str, np.ndarray]]:
        random = np.random.default_rng(seed)
        for _ in range(count):
            yield {
                name: (x + random.normal(0, _NOISE * np.ptp(x), x.shape)).astype(x.dtype)
                for name, x in self.values.items()
            }

    def _mean_slopes(
        self,
        targets: Targets,
        points: Iterator[dict[str, np.ndarray]],
        count: int,
        tell: Progress,
    ) -> dict[str, np.ndarray]:
        """The mean of the gradients at ``count`` points, float64."""
        sums = {name: np.zeros(x.shape) for name, x in self.values.items()}
        at_once = self._copies_at_once()
        done = 0
        while done < count:
            part = list(itertools.islice(points, min(at_once, count - done)))
            feeds = self._feeds_of(part)
            value = np.concatenate([self.value] * len(part)) if len(part) > 1 else self.value
            weights = targets.seed(value, len(part))
            slopes = self._session().gradients(self.of, list(sums), feeds, seed=weights)
            for name, slope in zip(sums, slopes, strict=True):
                whole = slope.astype(np.float64).reshape(len(part), *sums[name].shape)
                sums[name] += whole.sum(axis=0)
            done += len(part)
            tell(done, count)
        return {name: total / count for name, total in sums.items()}

    def _scores_at(self, targets: Targets, *points: dict[str, np.ndarray]) -> Iterator[np.ndarray]:
        for point in points:
            (value,) = self._session().run([self.of], self._feeds_of([point]))
            yield targets.scores(value)[0]

    def _session(self) -> Session:
        """The session in which the values are inputs."""
        if self._opened is None:
            self._opened = self._places.opened_at(self.values, self.of)
        return self._opened

    def _feeds_of(self, points: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Any]:
        """The feeds of the samples at each of the points, one after the other."""
        if len(points) == 1:
            return {**self.feeds, **points[0]}
        repeated = {
            name: np.concatenate([value] * len(points)) for name, value in self.feeds.items()
        }
        return repeated | {name: np.concatenate([p[name] for p in points]) for name in self.values}

    def _copies_at_once(self) -> int:
        """How many copies of the samples a run computes: more than one only if the model accepts
        any number of samples, and computes each as it would alone."""
        samples = len(self.value) if self.has_rows else 0
        size = sum(value.size for value in self.values.values())
        most = min(_MOST_ROWS // max(samples, 1), _MOST_ELEMENTS // max(size, 1))
        if most < 2 or not self.has_rows:
            return 1
        if self._stacks is None:
            self._stacks = self._is_stackable(samples)
        return most if self._stacks else 1

    def _is_stackable(self, samples: int) -> bool:
        arrays = [value for value in self.feeds.values() if isinstance(value, np.ndarray)]
        rows = {len(array) if array.ndim else 0 for array in arrays}
        if self.feeds.keys() != {info.name for info in self.session.inputs}:
            return False  # an initializer was fed
        if len(arrays) < len(self.feeds) or self._has_fixed_rows() or rows != {samples}:
            return False
        other = {name: np.zeros_like(x) for name, x in self.values.items()}
        (value,) = self._session().run([self.of], self._feeds_of([self.values, other]))
        if value.shape != (2 * samples, *self.value.shape[1:]):
            return False
        room = _SAME * np.abs(self.value).max(initial=1e-30)
        return bool((np.abs(value[:samples] - self.value) <= room).all())


def grad_cam(maps: np.ndarray, slopes: np.ndarray, channels: int = 1) -> np.ndarray:
    """relu(Σ_c A_c · mean of the gradient of A_c): the maps (N, C, …), or with their channels in
    another axis, to (N, …)."""
    maps, slopes = (np.moveaxis(array, channels, 1) for array in (maps, slopes))
    weights = slopes.mean(axis=tuple(range(2, maps.ndim)), keepdims=True)
    return np.maximum((weights * maps).sum(axis=1), 0)


def _rank(value: Any) -> int:
    """The rank of a tensor; 0 for a sequence or nothing."""
    return value.ndim if isinstance(value, np.ndarray) else 0


def _by_sample(values: np.ndarray, samples: int) -> np.ndarray:
    return values.astype(np.float64).reshape(samples, -1).sum(axis=1)
