"""The gradient of an operator: the rule that ``@operator.vjp`` registers.

A rule gets the gradients of the operator's outputs and returns those of its inputs (a vector-
Jacobian product). Its signature says what it reads, and so what is kept until then::

    @matmul.vjp
    def vjp_of_matmul(dy, a, b, *, wanted): ...

    @softmax.vjp
    def vjp_of_softmax(dy, *, y, axis): ...

    @split.vjp
    def vjp_of_split(*dys, ys_shape, axis): ...

* First come the gradients of the outputs, each named ``d`` and a name that the rule gives to the
  output: ``dy`` is the gradient of ``y``, the first output. ``*dys``: of all outputs. ``None``:
  nothing flows there.
* Every other parameter is found by its name. It is an output (``y``, or ``ys`` for all of them, if
  its gradient is named so), an output that ``@operator.forward_keeping`` adds, an input, or an
  attribute under its ONNX name. Attributes that a node lacks have the operator's default, of that
  version; the rule only gives a default for what not all of its versions have. A variadic input is
  a tuple, or ``*xs`` right after the gradients. ``**attributes`` are all other attributes.
* ``x_shape`` and ``x_dtype``, for an input or output x: the value itself isn't kept. Of a variadic
  one they are tuples of shapes and of dtypes, of a sequence lists.
* ``wanted`` has a bool for each input that the operator can have: whether its gradient is read.
  ``vjp_of_matmul.only_read_for(a="b", b="a")`` says that a is needed for the gradient of b only;
  where that isn't wanted, the rule gets ``None``.

The gradient of a sequence is a list with the gradient of each of its tensors. An absent input is
``None``, and so is its shape. The rule returns a tuple with the gradient of each
input, in its shape and dtype, or only one array if there is but one gradient; what isn't wanted may
be ``None``. It changes none of its inputs, and may return views of them. It sees short floats as
float32 (the results are rounded), unless it asks for an ``x_dtype``.

Cost and binder of a rule are registered at the rule, ``@vjp_of_matmul.cost``, and are called with
the same arguments.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from onnxwalk.ops.contract.cost import PER_ELEMENT, Cost, arrays_in, broadcast, size
from onnxwalk.ops.contract.dtypes import element_type, is_short_float, numpy_dtype
from onnxwalk.ops.contract.facts import Facts
from onnxwalk.ops.contract.records import record

Rule = Callable[..., Any]

#: characters of shapes, in a message
_MOST_SHOWN = 100


class Read(NamedTuple):
    """A value that a rule reads: of the node's inputs, or of its outputs."""

    parameter: str
    from_outputs: bool
    position: int
    #: whether it is all values from the position on
    variadic: bool = False
    #: whether only shape and dtype are read, and which of them the parameter gets
    meta: str = ""

    def names(self, inputs: Sequence[str], outputs: Sequence[str]) -> tuple[str, ...]:
        """The names of the values among those of a node."""
        names = outputs if self.from_outputs else inputs
        if self.variadic:
            return tuple(names[self.position :])
        return (names[self.position],) if self.position < len(names) else ("",)

    def value(self, values: Sequence[Any]) -> Any:
        """What the parameter gets."""
        found = tuple(_of_meta(x, self.meta) if self.meta else x for x in values)
        return found if self.variadic else found[0]


def shape_and_dtype(x: Any) -> Any:
    """The code of the element type, and the shape, as one small array; of a sequence a list."""
    if x is None or isinstance(x, list):  # an optional without a value
        return x and [shape_and_dtype(item) for item in x]
    return np.array([element_type(x.dtype).code, *x.shape], np.int64)


def _of_meta(described: Any, meta: str) -> Any:
    """The shape or the dtype from ``shape_and_dtype``."""
    if described is None or isinstance(described, list):
        return described and [_of_meta(item, meta) for item in described]
    code, *shape = described.tolist()
    return numpy_dtype(code) if meta == "dtype" else tuple(shape)


