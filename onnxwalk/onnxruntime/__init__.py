"""ONNX Runtime's Python API, carried out by onnxwalk: ``import onnxwalk.onnxruntime as ort``.

>>> import onnxwalk.onnxruntime as ort
>>> session = ort.InferenceSession("model.onnx")         # doctest: +SKIP
>>> session.run(None, {"x": x})                          # doctest: +SKIP

Names, arguments, defaults, types and exceptions are those of ONNX Runtime 1.32 on a CPU, so that a
program that imports ``onnxruntime`` runs unmodified: see ``onnxwalk.as_onnxruntime`` and
``onnxwalk stand-in``. docs/IN_PLACE.md lists what differs, and what is left out.
"""

from onnxwalk.onnxruntime import capi
from onnxwalk.onnxruntime.binding import IOBinding
from onnxwalk.onnxruntime.enums import (
    ExecutionMode,
    ExecutionOrder,
    GraphOptimizationLevel,
    OrtAllocatorType,
    OrtCompileApiFlags,
    OrtDeviceMemoryType,
    OrtDeviceVendorId,
    OrtExecutionProviderDevicePolicy,
    OrtHardwareDeviceType,
    OrtMemoryInfoDeviceType,
    OrtMemType,
    OrtSparseFormat,
)
from onnxwalk.onnxruntime.globals import (
    VERSION as __version__,
)
from onnxwalk.onnxruntime.globals import (
    create_and_register_allocator,
    create_and_register_allocator_v2,
    cuda_version,
    disable_telemetry_events,
    enable_telemetry_events,
    get_build_info,
    get_device,
    get_ep_devices,
    get_version_string,
    has_collective_ops,
    package_name,
    preload_dlls,
    print_debug_info,
    register_execution_provider_library,
    set_default_logger_callback,
    set_default_logger_severity,
    set_default_logger_verbosity,
    set_global_thread_pool_sizes,
    set_seed,
    unregister_execution_provider_library,
)
from onnxwalk.onnxruntime.memory import OrtArenaCfg, OrtMemoryInfo
from onnxwalk.onnxruntime.options import RunOptions, SessionOptions
from onnxwalk.onnxruntime.providers import get_all_providers, get_available_providers
from onnxwalk.onnxruntime.session import InferenceSession
from onnxwalk.onnxruntime.types import ModelMetadata, NodeArg
from onnxwalk.onnxruntime.values import OrtDevice, OrtValue, SparseTensor, copy_tensors

version = __version__
SessionIOBinding = IOBinding

__all__ = [
    "ExecutionMode",
    "ExecutionOrder",
    "GraphOptimizationLevel",
    "IOBinding",
    "InferenceSession",
    "ModelMetadata",
    "NodeArg",
    "OrtAllocatorType",
    "OrtArenaCfg",
    "OrtCompileApiFlags",
    "OrtDevice",
    "OrtDeviceMemoryType",
    "OrtDeviceVendorId",
    "OrtExecutionProviderDevicePolicy",
    "OrtHardwareDeviceType",
    "OrtMemType",
    "OrtMemoryInfo",
    "OrtMemoryInfoDeviceType",
    "OrtSparseFormat",
    "OrtValue",
    "RunOptions",
    "SessionIOBinding",
    "SessionOptions",
    "SparseTensor",
    "__version__",
    "capi",
    "copy_tensors",
    "create_and_register_allocator",
    "create_and_register_allocator_v2",
    "cuda_version",
    "disable_telemetry_events",
    "enable_telemetry_events",
    "get_all_providers",
    "get_available_providers",
    "get_build_info",
    "get_device",
    "get_ep_devices",
    "get_version_string",
    "has_collective_ops",
    "package_name",
    "preload_dlls",
    "print_debug_info",
    "register_execution_provider_library",
    "set_default_logger_callback",
    "set_default_logger_severity",
    "set_default_logger_verbosity",
    "set_global_thread_pool_sizes",
    "set_seed",
    "unregister_execution_provider_library",
    "version",
]
