"""The names of ``onnxruntime_pybind11_state``, which many programs import from here."""

from onnxwalk.onnxruntime.capi.onnxruntime_pybind11_state import *  # noqa: F403
