"""A model on its way to a file: the graph as a proto, its weights as separate arrays.

Weights are views of Keras's own memory for as long as possible. Copies are expensive: a VGG16 has
half a gigabyte, and a protobuf message copies its content.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.tracing.names import reserve_name
from onnxwalk.interpreter.weights.layout import Step, add_step, arrange
from onnxwalk.interpreter.weights.record import Weight

#: largest number of elements of a weight that may determine shapes
_SHAPE_SIZE = 1024


@dataclass
class Draft:
    """``model`` has no initializers in its top graph; they are in ``weights``, by name.

    In a file that is to be trained, no pass computes with weights that are variables: it may only
    move their elements (``rearrange``).
    """

    model: Any  # onnx.ModelProto
    weights: dict[str, NDArray[Any]]
    #: weight -> the variables in it; only in a file that is to be trained, which needs to know
    variables: dict[str, tuple[Weight, ...]] = field(default_factory=dict)
    _used_names: set[str] | None = field(default=None, init=False, repr=False)

    @property
    def graph(self) -> Any:
        return self.model.graph

    def nodes(self) -> Iterator[Any]:
        """Every node, also those of subgraphs."""
        return all_nodes(self.graph)

    def producers(self) -> dict[str, Any]:
        """Tensor -> the node of the top graph that computes it."""
        return {name: node for node in self.graph.node for name in node.output if name}

    def count_reads(self) -> Counter[str]:
        """Tensor -> how often it is read, by nodes at any depth and as an output."""
        counts = Counter(name for node in self.nodes() for name in node.input)
        counts.update(value.name for value in self.graph.output)
        for node in self.nodes():
            for graph in subgraphs(node):
                counts.update(value.name for value in graph.output)
        return counts

    def rename_tensors(self, names: dict[str, str]) -> None:
        """Replace the keys by the values wherever they are read; chains are followed."""

        def final(name: str) -> str:
            while name in names:
                name = names[name]
            return name

        def within(graph: Any) -> None:
            for node in graph.node:
                for i, name in enumerate(node.input):
                    if name in names:
                        node.input[i] = final(name)
                for inner in subgraphs(node):
                    within(inner)
                    for value in inner.output:
                        value.name = final(value.name)

        within(self.graph)

    def keep_nodes(self, is_kept: Callable[[Any], bool]) -> None:
        """Remove the nodes of the top graph for which ``is_kept`` is false."""
        kept = [node for node in self.graph.node if is_kept(node)]
        if len(kept) < len(self.graph.node):
            del self.graph.node[:]
            self.graph.node.extend(kept)

    def remove_unused(self) -> None:
        """Remove nodes whose outputs are not read, then weights that are not read."""
        while True:
            before, reads = len(self.graph.node), self.count_reads()
            self.keep_nodes(lambda node: any(reads[name] for name in node.output))  # noqa: B023
            if len(self.graph.node) == before:
                break
        for name in [name for name in self.weights if not reads[name]]:
            del self.weights[name]
            self.variables.pop(name, None)

    def rename_weight(self, name: str, new: str) -> None:
        """Give a weight another name; its readers are not changed."""
        self.weights[new] = self.weights.pop(name)
        self.variables.pop(new, None)
        if name in self.variables:
            self.variables[new] = self.variables.pop(name)

    def is_movable(self, name: str) -> bool:
        """Whether a weight is one variable, or none."""
        return all(not weight.part for weight in self.variables.get(name, ()))

    def rearrange(self, name: str, new: str, *steps: Step) -> None:
        """Add the weight ``new``: weight ``name``, which is movable, after these steps."""
        self.weights[new] = arrange(self.weights[name], steps)
        if name in self.variables:
            (weight,) = self.variables[name]
            layout = weight.layout
            for step in steps:
                layout = add_step(layout, step, weight.shape)
            self.variables[new] = (replace(weight, layout=layout),)

    def sort_nodes(self) -> None:
        """Sort the nodes of the top graph topologically."""
        producers, done, order = self.producers(), set(), []

        for root in self.graph.node:
            stack = [(root, node_reads(root))]
            while stack:
                node, sources = stack[-1]
                if id(node) in done:
                    stack.pop()
                    continue
                source = next((producers[n] for n in sources if n in producers), None)
                if source is None:
                    done.add(id(node))
                    order.append(node)
                    stack.pop()
                elif id(source) not in done:
                    stack.append((source, node_reads(source)))
        del self.graph.node[:]
        self.graph.node.extend(order)

    def new_name(self, stem: str) -> str:
        """A name that no tensor has or had."""
        if self._used_names is None:
            self._used_names = {n for node in self.nodes() for n in node.output}
            self._used_names |= {value.name for value in self.graph.input}
        self._used_names |= self.weights.keys()
        return reserve_name(stem, self._used_names)

    def skeleton(self) -> Any:
        """The model with weights as inputs, for checks and for inference of types.

        Small weights are initializers: the shapes of other tensors depend on them.
        """
        import onnx

        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        for name, array in self.weights.items():
            if array.size <= _SHAPE_SIZE:
                model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
            else:
                kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
                model.graph.input.append(
                    onnx.helper.make_tensor_value_info(name, kind, array.shape)
                )
        return model

    def shapes(self) -> dict[str, tuple[int | str | None, ...]]:
        """Tensor -> shape, as far as ONNX's inference knows it; weights and inputs included."""
        import onnx

        inferred = onnx.shape_inference.infer_shapes(self.skeleton(), data_prop=True).graph
        found: dict[str, tuple[int | str | None, ...]] = {}
        for value in (*inferred.input, *inferred.value_info, *inferred.output):
            kind = value.type.tensor_type
            if kind.HasField("shape"):
                found[value.name] = tuple(
                    d.dim_value if d.HasField("dim_value") else d.dim_param or None
                    for d in kind.shape.dim
                )
        return found | {name: array.shape for name, array in self.weights.items()}


