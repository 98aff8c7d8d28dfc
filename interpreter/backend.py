"""The interface of ``onnx.backend.base``, without importing onnx: ``prepare``, ``run_model``,
``run_node``, ``supports_device``, ``is_compatible``.

>>> import onnxwalk.interpreter.backend
>>> onnxwalk.interpreter.backend.run_model(model, [x])           # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onnxwalk.interpreter.compiler.passes import NOT_WALKED, REWRITES
from onnxwalk.interpreter.errors import InvalidInputError, OnnxWalkError
from onnxwalk.interpreter.ir.model import Graph, Model, ValueInfo
from onnxwalk.interpreter.reader.build import read_node
from onnxwalk.interpreter.session import Session, load
from onnxwalk.ops.contract.registry import LATEST_OPSET


class PreparedModel:
    """The result of ``prepare``."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def run(self, inputs: Any, **_: Any) -> tuple[Any, ...]:
        """All outputs in order, for inputs in order or as a dict by name. Raises as
        ``Session.run``."""
        if not isinstance(inputs, Mapping):
            values = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
            # values beyond the inputs override initializers
            infos = [*self.session.inputs, *self.session.overridable_initializers]
            if len(values) > len(infos):
                message = f"expected at most {len(infos)} input(s), got {len(values)}"
                raise InvalidInputError(message)
            inputs = {info.name: v for info, v in zip(infos, values, strict=False)}
        return tuple(self.session.run(None, inputs))


def prepare(model: Any, device: str = "CPU", **kwargs: Any) -> PreparedModel:
    """Load anything that ``onnxwalk.load`` accepts; ``kwargs`` are its options. By default short
    floats are rounded after each node, as ONNX's own cases expect it."""
    _check_device(device)
    if not kwargs.keys() & {"optimize", "rewrites", "executor"}:
        kwargs["rewrites"] = [name for name in REWRITES if name not in NOT_WALKED]
    return PreparedModel(load(model, **kwargs))


def run_model(model: Any, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[Any, ...]:
    """Prepare and run once."""
    return prepare(model, device, **kwargs).run(inputs)


def run_node(
    node: Any,
    inputs: Sequence[Any],
    device: str = "CPU",
    outputs_info: Any = None,
    *,
    opset_version: int | None = None,
    **_: Any,
) -> tuple[Any, ...]:
    """Run a single ``onnx.NodeProto`` on its inputs in order, at the newest opset known."""
    _check_device(device)
    parsed = read_node(node.SerializeToString())
    names = [name for name in parsed.inputs if name]
    graph = Graph(
        "node",
        (parsed,),
        tuple(ValueInfo(name) for name in dict.fromkeys(names)),
        tuple(ValueInfo(name) for name in parsed.outputs if name),
    )
    opset = opset_version or LATEST_OPSET.get(parsed.domain, 1)
    opsets = {"": LATEST_OPSET[""], parsed.domain: opset}
    session = Session(Model(graph, opsets, source="node"))
    return tuple(session.run(None, dict(zip(names, inputs, strict=True))))


def supports_device(device: str) -> bool:
    """Whether the device is the CPU: "CPU" or "CPU:0"."""
    return device.split(":")[0] == "CPU"


def _check_device(device: str) -> None:
    if not supports_device(device):
        raise InvalidInputError(f"device {device!r} is not supported: onnxwalk runs on the CPU")


def is_compatible(model: Any, device: str = "CPU", **_: Any) -> bool:
    """Whether the model loads."""
    try:
        load(model)
    except OnnxWalkError:
        return False
    return supports_device(device)
