"""Builds our session from what ``InferenceSession`` is given, with ONNX Runtime's exceptions."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from onnxwalk.interpreter.budget import Budget, use_budget
from onnxwalk.interpreter.errors import (
    InvalidInputError,
    InvalidModelError,
    LimitError,
    NotOnnxError,
    OnnxWalkError,
    UnsupportedModelError,
)
from onnxwalk.interpreter.ir.model import Model, Tensor
from onnxwalk.interpreter.limits import Limits, half_of_memory
from onnxwalk.interpreter.reader import read_model
from onnxwalk.interpreter.reader.source import Source
from onnxwalk.interpreter.session import Session
from onnxwalk.onnxruntime import status
from onnxwalk.onnxruntime.enums import GraphOptimizationLevel
from onnxwalk.onnxruntime.feeds import relax
from onnxwalk.onnxruntime.options import SessionOptions
from onnxwalk.onnxruntime.types import element_code
from onnxwalk.onnxruntime.values import OrtValue
from onnxwalk.ops.shared.numpy_state import computing

#: the configuration entry with the folder of the external data of a model from bytes
_FOLDER = "session.model_external_initializers_file_folder_path"

#: the newest version of the format that ONNX Runtime 1.32 takes
_NEWEST_IR = 14


def load(model: str | bytes, options: SessionOptions, seed: int | None) -> tuple[Session, Model]:
    """Our session of a path's file or of bytes, and the model with the inputs as declared.

    Raises one of ONNX Runtime's exceptions.
    """
    if options.canceled:
        raise status.ModelLoadCanceled.of("Loading was canceled: set_load_cancellation_flag(True)")
    limits = generous_limits()
    with use_budget(Budget(limits)), computing():
        declared, opened = _read(model, options)
        try:
            session = Session(
                opened,
                rewrites=_rewrites(options),
                seed=seed,
                threads=_threads(options),
                limits=limits,
            )
        except OnnxWalkError as error:
            raise status.of_graph(error) from error
    if options.optimized_model_filepath:
        _save(model, Path(options.optimized_model_filepath))
    return session, declared


def generous_limits() -> Limits:
    """Those of a program that trusts its models, as all do that use ONNX Runtime: what no machine
    can do is refused, and nothing else."""
    return Limits(
        max_memory=2 * half_of_memory(),
        max_loop_iterations=None,
        max_nodes=None,
        max_string_bytes=None,
    )


def _read(model: str | bytes, options: SessionOptions) -> tuple[Model, Model]:
    """The model with the inputs as declared, and with inputs as open as ONNX Runtime takes them."""
    where = f"Load model from {model} failed:" if isinstance(model, str) else ""
    if isinstance(model, str) and not os.path.exists(model.partition("\0")[0]):
        raise status.NoSuchFile.of(f"{where}Load model {model} failed. File doesn't exist")
    try:
        source = _GivenData.open(model)
        source.options = options
        if not source.data:
            raise status.InvalidArgument.of(f"{where}No graph was found in the protobuf.")
        read = read_model(source)
    except (InvalidInputError, UnsupportedModelError) as error:
        kind = status.InvalidProtobuf if isinstance(error, InvalidInputError) else status.Fail
        raise kind.of(f"{where}{error}") from error
    except LimitError as error:
        raise status.Fail.of(str(error)) from error
    except NotOnnxError as error:
        raise status.InvalidProtobuf.of(f"{where}Protobuf parsing failed. {error}") from error
    except InvalidModelError as error:  # in tensors, mostly: external data that isn't there
        raise status.Fail.of(f"{where}{error}") from error
    if read.ir_version > _NEWEST_IR:
        raise status.Fail.of(
            f"{where}Unsupported model IR version: {read.ir_version}, max supported IR version: "
            f"{_NEWEST_IR}\n"
        )
    initializers = {name: _initializer(name, value) for name, value in options.initializers.items()}
    unknown = sorted(set(initializers) - set(read.graph.initializers))
    if unknown:
        raise status.Fail.of(f"add_initializer: the model has no initializer named {unknown[0]}")
    graph = replace(read.graph, initializers={**read.graph.initializers, **initializers})
    fixed, opened = relax(graph, options.dimensions, options.denoted_dimensions)
    return replace(read, graph=fixed), replace(read, graph=opened)


class _GivenData(Source):
    """A model whose external data may be given by the session's options."""

    options: SessionOptions

    def external(self, fields: dict[str, Any]) -> memoryview:
        given = self.options.tensors.get(fields.get("name", ""))
        if given is not None:
            array = np.ascontiguousarray(given.numpy())
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            return memoryview(little.tobytes())
        self._external |= self.options.files
        folder = self.options.get(_FOLDER)
        if self.path is None and (folder or self.options.files):
            self.path = Path(folder or "", "model.onnx")  # of which only the folder matters
        return super().external(fields)


def _initializer(name: str, value: OrtValue) -> Tensor:
    array = value.numpy()
    return Tensor(name, element_code(array.dtype), array)


def _rewrites(options: SessionOptions) -> tuple[str, ...]:
    from onnxwalk.interpreter.compiler.passes import REWRITES

    if options.graph_optimization_level == GraphOptimizationLevel.ORT_DISABLE_ALL:
        return ()
    return tuple(REWRITES)


def _threads(options: SessionOptions) -> int:
    """The number of threads of a run. 0, the default, leaves it to BLAS, which has its own threads
    for large products; more than one need threadpoolctl, and are one where it isn't installed."""
    count: int = options.intra_op_num_threads
    if count > 1 and not find_spec("threadpoolctl"):
        return 1
    return max(count, 0)


def _save(source: str | bytes, path: Path) -> None:
    """Write the model where ONNX Runtime would write its optimized form: an equal model, for what
    onnxwalk makes of it has no form of a file. External data stays where it is, as there.

    Raises InvalidArgument if the folder doesn't exist, RuntimeError for other reasons.
    """
    try:
        if isinstance(source, bytes):
            path.write_bytes(source)
        elif not (path.exists() and path.samefile(source)):
            shutil.copyfile(source, path)
    except FileNotFoundError as error:
        raise status.InvalidArgument(f"SystemError : {error.errno}") from error
    except OSError as error:
        raise RuntimeError(f"SystemError : {error.errno}") from error