def all_nodes(graph: Any) -> Iterator[Any]:
    """Every node of a graph and of its subgraphs."""
    for node in graph.node:
        yield node
        for inner in subgraphs(node):
            yield from all_nodes(inner)


def subgraphs(node: Any) -> Iterator[Any]:
    """The subgraphs of a node."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def subgraph_reads(node: Any) -> Iterator[str]:
    """The tensors that the subgraphs of a node read or output."""
    for graph in subgraphs(node):
        for inner in all_nodes(graph):
            yield from inner.input
        yield from (value.name for value in graph.output)


def node_reads(node: Any) -> Iterator[str]:
    """The tensors that a node or its subgraphs read."""
    yield from node.input
    yield from subgraph_reads(node)


def detach_weights(
    model: Any,
    weights: dict[str, NDArray[Any]] | None = None,
    variables: dict[str, tuple[Weight, ...]] | None = None,
) -> Draft:
    """Move the initializers of a model into a draft.

    ``weights``: arrays for graph inputs that represent weights; those inputs are removed.
    ``variables``: the draft's.
    """
    from onnx import numpy_helper

    found = dict(weights or {})
    inputs = [value for value in model.graph.input if value.name not in found]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    found |= {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    del model.graph.initializer[:]
    return Draft(model, found, dict(variables or {}))


def attach_weights(draft: Draft) -> Any:
    """Move the weights into the model, and return it.

    The largest first: each is copied twice for a moment, best while little memory is in use.
    """
    import onnx

    for name in sorted(draft.weights, key=lambda name: -draft.weights[name].nbytes):
        array, tensor = draft.weights.pop(name), draft.graph.initializer.add()
        if array.dtype.kind in "OUS":  # strings
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, name))
        else:
            describe_tensor(tensor, name, array)
            tensor.raw_data = array.tobytes()
    return draft.model


def describe_tensor(tensor: Any, name: str, array: NDArray[Any]) -> None:
    """Set the name, data type and dimensions of a TensorProto."""
    import onnx

    tensor.name = name
    tensor.data_type = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor.dims.extend(array.shape)


def attributes(node: Any) -> dict[str, Any]:
    """Attribute name -> Python value."""
    from onnx import helper

    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def set_attribute(node: Any, name: str, value: Any) -> None:
    """Replace or add one attribute."""
    from onnx import helper

    for i, attribute in enumerate(node.attribute):
        if attribute.name == name:
            del node.attribute[i]
            break
    node.attribute.append(helper.make_attribute(name, value))


def add_ints(draft: Draft, values: Any, stem: str, dtype: Any = np.int64) -> str:
    """The name of a weight with these integers, which is added unless it exists."""
    new = np.array(values, dtype)
    for name, array in draft.weights.items():
        is_same = array.dtype == new.dtype and array.shape == new.shape and (array == new).all()
        if is_same and name not in draft.variables:
            return name
    name = draft.new_name(stem)
    draft.weights[name] = new
    return name
