"""Requests run together: who gets which rows, and what is never run together."""

import threading
import time

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper

import onnxwalk
from onnxwalk.interpreter.errors import OnnxWalkError
from onnxwalk.interpreter.serving.batching import Batcher, WaitedTooLongError
from tests.interpreter.cli.conftest import save
from tests.interpreter.serving.conftest import DEMO, counting

F = T.FLOAT


@pytest.fixture
def session(tmp_path):
    def load(nodes, types, outputs=("y",), constants=None, **options):
        inputs = [(name, code, ["n", 4]) for name, code in types.items()]
        declared = [(name, F, None) for name in outputs]
        return onnxwalk.load(
            save(tmp_path / "m.onnx", nodes, inputs, declared, constants), **options
        )

    return load


class Recorded:
    """A session that notes how many rows each run has, and begins when ``go`` is set."""

    def __init__(self, session):
        self._session, self.rows, self.go = session, [], threading.Event()
        self.inputs, self.outputs = session.inputs, session.outputs
        self.sample_axes = session.sample_axes

    def run(self, names, feeds):
        self.go.wait(60)
        self.rows.append(len(next(iter(feeds.values()))))
        return self._session.run(names, feeds)


def answers(session, requests, **options):
    """The results of requests that all wait before the first run, and the rows of each run."""
    recorded = Recorded(session)
    batcher = Batcher(recorded, **options)
    first = batcher.submit(["y"], requests[0])  # which the others wait for
    while not first.future.running():
        time.sleep(0.001)
    jobs = [batcher.submit(["y"], feeds) for feeds in requests]
    recorded.go.set()
    results = []
    for job in jobs:
        error = job.future.exception(60)
        results.append(error if error else job.future.result())
    batcher.close()
    return results, recorded.rows[1:]


def rows(*sizes, seed=0):
    rng = np.random.default_rng(seed)
    return [{"x": rng.standard_normal((size, 4)).astype(np.float32)} for size in sizes]


RELU = [helper.make_node("Relu", ["x"], ["y"])]


def test_each_gets_the_rows_that_it_sent(session):
    requests = rows(1, 3, 2, 1, 4, 1, 8, 1, 0, 2)
    results, runs = answers(session(RELU, {"x": F}), requests, batch_size=8)
    for feeds, (y,) in zip(requests, results, strict=True):
        np.testing.assert_array_equal(y, np.maximum(feeds["x"], 0))
    assert sorted(runs) == [0, 7, 8, 8]  # 8 alone, none alone, the others together


@pytest.mark.parametrize(
    "nodes",
    [
        [helper.make_node("Softmax", ["x"], ["y"], axis=0)],
        [helper.make_node("CumSum", ["x", "zero"], ["y"])],
        [
            helper.make_node("Shape", ["x"], ["s"]),
            helper.make_node("ReduceProd", ["s"], ["p"], keepdims=0),
            helper.make_node("Cast", ["p"], ["f"], to=F),
            helper.make_node("Div", ["x", "f"], ["y"]),
        ],
        [helper.make_node("Reshape", ["x", "two"], ["y"])],
        [helper.make_node("ReduceMax", ["x"], ["y"], axes=[0])],
    ],
    ids=["softmax", "sum so far", "by their number", "in two rows", "largest of all"],
)
def test_models_that_mix_samples_are_run_one_by_one(session, nodes):
    constants = {"zero": np.array(0), "two": np.array([2, -1])}
    used = {name for node in nodes for name in node.input}
    model = session(nodes, {"x": F}, constants={k: v for k, v in constants.items() if k in used})
    requests = rows(1, 1, 1, 2, 1, 3)
    results, runs = answers(model, requests, batch_size=8)
    for feeds, (y,) in zip(requests, results, strict=True):
        np.testing.assert_array_equal(y, model.run(feeds)[0])
    assert runs == [1, 1, 1, 2, 1, 3]


def test_other_shapes_types_and_outputs_are_run_apart(tmp_path):
    node = helper.make_node("Relu", ["x"], ["y"])
    model = save(tmp_path / "m.onnx", [node], [("x", F, ["n", "m"])], [("y", F, ["n", "m"])])
    rng = np.random.default_rng(1)
    requests = [{"x": rng.standard_normal((1, m)).astype(np.float32)} for m in (3, 4, 3, 4, 5)]
    results, runs = answers(onnxwalk.load(model), requests, batch_size=8)
    for feeds, (y,) in zip(requests, results, strict=True):
        np.testing.assert_array_equal(y, np.maximum(feeds["x"], 0))
    assert sorted(runs) == [1, 2, 2]


