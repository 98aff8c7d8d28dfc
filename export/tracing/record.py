"""Facts recorded while a model is traced, in addition to the graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Record:
    """Filled by the functions that replace Keras's during the trace (see ``patches``)."""

    names: Sequence[str]  # of the model's inputs
    trainable: bool = False  # whether the file is to be trained (see ``training``)
    inputs: Sequence[Any] = ()  # their tensors in the graph
    markers: list[Any] = field(default_factory=list)  # see ``markers``
    vocabulary: dict[str, int] = field(default_factory=dict)  # as in ``trace.Trace``
    masking: dict[str, float] = field(default_factory=dict)
    keys: dict[str, list[Any]] = field(default_factory=dict)
    known_only: set[str] = field(default_factory=set)
    dropped: set[int] = field(default_factory=set)  # cells whose input dropout is a node, by id
    masked: set[int] = field(default_factory=set)  # BatchNormalizations with a mask, by id

    def find_inputs(self, tensor: Any) -> set[str]:
        """The names of the model's inputs that a tensor of the graph is computed from."""
        known = {source.name: name for source, name in zip(self.inputs, self.names, strict=True)}
        seen, todo, found = set(), [tensor], set()
        while todo:
            current = todo.pop()
            if current.name in seen:
                continue
            seen.add(current.name)
            if current.name in known:
                found.add(known[current.name])
            todo.extend(current.op.inputs)
        return found
