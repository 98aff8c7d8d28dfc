"""What is true of an operator, registered at its function: what it costs, how it binds, …

``Function`` lists the facts there are. They belong to the function, and so to the domain, name and
versions it is registered under; another operator of the same name has none of them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Function(Protocol):
    """An operator's function as ``op`` returns it. Each method registers one fact, as a decorator
    of the rule or with the value.

    ``attributes`` are those of the node; ``flops``, ``batch_axis`` and ``output_type`` also get
    the defaults of the others.
    """

    def __call__(self, *inputs: Any, **attributes: Any) -> Any: ...

    def prepare(self, rule: T) -> T:
        """prepare(*constants, **attributes) is called once, at load, if the inputs that it names
        are constants, and returns the function of the remaining inputs."""

    def bind(self, rule: T) -> T:
        """bind(space, *inputs, **attributes): see ``ops.contract.space``."""

    def cost(self, rule: T) -> T:
        """cost(*inputs, **attributes) -> ``Cost``: see ``ops.contract.cost``."""

    def flops(self, rule: T) -> T:
        """flops(outputs, *inputs, **attributes): how many additions and multiplications the formula
        takes, each counted as one. Without a rule: one for each value of the outputs."""

    def batch_axis(self, rule: T) -> T:
        """batch_axis(samples, inputs, outputs, **attributes) -> for each output the axis that
        counts the samples of a batch, or None; ``samples`` has these axes of the inputs. Raises
        ``Mixed`` if the samples don't stay apart, which is assumed without a rule."""

    def output_type(self, rule: T) -> T:
        """output_type(first, **attributes) -> the type of the outputs that the types of the inputs
        leave open, as ``ops.schema.types`` writes it, or "". ``first`` is the type of the first
        input. Among the attributes, tensors and types are replaced by their types."""

    def subgraphs(self, rule: T) -> T:
        """A ``Subgraphs``: what becomes of the outputs of the graphs among the attributes."""

    def choices(self, rule: T) -> T:
        """{attribute: the words it may be}, or {attribute: {version of the spec: words}}."""

    def not_computed(self, rule: T) -> T:
        """{type variable: types} that the spec allows and this package doesn't compute."""

    def counts_outputs(self, rule: T) -> T:
        """Whether the number of outputs that the node names changes what is in them. Without this:
        if the function asks for ``n_outputs``."""

    def attention_weights(self, rule: T) -> T:
        """attention_weights(*inputs, **attributes) -> what each query gives each key,
        (batch, heads, queries, keys)."""


#: the names of the facts
FACTS = tuple(name for name in vars(Function) if not name.startswith("_"))


class Mixed(Exception):
    """The samples of a batch can't be told apart behind an operator."""


@dataclass(frozen=True)
class Preparation:
    """A function of constants that returns the function of the other inputs, or ``None``."""

    constants: tuple[str, ...]
    function: Callable[..., Callable[..., Any] | None]

    @classmethod
    def of(cls, operator: Callable[..., Any], rule: Callable[..., Any]) -> Preparation:
        """The rule with the inputs that it names. ValueError if the operator lacks one."""
        constants = tuple(
            parameter.name
            for parameter in inspect.signature(rule).parameters.values()
            if parameter.kind not in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD)
        )
        inputs = inspect.signature(operator).parameters
        if missing := [name for name in constants if name not in inputs]:
            raise ValueError(f"{rule.__name__}: {operator.__name__} has no input {missing}")
        return cls(constants, rule)


class Facts(dict[str, Any]):
    """The facts that are registered at a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function
        for name in FACTS:
            function.__dict__[name] = functools.partial(self._register, name)

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Facts:
        """Those of a function; a wrapper of it (``functools.wraps``) has its own."""
        facts = function.__dict__.get("__onnx_facts__")
        if facts is None or facts._function is not function:
            facts = function.__dict__["__onnx_facts__"] = cls(function)
        return facts

    def _register(self, name: str, rule: Any) -> Any:
        if name in self:
            raise ValueError(f"{self._function.__name__} has {name} already")
        self[name] = Preparation.of(self._function, rule) if name == "prepare" else rule
        return rule


def declare(*functions: Function, **facts: Any) -> None:
    """Register the same facts at each function of a family."""
    for function in functions:
        for name, rule in facts.items():
            getattr(function, name)(rule)
