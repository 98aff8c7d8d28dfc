"""``OrtValue``, ``SparseTensor`` and ``OrtDevice``: values, all of them in the machine's memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from onnxwalk.onnxruntime.enums import OrtDeviceVendorId, OrtSparseFormat
from onnxwalk.onnxruntime.types import (
    element_code,
    element_name,
    numpy_dtype,
    type_of_value,
)

#: devices that a build of ONNX Runtime may know, by name: the numbers of their types
DEVICE_TYPES = {
    "cpu": 0,
    "cuda": 1,
    "gpu": 1,
    "dml": 1,
    "webgpu": 1,
    "fpga": 2,
    "npu": 3,
    "cann": 3,
}


class OrtDevice:
    """A description of a device. All but the CPU can be described, and not be used."""

    _type: int
    _id: int

    def __init__(self, *arguments: Any) -> None:
        """``arguments``: another device; or the numbers of its type, of its kind of memory, and
        its own. Raises ValueError for other values."""
        if len(arguments) == 1 and isinstance(arguments[0], OrtDevice):
            self._type, self._id = arguments[0]._type, arguments[0]._id
        elif len(arguments) >= 3 and all(isinstance(number, int) for number in arguments):
            self._type, self._id = arguments[0], arguments[-1]
        else:
            raise ValueError("`Provided object` needs to be of type OrtDevice: use OrtDevice.make")

    @staticmethod
    def default_memory() -> int:
        return 0

    @staticmethod
    def cpu() -> int:
        """The number of this type of devices; those of others are only there to be compared."""
        return DEVICE_TYPES["cpu"]

    @staticmethod
    def gpu() -> int:
        return DEVICE_TYPES["gpu"]

    cuda = dml = webgpu = gpu

    @staticmethod
    def npu() -> int:
        return DEVICE_TYPES["npu"]

    cann = npu

    @staticmethod
    def fpga() -> int:
        return DEVICE_TYPES["fpga"]

    @staticmethod
    def make(
        ort_device_name: str, device_id: int, vendor_id: int | OrtDeviceVendorId = -1
    ) -> OrtDevice:
        """The description of a device by its name. Raises Exception for an unknown one."""
        kind = DEVICE_TYPES.get(ort_device_name.lower())
        if kind is None:
            raise Exception(f"Unsupported device type: {ort_device_name}")
        return OrtDevice(kind, OrtDevice.default_memory(), device_id)

    def device_id(self) -> int:
        return self._id

    def device_type(self) -> int:
        return self._type

    def device_vendor_id(self) -> int:
        return int(OrtDeviceVendorId.NONE)

    def device_mem_type(self) -> int:
        return OrtDevice.default_memory()


def check_device(name: str | OrtDevice) -> None:
    """Raise for a device other than the CPU: RuntimeError if another build may have it."""
    if isinstance(name, OrtDevice):
        name = next(n for n, kind in DEVICE_TYPES.items() if kind == name.device_type())
    if name == "cpu":
        return
    if name.lower() not in DEVICE_TYPES:
        raise Exception(f"Unsupported device type: {name}")
    raise RuntimeError(
        f"Can't allocate memory on the device {name!r} using this package: onnxwalk runs on the "
        "CPU only"
    )


class OrtValue:
    """A value: a tensor, a sequence, a map, or nothing.

    A tensor that was made from a contiguous array shares its memory.
    """

    def __init__(
        self, ortvalue: Any, numpy_obj: np.ndarray | None = None, session: Any = None
    ) -> None:
        if not isinstance(ortvalue, OrtValue):
            raise ValueError(
                "`Provided ortvalue` needs to be of type OrtValue: use OrtValue.ortvalue_from_numpy"
            )
        self._value: Any = ortvalue._value

    @classmethod
    def of(cls, value: Any) -> OrtValue:
        """From a value as a session has it."""
        made = cls.__new__(cls)
        made._value = value
        return made

    @property
    def value(self) -> Any:
        """The value as a session takes it."""
        return self._value

    @property
    def _ortvalue(self) -> OrtValue:
        return self

    def _get_c_value(self) -> OrtValue:
        return self

    def to_dlpack(self) -> Any:
        """The tensor as a DLPack capsule, which shares its memory."""
        return self.__dlpack__()

    @classmethod
    def ortvalue_from_numpy(
        cls,
        numpy_obj: np.ndarray,
        /,
        device_type: str = "cpu",
        device_id: int = 0,
        vendor_id: int | OrtDeviceVendorId = -1,
    ) -> OrtValue:
        check_device(device_type)
        if not isinstance(numpy_obj, np.ndarray) or numpy_obj.dtype.kind in "OSUTMmV":
            raise RuntimeError(
                "Creation of OrtValues is currently only supported from non-string numpy arrays"
            )
        element_code(numpy_obj.dtype)
        return cls.of(np.ascontiguousarray(_native(numpy_obj)).reshape(numpy_obj.shape))

    @classmethod
    def ortvalue_from_numpy_with_onnx_type(
        cls, data: np.ndarray, /, onnx_element_type: int
    ) -> OrtValue:
        """The array's bytes as elements of an ONNX type, such as uint16 as bfloat16."""
        dtype = _dtype_of_code(onnx_element_type)
        if dtype.itemsize != data.dtype.itemsize:
            raise RuntimeError(
                f"elements of {data.dtype} can't be taken as {element_name(onnx_element_type)}, "
                "which is of another size"
            )
        array = np.ascontiguousarray(_native(data)).reshape(data.shape)
        return cls.of(array.view(dtype))

    @classmethod
    def ortvalue_from_shape_and_type(
        cls,
        shape: Sequence[int],
        element_type: Any,
        device_type: str = "cpu",
        device_id: int = 0,
        vendor_id: int | OrtDeviceVendorId = -1,
        memory_info: Any = None,
    ) -> OrtValue:
        """Memory for a tensor, with zeros. ``element_type``: a NumPy type or ONNX's number."""
        check_device(device_type)
        return cls.of(np.zeros(tuple(shape), dtype_of(element_type)))

    @classmethod
    def ort_value_from_sparse_tensor(cls, sparse_tensor: SparseTensor) -> OrtValue:
        return cls.of(sparse_tensor)

    @classmethod
    def from_dlpack(cls, data: Any, /) -> OrtValue:
        """A tensor of another library, whose memory is shared."""
        return cls.of(np.from_dlpack(data))

    def as_sparse_tensor(self) -> SparseTensor:
        if not self.is_sparse_tensor():
            raise RuntimeError("the OrtValue is not a sparse tensor")
        return self._value  # type: ignore[no-any-return]

    def data_ptr(self) -> int:
        return int(self._tensor().ctypes.data)

    def device_name(self) -> str:
        self._tensor()
        return "cpu"

    def shape(self) -> list[int]:
        return list(self._tensor().shape)

    def data_type(self) -> str:
        return type_of_value(self._value)

    def element_type(self) -> int:
        """ONNX's number of the tensor's type."""
        return element_code(self._tensor().dtype)

    def tensor_size_in_bytes(self) -> int:
        array = self._tensor()
        if array.dtype == object:
            raise RuntimeError("the size of a tensor of strings isn't defined")
        return array.nbytes

    def has_value(self) -> bool:
        return self._value is not None

    def is_tensor(self) -> bool:
        return isinstance(self._value, np.ndarray)

    def is_sparse_tensor(self) -> bool:
        return isinstance(self._value, SparseTensor)

    def is_tensor_sequence(self) -> bool:
        return isinstance(self._value, list) and not any(isinstance(v, dict) for v in self._value)

    def numpy(self) -> np.ndarray:
        """The tensor, which can be written to."""
        return self._tensor()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._tensor(), dtype=dtype, copy=copy)

    def __dlpack__(self, *, stream: Any = None) -> Any:
        return self._tensor().__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)  # DLPack's number for the CPU

    def update_inplace(self, data: Any) -> None:
        """Copy an array of the same dtype and number of elements into the tensor's memory."""
        if isinstance(data, OrtValue):
            data = data.numpy()
        if not isinstance(data, np.ndarray):
            raise TypeError("data must be a numpy.ndarray or an OrtValue.")
        array = self._tensor()
        if data.size != array.size:
            raise RuntimeError(
                "The input size of numpy arrays does not match the size of the OrtValue."
            )
        if _native(data).dtype != array.dtype:
            raise RuntimeError(f"can't write {data.dtype} into an OrtValue of {array.dtype}")
        array[...] = data.reshape(array.shape)

    def _tensor(self) -> np.ndarray:
        if not isinstance(self._value, np.ndarray):
            raise RuntimeError(f"the OrtValue is not a tensor: {self.data_type()}")
        return self._value


