"""Optimizer steps: hand-computed from the spec's pseudo code. ONNX Runtime has no kernel."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.harness import Case, assert_same, check, run_directly


def f(values, dtype=np.float32):
    return np.array(values, dtype)


def step(name, t, tensors, expected, *, r=0.5, dtype=np.float32, **attributes):
    inputs = [f(r), np.array(t, np.int64), *(f(x, dtype) for x in tensors)]
    y = [f(x, dtype) for x in expected]
    domain = "ai.onnx.preview.training"
    return Case(name, 1, inputs, attributes, y, len(y), domain)


HALF = {"alpha": 0.5, "beta": 0.25, "norm_coefficient": 0.0}
CASES = [
    # h' = 7 + 3² = 16, x' = 2 - 0.5·3/4
    step("Adagrad", 0, [[2], [3], [7]], [[1.625], [16]], epsilon=0.0),
    # r = 0.5/(1 + 1·1); g = 1·2 + 1 = 3
    step("Adagrad", 1, [[2], [1], [7]], [[2 - 0.25 * 0.75], [16]], epsilon=0.0,
         decay_factor=1.0, norm_coefficient=1.0),
    step("Adagrad", 0, [[2], [8, 8], [3], [4, 0], [7], [0, 1]],
         [[1.625], [7.5, 8], [16], [16, 1]], epsilon=0.0, dtype=np.float64),
    # T = 0: the rate is R. v' = 0.5·2 + 0.5·4, h' = 0.25·4 + 0.75·16 = 13
    step("Adam", 0, [[1], [4], [2], [4]], [[1 - 0.5 * 3 / (13**0.5 + 1)], [3], [13]],
         alpha=0.5, beta=0.25, epsilon=1.0),
    # T = 2: rate 0.5·√(1 - 1/16)/(1 - 1/4); g = 1·1 + 3; afterwards x'·(1 - 0.25)
    step("Adam", 2, [[1], [3], [2], [4]],
         [[0.75 * (1 - 0.5 * (15 / 16) ** 0.5 / 0.75 * 3 / 13**0.5)], [3], [13]], alpha=0.5,
         beta=0.25, epsilon=0.0, norm_coefficient=1.0, norm_coefficient_post=0.25),
    step("Adam", 0, [[1], [1], [4], [0], [2], [0], [4], [16]],
         [[1 - 1.5 / (13**0.5 + 1)], [1], [3], [0], [13], [4]], alpha=0.5, beta=0.25, epsilon=1.0),
    # β counts as 1 in the first step
    step("Momentum", 0, [[1], [4], [2]], [[1 - 0.5 * 5], [5]], **HALF, mode="standard"),
    step("Momentum", 1, [[1], [4], [2]], [[0], [2]], **HALF, mode="standard"),
    step("Momentum", 1, [[1], [4], [2]], [[1 - 0.5 * 5], [2]], **HALF, mode="nesterov"),
    step("Momentum", 1, [[1], [3], [2]], [[0], [2]], alpha=0.5, beta=0.25, norm_coefficient=1.0,
         mode="standard"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


def test_a_rate_that_no_real_number_is():
    """With β over 1 it is the root of a negative number: NaN, as in C, and no complex number."""
    (x, _, _) = run_directly(
        step("Adam", 2, [[1], [1], [1], [1]], [[0]] * 3, **{**HALF, "beta": 3e38})
    )
    assert x.dtype == np.float32 and np.isnan(x).all()


@settings(max_examples=60, deadline=None)
@given(
    shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    dtype=st.sampled_from([np.float32, np.float64]),
    count=st.integers(1, 3),
    t=st.integers(0, 5),
    seed=st.integers(0, 99),
    nesterov=st.booleans(),
)
def test_any_tensors_follow_the_formulas(shape, dtype, count, t, seed, nesterov):
    """Several tensors of any shape, against the spec's pseudo code in float64."""
    rng = np.random.default_rng(seed)
    x, g, v, h = (list(np.abs(rng.normal(size=(count, *shape))).astype(dtype)) for _ in range(4))
    wide = [[a.astype(np.float64) for a in kind] for kind in (x, g, v, h)]
    r, norm, post, decay, alpha, beta = 0.1, 0.01, 0.02, 0.3, 0.8, 0.9
    rate = r / (1 + t * decay)
    adam = r if t == 0 else r * np.sqrt(1 - beta**t) / (1 - alpha**t)
    results = {"Adagrad": ([], []), "Adam": ([], [], []), "Momentum": ([], [])}
    for a, grad, moment, square in zip(*wide, strict=True):
        grad = norm * a + grad
        total = square + grad**2
        results["Adagrad"][0].append(a - rate * grad / (np.sqrt(total) + 1e-6))
        results["Adagrad"][1].append(total)
        first = alpha * moment + (1 - alpha) * grad
        second = beta * square + (1 - beta) * grad**2
        moved = a - adam * first / (np.sqrt(second) + 1e-6)
        for kind, y in zip(results["Adam"], (moved * (1 - post), first, second), strict=True):
            kind.append(y)
        speed = alpha * moment + (beta if t > 0 else 1) * grad
        results["Momentum"][0].append(a - r * (grad + alpha * speed if nesterov else speed))
        results["Momentum"][1].append(speed)
    more = {"norm_coefficient": norm}
    moments = {**more, "alpha": alpha, "beta": beta}
    mode = "nesterov" if nesterov else "standard"
    for name, tensors, attributes in (
        ("Adagrad", [*x, *g, *h], {**more, "decay_factor": decay}),
        ("Adam", [*x, *g, *v, *h], {**moments, "norm_coefficient_post": post}),
        ("Momentum", [*x, *g, *v], {**moments, "mode": mode}),
    ):
        expected = [y for kind in results[name] for y in kind]
        found = run_directly(step(name, t, tensors, expected, r=r, dtype=dtype, **attributes))
        assert_same(found, [y.astype(dtype) for y in expected], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (step("Adagrad", 0, [[1], [1]], [[1]]), "expected 3 inputs for each .*, got 2"),
        (step("Adam", 0, [[1], [1], [1, 2], [1]], [[1]]), "a tensor of float32"),
        (step("Momentum", 0, [[1], [1], [1]], [[1]], **HALF, mode="fast"), "'fast'"),
    ],
    ids=str,
)
def test_what_is_refused(case, message):
    with pytest.raises(ValueError, match=message):
        run_directly(case)
