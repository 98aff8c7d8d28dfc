"""The inputs on which a wrong file shows: NaN, infinities, the ends of each type, odd shapes.

Each feed says in words what it holds, since that is what a user has to know of a difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.random_inputs import ODD_SIZES, Sizes, make_random_inputs
from onnxwalk.export.tracing.trace import Port, Trace

#: sizes of 1 in every open dimension but the batch
ONE = Sizes(batch=3, time=1, height=1, width=1)
#: what is special in the feed without rows
EMPTY_BATCH = "an empty batch"
#: numbers in one feed: a batch of large images gets the first rows only
_MOST_NUMBERS = 1 << 20
#: the share of elements that are replaced by a special value, where not all are
_SHARE = 0.25


class Special(NamedTuple):
    """A special value, or several next to each other that a lossy conversion would make equal: they
    are fed in a mixture."""

    label: str
    values: tuple[Any, ...]


class Feed(NamedTuple):
    """Values by the inputs' names. ``rows``: what is special in each row of the batch; a single
    text when it is true of the feed as a whole."""

    values: dict[str, NDArray[Any]]
    rows: tuple[str, ...]

    @property
    def has_rows(self) -> bool:
        """Whether rows can be fed alone: each value has one for each of ``rows``."""
        return all(v.shape[:1] == (len(self.rows),) for v in self.values.values())

    def describe(self, row: int | None = None) -> str:
        """What was fed, in this row of the batch if it is known."""
        if len(self.rows) == 1:
            return self.rows[0]
        return "rows of special values" if row is None else self.rows[row % len(self.rows)]

    def pick(self, row: int, count: int = 1) -> Feed:
        """The feed of these rows alone."""
        part = slice(row, row + count)
        return Feed({name: v[part] for name, v in self.values.items()}, self.rows[part])


def special_values(dtype: str) -> list[Special]:
    """The special values of a dtype, those that tell most first; none for bool and string."""
    if dtype in ("bool", "string"):
        return []
    if dtype.startswith(("int", "uint")):
        return _special_integers(np.iinfo(dtype))
    from ml_dtypes import finfo

    largest = float(finfo(dtype).max)
    found = [
        Special("NaN", (np.nan,)),
        Special("infinity", (np.inf,)),
        Special("-infinity", (-np.inf,)),
        Special(f"the largest {dtype} ({largest:.3g})", (largest,)),
        Special("1000", (1e3,)),
        Special("-1000", (-1e3,)),
        Special("0", (0.0,)),
        Special("-0", (-0.0,)),
        Special(f"the lowest {dtype} ({-largest:.3g})", (-largest,)),
        Special("1e25", (1e25,)),
        Special("-1e25", (-1e25,)),
        Special("1", (1.0,)),
        Special("100", (100.0,)),
        Special("-100", (-100.0,)),
    ]
    if dtype == "float64":
        found.append(Special("2^24 + 1", (2.0**24 + 1, 2.0**24)))
        found.append(Special("1e300", (1e300, -1e300)))
    return [s for s in found if not np.isfinite(s.values[0]) or abs(s.values[0]) <= largest]


def _special_integers(info: Any) -> list[Special]:
    low, high = int(info.min), int(info.max)
    found = [
        Special(f"the largest {info.dtype} ({high})", (high, high - 1)),
        Special(f"the lowest {info.dtype} ({low})", (low, low + 1)),
        Special("0", (0,)),
        Special("-1", (-1,)),
        Special("2^24 + 1", (2**24 + 1, 2**24)),
        Special("2^53 + 1", (2**53 + 1, 2**53)),
        Special("1", (1,)),
        Special("100", (100,)),
        Special("-100", (-100, -101)),
    ]
    return [s for s in found if all(low <= value <= high for value in s.values)]


def make_special_feeds(
    trace: Trace, random: dict[str, NDArray[Any]], *, full: bool = False, seed: int = 0
) -> Iterator[Feed]:
    """Feeds beside ``random`` (a value for each input), which the model need not accept.

    One row; every special value in all inputs at once, in places and everywhere; no rows; odd
    sizes of open dimensions. ``full``: every special value in each input on its own, several
    batches and sizes, and other random numbers, too. Ids of an Embedding stay in its range, texts
    and keys of a lookup are always random.
    """
    rng = np.random.default_rng(seed)
    has_open_batch = all((port.shape or ())[:1] == (None,) for port in trace.inputs)
    if has_open_batch:
        yield Feed({name: values[:1] for name, values in random.items()}, ("one row",))
    yield from _special_feeds(trace.inputs, trace, random, rng)
    if has_open_batch:
        yield Feed({name: values[:0] for name, values in random.items()}, (EMPTY_BATCH,))
    yield from _sized(trace, ODD_SIZES, seed + 1)
    if not full:
        return
    for port in trace.inputs if len(trace.inputs) > 1 else ():
        yield from _special_feeds((port,), trace, random, rng)
    for number, batch in enumerate((2, 5, 17) if has_open_batch else ()):
        made = make_random_inputs(trace, seed=seed + 2 + number, sizes=Sizes(batch=batch))
        yield Feed(made, (f"a batch of {batch}",))
    yield from _sized(trace, ONE, seed + 5)
    for number in range(6, 9):
        made = make_random_inputs(trace, seed=seed + number)
        yield Feed(made, (f"random numbers, seed {seed + number}",))
        yield from _special_feeds(trace.inputs, trace, made, rng)


def _sized(trace: Trace, sizes: Sizes, seed: int) -> Iterator[Feed]:
    """Random inputs of these sizes, if there are open dimensions beside the batch."""
    if any(None in (port.shape or ())[1:] for port in trace.inputs):
        made = make_random_inputs(trace, seed=seed, sizes=sizes)
        shapes = ", ".join(f"{name} {list(values.shape)}" for name, values in made.items())
        yield Feed(made, (f"inputs of the sizes {shapes}",))


def _special_feeds(
    ports: tuple[Port, ...],
    trace: Trace,
    random: dict[str, NDArray[Any]],
    rng: np.random.Generator,
) -> Iterator[Feed]:
    """Special values in these inputs, a row of the batch each; the others are as in ``random``.

    Where the inputs have no batch in common, each special value is a feed of its own.
    """
    sizes = {(port.shape or (0,))[0] if port.shape != () else 0 for port in trace.inputs}
    open_batch, batched = sizes == {None}, len(sizes) == 1 and 0 not in sizes
    examples = {
        port.name: list(random[port.name]) if batched else [random[port.name]]
        for port in trace.inputs
    }
    numbers = sum(rows[0].size for rows in examples.values() if rows)
    most = max(2, _MOST_NUMBERS // max(1, numbers))
    made = {
        port.name: list(islice(_make_rows(port, trace, examples[port.name], rng), most))
        for port in ports
        if examples[port.name]
    }
    count = max(map(len, made.values()), default=0)
    if not count:
        return
    rows = [
        _combine({name: rows[i % len(rows)] for name, rows in made.items() if rows}, examples, i)
        for i in range(count)
    ]
    if not batched:
        yield from (Feed(values, (label,)) for label, values in rows)
        return
    with_nan = [any(_has_nan(value) for value in values.values()) for _, values in rows]
    for chosen in (
        True,
        False,
    ):  # apart, since kernels that sort NaN nowhere tell nothing of others
        part = [row for row, has_nan in zip(rows, with_nan, strict=True) if has_nan is chosen]
        step = len(part) if open_batch else int(next(iter(sizes)) or 1)
        for start in range(0, len(part), max(step, 1)):
            few = [part[(start + i) % len(part)] for i in range(step)]
            stacked = {name: np.stack([values[name] for _, values in few]) for name in examples}
            yield Feed(stacked, tuple(label for label, _ in few))


def _has_nan(values: NDArray[Any]) -> bool:
    return "float" in values.dtype.name and bool(np.isnan(values).any())


def _combine(
    special: dict[str, tuple[str, NDArray[Any]]], examples: dict[str, list[NDArray[Any]]], row: int
) -> tuple[str, dict[str, NDArray[Any]]]:
    """One row of every input, the special ones as given, with the text that says so."""
    values = {name: rows[row % len(rows)] for name, rows in examples.items()}
    values |= {name: value for name, (_, value) in special.items()}
    by_label: dict[str, list[str]] = {}
    for name, (label, _) in special.items():
        by_label.setdefault(label, []).append(name)
    parts = (
        f"input{'s' if len(names) > 1 else ''} {' and '.join(names)} with {label}"
        for label, names in by_label.items()
    )
    return ", ".join(parts), values


def _make_rows(
    port: Port, trace: Trace, examples: list[NDArray[Any]], rng: np.random.Generator
) -> Iterator[tuple[str, NDArray[Any]]]:
    """What is special, and the row, for each special row of an input; none for texts and keys."""

    def everywhere(label: str, value: Any) -> tuple[str, NDArray[Any]]:
        return f"{label} everywhere", np.full_like(examples[0], value)

    if port.name in trace.vocabulary:
        top = trace.vocabulary[port.name] - 1
        for id_ in dict.fromkeys((0, min(1, top), top)):
            yield everywhere(f"id {id_}", id_)
        ids = rng.integers(min(1, top), top + 1, examples[0].shape)
        yield "no id 0", np.asarray(ids).astype(port.dtype)
        return
    if port.dtype == "string" or port.name in trace.keys:
        return
    if port.dtype == "bool":
        yield everywhere("False", False)
        yield everywhere("True", True)
        return
    if port.name in trace.masking:
        yield everywhere("the padding", trace.masking[port.name])
    specials, is_integer = special_values(port.dtype), port.dtype.startswith(("int", "uint"))
    for place, special in enumerate(specials):
        row = examples[place % len(examples)]
        yield f"{special.label} in places", _sprinkle(row, special.values, rng)
    for special in specials:
        near = rng.choice(np.array(special.values, port.dtype), examples[0].shape)
        yield f"{special.label} everywhere", np.asarray(near)
    # a gate that is 0 or 1e-17, times 1e25: large numbers show what is no difference
    mixed = [v for s in specials for v in s.values if is_integer or not 1e4 < abs(v) < np.inf]
    for row in examples[:4]:
        yield "special values of all kinds", _sprinkle(row, mixed, rng)
    if is_integer:
        info = np.iinfo(port.dtype)
        spread = rng.integers(info.min, info.max, examples[0].shape, port.dtype, endpoint=True)
        yield "both ends and what lies between", np.asarray(spread)
    else:
        yield "random numbers, ten times as large", np.asarray(examples[0] * 10)


def _sprinkle(row: NDArray[Any], values: Any, rng: np.random.Generator) -> NDArray[Any]:
    """The row with some of its elements, at least one, replaced by ``values``."""
    chosen = np.asarray(rng.random(row.shape) < _SHARE)
    if row.size:
        chosen.flat[rng.integers(row.size)] = True
    return np.where(chosen, rng.choice(np.array(values, row.dtype), row.shape), row)
