"""``IOBinding``: inputs and outputs that are given before a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxwalk.onnxruntime.types import element_code
from onnxwalk.onnxruntime.values import OrtValue, OrtValueVector, check_device, dtype_of


class IOBinding:
    """Bound inputs are read when the session runs: a change of an array between two runs counts.

    Outputs are bound to memory of the caller, or made anew by each run.
    """

    def __init__(self, session: Any) -> None:
        self.session = session
        self._known = {arg.name for arg in session.get_inputs()}
        self._inputs: dict[str, Any] = {}
        #: memory that an output is to be written to, None where the run makes it
        self._targets: dict[str, np.ndarray | None] = {}
        self._results: dict[str, OrtValue] = {}

    def bind_cpu_input(self, name: str, arr_on_cpu: np.ndarray) -> None:
        self._check(name, f"Failed to find NodeArg with name: {name} in the def list")
        if not isinstance(arr_on_cpu, np.ndarray):
            raise RuntimeError("Unable to create OrtValue from the given python object")
        if arr_on_cpu.dtype.kind in "USOT":
            raise RuntimeError("Only binding non-string Tensors is currently supported")
        element_code(arr_on_cpu.dtype)
        self._inputs[name] = arr_on_cpu

    def bind_input(
        self,
        name: str,
        device_type: str,
        device_id: int,
        element_type: Any,
        shape: Sequence[int],
        buffer_ptr: int,
    ) -> None:
        """``buffer_ptr``: the address of a tensor in memory, which must stay there."""
        self._check(name, f"Failed to find NodeArg with name: {name} in the def list")
        check_device(device_type)
        self._inputs[name] = _array_at(buffer_ptr, element_type, shape)

    def bind_ortvalue_input(self, name: str, ortvalue: OrtValue) -> None:
        self._check(
            name, f"Error when binding input: Failed to find input name in the mapping: {name}"
        )
        self._inputs[name] = ortvalue.value

    def bind_output(
        self,
        name: str,
        device_type: str = "cpu",
        device_id: int = 0,
        element_type: Any = None,
        shape: Sequence[int] | None = None,
        buffer_ptr: int | None = None,
    ) -> None:
        """``buffer_ptr``: the address of memory for the output; without it, the run makes it. Any
        ``device_type`` is taken then, as the outputs are on the CPU in each case."""
        if not buffer_ptr:
            self._targets[name] = None
            return
        if element_type is None or shape is None:
            raise ValueError(
                "`element_type` and `shape` are to be provided if pre-allocated memory is provided"
            )
        check_device(device_type)
        self._targets[name] = _array_at(buffer_ptr, element_type, shape)

    def bind_ortvalue_output(self, name: str, ortvalue: OrtValue) -> None:
        self._targets[name] = ortvalue.numpy()

    def synchronize_inputs(self) -> None:
        """No effect: the CPU has nothing to wait for."""

    def synchronize_outputs(self) -> None:
        """No effect: the CPU has nothing to wait for."""

    def get_outputs(self) -> list[OrtValue]:
        """The outputs of the last run, in the order in which they were bound."""
        return [self._results[name] for name in self._targets if name in self._results]

    def get_outputs_as_ortvaluevector(self) -> OrtValueVector:
        return OrtValueVector(self.get_outputs())

    def copy_outputs_to_cpu(self) -> list[Any]:
        values = (output.value for output in self.get_outputs())
        return [x.copy() if isinstance(x, np.ndarray) else x for x in values]

    def clear_binding_inputs(self) -> None:
        self._inputs.clear()

    def clear_binding_outputs(self) -> None:
        self._targets.clear()
        self._results.clear()

    @property
    def _iobinding(self) -> IOBinding:
        return self

    def prepare(self) -> tuple[list[str], dict[str, Any]]:
        """The names of the outputs and the feeds. Raises ValueError if there are none."""
        if not self._targets:
            raise ValueError("At least one output should be requested.")
        return list(self._targets), dict(self._inputs)

    def keep(self, names: Sequence[str], results: Sequence[Any]) -> None:
        """Take the results of a run. Raises RuntimeError if one doesn't fit into its memory."""
        for name, result in zip(names, results, strict=True):
            target = self._targets[name]
            if target is not None:
                if target.shape != result.shape or target.dtype != result.dtype:
                    raise RuntimeError(
                        f"Error in execution: output {name} is {result.dtype}{list(result.shape)}, "
                        f"but the memory bound to it is {target.dtype}{list(target.shape)}"
                    )
                target[...] = result
                result = target
            self._results[name] = OrtValue.of(result)

    def _check(self, name: str, message: str) -> None:
        if name not in self._known:
            raise RuntimeError(message)


def _array_at(address: int, element_type: Any, shape: Sequence[int]) -> np.ndarray:
    """The memory at an address as an array, which doesn't own it."""
    dtype = dtype_of(element_type)
    size = math.prod(shape) * dtype.itemsize
    if not size:
        return np.empty(tuple(shape), dtype)
    import ctypes  # some Pythons lack it

    memory = (ctypes.c_char * size).from_address(address)
    return np.frombuffer(memoryview(memory), dtype).reshape(tuple(shape))
