"""``profile``: what it tells of a model adds up, and the trace is one that viewers read."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper

import onnxwalk
from onnxwalk.interpreter.analysis.profile import profile


@pytest.fixture
def network(make):
    """x (N, 3, 8, 8): Conv, BatchNormalization (merged into it), Relu (fused), Gemm"""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(4, 3, 3, 3)),
        **{name: rng.uniform(0.5, 1, 4) for name in ("scale", "shift", "mean", "var")},
        "v": rng.normal(size=(256, 5)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1] * 4),
        helper.make_node(
            "BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["b"], name="bn"
        ),
        helper.make_node("Relu", ["b"], ["r"], name="relu"),
        helper.make_node("Flatten", ["r"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "v"], ["y"], name="dense"),
    ]
    return make(
        "n.onnx",
        nodes,
        [("x", T.FLOAT, ["n", 3, 8, 8])],
        [("y", T.FLOAT, ["n", 5])],
        {name: array.astype(np.float32) for name, array in weights.items()},
    )


def report(cli, *argv):
    result = cli("profile", *argv, "--runs", 3, "--json")
    assert result.status == 0, result.err
    return json.loads(result.out)


@pytest.mark.parametrize("optimize", [True, False])
def test_the_figures_add_up(cli, network, optimize):
    found = report(cli, network, "--batch", 2, *([] if optimize else ["--no-optimize"]))
    conv, dense = 2 * 2 * 4 * 64 * 27, 2 * 2 * 5 * 256
    by_operator = {row["operator"]: row for row in found["operators"]}
    assert by_operator["FusedConv" if optimize else "Conv"]["flop"] == conv
    assert by_operator["Gemm"]["flop"] == dense
    assert found["flop"] == sum(n["flop"] for n in found["nodes"])
    assert len(found["nodes"]) == (3 if optimize else 5)
    assert sum(row["nodes"] for row in found["operators"]) == len(found["nodes"])
    assert abs(sum(n["share"] for n in found["nodes"]) - 1) < 1e-6
    gemm = by_operator["Gemm"]
    assert gemm["bytes"] == 4 * (2 * 256 + 256 * 5 + 2 * 5)
    assert 0 < gemm["seconds"] <= found["seconds"]
    assert [list(n["outputs"].values()) for n in found["nodes"]][-1] == ["float32[2, 5]"]


@pytest.mark.parametrize(
    ("options", "operators", "bound"),
    [
        ([], ["FusedConv", "Flatten", "Gemm"], True),
        (["--executor", "walk"], ["FusedConv", "Flatten", "Gemm"], False),
        (["--rewrites", "none"], None, True),
        (["--rewrites", "merge_scale,fuse_conv"], ["FusedConv", "Flatten", "Gemm"], True),
        (["--no-optimize"], None, False),
    ],
)
def test_what_is_rewritten_and_how_it_is_run(cli, network, options, operators, bound):
    found = report(cli, network, "--batch", 2, *options)
    as_written = [node.op_type for node in onnxwalk.load(network).model.graph.nodes]
    assert [n["operator"] for n in found["nodes"]] == (operators or as_written)
    assert ({n["calls"] for n in found["nodes"]} != {1}) == bound


def test_options_that_do_not_go_together(cli, network):
    result = cli("profile", network, "--no-optimize", "--executor", "bound")
    assert result.status == 1 and "--no-optimize is short for" in result.error
    result = cli("profile", network, "--rewrites", "fuse")
    assert result.status == 1 and "unknown rewrite: 'fuse'" in result.error


def test_memory_is_what_is_alive(cli, network):
    found = report(cli, network, "--no-optimize", "--batch", 2)
    # After bn: its input and its output, (2, 4, 8, 8) float32 each; x is gone.
    assert found["peak"] == {
        "after": "bn",
        "bytes": 2 * 2048,
        "holders": {"c": 2048, "b": 2048},
    }


def test_the_text_names_nodes_and_operators(cli, network):
    result = cli("profile", network, "--runs", 2, "--top", 1)
    assert result.status == 0, result.err
    assert "FusedConv" in result.out and "the slowest 1 node of 3" in result.out
    assert "FLOP/s" in result.out and "memory: " in result.out


def test_trace_events(cli, network):
    assert cli("profile", network, "--runs", 2, "--trace", "t.json").status == 0
    events = json.loads(Path("t.json").read_text())["traceEvents"]
    slices = [e for e in events if e["ph"] == "X"]
    assert [e["cat"] for e in slices] == ["FusedConv", "Flatten", "Gemm"]
    for before, after in itertools.pairwise(slices):
        assert before["ts"] + before["dur"] <= after["ts"] + 1e-3
    assert all({"name", "ts", "dur", "pid", "tid", "args"} <= set(e) for e in slices)
    assert any(e["ph"] == "C" for e in events) and events[0]["ph"] == "M"


def test_strings_and_sequences_are_walked(make):
    nodes = [
        helper.make_node("StringConcat", ["x", "x"], ["d"]),
        helper.make_node("SequenceConstruct", ["d"], ["s"]),
        helper.make_node("SequenceLength", ["s"], ["y"]),
    ]
    model = make("s.onnx", nodes, [("x", T.STRING, [2])], [("y", T.INT64, None)], opset=20)
    found = profile(onnxwalk.load(model), {"x": np.array(["a", "b"], object)}, 2)
    assert [node.calls for node in found.nodes] == [1, 1, 1]
    assert found.nodes[1].outputs == {"s": "sequence of 1"}


@pytest.mark.parametrize(
    ("operator", "attributes", "inputs", "outputs", "expected"),
    [
        ("MatMul", {}, [(7, 2, 3), (3, 5)], [(7, 2, 5)], 2 * 7 * 2 * 3 * 5),
        ("Gemm", {"transA": 1}, [(3, 2), (3, 5)], [(2, 5)], 2 * 2 * 3 * 5),
        ("Conv", {"group": 4}, [(1, 4, 9, 9), (8, 1, 3, 3)], [(1, 8, 7, 7)], 2 * 9 * 8 * 49),
        ("ConvTranspose", {}, [(1, 2, 3, 3), (2, 5, 2, 2)], [(1, 5, 6, 6)], 2 * 18 * 20),
        ("LSTM", {}, [(6, 2, 3), (1, 16, 3), (1, 16, 4)], [(6, 1, 2, 4)], 2 * 12 * 16 * 7),
        ("MaxPool", {"kernel_shape": [2, 2]}, [(1, 1, 4, 4)], [(1, 1, 2, 2)], 16),
        ("Relu", {}, [(2, 3)], [(2, 3)], 6),
        ("Transpose", {}, [(2, 3)], [(3, 2)], 0),
    ],
)
def test_operations(operator, attributes, inputs, outputs, expected):
    found = onnxwalk.ops.registry.lookup("", operator, 22)
    values = [[np.zeros(shape, np.float32) for shape in shapes] for shapes in (inputs, outputs)]
    assert found.flops(*values, attributes) == expected


def test_another_operator_of_the_same_name_has_facts_of_its_own(make):
    mine = onnxwalk.Registry(parent=onnxwalk.ops.registry)

    @mine.op("Gemm", since=1, domain="my.domain")
    def double(x):
        return x + x

    node = helper.make_node("Gemm", ["x"], ["y"], domain="my.domain")
    model = make("own.onnx", [node], [("x", T.FLOAT, [2, 3])], [("y", T.FLOAT, None)], opset=20)
    session, feeds = onnxwalk.load(model, registry=mine), {"x": np.ones((2, 3), np.float32)}
    assert [n.flops for n in profile(session, feeds, 1).nodes] == [6]
    double.flops(lambda outputs, x: 7 * x.size)
    assert [n.flops for n in profile(session, feeds, 1).nodes] == [42]


def test_wrong_use_is_reported(cli, network):
    assert "no not found" in cli("profile", network, "--trace", "no/t.json").error
    assert cli("profile", "none.onnx").error.startswith("none.onnx")


def test_the_nodes_inside_of_loops_and_branches(cli, make):
    """A Loop of an If and an Add: each counted as often as it is computed, in all iterations."""
    f, i, b = T.FLOAT, T.INT64, T.BOOL
    value = helper.make_tensor_value_info
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node(operator, ["s"], ["r"], name=operator.lower())],
            name,
            [],
            [value("r", f, [2, 3])],
        )
        for name, operator in (("then", "Neg"), ("else", "Abs"))
    }
    body = helper.make_graph(
        [
            helper.make_node("If", ["first"], ["t"], name="choose", **branches),
            helper.make_node("Add", ["t", "x"], ["u"], name="add"),
            helper.make_node("Identity", ["c"], ["d"], name="go_on"),
            helper.make_node("Not", ["d"], ["next"], name="flip"),
        ],
        "body",
        [value("n", i, []), value("c", b, []), value("s", f, [2, 3]), value("first", b, [])],
        [value("d", b, []), value("u", f, [2, 3]), value("next", b, [])],
    )
    loop = helper.make_node("Loop", ["m", "go", "x", "go"], ["y", "z"], name="loop", body=body)
    constants = {"m": np.array(5), "go": np.array(True)}
    model = make("l.onnx", [loop], [("x", f, [2, 3])], [("y", f, [2, 3])], constants)
    for options in ((), ("--no-optimize",)):
        found = {row["node"]: row for row in report(cli, model, *options)["inside"]}
        add = found["loop/body/add"]
        assert (add["times"], add["flop"], add["outputs"]) == (5, 5 * 6, {"u": "float32[2, 3]"})
        branch = {n: row["times"] for n, row in found.items() if "choose/" in n}
        assert branch == {
            "loop/body/choose/then_branch/neg": 1,
            "loop/body/choose/else_branch/abs": 4,
        }
        assert found["loop/body/choose"]["times"] == 5
        assert 0 < add["share"] < 1 and add["seconds"] > 0
    assert "inside of subgraphs" in cli("profile", model, "--runs", 2).out


def test_threads(cli, network, monkeypatch):
    """--threads goes to the session, or, where nodes are walked, to BLAS; the figures stay."""
    pytest.importorskip("threadpoolctl", reason="sets the threads")
    from onnxwalk.interpreter.cli import _session
    from onnxwalk.interpreter.runtime import threads

    asked, during = [], []

    def load(model, **more):
        asked.append(more.get("threads"))
        during.append([library.get_num_threads() for library in threads._blas_libraries()])
        return onnxwalk.load(model, **more)

    monkeypatch.setattr(_session, "load", load)
    report(cli, network, "--threads", 1)
    report(cli, network, "--threads", 1, "--no-optimize")
    assert asked == [1, None] and set(during[1]) == {1}
    with pytest.raises(SystemExit):
        cli("profile", network, "--threads", 0)
