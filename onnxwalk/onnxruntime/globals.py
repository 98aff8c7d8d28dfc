"""Functions and settings of the whole module: seed, logging, device, versions."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import onnxwalk
from onnxwalk.onnxruntime.status import Fail

#: the version of ONNX Runtime whose Python API this is
VERSION = "1.32.0"

package_name = "onnxruntime"
cuda_version = ""

_seed: int | None = None


def get_seed() -> int | None:
    """The seed that ``set_seed`` set for the sessions that are built from then on."""
    return _seed


def set_seed(seed: int, /) -> None:
    global _seed
    _seed = operator.index(seed) % 2**63


def get_version_string() -> str:
    return VERSION


def get_device() -> str:
    return "CPU"


def get_build_info() -> str:
    return f"ORT Build Info: onnxwalk {onnxwalk.__version__} in place of ONNX Runtime {VERSION}"


def set_default_logger_severity(severity: int, /) -> None:
    """Checked, and without effect: nothing is logged; what concerns the caller is a warning."""
    if not 0 <= operator.index(severity) <= 4:
        raise RuntimeError(f"Invalid logging severity {severity}: it must be 0 to 4")


def set_default_logger_verbosity(verbosity: int, /) -> None:
    """Without effect: nothing is logged."""
    operator.index(verbosity)


def set_default_logger_callback(callback: Callable[..., Any] | None, severity: int = 2) -> None:
    """Without effect: nothing is logged."""


def set_global_thread_pool_sizes(
    intra_op_num_threads: int = 0, inter_op_num_threads: int = 0
) -> None:
    """Without effect: each session has its own number of threads."""


def disable_telemetry_events() -> None:
    """Without effect: there is no telemetry."""


def enable_telemetry_events() -> None:
    """Without effect: there is no telemetry."""


def preload_dlls(
    cuda: bool = True, cudnn: bool = True, msvc: bool = True, directory: str | None = None
) -> None:
    """Without effect: there are no libraries to load."""


def print_debug_info() -> None:
    """Print the versions in use."""
    print(get_build_info())
    print(f"Python {sys.version.split()[0]} on {sys.platform}, devices: {get_device()}")


def has_collective_ops() -> bool:
    return False


def get_ep_devices() -> list[Any]:
    """None: the CPU isn't listed as a device that can be chosen."""
    return []


def register_execution_provider_library(name: str, path: str, /) -> NoReturn:
    raise Fail.of(f"onnxwalk can't load {path}: compiled execution providers have no place here")


def unregister_execution_provider_library(name: str, /) -> NoReturn:
    raise Fail.of(f"no execution provider library is registered as {name}")


def create_and_register_allocator(memory: Any, config: Any, /) -> None:
    """Without effect: NumPy allocates."""


def create_and_register_allocator_v2(
    provider: str, memory: Any, options: Any, config: Any, /
) -> None:
    """Without effect: NumPy allocates."""
