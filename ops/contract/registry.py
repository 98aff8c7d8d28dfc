"""Which function computes which operator at which version: ``@op`` and ``Registry``.

An operator is a plain function whose signature is its schema:

* positional parameters are the ONNX inputs in order; a default of ``None`` marks an optional
  input (``optional=`` names those that precede a required one), ``*xs`` a variadic one;
* keyword-only parameters are the ONNX attributes under their ONNX names. No default: required;
  ``None``: optional without a default; anything else: the default *of that version* of the spec;
* the reserved keywords in ``RESERVED`` request something from the interpreter;
* keywords with a leading underscore are for other modules of this package: they aren't part of the
  schema.

Other facts about it are registered at the function: see ``ops.contract.facts``.

Functions are called with NumPy's floating-point warnings off: overflow and 0/0 are values to ONNX.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from onnxwalk.ops.contract.cost import Cost, default_cost
from onnxwalk.ops.contract.facts import Facts, Function, MixedSamples, Preparation, no_gradient
from onnxwalk.ops.contract.graphs import Subgraphs
from onnxwalk.ops.contract.records import record

if TYPE_CHECKING:
    from onnxwalk.ops.contract.gradients import Vjp

T = TypeVar("T")

#: keyword-only parameters that are not attributes:
#: n_outputs  how many outputs the node has (trailing unnamed ones not counted)
#: rng        the session's ``numpy.random.Generator``
#: out        an array to write the result into, or ``None``
RESERVED = frozenset({"n_outputs", "rng", "out"})

#: the default of an attribute that the spec requires
REQUIRED: Any = inspect.Parameter.empty

_NO_SUBGRAPHS = Subgraphs()

#: ``hints`` of the versions that have this "legacy optimization attribute"
CONSUMED_INPUTS: Mapping[str, Any] = {"consumed_inputs": None}


@record(frozen=True)
class Input:
    """One formal input of an operator."""

    name: str
    optional: bool = False
    variadic: bool = False


@record(frozen=True, eq=False)
class Operator:
    """What (domain, name) means in models of opset ``since`` up to, not including, ``until``."""

    domain: str
    name: str
    since: int
    until: int | None
    function: Callable[..., Any]
    facts: Facts = field(repr=False)
    #: returns the schema; called when first needed, since inspecting all signatures takes long
    _signature: Callable[[], tuple[tuple[Input, ...], dict[str, Any], frozenset[str]]] = field(
        repr=False
    )
    #: the module that registered it
    module: str = field(repr=False, default="")
    #: attributes that aren't passed to the function
    hints: frozenset[str] = field(repr=False, default=frozenset())

    @functools.cached_property
    def _schema(self) -> tuple[tuple[Input, ...], dict[str, Any], frozenset[str]]:
        return self._signature()

    @property
    def inputs(self) -> tuple[Input, ...]:
        return self._schema[0]

    @property
    def attributes(self) -> dict[str, Any]:
        return self._schema[1]

    @property
    def reserved(self) -> frozenset[str]:
        return self._schema[2]

    @property
    def preparation(self) -> Preparation | None:
        """The rule registered with ``@function.prepare``."""
        return None if self.hints else self.facts.get("prepare")

    @property
    def binder(self) -> Callable[..., Any] | None:
        """The rule registered with ``@function.bind``: see ``ops.contract.space``."""
        return None if self.hints else self.facts.get("bind")

    @property
    def moving_binder(self) -> Callable[..., Any] | None:
        """The rule registered with ``@function.bind_moving``: see ``ops.contract.space``."""
        return None if self.hints else self.facts.get("bind_moving")

    @property
    def rule(self) -> Callable[..., Cost]:
        """The rule registered with ``@function.cost``, or ``default_cost``."""
        return self.facts.get("cost", default_cost)

    def cost(self, *inputs: Any, **keywords: Any) -> Cost:
        """An upper limit for a call with these inputs and attributes: see ``ops.contract.cost``."""
        try:
            memory, work = self.rule(*inputs, **keywords)
        except Exception:  # the operator reports invalid inputs
            return default_cost(*inputs)
        return Cost(max(memory, 0), max(work, 0))  # negative sizes are refused by the operator

    def flops(
        self, inputs: Sequence[Any], outputs: Sequence[Any], attributes: Mapping[str, Any]
    ) -> int:
        """The number of additions and multiplications of a call, from its inputs and outputs (or
        arrays of their shapes) and the node's attributes. 0 if it returns no arrays."""
        if not outputs or not isinstance(outputs[0], np.ndarray):
            return 0
        rule = self.facts.get("flops")
        if rule is None:
            return sum(y.size for y in outputs if isinstance(y, np.ndarray))
        return rule(outputs, *inputs, **{**self.attributes, **attributes})

    def batch_axis(
        self,
        samples: Sequence[int | None],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        attributes: Mapping[str, Any],
    ) -> list[int | None]:
        """The batch axis of each output, given those of the inputs. Raises MixedSamples."""
        rule = self.facts.get("batch_axis")
        if rule is None:
            raise MixedSamples
        return rule(samples, inputs, outputs, **{**self.attributes, **attributes})

    @property
    def chooses_type(self) -> bool:
        """Whether attributes choose the type of an output."""
        return "output_type" in self.facts

    def output_type(self, first: str, attributes: Mapping[str, Any]) -> str:
        """The type of the outputs that no type of an input determines; ``""`` if unknown."""
        rule = self.facts.get("output_type")
        try:
            return "" if rule is None else rule(first, **{**self.attributes, **attributes})
        except Exception:  # invalid attributes are reported elsewhere
            return ""

    @property
    def has_no_gradient(self) -> bool:
        """Whether the operator is declared to have none, as ArgMax."""
        return self.facts.of_gradient("vjp") is no_gradient

    @property
    def vjp(self) -> Vjp | None:
        """The rule registered with ``@function.vjp``, for this version; ``None`` if there is none
        (yet). Raises ValueError if the rule reads what this version doesn't have."""
        return None if self.facts.of_gradient("vjp") in (None, no_gradient) else self._vjp

    @functools.cached_property
    def _vjp(self) -> Vjp:
        rule = self.facts.of_gradient("vjp")
        from onnxwalk.ops.contract.gradients import Vjp  # where it is needed

        forward = self.facts.of_gradient("forward_keeping")
        kept = forward.keeps if forward else ()
        inputs = {i.name: i.variadic for i in self.inputs}
        return Vjp.of(rule, str(self), inputs, self.given_attributes, kept)

    @property
    def given_attributes(self) -> dict[str, Any]:
        """The attributes with their defaults, without the hints."""
        return {n: value for n, value in self.attributes.items() if n not in self.hints}

    @property
    def without_gradient(self) -> frozenset[str]:
        """The inputs of floating-point numbers that have no gradient."""
        return frozenset(self.facts.get("no_gradient_of", "").split())

    @property
    def subgraphs(self) -> Subgraphs:
        """Where the outputs of the subgraphs go."""
        return self.facts.get("subgraphs", _NO_SUBGRAPHS)

    def choices(self, attribute: str, opset: int) -> tuple[str, ...] | None:
        """The words that an attribute may be at this opset; ``None`` if any."""
        words = self.facts.get("choices", {}).get(attribute)
        if isinstance(words, Mapping):
            words = _latest(words, opset)
        return None if words is None else tuple(words.split())

    @property
    def not_computed(self) -> Mapping[str, str]:
        """Types that the spec allows and that aren't supported here, by type variable."""
        return self.facts.get("not_computed", {})

    @property
    def lays_out(self) -> tuple[str, ...]:
        """Inputs and attributes of which the operator makes an aligned copy of what it needs."""
        return tuple(self.facts.get("lays_out", "").split())

    @property
    def counts_outputs(self) -> bool:
        """Whether the values of the outputs depend on how many the node has."""
        return self.facts.get("counts_outputs", "n_outputs" in self.reserved)

    @property
    def documentation(self) -> str:
        """The formula, shapes and source: the function's docstring."""
        return inspect.getdoc(self.function) or ""

    def __str__(self) -> str:
        return f"{self.domain or 'ai.onnx'}.{self.name}-{self.since}"


