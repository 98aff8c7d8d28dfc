"""Facts about an operator, registered at its function: its cost, its binder, …

``Function`` lists the kinds of facts. They belong to the function, and so to the domain, name and
versions it is registered under; another operator of the same name shares none of them.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from onnxwalk.ops.contract.records import record

T = TypeVar("T")


class Function(Protocol):
    """An operator's function as ``op`` returns it. Each method registers one fact; if the fact is
    a rule, use the method as a decorator.

    ``attributes`` are those of the node; ``flops``, ``batch_axis`` and ``output_type`` also get
    the defaults of the absent ones.
    """

    def __call__(self, *inputs: Any, **attributes: Any) -> Any: ...

    def prepare(self, rule: T) -> T:
        """prepare(*constants, **attributes) is called once, at load, if the inputs that it names
        are constants, and returns the function of the remaining inputs."""

    def lays_out(self, names: str) -> str:
        """Constants, separated by blanks, of which the prepared function only keeps a layout of its
        own, with aligned data: they may be unaligned, as in a file."""

    def bind(self, rule: T) -> T:
        """bind(space, *inputs, **attributes): see ``ops.contract.space``."""

    def bind_moving(self, rule: T) -> T:
        """bind_moving(space, moves, *inputs, **attributes), for inputs of which some have another
        shape in every run: see ``MovingBind`` in ``ops.contract.space``."""

    def cost(self, rule: T) -> T:
        """cost(*inputs, **attributes) -> ``Cost``: see ``ops.contract.cost``."""

    def flops(self, rule: T) -> T:
        """flops(outputs, *inputs, **attributes) -> the number of additions and multiplications in
        the formula. Default: one for each value of the outputs."""

    def batch_axis(self, rule: T) -> T:
        """batch_axis(samples, inputs, outputs, **attributes) -> for each output the batch axis, or
        None; ``samples`` lists those of the inputs. Raises ``MixedSamples`` if an output depends
        on several samples, which is the default."""

    def worth_splitting(self, rule: T) -> T:
        """worth_splitting(outputs) -> whether it pays to compute parts of the batch on several
        threads. Default: yes."""

    def output_type(self, rule: T) -> T:
        """output_type(first, **attributes) -> the type of the outputs, as ``ops.schema.types``
        writes it, where the types of the inputs don't determine it; "" if unknown. ``first`` is the
        type of the first input. Tensors and types among the attributes are given as their types."""

    def subgraphs(self, rule: T) -> T:
        """A ``Subgraphs``: where the outputs of the subgraphs go."""

    def choices(self, rule: T) -> T:
        """{attribute: its allowed words}, or {attribute: {version of the spec: words}}."""

    def not_computed(self, rule: T) -> T:
        """{type variable: types} that the spec allows and this package doesn't support."""

    def counts_outputs(self, rule: T) -> T:
        """Whether the values of the outputs depend on how many the node has. Default: if the
        function asks for ``n_outputs``."""

    def attention_weights(self, rule: T) -> T:
        """attention_weights(*inputs, **attributes) -> (batch, heads, queries, keys)"""

    def vjp(self, rule: Callable[..., Any]) -> Function:
        """vjp(*gradients of outputs, …) -> the gradients of the inputs: see
        ``ops.contract.gradients``; ``no_gradient``: there is none."""

    def no_gradient_of(self, names: str) -> str:
        """Inputs of floating-point numbers that have no gradient, separated by blanks."""

    def only_read_for(self, **inputs: str) -> Any:
        """At a rule of ``vjp``: only_read_for(w="x"): it reads w for the gradient of x only (of
        several, separated by blanks), and gets ``None`` where that isn't wanted, so that a run
        needn't keep w."""

    def forward_keeping(self, *names: str) -> Callable[[Callable[..., Any]], Function]:
        """forward(*inputs, **attributes) -> (outputs, kept): the operator's outputs, and a tuple of
        the values named ``names``, which the rule of ``vjp`` reads. It is called in place of the
        operator where its gradient is computed, with a value for each attribute. Its cost and its
        binder are registered at it."""


#: the names of the facts
FACTS = tuple(name for name in vars(Function) if not name.startswith("_"))


class MixedSamples(Exception):
    """An output of an operator depends on several samples of a batch."""


@record(frozen=True)
class Preparation:
    """A function of constant inputs that returns the function of the other inputs, or ``None``."""

    constants: tuple[str, ...]
    function: Callable[..., Callable[..., Any] | None]

    @classmethod
    def of(cls, operator: Callable[..., Any], rule: Callable[..., Any]) -> Preparation:
        """From a rule whose parameters are inputs. ValueError if the operator lacks one."""
        constants = tuple(
            parameter.name
            for parameter in inspect.signature(rule).parameters.values()
            if parameter.kind not in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD)
        )
        inputs = inspect.signature(operator).parameters
        if missing := [name for name in constants if name not in inputs]:
            raise ValueError(f"{rule.__name__}: {operator.__name__} has no input {missing}")
        return cls(constants, rule)


@record(frozen=True)
class Forward:
    """A function in place of an operator that returns more: the values named ``keeps``."""

    keeps: tuple[str, ...]
    rule: Callable[..., Any]


class Facts(dict[str, Any]):
    """The facts registered at a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function
        for name in FACTS:
            function.__dict__[name] = functools.partial(self._register, name)
        function.__dict__["forward_keeping"] = self._register_forward
        function.__dict__["only_read_for"] = self._register_reads

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Facts:
        """The facts of a function; a wrapper of it (``functools.wraps``) has its own."""
        facts = function.__dict__.get("__onnx_facts__")
        if facts is None or facts._function is not function:
            facts = function.__dict__["__onnx_facts__"] = cls(function)
        return facts

    def of_gradient(self, name: str) -> Any:
        """The fact "vjp" or "forward_keeping", ``None`` if there is none. The rules of a large
        family stand in a file of their own, FAMILY_gradients, which is imported when first asked
        for one: few sessions compute gradients."""
        _import_rules(self._function.__module__)
        return self.get(name)

    def _register(self, name: str, rule: Any) -> Any:
        if name in self:
            raise ValueError(f"{self._function.__name__}: {name} is already registered")
        self[name] = Preparation.of(self._function, rule) if name == "prepare" else rule
        if name == "vjp":
            Facts.of(rule)  # a rule has facts of its own: its cost and its binder
        return rule

    def _register_reads(self, **inputs: str) -> None:
        self._register("only_read_for", inputs)

    def _register_forward(self, *names: str) -> Callable[[Callable[..., Any]], Any]:
        def register(rule: Callable[..., Any]) -> Any:
            self._register("forward_keeping", Forward(names, rule))
            Facts.of(rule)  # its cost and its binder
            return rule

        return register


@functools.cache
def _import_rules(family: str) -> None:
    name = f"{family}_gradients"
    if family.startswith("onnxwalk.ops."):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise


def declare(*functions: Function, **facts: Any) -> None:
    """Register the same facts at each function of a family."""
    for function in functions:
        for name, rule in facts.items():
            getattr(function, name)(rule)


def no_gradient(*_: Any) -> tuple[()]:
    """The rule of an operator without a gradient: its outputs are whole numbers, truth values or
    shapes, or constant between jumps (Floor)."""
    return ()


def rule(function: Callable[..., Any]) -> Function:
    """Decorator of a rule in another file than its operator: its cost and binder are registered
    there, too."""
    Facts.of(function)
    return cast(Function, function)
