"""Small models, drawn by hypothesis, as plain data: a recipe can be written down and shortened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
from hypothesis import assume
from hypothesis import strategies as st

from onnxwalk.export.coverage.random_weights import randomize
from onnxwalk.export.quiet import quiet
from tests.programs.properties.operations import BY_NAME, DTYPES, OPERATIONS, Draw, Operation

#: elements of a tensor beside the batch
_MOST_ELEMENTS = 400
_MOST_STEPS = 6


@dataclass(frozen=True)
class Input:
    shape: tuple[int | None, ...]  # without the batch
    dtype: str


@dataclass(frozen=True)
class Step:
    """``operation`` on the tensors of these numbers: inputs first, then the results of the steps.
    ``shared``: the number of the step whose layer is applied again."""

    operation: str
    tensors: tuple[int, ...]
    arguments: dict[str, Any]
    shared: int | None = None


@dataclass(frozen=True)
class Recipe:
    inputs: tuple[Input, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @staticmethod
    def from_data(data: dict[str, Any]) -> Recipe:
        return Recipe(
            tuple(Input(tuple(i["shape"]), i["dtype"]) for i in data["inputs"]),
            tuple(
                Step(s["operation"], tuple(s["tensors"]), s["arguments"], s["shared"])
                for s in data["steps"]
            ),
            tuple(data["outputs"]),
        )


class Workshop:
    """Builds the model of a recipe, step by step."""

    def __init__(self, inputs: tuple[Input, ...]) -> None:
        keras.utils.clear_session(free_memory=False)
        self.inputs = [
            keras.Input(given.shape, dtype=given.dtype, name=f"x{number}")
            for number, given in enumerate(inputs)
        ]
        self.tensors = list(self.inputs)
        self.layers: dict[int, Any] = {}

    def add(self, step: Step) -> None:
        """Raises whatever Keras raises if it doesn't take the step."""
        operation = BY_NAME[step.operation]
        given = [self.tensors[number] for number in step.tensors]
        if operation.is_layer:
            made = None if step.shared is None else self.layers.get(step.shared)
            made = made or operation.apply(**_settings(step.arguments))
            self.layers[len(self.tensors)] = made
            result = made(*given)
        else:
            result = operation.apply(*given, **_settings(step.arguments))
        self.tensors.append(result)

    def model(self, outputs: tuple[int, ...]) -> Any:
        """The model with random weights; Keras refuses outputs that are inputs."""
        return randomize(
            keras.Model(self.inputs, [self.tensors[number] for number in outputs], name="net")
        )


def build(recipe: Recipe) -> Any:
    """Raises whatever Keras raises."""
    with quiet():
        workshop = Workshop(recipe.inputs)
        for step in recipe.steps:
            workshop.add(step)
        return workshop.model(recipe.outputs)


@st.composite
def recipes(draw: Draw) -> Recipe:
    """Models that Keras builds, of one to six steps."""
    inputs = tuple(draw(st.lists(_inputs(), min_size=1, max_size=3)))
    steps: list[Step] = []
    with quiet():
        workshop = Workshop(inputs)
        for _ in range(draw(st.integers(1, _MOST_STEPS))):
            step = _draw_step(draw, workshop)
            try:
                workshop.add(step)
            except Exception:  # shapes that don't fit, types that Keras doesn't take
                continue
            if not _is_small(workshop.tensors[-1]):
                workshop.tensors.pop()
                continue
            steps.append(step)
    assume(steps)
    results = list(range(len(inputs), len(inputs) + len(steps)))
    others = draw(st.lists(st.sampled_from(results), max_size=2))
    return Recipe(inputs, tuple(steps), tuple(dict.fromkeys([results[-1], *others])))


