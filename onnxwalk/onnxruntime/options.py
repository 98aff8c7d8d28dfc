"""``SessionOptions`` and ``RunOptions``."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from onnxwalk.onnxruntime.enums import (
    ExecutionMode,
    ExecutionOrder,
    GraphOptimizationLevel,
    OrtExecutionProviderDevicePolicy,
)
from onnxwalk.onnxruntime.status import Fail
from onnxwalk.onnxruntime.values import OrtValue

_LONGEST_KEY = 1024


class _Option:
    """An attribute of one type, as ONNX Runtime has them. Setting a value of another type raises
    TypeError."""

    def __init__(self, default: Any) -> None:
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, options: Any, owner: type) -> Any:
        return self if options is None else options._values.get(self.name, self.default)

    def __set__(self, options: Any, value: Any) -> None:
        options._values[self.name] = self._check(value)

    def _check(self, value: Any) -> Any:
        kind = type(self.default)
        if kind is bool and (isinstance(value, bool) or value in (0, 1)):
            return bool(value)
        if kind is int and not isinstance(value, str | float):
            try:
                return operator.index(value)
            except TypeError:
                pass
        elif isinstance(value, kind) and kind is not bool:
            return value
        raise TypeError(f"{self.name} must be of type {kind.__name__}, not {value!r}")


class _Entries:
    """Pairs of key and value, both ``str``, that an options object keeps."""

    def __init__(self, owner: str) -> None:
        self._owner, self.entries = owner, dict[str, str]()

    def add(self, key: str, value: str) -> None:
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"a configuration's key and value must be str: {key!r}, {value!r}")
        if not 0 < len(key) <= _LONGEST_KEY:
            raise RuntimeError(f"Config key is empty or longer than maximum length {_LONGEST_KEY}")
        self.entries[key] = value

    def get(self, key: str) -> str:
        if key not in self.entries:
            raise RuntimeError(f"{self._owner} does not have configuration with key: {key}")
        return self.entries[key]


class _Options:
    """The base: an unknown attribute is an error, as in ONNX Runtime."""

    __slots__ = ("_entries", "_values")

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._entries = _Entries(type(self).__name__)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle '{type(self).__name__}' object")


class SessionOptions(_Options):
    """How a session is built. What concerns memory arenas, parallel execution of nodes and logging
    is kept and has no effect here."""

    __slots__ = (
        "canceled",
        "denoted_dimensions",
        "dimensions",
        "files",
        "initializers",
        "providers",
        "tensors",
    )

    enable_cpu_mem_arena = _Option(True)
    enable_mem_pattern = _Option(True)
    enable_mem_reuse = _Option(True)
    enable_profiling = _Option(False)
    execution_mode = _Option(ExecutionMode.ORT_SEQUENTIAL)
    execution_order = _Option(ExecutionOrder.DEFAULT)
    graph_optimization_level = _Option(GraphOptimizationLevel.ORT_ENABLE_ALL)
    inter_op_num_threads = _Option(0)
    intra_op_num_threads = _Option(0)
    log_severity_level = _Option(-1)
    log_verbosity_level = _Option(0)
    logid = _Option("")
    optimized_model_filepath = _Option("")
    profile_file_prefix = _Option("onnxruntime_profile_")
    use_deterministic_compute = _Option(False)
    use_per_session_threads = _Option(True)

    def __init__(self) -> None:
        super().__init__()
        #: the sizes of open dimensions, by symbol, and of those that stand for something
        self.dimensions: dict[str, int] = {}
        self.denoted_dimensions: dict[str, int] = {}
        #: values that replace initializers, and those of external initializers
        self.initializers: dict[str, OrtValue] = {}
        self.tensors: dict[str, OrtValue] = {}
        #: external data by the name of its file
        self.files: dict[str, memoryview] = {}
        self.providers: list[tuple[str, dict[str, str]]] = []
        self.canceled = False

    def copy(self) -> SessionOptions:
        """Options of their own with the same content: a session isn't changed by later settings."""
        other = SessionOptions()
        other._values = dict(self._values)
        other._entries.entries = dict(self._entries.entries)
        other.dimensions, other.files = dict(self.dimensions), dict(self.files)
        other.denoted_dimensions = dict(self.denoted_dimensions)
        other.initializers, other.tensors = dict(self.initializers), dict(self.tensors)
        other.providers, other.canceled = list(self.providers), self.canceled
        return other

    def add_session_config_entry(self, key: str, value: str, /) -> None:
        self._entries.add(key, value)

    def get_session_config_entry(self, key: str, /) -> str:
        return self._entries.get(key)

    def get(self, key: str) -> str | None:
        """The value of a configuration entry, None if there is none."""
        return self._entries.entries.get(key)

    def add_free_dimension_override_by_name(self, name: str, size: int, /) -> None:
        """Fix the size of the inputs' dimensions of this symbol; the first size for it counts."""
        self.dimensions.setdefault(name, operator.index(size))

    def add_free_dimension_override_by_denotation(self, denotation: str, size: int, /) -> None:
        """Fix the size of the inputs' dimensions that stand for this, in small or capital letters;
        the first size for it counts."""
        self.denoted_dimensions.setdefault(denotation.lower(), operator.index(size))

    def add_initializer(self, name: str, value: OrtValue, /) -> None:
        """Use this value in place of the initializer of the model."""
        self.initializers[name] = value

    def add_external_initializers(self, names: list[str], values: list[OrtValue], /) -> None:
        """The values of initializers whose data isn't in the model's file."""
        if len(names) != len(values):
            raise RuntimeError(f"{len(names)} names and {len(values)} values were given")
        self.tensors |= dict(zip(names, values, strict=True))

    def add_external_initializers_from_files_in_memory(
        self, names: Sequence[str], contents: Sequence[Any], sizes: Sequence[int], /
    ) -> None:
        """The content of files of external data, by the name that the model has for them."""
        for name, content, size in zip(names, contents, sizes, strict=True):
            self.files[name] = memoryview(content).cast("B")[:size].toreadonly()

    def register_custom_ops_library(self, path: str | os.PathLike[str], /) -> NoReturn:
        raise Fail.of(
            f"onnxwalk can't run the compiled operators of {os.fspath(path)}: register them in "
            "Python, with onnxwalk.Registry"
        )

    def add_provider(self, name: str, options: Mapping[str, str], /) -> None:
        if name != "CPUExecutionProvider":
            raise Fail.of(f"provider {name} is not available: onnxwalk runs on the CPU only")
        self.providers.append((name, dict(options)))

    def has_providers(self) -> bool:
        return bool(self.providers)

    def add_provider_for_devices(self, devices: Sequence[Any], options: Any, /) -> NoReturn:
        raise Fail.of("onnxwalk has no devices to choose from: it runs on the CPU only")

    def set_provider_selection_policy(self, policy: OrtExecutionProviderDevicePolicy, /) -> None:
        """There is one provider, which every policy chooses."""

    def set_provider_selection_policy_delegate(self, delegate: Callable[..., Any], /) -> None:
        """There is one provider: no choice to delegate."""

    def set_load_cancellation_flag(self, canceled: bool, /) -> None:
        self.canceled = bool(canceled)

    def set_ep_context_data_read_func(
        self, read_func: Callable[..., Any], max_data_size: int
    ) -> None:
        """No effect: only compiled models have such data, and they are refused."""

    def clear_ep_context_data_read_func(self) -> None:
        """No effect, as ``set_ep_context_data_read_func`` has none."""


class RunOptions(_Options):
    """How a run is carried out. Logging and the arenas of memory have no effect here."""

    __slots__ = ()

    log_severity_level = _Option(-1)
    log_verbosity_level = _Option(0)
    logid = _Option("")
    only_execute_path_to_fetches = _Option(False)
    terminate = _Option(False)

    def add_run_config_entry(self, key: str, value: str, /) -> None:
        self._entries.add(key, value)

    def get_run_config_entry(self, key: str, /) -> str:
        return self._entries.get(key)

    def add_active_adapter(self, adapter: Any, /) -> NoReturn:
        raise Fail.of("onnxwalk can't apply LoRA adapters: merge the adapter into the model")
