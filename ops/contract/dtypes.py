"""ONNX's tensor element types (``TensorProto.DataType``) and the NumPy dtypes that hold them.

bfloat16, the float8, float6 and float4 families and the 2- and 4-bit integers need the
``ml_dtypes`` package. Strings are object arrays of ``str``.
"""

from __future__ import annotations

import functools

import numpy as np

from onnxwalk.ops.contract.records import record


@record(frozen=True)
class ElementType:
    """One value of ``TensorProto.DataType``."""

    code: int
    name: str  # ONNX's name in lower case: "float", "bfloat16", …
    numpy: str  # NumPy's or ml_dtypes' name
    bits: int  # bits of one element in ``raw_data``; 0 for strings
    in_ml_dtypes: bool = False


_TYPES = (
    ElementType(1, "float", "float32", 32),
    ElementType(2, "uint8", "uint8", 8),
    ElementType(3, "int8", "int8", 8),
    ElementType(4, "uint16", "uint16", 16),
    ElementType(5, "int16", "int16", 16),
    ElementType(6, "int32", "int32", 32),
    ElementType(7, "int64", "int64", 64),
    ElementType(8, "string", "object", 0),
    ElementType(9, "bool", "bool", 8),
    ElementType(10, "float16", "float16", 16),
    ElementType(11, "double", "float64", 64),
    ElementType(12, "uint32", "uint32", 32),
    ElementType(13, "uint64", "uint64", 64),
    ElementType(14, "complex64", "complex64", 64),
    ElementType(15, "complex128", "complex128", 128),
    ElementType(16, "bfloat16", "bfloat16", 16, True),
    ElementType(17, "float8e4m3fn", "float8_e4m3fn", 8, True),
    ElementType(18, "float8e4m3fnuz", "float8_e4m3fnuz", 8, True),
    ElementType(19, "float8e5m2", "float8_e5m2", 8, True),
    ElementType(20, "float8e5m2fnuz", "float8_e5m2fnuz", 8, True),
    ElementType(21, "uint4", "uint4", 4, True),
    ElementType(22, "int4", "int4", 4, True),
    ElementType(23, "float4e2m1", "float4_e2m1fn", 4, True),
    ElementType(24, "float8e8m0", "float8_e8m0fnu", 8, True),
    ElementType(25, "uint2", "uint2", 2, True),
    ElementType(26, "int2", "int2", 2, True),
    ElementType(27, "float6e2m3", "float6_e2m3fn", 6, True),
    ElementType(28, "float6e3m2", "float6_e3m2fn", 6, True),
)

#: by ``TensorProto.DataType`` code
ELEMENT_TYPES = {element.code: element for element in _TYPES}
_BY_NUMPY_NAME = {element.numpy: element for element in _TYPES}


@functools.cache
def numpy_dtype(code: int) -> np.dtype:
    """The NumPy dtype of a ``TensorProto.DataType`` code.

    Raises ValueError for a code that ONNX does not define, and NotImplementedError naming
    ``ml_dtypes`` when the type needs that package and it isn't installed.
    """
    element = ELEMENT_TYPES.get(code)
    if element is None:
        raise ValueError(f"{code} is not a tensor element type of ONNX (1 to {max(ELEMENT_TYPES)})")
    if not element.in_ml_dtypes:
        return np.dtype(element.numpy)
    try:
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, element.numpy))
    except (ImportError, AttributeError):
        raise NotImplementedError(
            f"element type {element.name} needs a recent ml_dtypes: pip install -U ml_dtypes"
        ) from None


@functools.cache
def element_type(dtype: np.dtype) -> ElementType:
    """The ONNX element type that a NumPy dtype holds (strings of any kind are ``string``).

    Raises ValueError when ONNX has no such type.
    """
    if dtype.kind in "OUST":
        return ELEMENT_TYPES[8]
    element = _BY_NUMPY_NAME.get(dtype.name)
    if element is None:
        raise ValueError(f"ONNX has no element type for NumPy's {dtype}")
    return element


def is_short_float(dtype: np.dtype) -> bool:
    """Whether the type is float16, bfloat16 or a float8: computations widen them to float32."""
    return dtype.itemsize < 4 and dtype.kind in "fV"


#: NumPy numbers its types: bool, the integers, float32 and float64 come up to this one
_DOUBLE = np.dtype(np.float64).num


def is_plain(dtype: np.dtype, kinds: str = "biuf") -> bool:
    """Whether NumPy computes in this type directly: no short float, and no type of another package
    (some of which have kind "f", too)."""
    return dtype.num <= _DOUBLE and dtype.kind in kinds and dtype.isnative
