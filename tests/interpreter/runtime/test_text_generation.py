"""Operators of text generation within files: limits, commands, outer values, open plans."""

import time

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnxwalk
from onnxwalk.interpreter.runtime import bind
from tests.support.generators import GREEDY, generator, gpt, integer
from tests.support.harness import run_onnxruntime

IDS = np.array([[0, 3, 4], [5, 6, 7]], np.int32)
TOKENS = {"eos_token_id": 19, "pad_token_id": 0}


def greedy(length=12, *, ids=IDS, outer=(), **attributes):
    """A model that never ends before ``length`` tokens, and its feeds."""
    lengths = {"max_length": integer(length), "min_length": integer(length - 1)}
    feeds = {"input_ids": ids, **lengths}
    attributes = {"decoder": gpt(layers=2), **TOKENS, **attributes}
    return generator("GreedySearch", feeds, GREEDY, ["sequences"], outer, **attributes), feeds


def test_a_table_outside_of_the_decoder():
    """The subgraph reads an initializer of the outer graph, and a value that a node computes."""
    table = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    outer = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(2 * table, "double")]
    model, feeds = greedy(outer=outer, decoder=gpt(outer_embedding="sum"))
    model.graph.node.insert(0, helper.make_node("Add", ["table", "double"], ["sum"]))
    expected = run_onnxruntime(model, feeds)
    for settings in ({}, {"rewrites": False}, {"executor": "walk"}):
        (found,) = onnxwalk.load(model, **settings).run(None, feeds)
        np.testing.assert_array_equal(found, expected[0])
    model, feeds = greedy(outer=outer[:1], decoder=gpt(outer_embedding="sum"))
    model.graph.input.append(helper.make_tensor_value_info("fed", onnx.TensorProto.FLOAT, [20, 8]))
    model.graph.node.insert(0, helper.make_node("Add", ["table", "fed"], ["sum"]))
    feeds["fed"] = 2 * table
    np.testing.assert_array_equal(onnxwalk.load(model).run(None, feeds)[0], expected[0])


def test_the_decoder_is_bound_once(monkeypatch):
    """In an open plan, from the fourth token on, and Attention with its past as well."""
    model, feeds = greedy(40)
    bound = []
    step = bind.Scope._bind
    monkeypatch.setattr(
        bind.Scope, "_bind", lambda self, *rest: bound.append(len(bound)) or step(self, *rest)
    )
    session = onnxwalk.load(model)
    session.run(None, feeds)
    assert bound
    bound.clear()
    session.run(None, feeds)
    assert not bound


def test_limits():
    model, feeds = greedy(40)
    few = onnxwalk.load(model, limits=onnxwalk.Limits(max_loop_iterations=5))
    with pytest.raises(onnxwalk.LimitError, match="max_loop_iterations allows: 5"):
        few.run(None, feeds)
    small = onnxwalk.load(model, limits=onnxwalk.Limits(max_memory=1 << 20))
    with pytest.raises(onnxwalk.LimitError, match="max_memory"):
        small.run(None, {**feeds, "max_length": integer(1 << 20)})


def test_the_time_limit():
    model, feeds = greedy(250, ids=IDS.repeat(16, 0), decoder=gpt(layers=4, heads=8, size=64))
    session = onnxwalk.load(model, limits=onnxwalk.Limits(max_seconds=0.5))
    began = time.monotonic()
    with pytest.raises(onnxwalk.LimitError, match="max_seconds is 0"):
        session.run(None, feeds)
    assert time.monotonic() - began < 2


def test_the_trace_goes_inside():
    model, feeds = greedy(6)
    paths = [event.path for event in onnxwalk.load(model).trace(feeds, iterations=2)]
    inside = [path[0] for path in paths if path]
    assert {place.graph for place in inside} == {"decoder"}
    assert {place.iteration for place in inside} == {0, 1}


def test_an_error_in_the_decoder_names_its_node():
    model, feeds = greedy()
    feeds["input_ids"] = IDS + 20
    with pytest.raises(onnxwalk.OperatorError) as error:
        onnxwalk.load(model).run(None, feeds)
    assert "Gather" in str(error.value) and "\n" not in str(error.value)


def test_in_place_of_onnxruntime():
    from onnxwalk import onnxruntime as stand_in

    model, feeds = greedy()
    session = stand_in.InferenceSession(model.SerializeToString())
    np.testing.assert_array_equal(session.run(None, feeds)[0], run_onnxruntime(model, feeds)[0])


def test_the_page_shows_the_decoder(tmp_path):
    model, feeds = greedy(6)
    onnxwalk.load(model).explore(feeds).save(tmp_path / "page.html")
    assert "search/decoder" in (tmp_path / "page.html").read_text("utf-8")
