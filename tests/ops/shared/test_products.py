"""Products where NumPy has no BLAS: here it has, so that they are forced to go that way."""

import importlib
import itertools
from pathlib import Path

import numpy as np
import pytest

from onnxwalk.ops import registry
from onnxwalk.ops.ai_onnx.conv import prepare_conv
from onnxwalk.ops.ai_onnx.recurrent import prepare_gru, prepare_lstm, prepare_rnn
from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.fast import winograd
from onnxwalk.ops.shared import products
from tests.support.bound import run_bound
from tests.support.harness import all_cases, assert_same, run_directly, run_onnxwalk

#: the axis of einsum's inner loop; "" is matmul
FORMS = ("i", "j", "k", "")


IN_PYODIDE = products.Speed(1000, 0.5, 1.2, 2500, 6, 0.36, 1000, 1.1)


def force(monkeypatch, form=None):
    """As if NumPy had been built without BLAS; with every product in one form, or as measured."""
    monkeypatch.setattr(products, "has_blas", False)
    monkeypatch.setattr(products, "matmul", products._matmul)
    monkeypatch.setattr(products, "_FEW", 0)
    monkeypatch.setattr(products, "speed", lambda: IN_PYODIDE)
    products._choose.cache_clear()
    if form is not None:
        monkeypatch.setattr(products, "_choose", lambda *shapes: form)


def test_with_blas_nothing_is_between():
    assert products.has_blas and products.matmul is np.matmul
    row, weights = np.ones(3, np.float32), np.ones((3, 2), np.float32)
    assert products.product(row, weights, np.empty(2, np.float32)).func is np.matmul
    assert products.lay_out(weights) is weights
    assert products.times(weights)(row).__self__ is row
    space = Space()
    products.bind_product(space, row, weights, np.empty(2, np.float32))
    assert [call[0] for call in space.calls] == [np.matmul]


def layouts(shape, dtype, rng):
    """The same numbers, in different places of memory."""
    x = rng.integers(-9, 10, shape).astype(dtype)
    yield x
    if x.ndim > 1:
        yield np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)
        yield np.ascontiguousarray(np.moveaxis(x, 0, -1)).transpose(-1, *range(x.ndim - 1))
    wide = np.zeros((*shape[:-1], 2 * shape[-1]), dtype)
    wide[..., ::2] = x
    yield wide[..., ::2]
    yield np.ascontiguousarray(x[..., ::-1])[..., ::-1]


SHAPES = [
    ((5,), (5,)), ((5,), (5, 3)), ((4, 5), (5,)), ((4, 5), (5, 3)), ((1, 7), (7, 1)),
    ((2, 4, 5), (5, 3)), ((2, 4, 5), (2, 5, 3)), ((2, 1, 4, 5), (3, 5, 6)), ((4, 5), (2, 5, 3)),
    ((2, 3, 4, 5), (5,)), ((1, 1, 4, 5), (1, 5, 3)), ((0, 5), (5, 3)), ((4, 0), (0, 3)),
    ((1, 1), (1, 1)), ((40, 70), (70, 33)),
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_numbers_are_exact_in_every_form_and_layout(monkeypatch, form, dtype):
    rng = np.random.default_rng(0)
    force(monkeypatch, form)
    for a_shape, b_shape in SHAPES:
        pairs = itertools.product(layouts(a_shape, dtype, rng), layouts(b_shape, dtype, rng))
        for a, b in pairs:
            expected = np.matmul(a, b)
            found = products.matmul(a, b)
            assert found.dtype == expected.dtype and type(found) is type(expected)
            np.testing.assert_array_equal(found, expected)
            outs = layouts(expected.shape, dtype, rng) if expected.ndim else ()
            for out in itertools.islice(outs, 0, 4, 3 if expected.ndim > 1 else 1):
                assert products.matmul(a, b, out) is out
                np.testing.assert_array_equal(out, expected)
                out[...] = -1
                products.product(a, b, out)()
                np.testing.assert_array_equal(out, expected)
                out[...] = -1
                space = Space()
                space.mark_constant(b)
                products.bind_product(space, a, b, out)
                out[...] = -1
                for function, operands in space.calls:
                    function(*operands)
                np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("form", FORMS)
def test_nan_and_infinity_go_where_they_go_in_matmul(monkeypatch, form):
    force(monkeypatch, form)
    a, b = np.ones((6, 5), np.float32), np.ones((5, 7), np.float32)
    a[0, 0], a[1, 1], a[2, 2], b[2, 3], b[4, 4], b[0, 6] = np.nan, np.inf, 0, np.inf, -np.inf, 0
    np.testing.assert_array_equal(products.matmul(a, b), np.matmul(a, b))


def test_what_is_not_float_is_left_to_matmul(monkeypatch):
    force(monkeypatch, "k")
    for dtype in (np.int32, np.int64, np.uint8, np.float16, np.complex64, np.bool_):
        a, b = np.ones((3, 4), dtype), np.ones((4, 2), dtype)
        found = products.matmul(a, b)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, np.matmul(a, b))
    with pytest.raises(ValueError, match="mismatch"):
        products.matmul(np.ones((3, 4), np.float32), np.ones((3, 4), np.float32))
    a = np.eye(3, dtype=np.float32)[::-1].copy()
    assert products.matmul(a, a, a) is a  # einsum would read what it has written
    np.testing.assert_array_equal(a, np.eye(3))