@record(frozen=True, eq=False)
class Vjp:
    """The rule of one version of an operator, ready to be called with the values of a node.

    A call gets the gradients of the node's outputs, then the values of each of ``reads``;
    ``counts`` says how many these are, of each. Its results are the gradients that are ``wanted``.
    """

    rule: Rule
    operator: str
    #: how many outputs it takes a gradient of; ``None``: of all that a node has
    gradients: int | None
    reads: tuple[Read, ...]
    #: those that the rule has, with their defaults
    attributes: Mapping[str, Any]
    _parameters: Mapping[str, inspect.Parameter]
    #: parameters that it reads for the gradients of some inputs only: the positions of these
    read_for: Mapping[str, frozenset[int]]
    #: the attributes that it takes, with a default or not
    _names: frozenset[str]

    @classmethod
    def of(
        cls,
        rule: Rule,
        operator: str,
        inputs: Mapping[str, bool],
        attributes: Mapping[str, Any],
        kept: Sequence[str] = (),
    ) -> Vjp:
        """The rule for an operator with these ``inputs`` (by name, whether it is variadic) and
        ``attributes`` (by name, the defaults). ``kept``: the names of the outputs that are added.

        Raises ValueError for a parameter that is nothing of this.
        """
        parameters = dict(inspect.signature(rule).parameters)
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        names = [n for n, p in parameters.items() if p.kind in kinds]
        given = list(itertools.takewhile(lambda n: n.startswith("d") and n not in inputs, names))
        if not given:
            raise ValueError(
                f"{rule.__name__}: the gradients of the outputs come first, as 'dy', not {names}"
            )
        takes_all = parameters[given[0]].kind is inspect.Parameter.VAR_POSITIONAL
        outputs = {n[1:]: i for i, n in enumerate(given)}
        if clash := sorted(outputs.keys() & inputs.keys()):
            raise ValueError(f"{rule.__name__}: {clash[0]!r} is the name of an input of {operator}")
        lookup = _Names(rule, operator, outputs, takes_all, inputs, kept)
        reads, used = [], {}
        for name, parameter in parameters.items():
            if name in given or name == "wanted" or parameter.kind is parameter.VAR_KEYWORD:
                continue
            if (read := lookup.find(name, attributes)) is not None:
                reads.append(read)
            elif name in attributes:
                used[name] = attributes[name]
            elif parameter.default is parameter.empty:
                raise ValueError(
                    f"{rule.__name__}: {operator} has no input, output or attribute {name!r}"
                )
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            values = {read.parameter for read in reads}
            used = {n: default for n, default in attributes.items() if n not in values}
        return cls(
            rule,
            operator,
            None if takes_all else len(given),
            tuple(reads),
            {n: v for n, v in used.items() if v is not inspect.Parameter.empty},
            parameters,
            {n: _positions(of, inputs) for n, of in _only_read_for(rule, parameters)},
            frozenset(used),
        )

    def __call__(
        self, *values: Any, counts: Sequence[int], wanted: Sequence[int], **attributes: Any
    ) -> tuple[np.ndarray, ...]:
        """The gradients of the wanted inputs, in their order."""
        short = None
        asks_for_dtypes = any(read.meta == "dtype" for read in self.reads)
        given = values
        if not asks_for_dtypes and any(is_short_float(x.dtype) for x in arrays_in(values)):
            flowing = (x.dtype for x in arrays_in(values[: counts[0]]))
            short = next(filter(is_short_float, flowing), None)
            values = tuple(map(_widened, values))
        args, keywords = self._arguments(values, counts, wanted, attributes)
        results = self._padded(self.rule(*args, **keywords), len(wanted))
        known = self._inputs_read(given, counts)
        chosen = (i for i, want in enumerate(wanted) if want)
        return tuple(self._checked(i, results[i], *known.get(i, (None, short))) for i in chosen)

    def _inputs_read(
        self, values: Sequence[Any], counts: Sequence[int]
    ) -> dict[int, tuple[Any, Any]]:
        """Shape and dtype of the inputs for which they are known, by position."""
        found: dict[int, tuple[Any, Any]] = {}
        for read, group in zip(self.reads, _split(values, counts)[1:], strict=True):
            if read.from_outputs:
                continue
            for position, x in enumerate(group, read.position):
                if x is None:
                    continue
                if read.meta:
                    found[position] = _of_meta(x, "shape"), _of_meta(x, "dtype")
                else:
                    found[position] = shapes_of(x), dtypes_of(x)
        return found

    def _checked(self, position: int, result: Any, shape: Any, dtype: Any) -> Any:
        """The gradient of an input, in its dtype if that is known. Raises ValueError if it has
        another shape."""
        if result is None:
            raise ValueError(f"the rule of {self.operator} has no gradient of input {position}")
        if shape is not None and shapes_of(result) != shape:
            given, expected = (str(x)[:_MOST_SHOWN] for x in (shapes_of(result), shape))
            raise ValueError(
                f"the rule of {self.operator} gives {given} for input {position}, which is "
                f"{expected}"
            )
        return _rounded(result, dtype)

    def _padded(self, results: Any, count: int) -> list[Any]:
        """The results of a rule, one for each input."""
        found = list(results) if isinstance(results, tuple) else [results]
        if len(found) > count:
            raise ValueError(
                f"the rule of {self.operator} gives {len(found)} gradients for {count} "
                f"input{'s' * (count != 1)}"
            )
        return found + [None] * (count - len(found))

    def cost(
        self, *values: Any, counts: Sequence[int], wanted: Sequence[int], **attributes: Any
    ) -> Cost:
        """The rule's cost, or what is usual for an elementwise one."""
        args, keywords = self._arguments(values, counts, wanted, attributes)
        arrays = list(arrays_in(values))
        # copies as float32, and the results, rounded
        widened = sum(6 * x.size for x in arrays if is_short_float(x.dtype))
        rule = Facts.of(self.rule).get("cost")
        if rule is not None:
            memory, work = rule(*args, **keywords)
            return Cost(memory + widened, work)
        count = max(size(broadcast(x.shape for x in arrays)), sum(x.size for x in arrays))
        count += sum(math.prod(shape) for shape in self._shapes(values, counts))
        item = max((x.itemsize for x in arrays_in(values[: counts[0]])), default=0)
        memory = (3 + sum(wanted)) * max(item, 4) * count
        return Cost(memory + widened, 3 * PER_ELEMENT * count)

    def bind(
        self, space: Any, *values: Any, counts: Sequence[int], wanted: Sequence[int], **given: Any
    ) -> Any:
        """The rule's binder, which returns what the rule returns. ``None``: it declines, or a shape
        that it reads isn't the same in every run."""
        groups = zip(self.reads, _split(values, counts)[1:], strict=True)
        if not all(space.is_constant(*group) for read, group in groups if read.meta):
            return None
        args, keywords = self._arguments(values, counts, wanted, given)
        results = Facts.of(self.rule)["bind"](space, *args, **keywords)
        if results is None:
            return None
        found = self._padded(results, len(wanted))
        return tuple(result for result, want in zip(found, wanted, strict=True) if want)

    def _shapes(self, values: Sequence[Any], counts: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """The shapes that are read in place of values."""
        for read, group in zip(self.reads, _split(values, counts)[1:], strict=True):
            if read.meta:
                yield from (_of_meta(x, "shape") for x in arrays_in(group))

    def _arguments(
        self,
        values: Sequence[Any],
        counts: Sequence[int],
        wanted: Sequence[int],
        attributes: Mapping[str, Any],
    ) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of the rule."""
        dys, *groups = _split(values, counts)
        found = {r.parameter: r.value(g) for r, g in zip(self.reads, groups, strict=True)}
        given = {name: value for name, value in attributes.items() if name in self._names}
        named = {**self.attributes, **given}
        if "wanted" in self._parameters:
            named["wanted"] = tuple(map(bool, wanted))
        args = list(dys) if self.gradients is None else (list(dys) + [None] * self.gradients)
        args = args[: self.gradients]
        for name, parameter in self._parameters.items():
            if name not in found:
                continue
            if parameter.kind is parameter.VAR_POSITIONAL:
                args += found.pop(name)
            elif parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                args.append(found.pop(name))
        return args, {**named, **found}


class _Names:
    """What the name of a rule's parameter means."""

    def __init__(
        self,
        rule: Rule,
        operator: str,
        outputs: Mapping[str, int],
        all_outputs: bool,
        inputs: Mapping[str, bool],
        kept: Sequence[str],
    ) -> None:
        self._values = {name: (False, i, inputs[name]) for i, name in enumerate(inputs)}
        # the last outputs are those that are kept
        self._values |= {name: (True, i - len(kept), False) for i, name in enumerate(kept)}
        self._values |= {name: (True, i, all_outputs) for name, i in outputs.items()}

    def find(self, name: str, attributes: Mapping[str, Any]) -> Read | None:
        """The value that a parameter stands for; ``None`` if it stands for none."""
        if name in self._values:
            return Read(name, *self._values[name])
        value, _, meta = name.rpartition("_")
        if name not in attributes and meta in ("shape", "dtype") and value in self._values:
            return Read(name, *self._values[value], meta)
        return None


def _only_read_for(rule: Rule, parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, inputs in Facts.of(rule).get("only_read_for", {}).items():
        if name not in parameters:
            raise ValueError(f"{rule.__name__} has no parameter {name!r}")
        yield name, inputs


def _positions(names: str, inputs: Mapping[str, bool]) -> frozenset[int]:
    known = list(inputs)
    return frozenset(known.index(name) for name in names.split() if name in inputs)


def _split(values: Sequence[Any], counts: Sequence[int]) -> list[Sequence[Any]]:
    """Consecutive parts of these lengths."""
    groups, start = [], 0
    for count in counts:
        groups.append(values[start : start + count])
        start += count
    return groups


def shapes_of(x: Any) -> Any:
    """The shape, or those of the tensors of a sequence."""
    return list(map(shapes_of, x)) if isinstance(x, list) else x if x is None else np.shape(x)


def dtypes_of(x: Any) -> Any:
    """The dtype, or those of the tensors of a sequence."""
    return list(map(dtypes_of, x)) if isinstance(x, list) else x if x is None else x.dtype


def _rounded(x: Any, dtype: Any) -> Any:
    """As an array of this dtype, or of its own; for a sequence lists of them."""
    if isinstance(x, list):
        dtypes = dtype if isinstance(dtype, list) else [dtype] * len(x)
        return [_rounded(*pair) for pair in zip(x, dtypes, strict=True)]
    return np.asarray(x, dtype)


def _widened(x: Any) -> Any:
    if isinstance(x, list):
        return [_widened(item) for item in x]
    short = isinstance(x, np.ndarray) and is_short_float(x.dtype)
    return x.astype(np.float32) if short else x
