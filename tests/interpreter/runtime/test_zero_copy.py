"""Large inputs and outputs aren't copied: whose memory it is before, during and after a run."""

import gc
import threading
import weakref

import numpy as np
import pytest
from onnx import TensorProto

import onnxwalk
from tests.interpreter.runtime.test_bound import model, network, node, noise
from tests.support.harness import everything_borrowed

F = TensorProto.FLOAT
LARGE = (300, 400)


def bound_of(session):
    (bounds,) = session._runner._bound._idle.values()
    (bound,) = bounds
    return bound


def session_of(nodes, outputs=("y",), inputs=("x",), constants=()):
    return onnxwalk.load(
        model(nodes, [(name, F, ["n", "m"]) for name in inputs], list(outputs), constants)
    )


def test_neither_input_nor_output_is_copied():
    session = session_of([node("Relu", "x", "y")])
    for seed in range(3):
        x = noise(*LARGE, seed=seed)
        (y,) = session.run(None, {"x": x})
        np.testing.assert_array_equal(y, np.maximum(x, 0))
    bound = bound_of(session)
    assert len(bound._places) == 2
    assert bound.nbytes < x.nbytes  # nothing as large is kept


def test_what_was_given_and_returned_is_the_callers():
    session = session_of([node("Mul", "x x", "squared"), node("Neg", "squared", "y")])
    first, second = noise(*LARGE), noise(*LARGE, seed=1)
    (a,) = session.run(None, {"x": first})
    (b,) = session.run(None, {"x": second})
    np.testing.assert_array_equal(a, -(first**2))
    np.testing.assert_array_equal(b, -(second**2))
    np.testing.assert_array_equal(first, noise(*LARGE))
    a[:] = b[:] = first[:] = 7
    (c,) = session.run(None, {"x": second})
    np.testing.assert_array_equal(c, -(second**2))
    assert a.min() == b.max() == first.min() == 7


def test_no_memory_of_the_callers_is_held():
    session = session_of([node("Relu", "x", "y")])
    for seed in range(2):  # the run that binds, and one that replays
        x = noise(*LARGE, seed=seed)
        (y,) = session.run(None, {"x": x})
        kept = weakref.ref(x), weakref.ref(y)
        del x, y
        gc.collect()
        assert kept[0]() is None and kept[1]() is None


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x,
        np.asfortranarray,
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x[::-1, ::-1],
        lambda x: np.frombuffer(b" " + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape),
        lambda x: x.astype(">f4"),
    ],
    ids="plain fortran strided reversed unaligned byteswapped".split(),
)
def test_feeds_of_any_layout_after_a_plain_one(change):
    session = session_of([node("Add", "x x", "s"), node("Tanh", "s", "y")])
    session.run(None, {"x": noise(*LARGE, seed=5)})
    given = change(noise(*LARGE))
    given.flags.writeable = False
    (y,) = session.run(None, {"x": given})
    np.testing.assert_allclose(y, np.tanh(2 * given), rtol=1e-6)


def test_one_array_for_two_inputs():
    session = session_of([node("Sub", "x z", "y")], inputs=("x", "z"))
    x, z = noise(*LARGE), noise(*LARGE, seed=1)
    np.testing.assert_array_equal(session.run(None, {"x": x, "z": x})[0], 0)
    np.testing.assert_array_equal(session.run(None, {"x": x, "z": z})[0], x - z)
    np.testing.assert_array_equal(session.run(None, {"x": z[:, ::-1], "z": z})[0], z[:, ::-1] - z)


@pytest.mark.parametrize("borrowed", [False, True])
@pytest.mark.parametrize(
    ("nodes", "outputs", "expected"),
    [
        ([node("Identity", "x", "y")], ["y"], lambda x: [x]),
        ([node("Relu", "x", "y")], ["y", "y"], lambda x: [np.maximum(x, 0)] * 2),
        (
            [node("Relu", "x", "y"), node("Transpose", "y", "t")],
            ["y", "t"],
            lambda x: [np.maximum(x, 0), np.maximum(x, 0).T],
        ),
        (
            [node("Relu", "x", "y"), node("Neg", "y", "z"), node("Abs", "z", "w")],
            ["y", "z", "w"],
            lambda x: [np.maximum(x, 0), -np.maximum(x, 0), np.maximum(x, 0)],
        ),
        # CumSum has no bound form: what it reads and gives is hidden.
        (
            [node("CumSum", "x axis", "c"), node("Add", "c x", "y")],
            ["y", "c"],
            lambda x: [np.cumsum(x, 0) + x, np.cumsum(x, 0)],
        ),
        ([node("CumSum", "x axis", "y")], ["y", "x"], lambda x: [np.cumsum(x, 0), x]),
    ],
    ids="identity twice view chain unbound fed".split(),
)
def test_outputs_that_are_inputs_or_each_other(nodes, outputs, expected, borrowed):
    session = session_of(nodes, ["y"], constants=[("axis", np.array(0))])
    for seed in range(3):
        x = noise(*LARGE, seed=seed)
        if borrowed:
            with everything_borrowed():
                found = session.run(outputs, {"x": x})
        else:
            found = session.run(outputs, {"x": x})
        for one, other in zip(found, expected(x), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
            assert not np.shares_memory(one, x)
        if len(found) == 2:
            assert not np.shares_memory(*found)


def test_a_network_with_everything_borrowed_is_as_the_plain_walk():
    plain = onnxwalk.load(network(), optimize=False)
    session = onnxwalk.load(network())
    with everything_borrowed():
        for seed, shape in enumerate([(1, 8, 8, 3), (4, 9, 7, 3), (1, 8, 8, 3), (4, 9, 7, 3)]):
            x = noise(*shape, seed=seed)
            for one, other in zip(
                session.run(None, {"x": x}), plain.run(None, {"x": x}), strict=True
            ):
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_threads_have_memory_of_their_own():
    session = session_of([node("Exp", "x", "e"), node("Neg", "e", "y")])
    wrong = []

    def work(seed):
        x = noise(*LARGE, seed=seed)
        expected = -np.exp(x)
        for _ in range(30):
            if not np.array_equal(session.run(None, {"x": x})[0], expected):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
