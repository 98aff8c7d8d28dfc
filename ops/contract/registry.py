"""Which function computes which operator at which version: ``@op`` and ``Registry``.

An operator is a plain function whose signature is its schema:

* positional parameters are the ONNX inputs in order; a default of ``None`` marks an optional
  input (``optional=`` one that required inputs follow), ``*xs`` a variadic one;
* keyword-only parameters are the ONNX attributes under their ONNX names. No default: required;
  ``None``: optional without a default; anything else: the default *of that version* of the spec;
* the reserved keywords in ``RESERVED`` ask the interpreter for something that is not in the file.
* keywords with a leading underscore are for other modules of this package: they aren't in the
  schema, and no node has them.

What else is true of it is registered at the function: see ``ops.contract.facts``.

Functions are called with NumPy's floating-point warnings off: overflow and 0/0 are values to ONNX.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from onnxwalk.ops.contract.cost import Cost, usual
from onnxwalk.ops.contract.facts import Facts, Function, Mixed, Preparation
from onnxwalk.ops.contract.graphs import Subgraphs

#: keyword-only parameters that are not attributes:
#: n_outputs  how many outputs the node names (trailing unnamed ones not counted)
#: rng        the session's ``numpy.random.Generator``
#: out        an array to write the result into, or ``None``
RESERVED = frozenset({"n_outputs", "rng", "out"})

#: the default of an attribute that the spec requires
REQUIRED: Any = inspect.Parameter.empty

#: ``hints`` of the versions that still had this "legacy optimization attribute"
CONSUMED_INPUTS: Mapping[str, Any] = {"consumed_inputs": None}


@dataclass(frozen=True)
class Input:
    """One formal input of an operator."""

    name: str
    optional: bool = False
    variadic: bool = False


@dataclass(frozen=True, eq=False)
class Operator:
    """What (domain, name) means in models of opset ``since`` up to, not including, ``until``."""

    domain: str
    name: str
    since: int
    until: int | None
    function: Callable[..., Any]
    facts: Facts = field(repr=False)
    #: reads the signature; not before it is needed, since reading all of them takes time
    _signature: Callable[[], tuple[tuple[Input, ...], dict[str, Any], frozenset[str]]] = field(
        repr=False
    )
    #: the module that registered it
    module: str = field(repr=False, default="")
    #: attributes that the function is called without
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
        """What ``@function.prepare`` registered."""
        return None if self.hints else self.facts.get("prepare")

    @property
    def binder(self) -> Callable[..., Any] | None:
        """What ``@function.bind`` registered: see ``ops.contract.space``."""
        return None if self.hints else self.facts.get("bind")

    @property
    def rule(self) -> Callable[..., Cost]:
        """What ``@function.cost`` registered, or ``usual``."""
        return self.facts.get("cost", usual)

    def cost(self, *inputs: Any, **keywords: Any) -> Cost:
        """What a call takes at most for these inputs and attributes: see ``ops.contract.cost``."""
        try:
            memory, work = self.rule(*inputs, **keywords)
        except Exception:  # what is wrong is the operator's to tell
            return usual(*inputs)
        return Cost(max(memory, 0), max(work, 0))  # of negative sizes, which it will refuse

    def flops(self, inputs: Sequence[Any], outputs: Sequence[Any], given: Mapping[str, Any]) -> int:
        """The additions and multiplications of a call, for its values (or arrays of their shapes)
        and the attributes that the node has. 0 if it returns no arrays."""
        if not outputs or not isinstance(outputs[0], np.ndarray):
            return 0
        rule = self.facts.get("flops")
        if rule is None:
            return sum(y.size for y in outputs if isinstance(y, np.ndarray))
        return rule(outputs, *inputs, **{**self.attributes, **given})

    def batch_axis(
        self,
        samples: Sequence[int | None],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        given: Mapping[str, Any],
    ) -> list[int | None]:
        """The axis of each output that counts the samples of a batch. Raises Mixed."""
        rule = self.facts.get("batch_axis")
        if rule is None:
            raise Mixed
        return rule(samples, inputs, outputs, **{**self.attributes, **given})

    def output_type(self, first: str, given: Mapping[str, Any]) -> str:
        """The type of the outputs that the types of the inputs leave open; ``""``: not known."""
        rule = self.facts.get("output_type")
        try:
            return "" if rule is None else rule(first, **{**self.attributes, **given})
        except Exception:  # of attributes that don't fit, which is reported elsewhere
            return ""

    @property
    def subgraphs(self) -> Subgraphs:
        """What becomes of the outputs of the graphs among the attributes."""
        return self.facts.get("subgraphs", Subgraphs())

    def choices(self, attribute: str, opset: int) -> tuple[str, ...] | None:
        """The words that an attribute may be at this opset; ``None``: any."""
        words = self.facts.get("choices", {}).get(attribute)
        if isinstance(words, Mapping):
            since = max((version for version in words if version <= opset), default=None)
            words = None if since is None else words[since]
        return None if words is None else tuple(words.split())

    @property
    def not_computed(self) -> Mapping[str, str]:
        """Types that the spec allows but that aren't computed here, by type variable."""
        return self.facts.get("not_computed", {})

    @property
    def counts_outputs(self) -> bool:
        """Whether the number of outputs that the node names changes what is in them."""
        return self.facts.get("counts_outputs", "n_outputs" in self.reserved)

    @property
    def documentation(self) -> str:
        """The formula, shapes and source: the function's docstring."""
        return inspect.getdoc(self.function) or ""

    def __str__(self) -> str:
        return f"{self.domain or 'ai.onnx'}.{self.name}-{self.since}"


