"""Compute constant nodes at export instead of in every run."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onnxwalk.export.conversion.draft import Draft, attributes
from onnxwalk.interpreter.weights.layout import Step
from onnxwalk.ops import registry

#: number of elements up to which any operator is computed, by onnxwalk's own
_SMALL = 4096


def fold_constants(draft: Draft) -> None:
    """Compute nodes that read weights only, where the result is small or no larger than those.

    If only the order of elements changes, the result is a view of the weight. A folded weight
    inherits the name of the weight that it is computed from, if no other node reads that. Of
    variables that are to be trained, only the order of elements changes.
    """
    outputs = {value.name for value in draft.graph.output}
    origin: dict[str, str] = {}
    opset = next(o.version for o in draft.model.opset_import if o.domain in ("", "ai.onnx"))
    for node in draft.graph.node:  # in topological order
        known = all(name in draft.weights for name in node.input if name)
        if node.domain or len(node.output) != 1 or node.output[0] in outputs or not known:
            continue
        arrays = [draft.weights[name] if name else None for name in node.input]
        if not draft.variables.keys().isdisjoint(node.input):
            result = _move_variable(draft, node, arrays)
        else:
            result = _compute_node(node, arrays, opset)
        if result is not None:
            draft.weights[node.output[0]] = result
            sizes = {name: draft.weights[name].size for name in node.input if name}
            origin[node.output[0]] = max(sizes, key=sizes.__getitem__, default="")
    draft.keep_nodes(lambda node: node.output[0] not in origin if node.output else True)
    _inherit_names(draft, origin)
    draft.remove_unused()


def _inherit_names(draft: Draft, origin: dict[str, str]) -> None:
    """Give folded weights the names of the weights that they replace."""
    reads = draft.count_reads()
    names: dict[str, str] = {}
    for name in origin:
        source = name
        while source in origin:
            source = origin[source]
        if reads[name] and not reads[source] and source not in names.values():
            names[name] = source
    for name, source in names.items():
        draft.rename_weight(name, source)
    draft.rename_tensors(names)


def _move_variable(draft: Draft, node: Any, arrays: list[Any]) -> NDArray[Any] | None:
    """The output of a node that only moves the elements of a variable, which becomes a weight; None
    for another node."""
    source, *others = node.input
    is_move = node.op_type in ("Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze")
    if not is_move or not draft.is_movable(source) or not draft.variables.keys().isdisjoint(others):
        return None
    result = _SHORTCUTS[node.op_type](*arrays, **attributes(node))
    step: Step = ("reshape", tuple(result.shape))
    if node.op_type == "Transpose":
        step = ("transpose", tuple(attributes(node).get("perm", range(result.ndim)[::-1])))
    steps = () if node.op_type == "Identity" else (step,)
    draft.rearrange(source, node.output[0], *steps)
    return result


def _compute_node(node: Any, arrays: list[Any], opset: int) -> NDArray[Any] | None:
    """The output of a node, or None if it can't be computed or is too large."""

    largest = max([0, *(a.size for a in arrays if a is not None)])
    settings = attributes(node)
    if node.op_type in _SHORTCUTS:
        result = _SHORTCUTS[node.op_type](*arrays, **settings)
        if result is not None:
            return result if result.size <= max(_SMALL, largest) else None
    operator = registry.lookup("", node.op_type, opset)
    if operator is None or not operator.reserved <= {"out"} or largest > _SMALL:
        return None
    if set(settings) - set(operator.attributes) or any(a.type in (5, 10) for a in node.attribute):
        return None  # 5 and 10 are graphs
    settings = {k: v.decode() if isinstance(v, bytes) else v for k, v in settings.items()}
    try:
        result = operator.function(*arrays, **settings)
    except Exception:
        return None  # left in place: the error comes when the model is run
    plain = isinstance(result, (np.ndarray, np.generic)) and result.size <= _SMALL
    return np.asarray(result) if plain else None


def share_constants(draft: Draft) -> None:
    """Merge small weights that are equal in shape and in every bit."""
    seen: dict[tuple[str, tuple[int, ...], bytes], str] = {}
    names: dict[str, str] = {}
    for name, array in draft.weights.items():
        if array.size <= 16 and array.dtype.kind not in "OUS" and name not in draft.variables:
            first = seen.setdefault((array.dtype.name, array.shape, array.tobytes()), name)
            if first != name:
                names[name] = first
    draft.rename_tensors(names)
    for name in names:
        del draft.weights[name]


def _reshape(x: NDArray[Any], shape: NDArray[Any], allowzero: int = 0) -> NDArray[Any]:
    sizes = [x.shape[i] if n == 0 and not allowzero else int(n) for i, n in enumerate(shape)]
    return x.reshape(sizes)


def _squeeze(x: NDArray[Any], axes: NDArray[Any] | None = None) -> NDArray[Any]:
    return np.squeeze(x, None if axes is None else tuple(int(a) for a in axes))


def _unsqueeze(x: NDArray[Any], axes: NDArray[Any]) -> NDArray[Any]:
    return np.expand_dims(x, tuple(int(a) for a in axes))


def _transpose(x: NDArray[Any], perm: list[int] | None = None) -> NDArray[Any]:
    return np.transpose(x, perm)


def _cast(x: NDArray[Any], to: int, saturate: int = 1) -> NDArray[Any] | None:
    from onnx import helper

    target = helper.tensor_dtype_to_np_dtype(to)
    kinds = [np.dtype(d) for d in (x.dtype, target)]
    plain = all(d.kind in "fiub" or d.name == "bfloat16" for d in kinds)  # no strings, no float8
    return x.astype(target) if plain else None


def _arithmetic(function: Any) -> Any:
    def apply(*arrays: NDArray[Any]) -> NDArray[Any] | None:
        if any(a.dtype.name not in ("float32", "float64") for a in arrays):
            return None  # short floats and integers have rules of their own
        return function(*arrays)

    return apply


_SHORTCUTS = {
    "Identity": lambda x: x,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Cast": _cast,
    "Mul": _arithmetic(np.multiply),
    "Add": _arithmetic(np.add),
    "Sub": _arithmetic(np.subtract),
    "Neg": _arithmetic(np.negative),
}
