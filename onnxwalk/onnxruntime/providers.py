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


def normalize_providers(
    providers: Any, provider_options: Any, available: Sequence[str] = (CPU,)
) -> tuple[list[str], list[dict[str, str]]]:
    """The names of providers, each once, and the options of each.

    Warns of those that aren't available. Raises ValueError for what isn't a sequence of names or
    of (name, options).
    """
    if providers is None:
        return [], []
    if not isinstance(providers, Sequence):
        raise ValueError("'providers' should be a sequence.")
    if provider_options is None:
        pairs = [(p, {}) if isinstance(p, str) else p for p in providers]
    else:
        if not isinstance(provider_options, Sequence):
            raise ValueError("'provider_options' should be a sequence.")
        if len(providers) != len(provider_options):
            raise ValueError(
                "'providers' and 'provider_options' should be the same length if both are given."
            )
        if not all(isinstance(provider, str) for provider in providers):
            raise ValueError(
                "Only string values for 'providers' are supported if 'provider_options' is given."
            )
        if not all(isinstance(options, dict) for options in provider_options):
            raise ValueError("'provider_options' values must be dicts.")
        pairs = list(zip(providers, provider_options, strict=True))
    found: dict[str, dict[str, str]] = {}
    for pair in pairs:
        if not _is_name_and_options(pair):
            raise ValueError("'providers' values must be either strings or (string, dict) tuples.")
        name, options = pair
        if name not in available:
            _warn(
                f"Specified provider '{name}' is not in available provider names."
                f"Available providers: '{', '.join(available)}'"
            )
        if name in found:
            _warn(f"Duplicate provider '{name}' encountered, ignoring.")
        found.setdefault(name, {str(key): str(value) for key, value in options.items()})
    return list(found), list(found.values())


def check_known(names: Sequence[str]) -> None:
    """Raise RuntimeError for a provider that no build has."""
    for name in names:
        if name not in ALL:
            raise RuntimeError(f"Unknown Provider Type: {name}")


def _is_name_and_options(pair: Any) -> bool:
    return (
        isinstance(pair, tuple)
        and len(pair) == 2
        and isinstance(pair[0], str)
        and isinstance(pair[1], dict)
    )


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=5)
