"""What will be run, in which order, and what may be let go after each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from onnxwalk.interpreter.ir.model import Node, ValueType
from onnxwalk.ops import Operator
from onnxwalk.ops.contract.cost import Cost

#: slot 0 of every plan holds ``None``: an optional input that isn't given
NOTHING = 0


class Step(NamedTuple):
    """One call. Values live in numbered slots; ``NOTHING`` as an output means: not used."""

    call: Callable[..., Any]  # positional arguments only; attributes are bound
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    release: tuple[int, ...]  # slots whose last use this is
    node: Node
    operator: Operator
    #: bind(space, *inputs): how this step binds to shapes, if it can (see ``ops.contract.space``)
    bind: Callable[..., Any] | None = None
    #: the subgraphs by attribute: their plans, and how many of the last inputs each takes, in turn
    bodies: dict[str, tuple[Plan, int]] = {}  # noqa: RUF012  (a NamedTuple's default, not changed)
    #: constants that ``call`` has taken in, which are no inputs any more: name, shape, dtype
    absorbed: tuple[tuple[str, tuple[int, ...], np.dtype], ...] = ()
    #: needs(*inputs): what the call takes at most (see ``ops.contract.cost``); ``None``: what is
    #: usual
    cost: Callable[..., Cost] | None = None
    #: calls(*inputs): the subgraphs by attribute, and the generator that asks for each call of one
    #: (``ops.contract.graphs``), for those who walk through them; ``None`` where nothing can be
    #: walked
    calls: Callable[..., Any] | None = None


@dataclass(frozen=True, eq=False)
class Plan:
    """A prepared graph."""

    inputs: tuple[int, ...]  # the slots that a run fills, in the order of its arguments
    outputs: tuple[int, ...]
    steps: tuple[Step, ...]
    template: list[Any] = field(repr=False)  # the slots as a run finds them: constants are in place
    names: dict[str, int] = field(repr=False)  # the slot of each value's name
    output_types: tuple[ValueType, ...] = ()
