"""Runs that ``RunOptions.terminate`` ends after they have begun."""

from __future__ import annotations

import threading

import numpy as np
from onnx import TensorProto
from onnx.helper import make_graph, make_node, make_tensor

from tests.support.onnxruntime_programs.models import (
    FLOAT,
    INT64,
    PROGRAMS,
    X,
    info,
    model,
    program,
    session,
)

BODY = make_graph(
    [make_node("Add", ["s", "one"], ["t"]), make_node("Identity", ["c"], ["d"])],
    "body",
    [info("i", INT64, []), info("c", TensorProto.BOOL, []), info("s", FLOAT, ["N", 3])],
    [info("d", TensorProto.BOOL, []), info("t", FLOAT, ["N", 3])],
)
#: adds 1 as often as is asked for
LOOP = model(
    [make_node("Loop", ["count", "", "x"], ["y"], name="loop", body=BODY)],
    [info("count", INT64, []), info("x", FLOAT, ["N", 3])],
    [info("y", FLOAT, ["N", 3])],
    [make_tensor("one", FLOAT, [], [1.0])],
)
#: as many products as take seconds
STEPS = 500
CHAIN = model(
    [make_node("MatMul", [f"x{i}", "w"], [f"x{i + 1}"]) for i in range(STEPS)],
    [info("x0", FLOAT, ["N", 1024]), info("w", FLOAT, [1024, 1024])],
    [info(f"x{STEPS}", FLOAT, ["N", 1024])],
)
FEEDS = {"x0": np.zeros((1024, 1024), "f4"), "w": np.zeros((1024, 1024), "f4")}
ENDLESS = {"x": X, "count": np.array(10**15)}


def soon(ort):
    """Options by which another thread ends the run a moment after it has begun."""
    options = ort.RunOptions()
    threading.Timer(0.05, setattr, (options, "terminate", True)).start()
    return options


def _values(ort, feeds):
    return {name: ort.OrtValue.ortvalue_from_numpy(value) for name, value in feeds.items()}


def _binding(s, feeds):
    binding = s.io_binding()
    for name, value in feeds.items():
        binding.bind_cpu_input(name, value)
    binding.bind_output(s.get_outputs()[0].name)
    return binding


def _in_another_thread(s, feeds, options):
    answered, answers = threading.Event(), []

    def callback(*answer):
        answers.append(answer)
        answered.set()

    s.run_async(None, feeds, callback, "mine", options)
    assert answered.wait(60)
    return answers


for _name, _data, _feeds in (("loop", LOOP, ENDLESS), ("chain", CHAIN, FEEDS)):
    for _way, _run in {
        "run": lambda ort, s, feeds, options: s.run(None, feeds, options),
        "ort_values": lambda ort, s, feeds, options: s.run_with_ort_values(
            None, _values(ort, feeds), options
        ),
        "binding": lambda ort, s, feeds, options: s.run_with_iobinding(_binding(s, feeds), options),
        "async": lambda ort, s, feeds, options: _in_another_thread(s, feeds, options),
    }.items():

        def _ended(ort, data=_data, feeds=_feeds, run=_run):
            return run(ort, session(ort, data), feeds, soon(ort))

        PROGRAMS[f"terminate_{_name}_{_way}"] = _ended


@program
def terminate_and_run_again(ort):
    s, options = session(ort, LOOP), soon(ort)
    try:
        s.run(None, ENDLESS, options)
    except Exception as error:  # what is compared is its class, which each engine has its own
        kind = type(error).__name__
    kept, options.terminate = options.terminate, False
    return kind, kept, s.run(None, {"x": X, "count": np.array(3)}, options)


@program
def terminate_with_a_profile(ort):
    options = ort.SessionOptions()
    options.enable_profiling = True
    session(ort, CHAIN, options).run(None, FEEDS, soon(ort))
