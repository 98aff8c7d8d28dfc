"""What one iteration of a loop computes, as an expression of its step's input and of the states.

Products with known weights are kept as sums: of each factor that is multiplied, its matrix, a bias,
and other terms. A slice of such a sum is the sum of slices of its weights, so a gate looks the same
whether the gates were computed together and split, or one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from onnxwalk.interpreter.compiler.passes.patterns import Links
from onnxwalk.interpreter.compiler.passes.sizes import Sizes
from onnxwalk.interpreter.ir.model import Graph, Node
from onnxwalk.ops.contract.records import record

#: one of the classes below. Equal ones are the same value.
Expression: TypeAlias = Any


@record(frozen=True)
class Counter:
    """The number of the iteration plus ``offset``, in any type."""

    offset: int


@record(frozen=True, eq=False)
class Constant:
    """Numbers that are known; equal to nothing else, as arrays don't compare to one truth value."""

    values: np.ndarray


@record(frozen=True)
class Element:
    """``source[i]`` in iteration i."""

    source: str


@record(frozen=True)
class Outer:
    """A value from outside of the loop, the same in every iteration."""

    name: str


@record(frozen=True)
class State:
    """A value that the loop carries, by its number."""

    index: int


@record(frozen=True)
class Condition:
    """A truth value ``source[i]``, or its opposite; ``number``: as 0 or 1."""

    source: str
    negated: bool = False
    number: bool = False


@record(frozen=True)
class Function:
    """Sigmoid, Tanh or Relu."""

    name: str
    x: Expression


@record(frozen=True)
class Product:
    """The product of two values, element by element."""

    a: Expression
    b: Expression


@record(frozen=True)
class Complement:
    """1 - x"""

    x: Expression


@record(frozen=True)
class Select:
    """``new`` where the condition holds, else ``old``; ``by_product``: by products with 0 and 1, to
    which a NaN on either side is a NaN."""

    source: str
    new: Expression
    old: Expression
    by_product: bool


@record(frozen=True, eq=False)
class Sum:
    """The sum of factor @ matrix for each of ``products``, ``bias``, and other ``terms``."""

    products: dict[Expression, np.ndarray]
    bias: Any
    terms: tuple[Expression, ...] = ()


class Unknown(Exception):
    """A value isn't any of these expressions."""


