"""Adding ONNX nodes to tf2onnx's graph, in the place of one of its nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: the type to compute in: one with the same values that ONNX Runtime has every operator of. Also
#: int32, since tf2onnx declares the counter of a loop so although it is int64; nothing holds uint64
LONGER = {
    **dict.fromkeys("bool int8 int16 int32 uint8 uint16 uint32".split(), np.int64),
    "float16": np.float32,
}


class Nodes:
    """Adds nodes in the place of ``node``, named after it, and finally one that replaces it.

    ``ctx`` is tf2onnx's graph. Tensors go by their names.
    """

    def __init__(self, ctx: Any, node: Any) -> None:
        self.ctx, self.node, self.scope = ctx, node, node.name
        self.inputs = list(node.input)

    def add(
        self,
        kind: str,
        inputs: Sequence[str],
        *,
        outputs: int = 1,
        domain: str = "",
        branches: dict[str, Any] | None = None,
        **attr: Any,
    ) -> Any:
        """A new node; the name of its output, or a list of several.

        ``branches``: attribute -> tf2onnx's graph, for a node that has subgraphs.
        """
        from tf2onnx import utils

        name = utils.make_name(f"{self.scope}/{kind}")
        node = self.ctx.make_node(
            kind, list(inputs), attr=attr, output_count=outputs, name=name, domain=domain,
            branches=branches,
        )  # fmt: skip
        return node.output[0] if outputs == 1 else list(node.output)

    def replace(self, kind: str, inputs: Sequence[str], *, domain: str = "", **attr: Any) -> None:
        """Replace the node by a new one with the same name and outputs."""
        ctx, name, outputs = self.ctx, self.node.name, list(self.node.output)
        dtypes, shapes = [ctx.get_dtype(o) for o in outputs], [ctx.get_shape(o) for o in outputs]
        ctx.remove_node(name)
        ctx.make_node(
            kind, list(inputs), attr=attr, name=name, domain=domain,
            outputs=outputs, dtypes=dtypes, shapes=shapes,
        )  # fmt: skip

    def become(self, tensors: Sequence[str]) -> None:
        """These tensors take the place of the node's outputs."""
        ctx, name, outputs = self.ctx, self.node.name, list(self.node.output)
        dtypes, shapes = [ctx.get_dtype(o) for o in outputs], [ctx.get_shape(o) for o in outputs]
        ctx.remove_node(name)
        for number, tensor in enumerate(tensors):
            ctx.make_node(
                "Identity", [tensor], name=f"{name}/{number}" if number else name,
                outputs=[outputs[number]], dtypes=[dtypes[number]], shapes=[shapes[number]],
            )  # fmt: skip

    def reduce(self, kind: str, tensor: str, axis: int) -> str:
        """A reduction other than ReduceSum along one axis, which is left out of the result."""
        if self.ctx.opset < 18:
            return self.add(kind, [tensor], axes=[axis], keepdims=0)
        return self.add(kind, [tensor, self.const([axis])], keepdims=0)

    def const(self, values: Any, dtype: Any = None) -> str:
        """A constant; plain integers become int64."""
        from tf2onnx import utils

        array = np.array(values, dtype)
        return self.ctx.make_const(utils.make_name(f"{self.scope}/const"), array).output[0]

    def shape(self, tensor: str) -> Any:
        """Sizes, -1 where open; None when not even the rank is known."""
        return self.ctx.get_shape(tensor)

    def dtype(self, tensor: str) -> np.dtype[Any]:
        from onnx import helper

        return np.dtype(helper.tensor_dtype_to_np_dtype(self.ctx.get_dtype(tensor)))

    def is_float(self, tensor: str) -> bool:
        return self.dtype(tensor).kind not in "biu"  # that of bfloat16 is V

    def cast(self, tensor: str, dtype: Any) -> str:
        from onnx import helper

        return self.add("Cast", [tensor], to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def in_longer(self, tensors: Sequence[str]) -> list[str]:
        """Tensors of one type in that of ``LONGER``, if it is there."""
        longer = LONGER.get(self.dtype(tensors[0]).name)
        return list(tensors) if longer is None else [self.cast(x, longer) for x in tensors]

    def limits(self, tensor: str) -> Any:
        """The lowest and the largest number of a tensor's type: ``min`` and ``max``."""
        import ml_dtypes

        dtype = self.dtype(tensor)
        return np.iinfo(dtype) if dtype.kind in "iu" else ml_dtypes.finfo(dtype)

    def clip(self, tensor: str, low: Any, high: Any) -> str:
        """Between two numbers; NaN stays."""
        limits = [self.const(limit, self.dtype(tensor)) for limit in (low, high)]
        return self.add("Clip", [tensor, *limits])

    def constant_input(self, index: int) -> NDArray[Any] | None:
        """The values of the node's input with this index, or None if it isn't constant."""
        source = self.node.inputs[index]
        return source.get_tensor_value(as_list=False) if source.is_const() else None

    def flags(self, *names: str) -> dict[str, bool]:
        """The node's attributes of these names that it has, as truth values."""
        return {name: bool(a.i) for name in names if (a := self.node.get_attr(name)) is not None}
