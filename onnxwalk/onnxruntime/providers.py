"""The execution providers: there is the CPU, and all others aren't available."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

CPU = "CPUExecutionProvider"
_AZURE = "AzureExecutionProvider"

#: every provider that a build of ONNX Runtime may have, in its order
ALL = [
    "TensorrtExecutionProvider",
    "CUDAExecutionProvider",
    "MIGraphXExecutionProvider",
    "OpenVINOExecutionProvider",
    "DnnlExecutionProvider",
    "VitisAIExecutionProvider",
    "QNNExecutionProvider",
    "NnapiExecutionProvider",
    "VSINPUExecutionProvider",
    "JsExecutionProvider",
    "CoreMLExecutionProvider",
    "DmlExecutionProvider",
    "RknpuExecutionProvider",
    "WebNNExecutionProvider",
    "WebGpuExecutionProvider",
    "XnnpackExecutionProvider",
    "CANNExecutionProvider",
    _AZURE,
    CPU,
]


def get_all_providers() -> list[str]:
    return list(ALL)


def get_available_providers() -> list[str]:
    """The CPU alone: the real package also lists a provider that calls a cloud service."""
    return [CPU]


def normalize_providers(providers: Any, provider_options: Any) -> list[str]:
    """The names of the providers of a session, which are always the CPU.

    Warns of those that aren't available, as ONNX Runtime does, which then runs on the CPU. Raises
    ValueError for what isn't a sequence of names or (name, options); RuntimeError for a name that
    no build has.
    """
    if not providers:
        return [CPU]
    if not isinstance(providers, Sequence):
        if not hasattr(providers, "__iter__"):
            raise TypeError(f"'providers' should be a sequence, not {providers!r}")
        raise ValueError("'providers' should be a sequence.")
    names = [provider for provider in providers if isinstance(provider, str)]
    if provider_options:
        if not isinstance(provider_options, Sequence):
            raise ValueError("'provider_options' should be a sequence.")
        if len(providers) != len(provider_options):
            raise ValueError(
                "'providers' and 'provider_options' should be the same length if both are given."
            )
        if len(names) < len(providers):
            raise ValueError(
                "Only string values for 'providers' are supported if 'provider_options' is given."
            )
        if not all(isinstance(options, dict) for options in provider_options):
            raise ValueError("'provider_options' values must be dicts.")
    else:
        pairs = [p for p in providers if not isinstance(p, str)]
        if any(
            not (
                isinstance(p, tuple)
                and len(p) == 2
                and isinstance(p[0], str)
                and isinstance(p[1], dict)
            )
            for p in pairs
        ):
            raise ValueError("'providers' values must be either strings or (string, dict) tuples.")
        names = [p if isinstance(p, str) else p[0] for p in providers]
    available = get_available_providers()
    for index, name in enumerate(names):
        if name in names[:index]:
            _warn(f"Duplicate provider '{name}' encountered, ignoring.")
        elif name not in available:
            _warn(
                f"Specified provider '{name}' is not in available provider names."
                f"Available providers: '{', '.join(available)}'"
            )
    for name in names:
        if name not in ALL:
            raise RuntimeError(f"Unknown Provider Type: {name}")
    return [CPU]


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=5)
