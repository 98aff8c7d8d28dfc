"""Reads tensors as NumPy arrays: from ``raw_data``, the typed fields or an external file.

Raw data and packed floats become read-only views; only data that NumPy can't view (variable-length
integers, strings, elements below 8 bits) is unpacked.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from onnxwalk.interpreter.budget import take
from onnxwalk.interpreter.errors import InvalidModelError, UnsupportedModelError
from onnxwalk.interpreter.ir.model import SparseTensor, Tensor
from onnxwalk.interpreter.reader.source import Source
from onnxwalk.interpreter.reader.wire import all_bytes, in_own_order
from onnxwalk.ops.contract.dtypes import ELEMENT_TYPES, ElementType, numpy_dtype

#: the typed field of each element type, and the NumPy type of its numbers
_TYPED_FIELDS = {
    "float": ("float_data", np.float32),
    "complex64": ("float_data", np.float32),
    "double": ("double_data", np.float64),
    "complex128": ("double_data", np.float64),
    "int64": ("int64_data", np.int64),
    "uint64": ("uint64_data", np.uint64),
    "uint32": ("uint64_data", np.uint64),
}
_OTHERS = ("int32_data", np.int64)  # all others; as int64 so that overflow is detected

#: bytes of memory to read a string, a byte of packed bits, a number of a typed field
_PER_STRING, _PER_BYTE, _PER_TYPED = 80, 24, 24
_MOST_DIMENSIONS = 64  # of NumPy


def build_tensor(fields: dict[str, Any], source: Source) -> Tensor:
    """A Tensor from the fields of a TensorProto.

    Raises InvalidModelError if dims, type and data disagree, UnsupportedModelError if the element
    type requires a package that isn't installed; both name the tensor.
    """
    name = fields.get("name", "")
    try:
        element, array = _read_array(fields, source)
    except NotImplementedError as error:
        raise UnsupportedModelError(f"tensor '{name}': {error}") from None
    except (ValueError, OverflowError) as error:
        raise InvalidModelError(f"tensor '{name}': {error}") from None
    array.flags.writeable = False
    return Tensor(name, element.code, array)


def build_sparse_tensor(fields: dict[str, Any], source: Source) -> SparseTensor:
    """A SparseTensor from the fields of a SparseTensorProto. Raises as ``build_tensor``."""
    values = build_tensor(fields.get("values", {"data_type": 1}), source)
    indices = build_tensor(fields.get("indices", {"data_type": 7}), source)
    shape = shape_of(fields)
    rows = values.shape[0] if values.array.ndim == 1 else -1
    if indices.shape not in ((rows,), (rows, len(shape))) or min(shape, default=0) < 0:
        raise InvalidModelError(
            f"sparse tensor '{values.name}': values {values.shape} and indices {indices.shape} "
            f"don't match the shape {shape}"
        )
    if indices.element != 7:
        raise InvalidModelError(f"sparse tensor '{values.name}': indices must be int64")
    limits = math.prod(shape) if indices.array.ndim == 1 else np.array(shape)
    if indices.array.size and ((indices.array < 0) | (indices.array >= limits)).any():
        raise InvalidModelError(f"sparse tensor '{values.name}': an index is outside of {shape}")
    return SparseTensor(values, indices, shape)


def shape_of(fields: dict[str, Any]) -> tuple[int, ...]:
    """The ``dims`` of a tensor's fields."""
    parts = fields.get("dims", ())
    if np.ndarray in map(type, parts):  # packed
        return tuple(integers(parts).tolist())
    return tuple(parts)


def integers(parts: Any) -> np.ndarray:
    """A repeated integer field, from single numbers and packed ones."""
    return _join(parts, np.dtype(np.int64))


def floats(parts: Any) -> np.ndarray:
    """A repeated field of floats, from single numbers and packed ones."""
    return _join(parts, np.dtype(np.float32))


def _join(parts: Any, dtype: np.dtype) -> np.ndarray:
    if len(parts) == 1 and isinstance(parts[0], np.ndarray):
        return parts[0]  # packed, in one piece: the view itself
    if np.ndarray not in set(map(type, parts)):
        return np.array(parts, dtype)
    return np.concatenate([np.atleast_1d(np.asarray(part, dtype)) for part in parts])


