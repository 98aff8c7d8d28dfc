"""``OrtMemoryInfo`` and ``OrtArenaCfg``: descriptions of memory, which NumPy manages here."""

from __future__ import annotations

from typing import Any

from onnxwalk.onnxruntime.enums import (
    OrtAllocatorType,
    OrtDeviceMemoryType,
    OrtDeviceVendorId,
    OrtMemType,
)
from onnxwalk.onnxruntime.values import check_device


class OrtMemoryInfo:
    """The memory of a device; here the CPU's alone."""

    def __init__(
        self, name: str, allocator: OrtAllocatorType, device_id: int, mem_type: OrtMemType, /
    ) -> None:
        check_device(name.lower())
        self.name, self.allocator_type = name, allocator
        self.device_id, self.mem_type = device_id, mem_type
        self.device_mem_type = OrtDeviceMemoryType.DEFAULT
        self.device_vendor_id = int(OrtDeviceVendorId.NONE)


class OrtArenaCfg:
    """The sizes of an arena of memory, kept and without effect."""

    def __init__(self, *sizes: Any) -> None:
        """Four sizes, or a dict of sizes by name."""
        given = sizes[0] if len(sizes) == 1 else dict(zip(_ARENA, sizes, strict=False))
        for name in _ARENA:
            setattr(self, name, given.get(name, -1))


_ARENA = (
    "max_mem",
    "arena_extend_strategy",
    "initial_chunk_size_bytes",
    "max_dead_bytes_per_chunk",
    "initial_growth_chunk_size_bytes",
    "max_power_of_two_extend_bytes",
)