def shorten(recipe: Recipe) -> Iterator[Recipe]:
    """Shorter recipes, the shortest first: each result alone as the output, from the first on, with
    the steps that it needs; and each step alone on fresh inputs."""
    first = len(recipe.inputs)
    try:
        with quiet():
            workshop = Workshop(recipe.inputs)
            for step in recipe.steps:
                workshop.add(step)
    except Exception:
        return
    for step in recipe.steps:
        given = [workshop.tensors[number] for number in step.tensors]
        fresh = tuple(Input(tuple(t.shape[1:]), str(t.dtype)) for t in given)
        alone = replace(step, tensors=tuple(range(len(fresh))), shared=None)
        yield Recipe(fresh, (alone,), (len(fresh),))
    for number in range(first, first + len(recipe.steps)):
        yield _cut(recipe, number)


def _cut(recipe: Recipe, output: int) -> Recipe:
    """The recipe of one result, without steps and inputs that it doesn't need."""
    first = len(recipe.inputs)
    needed, pending = set(), [output]
    while pending:
        number = pending.pop()
        if number not in needed:
            needed.add(number)
            if number >= first:
                pending += recipe.steps[number - first].tensors
    kept = sorted(needed)
    renumbered = {number: place for place, number in enumerate(kept)}
    steps = [
        replace(
            step,
            tensors=tuple(renumbered[t] for t in step.tensors),
            shared=renumbered.get(step.shared) if step.shared is not None else None,
        )
        for number, step in enumerate(recipe.steps, first)
        if number in needed
    ]
    inputs = tuple(recipe.inputs[number] for number in kept if number < first)
    return Recipe(inputs, tuple(steps), (renumbered[output],))


@st.composite
def _inputs(draw: Draw) -> Input:
    dtype = draw(st.sampled_from(("float32",) * 8 + DTYPES))
    number = draw(st.sampled_from((0, 1, 1, 2, 2, 2, 3)))
    sizes: list[int | None] = [draw(st.sampled_from((1, 2, 3, 4, 5))) for _ in range(number)]
    if number > 1 and draw(st.booleans()):
        sizes[0] = None
    return Input(tuple(sizes), dtype)


def _draw_step(draw: Draw, workshop: Workshop) -> Step:
    tensors = workshop.tensors
    recent = [len(tensors) - 1] * 3  # chains rather than stars
    first = draw(st.sampled_from([*range(len(tensors)), *recent]))
    x = tensors[first]
    again = [n for n, made in workshop.layers.items() if _can_be_shared(made, workshop, n, x)]
    if again and draw(st.booleans()):
        number = draw(st.sampled_from(again))
        return Step(type(workshop.layers[number]).__name__, (first,), {}, shared=number)
    operation: Operation = draw(st.sampled_from([o for o in OPERATIONS if o.takes(x)]))
    chosen = [first]
    for _ in range(operation.arity - 1):
        alike = [n for n, t in enumerate(tensors) if t.dtype == x.dtype]
        chosen.append(draw(st.sampled_from(alike)))
    arguments = operation.arguments(draw, [tensors[n] for n in chosen])
    return Step(operation.name, tuple(chosen), arguments)


def _can_be_shared(layer: Any, workshop: Workshop, number: int, x: Any) -> bool:
    made_from = getattr(layer, "input", None) if len(layer._inbound_nodes) == 1 else None
    return (
        made_from is not None
        and not isinstance(made_from, list)
        and tuple(made_from.shape) == tuple(x.shape)
        and made_from.dtype == x.dtype
    )


def _is_small(tensor: Any) -> bool:
    """Whether it is one tensor with a batch, and few elements."""
    if not hasattr(tensor, "shape") or not tensor.shape or tensor.shape[0] is not None:
        return False
    count = 1
    for size in tensor.shape[1:]:
        count *= size or 12
    return 0 < count <= _MOST_ELEMENTS


def _settings(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments as they were drawn: JSON makes lists of tuples."""
    return {
        name: tuple(value) if isinstance(value, list) and name in ("padding", "cropping") else value
        for name, value in arguments.items()
    }
