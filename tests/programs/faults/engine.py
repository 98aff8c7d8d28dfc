"""One fault in one engine, in a process of its own: what came of it, as a line of JSON.

python -m tests.programs.faults.engine ENGINE CASE.json
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.programs.fuzz.case import Case
from tests.support.supervised import peak

#: the engine's name, and how to run a model file with it: feeds in, outputs out
Run = Callable[[str, dict[str, Any]], Any]


def onnxwalk() -> tuple[Run, tuple[type[BaseException], ...]]:
    """onnxwalk under limits of 1 GiB and 4 seconds, and its own errors."""
    import onnxwalk

    limits = onnxwalk.Limits(max_memory=1 << 30, max_seconds=4)

    def run(path: str, feeds: dict[str, Any]) -> Any:
        return onnxwalk.load(path, limits=limits).run(None, feeds)

    return run, (onnxwalk.OnnxWalkError,)


def onnxruntime() -> tuple[Run, tuple[type[BaseException], ...]]:
    """ONNX Runtime as it comes, on one thread, and its own errors."""
    import onnxruntime as runtime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    runtime.set_default_logger_severity(4)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1

    def run(path: str, feeds: dict[str, Any]) -> Any:
        session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return session.run(None, feeds)

    found = (v for v in vars(state).values() if isinstance(v, type) and issubclass(v, Exception))
    # feeds that don't fit are refused by its Python layer in Python's own words
    return run, (*found, ValueError, RuntimeError)


def reference() -> tuple[Run, tuple[type[BaseException], ...]]:
    """ONNX's ReferenceEvaluator, and the errors of its own and of what it calls."""
    import onnx
    from google.protobuf.message import DecodeError
    from onnx.reference import ReferenceEvaluator, op_run

    def run(path: str, feeds: dict[str, Any]) -> Any:
        return ReferenceEvaluator(path).run(None, feeds)

    own: tuple[type[BaseException], ...] = (DecodeError, onnx.checker.ValidationError)
    own += (onnx.shape_inference.InferenceError,)
    own += (op_run.RuntimeContextError, op_run.RuntimeImplementationError, op_run.RuntimeTypeError)
    return run, own


ENGINES: dict[str, Callable[[], tuple[Run, tuple[type[BaseException], ...]]]] = {
    "onnxwalk": onnxwalk,
    "onnxruntime": onnxruntime,
    "reference": reference,
}


def main(engine: str, file: Path) -> None:
    """Run the case; what it took, and whether it was answered, refused, or something else."""
    case = Case.of_file(file)
    run, own = ENGINES[engine]()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with TemporaryDirectory(prefix="onnxwalk-faults-", dir=file.parent) as folder:
        path = Path(folder, "model.onnx")
        path.write_bytes(case.model)
        for name, data in case.files.items():
            Path(folder, name).write_bytes(data)
        print(json.dumps({"ready": True}), flush=True)
        begun, ended, error = time.monotonic(), "answered", ""
        try:
            run(str(path), case.feeds)
        except own as caught:
            ended, error = "refused", f"{type(caught).__name__}: {caught}"
        except BaseException as caught:
            ended, error = "foreign", f"{type(caught).__name__}: {caught}"
        seconds = time.monotonic() - begun
    told = {"ended": ended, "error": error[:300], "seconds": seconds, "mebibytes": peak()}
    print(json.dumps(told), flush=True)
    os._exit(0)  # what an engine does as it is taken down isn't asked here


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