def _read_array(fields: dict[str, Any], source: Source) -> tuple[ElementType, np.ndarray]:
    element = ELEMENT_TYPES.get(fields.get("data_type", 0))
    if element is None:
        raise ValueError(f"{fields.get('data_type', 0)} is not a data type of ONNX")
    if "segment" in fields:
        raise NotImplementedError("it is stored in segments, which no version of ONNX defines")
    dims = shape_of(fields)
    if len(dims) > _MOST_DIMENSIONS:
        raise ValueError(f"{len(dims)} dimensions, but NumPy allows at most {_MOST_DIMENSIONS}")
    if min(dims, default=0) < 0:
        raise ValueError(f"negative dimension in {dims}")
    count = math.prod(dims)
    if element.name == "string":
        flat = _strings(fields, count)
    elif fields.get("data_location", 0) == 1:
        flat = _from_bytes(source.external(fields), element, count, dims)
    elif "raw_data" in fields:
        flat = _from_bytes(fields["raw_data"], element, count, dims)
    else:
        flat = _from_typed_field(fields, element, count, dims)
    return element, flat.reshape(dims)


def _strings(fields: dict[str, Any], count: int) -> np.ndarray:
    if "raw_data" in fields or fields.get("data_location", 0) == 1:
        raise ValueError("strings belong in string_data")
    values = all_bytes(fields.get("string_data", ()))
    if len(values) != count:
        raise ValueError(f"{len(values)} strings for {count} elements")
    take(count * _PER_STRING + sum(map(len, values)))
    array = np.empty(count, object)
    try:
        array[:] = [str(value, "utf-8") for value in values]
    except UnicodeDecodeError:
        raise ValueError("a string is not UTF-8") from None
    return array


def _from_bytes(
    data: memoryview, element: ElementType, count: int, dims: tuple[int, ...]
) -> np.ndarray:
    expected = (count * element.bits + 7) // 8
    if len(data) != expected:
        raise ValueError(
            f"{len(data)} bytes of data, but {element.name} of shape {dims} needs {expected}"
        )
    dtype = numpy_dtype(element.code)
    if element.bits < 8:
        return _unpack_bits(np.frombuffer(data, np.uint8), element, count)
    return in_own_order(np.frombuffer(data, dtype.newbyteorder("<")))


def _from_typed_field(
    fields: dict[str, Any], element: ElementType, count: int, dims: tuple[int, ...]
) -> np.ndarray:
    field, number = _TYPED_FIELDS.get(element.name, _OTHERS)
    parts = fields.get(field, ())
    take(_PER_TYPED * sum(np.size(part) for part in parts))
    data = _join(parts, np.dtype(number))
    per_element = 2 if element.name.startswith("complex") else 1
    # Of the types below 8 bits, all but float6 are packed byte by byte as in raw_data.
    packs = element.bits in (2, 4)
    expected = (count * element.bits + 7) // 8 if packs else count * per_element
    if data.size != expected:
        raise ValueError(
            f"{data.size} numbers in {field}, but {element.name} of shape {dims} needs {expected}"
        )
    dtype = numpy_dtype(element.code)
    if packs:
        return _unpack_bits(data.astype(np.uint8), element, count)
    if element.in_ml_dtypes or element.name == "float16":  # the numbers are bit patterns
        return data.astype(f"u{dtype.itemsize}").view(dtype)
    if per_element == 2:
        return data.view(dtype)
    array = data.astype(dtype, copy=False)
    if dtype.kind in "iu" and not np.array_equal(array, data):
        raise ValueError(f"a number in {field} is out of range for {element.name}")
    return array


def _unpack_bits(data: np.ndarray, element: ElementType, count: int) -> np.ndarray:
    """Elements of 2, 4 or 6 bits, stored as one stream of bits, lowest first."""
    take(_PER_BYTE * data.size)
    bits = np.unpackbits(data, bitorder="little")[: count * element.bits]
    values = bits.reshape(count, element.bits) @ (1 << np.arange(element.bits, dtype=np.uint8))
    dtype = numpy_dtype(element.code)
    if element.name.startswith("int"):
        shift = np.uint8(8 - element.bits)  # sign extension
        return ((values << shift).view(np.int8) >> shift.view(np.int8)).astype(dtype)
    return values.astype(dtype) if element.name.startswith("uint") else values.view(dtype)
