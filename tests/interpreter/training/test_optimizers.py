"""The optimizers in place: to the bit what ONNX's operators give."""

import numpy as np
import pytest

import onnxwalk
from onnxwalk import InvalidInputError, training
from onnxwalk.interpreter.training.optimizers import find_optimizer

TRAINING = "ai.onnx.preview.training"
#: the operator, and its attributes
OPERATORS = {
    training.SGD(0.1): ("Momentum", {"alpha": 0.0, "beta": 1.0, "mode": "standard"}),
    training.SGD(lambda step: 0.1 / (step + 1), norm_coefficient=0.01): (
        "Momentum", {"alpha": 0.0, "beta": 1.0, "mode": "standard"}
    ),
    training.Momentum(0.1): ("Momentum", {"alpha": 0.9, "beta": 1.0, "mode": "standard"}),
    training.SGD(0.1, 0.5, True): ("Momentum", {"alpha": 0.5, "beta": 1.0, "mode": "nesterov"}),
    training.Adam(): ("Adam", {"alpha": 0.9, "beta": 0.999, "epsilon": 1e-7}),
    training.Adam(0.1, norm_coefficient=0.1, norm_coefficient_post=0.02): (
        "Adam",
        {"alpha": 0.9, "beta": 0.999, "epsilon": 1e-7, "norm_coefficient_post": 0.02},
    ),
    training.Adagrad(0.1, norm_coefficient=0.01): ("Adagrad", {"epsilon": 1e-7}),
}  # fmt: skip


@pytest.mark.parametrize("optimizer", OPERATORS, ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("shape", [(3, 4), (70000,)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_to_the_operator(optimizer, shape, dtype):
    name, attributes = OPERATORS[optimizer]
    operator = onnxwalk.registry.lookup(TRAINING, name, 1)
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape).astype(dtype)
    state = optimizer.state(x)
    expected = [x, *(s.copy() for s in state)]
    if name == "Momentum" and not state:
        expected.append(np.zeros_like(x))
    for step in range(3):
        g = rng.normal(size=shape).astype(dtype)
        t = np.array(step + 1 if name == "Adam" else step, np.int64)
        rate = np.array(optimizer.rate(step), np.float64)
        expected = operator.function(
            rate, t, expected[0], g, *expected[1:],
            norm_coefficient=optimizer.norm_coefficient, **attributes,
        )  # fmt: skip
        before = g.copy()
        optimizer.update(step, [x], [g], [state])
        np.testing.assert_array_equal(g, before)
        for found, wanted in zip([x, *state], expected, strict=False):
            np.testing.assert_array_equal(found, wanted)


def test_parts_of_an_array():
    whole = np.zeros((2, 6), np.float32)
    part, gradient = whole[:, :3], np.ones((2, 3), np.float32)
    training.SGD(1.0).update(0, [part], [gradient], [()])
    assert whole.tolist() == [[-1, -1, -1, 0, 0, 0]] * 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: find_optimizer("adm"), "unknown optimizer 'adm'; did you mean 'adam'?"),
        (lambda: find_optimizer(3), "optimizer must be one of SGD, Momentum, Adam, Adagrad"),
        (lambda: training.SGD(-1), "SGD: learning_rate must be a number from 0 on, not -1"),
        (lambda: training.SGD(float("nan")), "SGD: learning_rate must be a number"),
        (lambda: training.Adam(beta_1=1), "Adam: beta_1 must be below 1, not 1"),
        (lambda: training.SGD(lambda step: None).rate(4), "the learning rate of step 4 must be"),
    ],
)
def test_refused(make, message):
    with pytest.raises(InvalidInputError, match=message.replace("?", r"\?")):
        make()
