"""The protocol's names of types: FP32, INT64, BYTES …"""

from __future__ import annotations

import numpy as np

from onnxwalk.interpreter.errors import UnsupportedModelError
from onnxwalk.interpreter.ir.model import MapType, SequenceType, TensorType, ValueType
from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES, numpy_dtype

#: by ONNX's name of the element type
_DATATYPES = {
    "bool": "BOOL",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "float16": "FP16",
    "bfloat16": "BF16",
    "float": "FP32",
    "double": "FP64",
    "string": "BYTES",
}
_CODES = {
    _DATATYPES[element.name]: code
    for code, element in ELEMENT_TYPES.items()
    if element.name in _DATATYPES
}


def dtype_of(datatype: str) -> np.dtype:
    """NumPy's dtype of a datatype, which is one of the protocol's; strings are objects."""
    return numpy_dtype(_CODES[datatype])


def datatype_of(value: ValueType) -> str:
    """The datatype of an input or output. Raises UnsupportedModelError if the protocol has none."""
    if is_list_of_maps(value):
        value = value.element.value  # type: ignore[union-attr]
    if type(value) is TensorType and value.element in ELEMENT_TYPES:
        name = _DATATYPES.get(ELEMENT_TYPES[value.element].name)
        if name is not None:
            numpy_dtype(value.element)  # raises if a package is missing
            return name
    raise UnsupportedModelError(f"the inference protocol has no type for {value or 'no type'}")


def shape_of(value: ValueType) -> list[int]:
    """The shape as the protocol writes it: -1 for each open dimension, and for an unknown rank."""
    if is_list_of_maps(value):
        return [-1, -1]
    if not isinstance(value, TensorType) or value.shape is None:
        return [-1]
    return [size if isinstance(size, int) else -1 for size in value.shape]


def is_list_of_maps(value: ValueType) -> bool:
    """Whether it is a map for each sample, as ZipMap returns for scikit-learn's classifiers: it is
    served as a tensor with a column for each key."""
    return isinstance(value, SequenceType) and isinstance(value.element, MapType)