def dtype_of(element_type: Any) -> np.dtype:
    """A NumPy type, or ONNX's number of one, as a dtype."""
    if isinstance(element_type, int | np.integer):
        return _dtype_of_code(int(element_type))
    return np.dtype(element_type)


def _dtype_of_code(code: int) -> np.dtype:
    try:
        return numpy_dtype(code)
    except (ValueError, NotImplementedError) as error:
        raise RuntimeError(f"tensor type {code} is not supported: {error}") from None


def _native(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _read_only(array: np.ndarray) -> np.ndarray:
    """A view of memory that belongs to a tensor."""
    view = array.view()
    view.flags.writeable = False
    return view


class _CooView:
    """``indices`` of a tensor in coordinate form."""

    def __init__(self, indices: np.ndarray) -> None:
        self._indices = indices

    def indices(self) -> np.ndarray:
        return _read_only(self._indices)


class _CsrView:
    """``inner`` and ``outer`` indices of a matrix in compressed row form."""

    def __init__(self, inner: np.ndarray, outer: np.ndarray) -> None:
        self._inner, self._outer = inner, outer

    def inner(self) -> np.ndarray:
        return _read_only(self._inner)

    def outer(self) -> np.ndarray:
        return _read_only(self._outer)


class SparseTensor:
    """A tensor in coordinate form, or a matrix in compressed row form."""

    def __init__(self, sparse_tensor: SparseTensor) -> None:
        self.__dict__.update(sparse_tensor.__dict__)

    @classmethod
    def _of(cls, shape: Any, values: np.ndarray, form: OrtSparseFormat, view: Any) -> SparseTensor:
        made = cls.__new__(cls)
        made.__dict__.update(
            _shape=np.asarray(shape, np.int64), _values=values, _form=form, _view=view
        )
        return made

    @classmethod
    def sparse_coo_from_numpy(
        cls,
        dense_shape: np.ndarray,
        values: np.ndarray,
        coo_indices: np.ndarray,
        ort_device: OrtDevice,
    ) -> SparseTensor:
        """``coo_indices``: (n,) linear or (n, 2). Raises RuntimeError if they don't fit."""
        indices = np.asarray(coo_indices, np.int64)
        if indices.size not in (values.size, 2 * values.size):
            raise RuntimeError(
                f"{indices.size} indices don't belong to {values.size} values: one (linear) or two "
                "for each are needed"
            )
        form = OrtSparseFormat.ORT_SPARSE_COO
        return cls._of(dense_shape, values, form, _CooView(indices))

    @classmethod
    def sparse_csr_from_numpy(
        cls,
        dense_shape: np.ndarray,
        values: np.ndarray,
        inner_indices: np.ndarray,
        outer_indices: np.ndarray,
        ort_device: OrtDevice,
    ) -> SparseTensor:
        """A matrix: the columns of its values, and where each row begins."""
        inner, outer = (np.asarray(i, np.int64) for i in (inner_indices, outer_indices))
        if inner.size != values.size or outer.size not in (0, int(dense_shape[0]) + 1):
            raise RuntimeError(
                f"{inner.size} inner and {outer.size} outer indices don't belong to {values.size} "
                f"values in {int(dense_shape[0])} rows"
            )
        form = OrtSparseFormat.ORT_SPARSE_CSRC
        return cls._of(dense_shape, values, form, _CsrView(inner, outer))

    def values(self) -> np.ndarray:
        """The values other than zero."""
        return _read_only(self._values)

    def as_coo_view(self) -> _CooView:
        return self._as(OrtSparseFormat.ORT_SPARSE_COO)  # type: ignore[no-any-return]

    def as_csrc_view(self) -> _CsrView:
        return self._as(OrtSparseFormat.ORT_SPARSE_CSRC)  # type: ignore[no-any-return]

    def as_blocksparse_view(self) -> NoReturn:
        raise RuntimeError("onnxwalk has no block-sparse tensors")

    def _as(self, form: OrtSparseFormat) -> Any:
        if self._form != form:
            raise RuntimeError(f"the tensor is in the form {self._form}, not {form}")
        return self._view

    def to_cuda(self, ort_device: OrtDevice) -> NoReturn:
        raise RuntimeError("onnxwalk runs on the CPU only")

    def format(self) -> OrtSparseFormat:
        return self._form

    def dense_shape(self) -> list[int]:
        return self._shape.tolist()

    def data_type(self) -> str:
        return f"sparse_tensor({element_name(element_code(self._values.dtype))})"

    def device_name(self) -> str:
        return "cpu"

    _shape: np.ndarray
    _values: np.ndarray
    _form: OrtSparseFormat
    _view: Any


class OrtValueVector(list[OrtValue]):
    """A list of values, with the names that C++'s vector has."""

    push_back = list.append

    def reserve(self, size: int) -> None:
        """Lists grow by themselves."""

    def shrink_to_fit(self) -> None:
        """Lists shrink by themselves."""


def copy_tensors(src: Sequence[OrtValue], dst: Sequence[OrtValue], stream: Any = None) -> None:
    """Copy each tensor into the memory of another of the same size."""
    if len(src) != len(dst):
        raise ValueError(f"{len(src)} tensors can't be copied into {len(dst)}")
    for source, target in zip(src, dst, strict=True):
        if math.prod(source.shape()) != math.prod(target.shape()):
            raise RuntimeError("the tensors differ in size")
        target.update_inplace(source)