class Registry:
    """A set of operators, looked up by (domain, operator, opset).

    What it doesn't have is looked up in ``parent``, so that a user's operators can add to the
    built-in ones: ``Registry(parent=onnxwalk.ops.registry)``.
    """

    def __init__(self, parent: Registry | None = None, *, lazy: bool = False) -> None:
        self.parent = parent
        self._lazy = lazy  # signatures are inspected when first needed, not when registered
        self._operators: dict[tuple[str, str], dict[int, Operator]] = {}
        #: load(domain, name) imports the module of an operator, load() all modules; the built-in
        #: operators are imported when first looked up
        self.load: Callable[..., None] = lambda *key: None

    def op(
        self,
        name: str,
        *,
        since: int,
        until: int | None = None,
        domain: str = "",
        without: Iterable[str] = (),
        optional: Iterable[str] = (),
        hints: Mapping[str, Any] | None = None,
    ) -> Callable[[Callable[..., Any]], Function]:
        """Register the decorated function for ``since <= opset < until``.

        ``without`` names inputs and attributes that this version doesn't have yet, so that one
        function can serve several versions.
        ``optional`` names optional inputs that precede a required one, where Python allows no
        default.
        ``hints`` are further attributes of this version, with their defaults, that don't change
        the result: they aren't passed to the function.

        ``domain`` is ONNX's own for "" as for "ai.onnx".

        Raises ValueError if (domain, name, since) is already registered, name or versions are
        invalid, or the signature can't be a schema.
        """
        if not name or not isinstance(name, str) or not isinstance(domain, str):
            raise ValueError(f"name and domain must be strings, not {name!r} and {domain!r}")
        for version in (since, until):
            if version is not None and (type(version) is not int or version < 1):
                raise ValueError(f"{name}: a version must be a positive integer, not {version!r}")
        if until is not None and until <= since:
            raise ValueError(f"{name}: until {until} must be greater than since {since}")
        domain = "" if domain == "ai.onnx" else domain
        module = sys._getframe(1).f_globals.get("__name__", "")

        def register(function: Callable[..., Any]) -> Function:
            called = _without_hints(function, hints) if hints else function
            signature = functools.partial(
                _read_signature, function, frozenset(without), frozenset(optional), hints or {}
            )
            if not self._lazy:
                signature()
            facts = Facts.of(function)
            dropped = frozenset(hints or ())
            operator = Operator(
                domain, name, since, until, called, facts, signature, module, dropped
            )
            versions = self._operators.setdefault((domain, name), {})
            if since in versions:
                raise ValueError(f"{operator} is already registered")
            versions[since] = operator
            return cast(Function, function)

        return register

    def lookup(self, domain: str, name: str, opset: int) -> Operator | None:
        """The operator that a node of a model of this opset calls, or ``None``."""
        self.load(domain, name)
        operator = _latest(self._operators.get((domain, name), {}), opset)
        if operator is not None and (operator.until is None or opset < operator.until):
            return operator
        return self.parent.lookup(domain, name, opset) if self.parent else None

    def named(self, domain: str, name: str) -> list[Operator]:
        """All versions of an operator in this registry (not in its parent)."""
        return list(self._operators.get((domain, name), {}).values())

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by name, as functions are pickled."""
        modules = {o.module for versions in self._operators.values() for o in versions.values()}
        for module in sorted({__name__, *modules}):
            for name, value in vars(sys.modules[module]).items() if module in sys.modules else ():
                if value is self:
                    return _find_registry, (module, name)
        raise pickle.PicklingError(
            "a registry is pickled by name: assign it to a variable of a module that registers "
            f"operators in it ({', '.join(sorted(modules)) or 'no module does'})"
        )

    def __iter__(self) -> Iterator[Operator]:
        """All operators, sorted by domain, name and version; the parent's come first."""
        self.load()
        if self.parent:
            yield from self.parent
        for key in sorted(self._operators):
            for since in sorted(self._operators[key]):
                yield self._operators[key][since]