class Iteration:
    """The expressions of a loop's body; ``outer`` are the values around it."""

    def __init__(self, body: Graph, carried: Sequence[Expression], outer: Links) -> None:
        """``carried``: what each carried value is at the start of an iteration."""
        self._links = Links(body, outer.context)
        self._outer = outer
        names = [value.name for value in body.inputs]
        self._found: dict[str, Expression] = dict(zip(names[2:], carried, strict=True))
        self._found[names[0]] = Counter(0)
        self._sizes = Sizes(self._links)

    def value(self, name: str) -> Expression:
        """The expression of a value. Raises Unknown."""
        if name not in self._found:
            constant = self._constant(name)
            found = self._compute(name) if constant is None else Constant(constant)
            self._found.setdefault(name, found)  # a Split sets all of its outputs
        return self._found[name]

    def reads(self, position: int) -> bool:
        """Whether the body reads one of its inputs."""
        return self._links.is_read(self._links.graph.inputs[position].name)

    def lasts(self, name: str, length: Any, outer_sizes: Sizes) -> bool:
        """Whether a condition to go on holds after each iteration but the last of ``length``."""
        node = self._links.maker.get(name)
        if node is None:
            constant = self._constant(name)
            return constant is not None and constant.dtype == bool and bool(constant.all())
        if self._links.is_operator(node, "Identity", "And"):
            return all(self.lasts(n, length, outer_sizes) for n in node.inputs)
        if not self._links.is_operator(node, "Less"):
            return False
        count = self.value(node.inputs[0])
        return (
            isinstance(count, Counter)
            and count.offset in (0, 1)
            and (self._numbers(node.inputs[1], outer_sizes) == (length,))
        )

    def _numbers(self, name: str, outer_sizes: Sizes) -> Any:
        """As ``Sizes.numbers``, also of what the body only casts."""
        node = self._links.maker.get(name)
        while node is not None and self._links.is_operator(node, "Cast", "Identity"):
            name = node.inputs[0]
            node = self._links.maker.get(name)
        return (outer_sizes if self._is_outer(name) else self._sizes).numbers(name)

    def _is_outer(self, name: str) -> bool:
        graph = self._links.graph
        inner = name in self._links.maker or name in graph.initializers
        return not inner and all(value.name != name for value in graph.inputs)

    def _constant(self, name: str) -> np.ndarray | None:
        return (self._outer if self._is_outer(name) else self._links).constant(name)

    def _compute(self, name: str) -> Expression:
        if self._is_outer(name):
            return Outer(name)
        node = self._links.maker.get(name)
        if node is None or not self._links.is_operator(node, node.op_type):
            raise Unknown(name)
        compute = getattr(self, f"_of_{node.op_type.lower()}", None)
        if compute is None:
            raise Unknown(name)
        return compute(node)

    def _values(self, node: Node) -> list[Expression]:
        return [self.value(name) for name in node.inputs]

    def _of_identity(self, node: Node) -> Expression:
        return self.value(node.inputs[0])

    def _of_cast(self, node: Node) -> Expression:
        x = self.value(node.inputs[0])
        if isinstance(x, Counter):
            return x
        if node.attributes["to"] not in (1, 11):
            raise Unknown
        condition = self._as_condition(x)  # if anything else is negated, it is a truth value
        return Condition(condition.source, condition.negated, number=True)

    def _of_not(self, node: Node) -> Expression:
        x = self._as_condition(self.value(node.inputs[0]))
        return Condition(x.source, not x.negated)

    def _of_gather(self, node: Node) -> Expression:
        axis = node.attributes.get("axis", 0)
        current = self.value(node.inputs[1]) == Counter(0)
        if axis or not current or not self._is_outer(node.inputs[0]):
            raise Unknown
        return Element(node.inputs[0])

    def _of_where(self, node: Node) -> Expression:
        condition, new, old = self._values(node)
        condition = self._as_condition(condition)
        if condition.negated:
            new, old = old, new
        return Select(condition.source, new, old, by_product=False)

    def _as_condition(self, x: Expression) -> Condition:
        if isinstance(x, Element):
            return Condition(x.source)
        if isinstance(x, Condition) and not x.number:
            return x
        raise Unknown

    def _of_tanh(self, node: Node) -> Expression:
        return Function(node.op_type, self.value(node.inputs[0]))

    _of_sigmoid = _of_relu = _of_tanh

    def _of_mul(self, node: Node) -> Expression:
        a, b = self._values(node)
        if isinstance(a, Constant) or isinstance(b, Constant):
            raise Unknown
        return Product(a, b)

    def _of_sub(self, node: Node) -> Expression:
        one, x = self._values(node)
        if isinstance(one, Constant) and one.values.size == 1 and one.values.item() == 1:
            return Complement(x)
        raise Unknown

    def _of_matmul(self, node: Node) -> Expression:
        factor, matrix = self._values(node)
        known = isinstance(matrix, Constant) and matrix.values.ndim == 2
        if not known or not isinstance(factor, Element | State | Product):
            raise Unknown
        return Sum({factor: matrix.values}, np.zeros(1, matrix.values.dtype))

    def _of_add(self, node: Node) -> Expression:
        a, b = self._values(node)
        for x, y in ((a, b), (b, a)):
            if isinstance(x, Counter) and isinstance(y, Constant):
                if y.values.size == 1 and y.values.dtype.kind == "i":
                    return Counter(x.offset + int(y.values.item()))
                raise Unknown
        return self._select(a, b) or _add(_as_sum(a), _as_sum(b))

    def _select(self, a: Expression, b: Expression) -> Select | None:
        """``m * a + (1 - m) * b`` for a condition m."""
        sides = [_masked(x) for x in (a, b)]
        if None in sides:
            return None
        (m, x), (n, y) = sides  # type: ignore[misc]
        if m.source != n.source or m.negated == n.negated:
            return None
        new, old = (y, x) if m.negated else (x, y)
        return Select(m.source, new, old, by_product=True)

    def _of_split(self, node: Node) -> Expression:
        x = self.value(node.inputs[0])
        width = _width(x)
        if node.attributes.get("axis", 0) not in (1, -1):
            raise Unknown
        sizes: Any = node.attributes.get("split")
        if len(node.inputs) > 1:
            constant = self._constant(node.inputs[1])
            if constant is None:
                raise Unknown
            sizes = constant.tolist()
        count = len(node.outputs)
        if not sizes:
            if width % count:
                raise Unknown
            sizes = [width // count] * count
        start = 0
        for name, size in zip(node.outputs, sizes, strict=True):
            self._found[name] = _columns(x, slice(start, start + size))
            start += size
        return self._found[node.outputs[0]]

    def _of_slice(self, node: Node) -> Expression:
        bounds = self._slices(node)
        x = self.value(node.inputs[0])
        rows, columns = bounds.pop(0, slice(None)), bounds.pop(1, slice(None))
        columns = bounds.pop(-1, columns)
        if bounds or (rows.start or 0, rows.stop, rows.step or 1) != (0, None, 1):
            raise Unknown
        return _columns(x, columns)

    def _slices(self, node: Node) -> dict[int, slice]:
        for name in node.inputs[1:]:
            if name and self._is_outer(name):
                raise Unknown
        bounds = self._sizes.slices(node)
        if bounds is None:
            raise Unknown
        return dict(bounds)


def _masked(x: Expression) -> tuple[Condition, Expression] | None:
    """The parts of a product with a condition."""
    if isinstance(x, Product):
        for condition, value in ((x.a, x.b), (x.b, x.a)):
            if isinstance(condition, Condition) and condition.number:
                return condition, value
    return None


def _as_sum(x: Expression) -> Sum:
    if isinstance(x, Sum):
        return x
    if isinstance(x, Constant):
        bias = x.values
        if bias.size != max(bias.shape[-1:], default=1):
            raise Unknown
        return Sum({}, bias.reshape(-1))
    return Sum({}, np.zeros(1, np.float32), (x,))


def _add(a: Sum, b: Sum) -> Sum:
    products = dict(a.products)
    for factor, matrix in b.products.items():
        if factor in products and products[factor].shape != matrix.shape:
            raise Unknown
        products[factor] = products[factor] + matrix if factor in products else matrix
    return Sum(products, a.bias + b.bias, a.terms + b.terms)


def _width(x: Expression) -> int:
    """The number of columns of a sum of products."""
    widths = {m.shape[1] for m in x.products.values()} if isinstance(x, Sum) else set()
    if len(widths) != 1 or x.terms:
        raise Unknown
    return widths.pop()


def _columns(x: Expression, columns: slice) -> Sum:
    width = _width(x)
    bias = np.broadcast_to(x.bias, width)
    products = {factor: matrix[:, columns] for factor, matrix in x.products.items()}
    return Sum(products, bias[columns])
