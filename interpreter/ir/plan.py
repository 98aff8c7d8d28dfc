"""What is run, in which order, and what can be freed after each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any, NamedTuple

import numpy as np

from onnxwalk.interpreter.ir.model import Node, ValueInfo, ValueType
from onnxwalk.ops import Operator
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.records import record

#: slot 0 of every plan holds ``None``: an omitted optional input
NOTHING = 0


class Step(NamedTuple):
    """One call. Values are in numbered slots; an output in ``NOTHING`` is not used."""

    call: Callable[..., Any]  # positional arguments only; attributes are bound
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    release: tuple[int, ...]  # slots that no later step uses
    node: Node
    operator: Operator
    #: bind(space, *inputs) binds the step to shapes (see ``ops.contract.space``); ``None`` if it
    #: can't be bound
    bind: Callable[..., Any] | None = None
    #: the subgraphs by attribute: the plan, and how many of the last inputs belong to it, in order
    bodies: dict[str, tuple[Plan, int]] = {}  # noqa: RUF012  (a NamedTuple's default, not changed)
    #: constants that ``call`` already includes, so that they aren't inputs: name, shape, dtype
    absorbed: tuple[tuple[str, tuple[int, ...], np.dtype], ...] = ()
    #: cost(*inputs): an upper limit (see ``ops.contract.cost``); ``None``: the default cost
    cost: Callable[..., Cost] | None = None
    #: calls(*inputs): the subgraphs by attribute, and the generator that requests each call of one
    #: (``ops.contract.graphs``), to walk through them; ``None`` if there are none to walk through
    calls: Callable[..., Any] | None = None
    #: bind_moving(space, moves, *inputs) binds the step to those of its inputs that keep their
    #: shapes from run to run; ``None`` if it can't be bound so
    bind_moving: Callable[..., Any] | None = None


@record(frozen=True, eq=False)
class Plan:
    """A graph lowered to steps over slots."""

    inputs: tuple[int, ...]  # the slots that a run fills, in the order of its arguments
    outputs: tuple[int, ...]
    steps: tuple[Step, ...]
    template: list[Any] = field(repr=False)  # the slots at the start of a run, with constants
    names: dict[str, int] = field(repr=False)  # the slot of each value by name
    output_types: tuple[ValueType, ...] = ()
    declared_inputs: tuple[ValueInfo, ...] = ()  # of the graph itself, in the order of the file
