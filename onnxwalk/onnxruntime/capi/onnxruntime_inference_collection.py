"""What ONNX Runtime has in its Python module of sessions."""

from onnxwalk.onnxruntime.binding import IOBinding
from onnxwalk.onnxruntime.enums import OrtDeviceVendorId
from onnxwalk.onnxruntime.providers import normalize_providers
from onnxwalk.onnxruntime.session import InferenceSession, Session
from onnxwalk.onnxruntime.values import OrtDevice, OrtValue, SparseTensor, copy_tensors

__all__ = [
    "IOBinding",
    "InferenceSession",
    "OrtDevice",
    "OrtDeviceVendorId",
    "OrtValue",
    "Session",
    "SparseTensor",
    "check_and_normalize_provider_args",
    "copy_tensors",
]


#: its name there
check_and_normalize_provider_args = normalize_providers
