"""``TypeHelper``, by which Optimum finds the types of a session's inputs and outputs."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from onnxwalk.onnxruntime.session import InferenceSession
from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES, ElementType

_STRING = 8
_BY_NAME = {f"tensor({element.name})": element for element in ELEMENT_TYPES.values()}


class TypeHelper:
    """Types by the names that sessions have for them, as "tensor(float)". All methods raise
    ValueError for a name or type that has no counterpart."""

    @staticmethod
    def get_input_type(ort_session: InferenceSession, name: str) -> str:
        return _type_of(ort_session.get_inputs(), name, "input")

    @staticmethod
    def get_output_type(ort_session: InferenceSession, name: str) -> str:
        return _type_of(ort_session.get_outputs(), name, "output")

    @staticmethod
    def ort_type_to_numpy_type(ort_type: str) -> type:
        """The class of NumPy's numbers; ``bool`` for booleans."""
        element = _element(ort_type)
        if element.in_ml_dtypes or element.code == _STRING:
            raise ValueError(f"{ort_type} not found in map")
        kind = np.dtype(element.numpy).type
        return bool if kind is np.bool_ else kind

    @staticmethod
    def ort_type_to_torch_type(ort_type: str) -> Any:
        """PyTorch's dtype. Raises ImportError without PyTorch."""
        return _torch_type(_element(ort_type).numpy, ort_type)

    @staticmethod
    def ort_type_to_onnx_type(ort_type: str) -> int:
        """The TensorProto.DataType code."""
        return _element(ort_type).code

    @staticmethod
    def get_io_onnx_type_map(ort_session: InferenceSession) -> dict[str, int]:
        """The code of each input and output."""
        arguments = (*ort_session.get_inputs(), *ort_session.get_outputs())
        return {arg.name: TypeHelper.ort_type_to_onnx_type(arg.type) for arg in arguments}

    @staticmethod
    def numpy_type_to_torch_type(numpy_type: Any) -> Any:
        """PyTorch's dtype for a dtype or class of NumPy."""
        return _torch_type(np.dtype(numpy_type).name, numpy_type)

    @staticmethod
    def torch_type_to_numpy_type(torch_type: Any) -> type:
        """The class of NumPy's numbers for a dtype of PyTorch."""
        name = str(torch_type).removeprefix("torch.")
        code = next((c for c, element in ELEMENT_TYPES.items() if element.numpy == name), 0)
        if not code:
            raise ValueError(f"{torch_type} not found in map")
        return TypeHelper.ort_type_to_numpy_type(f"tensor({ELEMENT_TYPES[code].name})")


def _element(ort_type: str) -> ElementType:
    if ort_type not in _BY_NAME:
        raise ValueError(f"{ort_type} not found in map")
    return _BY_NAME[ort_type]


def _torch_type(name: str, asked: Any) -> Any:
    found = getattr(importlib.import_module("torch"), name, None)
    if found is None or name == "object":
        raise ValueError(f"{asked} not found in map")
    return found


def _type_of(arguments: list[Any], name: str, kind: str) -> str:
    for argument in arguments:
        if argument.name == name:
            found: str = argument.type
            return found
    raise ValueError(f"{kind} name {name} not found")