def test_the_quickest_form_follows_from_measured_times(monkeypatch):
    force(monkeypatch)
    last, first = (False, True), (True, False)
    assert products._choose(1, 98, 96, 576, last, last, last) == "j"  # rows of 576
    assert products._choose(1, 98, 576, 96, last, first, last) == "k"  # sums of 576
    assert products._choose(1, 1024, 28, 32, first, last, last) == "i"  # columns of 1024
    assert products._choose(1, 1, 16, 16, last, last, last) == ""  # too small
    assert products._choose(1000, 2, 2, 2, last, last, last) == ""
    assert products.is_faster_joined(2, 8, 64, 4) and not products.is_faster_joined(2, 1, 64, 1)


def test_speeds_are_measured_in_a_few_milliseconds():
    products.speed.cache_clear()
    ns = products.speed()
    assert all(x > 0 or name == "einsum_loop" for name, x in ns._asdict().items())
    assert products.speed() is ns


def test_rows_apart_round_as_alone(monkeypatch):
    rows, weights = (np.random.default_rng(0).random(s, np.float32) for s in ((9, 37), (37, 21)))
    for forced in (False, True):
        if forced:
            force(monkeypatch)
        every = products.rows_apart(rows, weights)
        alone = [products.rows_apart(rows[i : i + 1], weights)[0] for i in range(9)]
        np.testing.assert_array_equal(every, alone)
        np.testing.assert_allclose(every, rows @ weights, rtol=1e-5)


def of_products():
    """The cases of the operators whose modules have products, or bind them."""
    for case in all_cases():
        found = registry.lookup(case.domain, case.operator, case.since)
        source = Path(importlib.import_module(found.function.__module__).__file__).read_text()
        if "products." in source or "fast.conv " in source or "fast.linear " in source:
            yield case


of_all_products = list(of_products())


def test_all_cases_of_products_pass_without_blas(monkeypatch):
    assert len(of_all_products) > 300
    for case, form in zip(of_all_products, itertools.cycle(["i", "j", "k", None])):
        expected = run_directly(case)
        # sums are added up in another order
        floats = [y for y in expected if isinstance(y, np.ndarray) and y.dtype.kind == "f"]
        sizes = [np.abs(y[np.isfinite(y)]).max(initial=0) for y in floats]
        near = {"rtol": case.rtol, "atol": max(case.atol, 1e-6 * float(max(sizes, default=0)))}
        with monkeypatch.context() as patch:
            force(patch, form)
            assert_same(run_directly(case), expected, **near)
            if not any(map(callable, case.attributes.values())):
                assert_same(run_onnxwalk(case, constants_from=1), expected, **near)


@pytest.mark.parametrize("shape", [(1, 32, 12, 12), (3, 32, 9, 7), (2, 48, 16, 16)])
@pytest.mark.parametrize("tile", [2, 4])
def test_winograd_by_halves_is_winograd(monkeypatch, shape, tile):
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s, np.float32) for s in (shape, (64, shape[1], 3, 3), 64))
    monkeypatch.setattr(winograd, "best_tile", lambda *given: tile)
    (expected,) = run_bound(prepare_conv(w, b, pads=[1, 1, 1, 1]).bind, [x])
    force(monkeypatch)
    calls = []
    halves = winograd._halves
    monkeypatch.setattr(winograd, "_halves", lambda *given: calls.append(1) or halves(*given))
    (found,) = run_bound(prepare_conv(w, b, pads=[1, 1, 1, 1]).bind, [x])
    assert calls
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("batch", [1, 3, 20])
@pytest.mark.parametrize(
    ("prepare", "gates"), [(prepare_rnn, 1), (prepare_lstm, 4), (prepare_gru, 3)]
)
def test_recurrent_layers_without_blas(monkeypatch, direction, batch, prepare, gates):
    rng = np.random.default_rng(0)
    ways, hidden = 2 if direction == "bidirectional" else 1, 32
    x = rng.standard_normal((7, batch, 20), np.float32)
    w, r = (rng.standard_normal((ways, gates * hidden, k), np.float32) / 5 for k in (20, hidden))
    b = rng.standard_normal((ways, 2 * gates * hidden), np.float32)
    lengths = rng.integers(1, 8, batch).astype(np.int32)
    for given in ([x], [x, lengths]):
        expected = run_bound(prepare(w, r, b, direction=direction).bind, given)
        with monkeypatch.context() as patch:
            force(patch)
            found = run_bound(prepare(w, r, b, direction=direction).bind, given)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