def test_an_error_is_only_given_to_whom_it_belongs(tmp_path):
    node = helper.make_node("Gather", ["table", "ids"], ["y"])
    table = {"table": np.arange(10, dtype=np.float32)}
    types = [("ids", T.INT64, ["n"])], [("y", F, ["n"])]
    model = onnxwalk.load(save(tmp_path / "m.onnx", [node], *types, table))
    requests = [{"ids": np.array([i])} for i in (1, 2, 99, 3, 4)]
    results, _ = answers(model, requests, batch_size=8)
    assert isinstance(results[2], OnnxWalkError)
    assert [results[i][0].tolist() for i in (0, 1, 3, 4)] == [[1], [2], [3], [4]]


def test_recurrent_and_convolutional_networks_are_run_together():
    ids = [{"ids": np.random.default_rng(i).integers(0, 9, (1 + i % 3, 16))} for i in range(9)]
    ids = [{"ids": feeds["ids"].astype(np.int32)} for feeds in ids]
    images = [
        {"image": np.random.default_rng(i).random((2, 8, 8, 1), np.float32)} for i in range(9)
    ]
    for name, requests in (("lstm", ids), ("simple_rnn", ids), ("digits", images)):
        model = onnxwalk.load(DEMO / f"{name}.onnx")
        recorded = Recorded(model)
        batcher = Batcher(recorded, batch_size=64, delay=30)
        names = [info.name for info in model.outputs]
        recorded.go.set()
        jobs = [batcher.submit(names, feeds) for feeds in requests]
        batcher.close()  # which doesn't wait for more
        for feeds, job in zip(requests, jobs, strict=True):
            np.testing.assert_allclose(
                job.future.result(60)[0], model.run(feeds)[0], rtol=1e-5, atol=1e-6
            )
        assert len(recorded.rows) < len(requests), name


def test_a_delay_waits_for_others(session):
    recorded = Recorded(session(RELU, {"x": F}))
    recorded.go.set()
    batcher = Batcher(recorded, batch_size=2, delay=60)
    one, two = rows(1, 1)
    begun = time.monotonic()
    first = batcher.submit(["y"], one)
    time.sleep(0.05)
    assert not first.future.done()
    second = batcher.submit(["y"], two)
    for job, feeds in ((first, one), (second, two)):
        np.testing.assert_array_equal(job.future.result(30)[0], np.maximum(feeds["x"], 0))
    assert recorded.rows == [2] and time.monotonic() - begun < 30  # full, so it doesn't wait
    batcher.close()


def test_a_request_that_waits_too_long_or_that_nobody_waits_for_is_not_run(session):
    recorded = Recorded(session(RELU, {"x": F}))
    batcher = Batcher(recorded)
    (feeds,) = rows(1)
    first = batcher.submit(["y"], feeds)
    late, left, good = (batcher.submit(["y"], feeds, seconds) for seconds in (0.01, None, 60))
    left.abandoned = True
    time.sleep(0.05)
    recorded.go.set()
    with pytest.raises(WaitedTooLongError):
        late.future.result(60)
    assert first.future.result(60) and good.future.result(60)
    assert not left.future.done() and recorded.rows == [1, 1]
    batcher.close()


def test_a_run_that_nobody_waits_for_ends(tmp_path):
    batcher = Batcher(onnxwalk.load(counting(tmp_path / "m.onnx")))
    job = batcher.submit(["total"], {"count": np.array([300_000])})
    while not job.future.running():
        time.sleep(0.001)
    job.abandoned = True
    with pytest.raises(onnxwalk.LimitError, match="stopped"):
        job.future.result(60)
    after = batcher.submit(["total"], {"count": np.array([3])})
    assert after.future.result(60)[0] == 3
    batcher.close()


def test_hundreds_from_many_threads(session):
    model = session(RELU, {"x": F})
    batcher = Batcher(model, batch_size=16, delay=0.001, workers=2)
    wrong = []

    def send(seed):
        for feeds in rows(*np.random.default_rng(seed).integers(1, 6, 20), seed=seed):
            (y,) = batcher.submit(["y"], feeds).future.result(60)
            if not np.array_equal(y, np.maximum(feeds["x"], 0)):
                wrong.append(feeds)

    threads = [threading.Thread(target=send, args=(seed,)) for seed in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    batcher.close()
    assert not wrong