class Registry:
    """A set of operators, looked up by (domain, operator, opset).

    ``parent`` is asked for what this registry itself has not got, so that a user's own operators
    sit on top of the built-in ones: ``Registry(parent=onnxwalk.ops.registry)``.
    """

    def __init__(self, parent: Registry | None = None, *, trusting: bool = False) -> None:
        self.parent = parent
        self._trusting = trusting  # signatures are read when they are needed, not at once
        self._operators: dict[tuple[str, str], dict[int, Operator]] = {}
        #: load(domain, name) imports what registers an operator, load() everything; the built-in
        #: operators are imported when they are first looked up
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

        ``without`` names inputs and attributes that this version does not have yet, so that one
        function can serve several versions whose only difference is what was added later.
        ``optional`` names inputs that may be missing although a required one follows, where
        Python allows no default.
        ``hints`` are the attributes, with their defaults, that this version has besides and that
        don't change what it computes: the function is called without them.

        Raises ValueError when (domain, name, since) is taken, or the signature is no schema.
        """

        module = sys._getframe(1).f_globals.get("__name__", "")

        def register(function: Callable[..., Any]) -> Function:
            called = _dropping(function, hints) if hints else function
            signature = functools.partial(
                _schema, function, frozenset(without), frozenset(optional), hints or {}
            )
            if not self._trusting:
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
        """The operator that a node means in a model of this opset, or ``None``."""
        self.load(domain, name)
        versions = self._operators.get((domain, name))
        if versions is not None:
            since = max((version for version in versions if version <= opset), default=None)
            if since is not None:
                operator = versions[since]
                if operator.until is None or opset < operator.until:
                    return operator
        return self.parent.lookup(domain, name, opset) if self.parent else None

    def named(self, domain: str, name: str) -> list[Operator]:
        """All versions of an operator that this registry itself has got."""
        return list(self._operators.get((domain, name), {}).values())

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by its name: the functions in it are code."""
        modules = {o.module for versions in self._operators.values() for o in versions.values()}
        for module in sorted({__name__, *modules}):
            for name, value in vars(sys.modules[module]).items() if module in sys.modules else ():
                if value is self:
                    return _by_name, (module, name)
        raise pickle.PicklingError(
            "a registry is pickled by its name: it must be a variable of a module that registers "
            f"operators in it ({', '.join(sorted(modules)) or 'there is none'})"
        )

    def __iter__(self) -> Iterator[Operator]:
        """Every operator, by domain, name and version; a parent's come first."""
        self.load()
        if self.parent:
            yield from self.parent
        for key in sorted(self._operators):
            for since in sorted(self._operators[key]):
                yield self._operators[key][since]


def _by_name(module: str, name: str) -> Registry:
    """A registry that was pickled."""
    registry: Registry = getattr(importlib.import_module(module), name)
    return registry


def _dropping(function: Callable[..., Any], hints: Mapping[str, Any]) -> Callable[..., Any]:
    """The function, called without the keywords that are hints."""

    @functools.wraps(function)
    def called(*inputs: Any, **keywords: Any) -> Any:
        return function(*inputs, **{k: v for k, v in keywords.items() if k not in hints})

    return called


def _schema(
    function: Callable[..., Any],
    without: frozenset[str],
    optional: frozenset[str],
    hints: Mapping[str, Any],
) -> tuple[tuple[Input, ...], dict[str, Any], frozenset[str]]:
    """The inputs, attributes and reserved keywords that a function's signature states."""
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


#: the built-in operators; the family files of this folder fill it
registry = Registry(trusting=True)
op = registry.op

#: the domain, and the operators in it, that only the compiler's rewrites make; no file may use it
FUSED = "onnxwalk.fused"
fused = Registry(trusting=True)

#: the newest opset of each domain whose changes this package knows; a later one may mean
#: something else by the same name
LATEST_OPSET = {
    "": 28,
    "ai.onnx.ml": 5,
    "ai.onnx.preview": 1,
    "ai.onnx.preview.training": 1,
    "com.microsoft": 1,
}