def _latest(versions: Mapping[int, T], opset: int) -> T | None:
    """The value of the highest version that is not above the opset."""
    since = max((version for version in versions if version <= opset), default=None)
    return None if since is None else versions[since]


def _find_registry(module: str, name: str) -> Registry:
    """Unpickle a registry."""
    registry: Registry = getattr(importlib.import_module(module), name)
    return registry


def _without_hints(function: Callable[..., Any], hints: Mapping[str, Any]) -> Callable[..., Any]:
    """Drop the keywords that are hints from a function's calls."""

    @functools.wraps(function)
    def wrapper(*inputs: Any, **keywords: Any) -> Any:
        return function(*inputs, **{k: v for k, v in keywords.items() if k not in hints})

    return wrapper


def _read_signature(
    function: Callable[..., Any],
    without: frozenset[str],
    optional: frozenset[str],
    hints: Mapping[str, Any],
) -> tuple[tuple[Input, ...], dict[str, Any], frozenset[str]]:
    """The inputs, attributes and reserved keywords in a function's signature."""
    inputs: list[Input] = []
    attributes: dict[str, Any] = {}
    reserved: set[str] = set()
    unknown = set(without) | set(optional)
    for parameter in inspect.signature(function).parameters.values():
        name = parameter.name
        if name in without:
            if parameter.kind is not parameter.VAR_POSITIONAL and parameter.default is REQUIRED:
                raise ValueError(f"{function.__name__}: {name!r} in 'without' has no default")
            unknown.discard(name)
        elif name.startswith("_"):
            continue
        elif parameter.kind is parameter.KEYWORD_ONLY:
            if name in RESERVED:
                reserved.add(name)
            else:
                attributes[name] = parameter.default
        elif parameter.kind is parameter.VAR_POSITIONAL:
            inputs.append(Input(name, variadic=True))
        elif parameter.kind is parameter.VAR_KEYWORD:
            raise ValueError(f"{function.__name__}: attributes must be named, not **{name}")
        else:
            unknown.discard(name)
            inputs.append(Input(name, optional=parameter.default is None or name in optional))
    if unknown:
        raise ValueError(f"{function.__name__} has no parameter {sorted(unknown)}")
    return tuple(inputs), attributes | dict(hints), frozenset(reserved)


#: the built-in operators; the files of the families register them
registry = Registry(lazy=True)
op = registry.op

#: the domain and the operators that only the compiler's rewrites create; no file may use them
FUSED_DOMAIN = "onnxwalk.fused"
fused = Registry(lazy=True)

#: the newest opset of each domain that this package supports; a later one may change the meaning
#: of an operator
LATEST_OPSET = {
    "": 28,
    "ai.onnx.ml": 5,
    "ai.onnx.preview": 1,
    "ai.onnx.preview.training": 1,
    "com.microsoft": 1,
}
