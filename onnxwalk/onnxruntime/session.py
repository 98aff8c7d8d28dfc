"""``InferenceSession``: ONNX Runtime's class over our ``Session``."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from onnxwalk.interpreter.budget import stopping_when
from onnxwalk.interpreter.errors import OnnxWalkError, RunStopped
from onnxwalk.interpreter.ir.model import Graph
from onnxwalk.interpreter.runtime.threads import can_start_threads, say_that_no_thread_starts
from onnxwalk.onnxruntime import loading, status
from onnxwalk.onnxruntime.binding import IOBinding
from onnxwalk.onnxruntime.feeds import Feeds
from onnxwalk.onnxruntime.globals import get_seed
from onnxwalk.onnxruntime.options import RunOptions, SessionOptions
from onnxwalk.onnxruntime.profile import Profile
from onnxwalk.onnxruntime.providers import CPU, check_known, normalize_providers
from onnxwalk.onnxruntime.types import ModelMetadata, NodeArg, infer_shapes
from onnxwalk.onnxruntime.values import OrtValue

_FALLBACK = """\
*************** EP Error ***************
EP Error {error} when using {providers}
Falling back to {fallback} and retrying.
****************************************"""


class Session:
    """The base class of sessions, as in ONNX Runtime."""

    def __init__(self, enable_fallback: bool = True) -> None:
        self._enable_fallback = enable_fallback
        # these, and others of the names below, are ONNX Runtime's: libraries read them
        self._providers: list[str] = []
        self._provider_options: dict[str, dict[str, str]] = {}

    # ------------------------------------------------------------------------- what it says

    def get_session_options(self) -> SessionOptions:
        return self._sess_options.copy()

    def get_inputs(self) -> list[NodeArg]:
        return self._inputs_meta

    def get_outputs(self) -> list[NodeArg]:
        """With what can be inferred of their shapes."""
        return self._outputs_meta

    @functools.cached_property
    def _outputs_meta(self) -> list[NodeArg]:
        return [NodeArg.of(info) for info in infer_shapes(self._session, self._declared)]

    def get_overridable_initializers(self) -> list[NodeArg]:
        return self._overridable_initializers

    def get_modelmeta(self) -> ModelMetadata:
        return self._model_meta

    def get_providers(self) -> list[str]:
        return list(self._providers)

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        return {name: dict(options) for name, options in self._provider_options.items()}

    def get_input_memory_infos(self) -> NoReturn:
        _refuse("get_input_memory_infos")

    def get_output_memory_infos(self) -> NoReturn:
        _refuse("get_output_memory_infos")

    def get_input_epdevices(self) -> NoReturn:
        _refuse("get_input_epdevices")

    def get_provider_graph_assignment_info(self) -> NoReturn:
        _refuse("get_provider_graph_assignment_info")

    def get_tuning_results(self) -> list[Any]:
        """Nothing is tuned."""
        return []

    def set_tuning_results(self, results: Any, *, error_on_invalid: bool = False) -> None:
        """No effect: nothing is tuned."""

    def set_ep_dynamic_options(self, options: dict[str, str]) -> None:
        """No effect: the CPU has none."""

    def release_captured_graph(self, graph_annotation_id: int = 0) -> None:
        """No effect: only devices capture graphs."""

    def disable_fallback(self) -> None:
        self._enable_fallback = False

    def enable_fallback(self) -> None:
        self._enable_fallback = True

    # ----------------------------------------------------------------------------- running

    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        run_options: RunOptions | None = None,
    ) -> list[Any]:
        """The outputs with these names, in this order; all of them if there are no names.

        Raises as ``Feeds.convert``; InvalidArgument for an unknown output; Fail, InvalidArgument or
        RuntimeException if a node rejects its inputs.
        """
        feeds = self._feeds.convert(input_feed)
        return [_as_numpy(value) for value in self._run(output_names, feeds, run_options)]

    def run_async(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        callback: Callable[[list[Any], Any, str], None],
        user_data: Any,
        run_options: RunOptions | None = None,
    ) -> None:
        """Run in another thread, which then calls ``callback(results, user_data, error)``: error is
        "" or a message, with no results."""
        self._feeds.check_present(input_feed.keys())
        if self._sess_options.intra_op_num_threads == 1:
            raise status.InvalidArgument.of(
                "intra op thread pool must have at least one thread for RunAsync"
            )

        def work() -> None:
            results, message = [], ""
            try:
                results = self.run(output_names, input_feed, run_options)
            except Exception as error:
                message = status.without_prefix(error)
            callback(results, user_data, message)

        if can_start_threads():
            threading.Thread(target=work, name="onnxwalk run_async", daemon=True).start()
        else:
            say_that_no_thread_starts()
            work()

    def run_with_ort_values(
        self,
        output_names: Sequence[str] | None,
        input_dict_ort_values: Mapping[str, OrtValue],
        run_options: RunOptions | None = None,
    ) -> list[OrtValue]:
        feeds = self._feeds.check_ort_values(input_dict_ort_values)
        return [OrtValue.of(value) for value in self._run(output_names, feeds, run_options)]

    def run_with_ortvaluevector(
        self,
        run_options: RunOptions | None,
        feed_names: Sequence[str],
        feeds: Sequence[OrtValue],
        fetch_names: Sequence[str],
        fetches: Any,
        fetch_devices: Sequence[Any],
    ) -> None:
        """``fetches``: an OrtValueVector, to which the results are added."""
        values = dict(zip(feed_names, feeds, strict=True))
        for value in self.run_with_ort_values(fetch_names, values, run_options):
            fetches.push_back(value)

    def io_binding(self) -> IOBinding:
        return IOBinding(self)

    def run_with_iobinding(
        self, iobinding: IOBinding, run_options: RunOptions | None = None
    ) -> None:
        """Run on bound inputs, and keep the outputs in the binding. Raises ValueError for a binding
        of another session, RuntimeError for everything else."""
        if iobinding.session is not self:
            raise ValueError("IOBinding must be used with the session that created it.")
        try:
            names, feeds = iobinding.prepare()
            results = self._run(names, self._feeds.convert(feeds), run_options)
        except (OnnxWalkError, ValueError) as error:
            text = status.without_prefix(error)
            raise RuntimeError(f"Error in execution: {text}") from error
        iobinding.keep(names, results)

    def create_ortvalue_from_shape_and_type(
        self,
        shape: Sequence[int],
        element_type: Any,
        device_type: str,
        device_id: int = 0,
        vendor_id: int = -1,
    ) -> OrtValue:
        return OrtValue.ortvalue_from_shape_and_type(shape, element_type, device_type, device_id)

    def end_profiling(self) -> str:
        """Write the profile, and return the name of its file; "" if there is none."""
        return self._profile.end() if self._profile else ""

    def get_profiling_start_time_ns(self) -> int:
        return self._profile.start if self._profile else 0

    def _run(
        self,
        output_names: Sequence[str] | None,
        feeds: dict[str, Any],
        run_options: RunOptions | None,
    ) -> list[Any]:
        names = self._check_names(output_names)
        is_profiled = self._profile is not None and self._profile.is_on
        run = self._profile.run if self._profile and is_profiled else self._session.run
        try:
            if run_options is None:
                return run(names, feeds)
            if not isinstance(run_options, RunOptions):
                raise TypeError(f"run_options must be RunOptions, not {run_options!r}")
            if run_options.terminate:
                raise RunStopped
            with stopping_when(lambda: run_options.terminate):
                return run(names, feeds)
        except OnnxWalkError as error:
            raise status.of_run(error) from error

    def _check_names(self, names: Any) -> list[str]:
        if names is None or not len(names):
            return self._output_names
        if isinstance(names, str):
            raise TypeError(f"run(): output_names must be a list of str, not {names!r}")
        names = [str(name) if isinstance(name, str) else name for name in names]
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"run(): output_names must be str, not {name!r}")
            if name not in self._known_outputs:
                raise status.InvalidArgument.of(f"Invalid output name:{name}")
        return names  # type: ignore[no-any-return]

    _declared: Graph
    _feeds: Feeds
    _inputs_meta: list[NodeArg]
    _known_outputs: frozenset[str]
    _model_meta: ModelMetadata
    _sess_options: SessionOptions
    _output_names: list[str]
    _overridable_initializers: list[NodeArg]
    _profile: Profile | None
    _session: Any


class InferenceSession(Session):
    """A model that is ready to run.

    ``path_or_bytes``: a path, or the bytes of a model.
    """

    def __init__(
        self,
        path_or_bytes: str | bytes | os.PathLike[str],
        sess_options: SessionOptions | None = None,
        providers: Sequence[str | tuple[str, dict[Any, Any]]] | None = None,
        provider_options: Sequence[dict[Any, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        """``kwargs``: ``enable_fallback=False`` raises an error about providers, in place of
        running on the CPU; others have no effect.

        Raises one of the exceptions of ``onnxruntime_pybind11_state``, TypeError for arguments of
        other types.
        """
        super().__init__(int(kwargs.get("enable_fallback", 1)) == 1)
        model: Any = path_or_bytes
        if isinstance(model, os.PathLike):
            model = os.fspath(model)
            model = os.fsdecode(model) if isinstance(model, bytes) else model
        if not isinstance(model, str | bytes):
            raise TypeError(f"Unable to load from type '{type(model)}'")
        if model == "":
            raise TypeError("the path of the model is empty")
        if sess_options and not isinstance(sess_options, SessionOptions):
            raise TypeError(f"sess_options must be SessionOptions, not {sess_options!r}")
        self._model = model
        self._model_path = model if isinstance(model, str) else None
        self._model_bytes = model if isinstance(model, bytes) else None
        self._sess_options = sess_options.copy() if sess_options else SessionOptions()
        try:
            self._create(providers, provider_options)
        except (ValueError, RuntimeError) as error:
            if not self._enable_fallback:
                raise
            print(_FALLBACK.format(error=error, providers=providers, fallback=[CPU]))
            self._create([CPU], None)

    def set_providers(
        self,
        providers: Sequence[str | tuple[str, dict[Any, Any]]] | None = None,
        provider_options: Sequence[dict[Any, Any]] | None = None,
    ) -> None:
        """Build the session again. Raises RuntimeError for an unknown provider, and keeps the
        session as it was."""
        self._create(providers, provider_options)

    def _create(self, providers: Any, provider_options: Any) -> None:
        if not hasattr(providers or (), "__iter__"):
            raise TypeError(f"'providers' should be a sequence, not {providers!r}")
        check_known(normalize_providers(providers, provider_options)[0])
        begun = time.perf_counter_ns()
        session, model = loading.load(self._model, self._sess_options, get_seed())
        self._providers, self._provider_options = [CPU], {CPU: {}}
        self._session = session
        self._feeds = Feeds(model.graph)
        self._inputs_meta = [NodeArg.of(info) for info in self._feeds.required]
        self._overridable_initializers = [NodeArg.of(info) for info in self._feeds.overridable]
        self._declared = model.graph
        self.__dict__.pop("_outputs_meta", None)
        self._output_names = [value.name for value in model.graph.outputs]
        self._known_outputs = frozenset(self._output_names)
        self._model_meta = ModelMetadata.of(model)
        self._profile = None
        if self._sess_options.enable_profiling:
            self._profile = Profile(session, self._sess_options.profile_file_prefix, begun)


def _as_numpy(value: Any) -> Any:
    """A result as ``run`` returns it: ONNX Runtime has float8e4m3fn as its bits."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "V":  # asking for a name takes 2 µs
        return value.view(np.uint8) if value.dtype.name == "float8_e4m3fn" else value
    return value


def _refuse(name: str) -> NoReturn:
    raise status.NotImplemented.of(f"{name}: onnxwalk runs on the CPU alone, and has no devices")
