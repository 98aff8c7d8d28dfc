"""Every function of keras.ops, keras.activations and keras.losses: a sample of its cases.

The whole list takes long, and writes the table::

    python -m onnxwalk.export functions -o docs/FUNCTIONS.md
"""

import gc
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

import keras
import numpy as np
from keras import ops

from onnxwalk.export import ExportError
from onnxwalk.export.coverage import functions
from onnxwalk.export.coverage.function_cases import (
    FunctionCase,
    Given,
    all_cases,
    calls,
    find_function,
    function_names,
)
from onnxwalk.export.coverage.function_cases.values import ANY, Values
from onnxwalk.export.coverage.functions_table import format_table, read_table
from onnxwalk.export.coverage.judge_functions import (
    FunctionVerdict,
    find_difference,
    find_uncovered_functions,
    judge_function,
)
from tests.export.helpers import converted, run_onnxruntime, run_onnxwalk

CASES = all_cases()
PAGE = (Path(__file__).parents[2] / "docs" / "FUNCTIONS.md").read_text("utf-8")
TABLE = read_table(PAGE)

INF, NAN = np.inf, np.nan


@pytest.fixture(scope="module", autouse=True)
def _no_garbage():
    """What TensorFlow keeps is left out of the collections that each export makes."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def sample():
    """One case of every third function, of another type each time."""
    for number, (name, cases) in enumerate(CASES.items()):
        if number % 3 == 0:
            yield name, cases[(number // 3) % len(cases)]


@pytest.mark.parametrize("part", range(4))
def test_same_as_keras(part):
    for name, case in list(sample())[part::4]:
        verdict = judge_function(case)
        assert verdict.failures == (), (name, case.label, case.dtype)
        if verdict.refused:
            assert "\n" not in verdict.refused and TABLE[name][3], (name, verdict.refused)


def test_every_function_has_cases_and_a_row():
    """A new Keras brings a new function: give it cases."""
    assert find_uncovered_functions(CASES) == []
    assert set(CASES) == set(TABLE) == set(function_names())


def test_nothing_is_wrong_in_the_table():
    assert ", 0 wrong." in PAGE and "WRONG" not in PAGE
    without = set()
    for name, (_, right, _, refused) in TABLE.items():
        done, tried = map(int, right.split(" of "))
        assert (tried and done == tried) or refused, name
        without |= set() if tried else {name}
    # Keras's TensorFlow backend asks symbolic tensors for numbers there
    assert without == {"corrcoef", "isin", "kron", "nanpercentile", "vectorize"}


def test_cases_are_told_apart():
    for name, cases in CASES.items():
        keys = {(c.label, c.dtype, *((g.shape, g.dtype) for g in c.given)) for c in cases}
        assert len(keys) == len(cases), name


def test_names_stand_for_functions():
    assert find_function("image.resize") is ops.image.resize
    assert find_function("losses.Huber") is keras.losses.Huber
    with pytest.raises(AttributeError):
        find_function("nothing")


def test_special_values():
    found = ANY.special("float32")
    assert np.isnan(found).any() and np.isinf(found).any() and np.signbit(found[found == 0]).any()
    assert {2**24 + 1, -(2**31), 2**31 - 1} < set(ANY.special("int32").tolist())
    assert Values(within="int8").special("float32").max() <= 127
    assert Values(kinds="none").special("float32") is None
    case = FunctionCase("add", "", "int8", (Given(), Given()), lambda f, *x: f(*x), False)
    x, y = case.feeds()["special values"]
    pairs = set(zip(x.flat, y.flat, strict=True))
    assert (-128, 127) in pairs and (127, -128) in pairs and len(pairs) == len(set(x.flat)) ** 2


def test_differences():
    ones = np.ones((2, 2), np.float32)
    assert find_difference([ones], [ones + 1e-6], [ones], 1e-5) is None
    assert "1.0 instead of 2.0 at [0, 0]" in find_difference([ones], [2 * ones], [ones], 1e-5)
    assert find_difference([ones], [2 * ones], [ones], 1e-5, [ones]) is None
    assert find_difference([ones * NAN], [ones], [ones], 1e9)
    assert find_difference([ones * INF], [ones], [ones], 1e9)
    assert find_difference([np.int64([2**53])], [np.int64([2**53 + 1])], [], 1e9)
    wider = find_difference([ones], [ones.astype(np.float64)], [], 1)
    assert wider == "float32[2, 2] instead of float64[2, 2]"


def test_the_judge_tells_right_from_wrong(monkeypatch):
    (case,) = calls("negative", dtypes=("float32",))
    assert judge_function(case).is_right
    (no_case,) = calls("bitwise_not", dtypes=("float32",))
    assert judge_function(no_case).impossible
    (refused,) = calls("inv", given=[Given((3, 3))], dtypes=("float32",))
    assert judge_function(refused).refused.endswith("and give it the result")
    from onnxwalk.export.conversion import handlers

    monkeypatch.setitem(handlers._WRITERS, "Neg", lambda nodes: nodes.replace("Abs", nodes.inputs))
    wrong = judge_function(case)
    assert wrong.failures and wrong.failures[0].startswith("random values: ")
    text = format_table({"negative": [wrong, replace(wrong, failures=())], "inv": []})
    assert "| `negative` | 1 of 2 |" in text and "1 right, 0 refused, 1 wrong" in text
    again = format_table({"inv": [FunctionVerdict(refused, refused="no inverse")]}, text)
    assert "| `inv` | 0 of 1 |  | no inverse |" in again and "| `negative` | 1 of 2 |" in again


def test_command(tmp_path, capsys):
    target = tmp_path / "table.md"
    assert functions.main(["ndim", "-o", str(target)]) == 0
    assert "| `ndim` | 4 of 4 | 4 |" in target.read_text("utf-8")
    assert functions.main(["nothing"]) == 1
    assert "no cases for nothing" in capsys.readouterr().err


def model(function, *shapes, dtype="float32"):
    inputs = [keras.Input(shape, dtype=dtype, name=f"x{i}") for i, shape in enumerate(shapes)]
    return keras.Model(inputs, function(*inputs))


@pytest.mark.parametrize(
    ("function", "given", "expected"),
    [
        (ops.erfinv, [0.5, -1, 1, 2, 0], [0.47693628, -INF, INF, NAN, 0]),
        (lambda x: ops.arctan2(x, -1.0), [0.0, -0.0, INF], [np.pi, -np.pi, np.pi / 2]),
        (lambda x: ops.arctan2(x, -np.inf), [INF, 1], [3 * np.pi / 4, np.pi]),
        (lambda x: ops.cumprod(x, axis=-1), [2, NAN, 0], [2, NAN, NAN]),
        (ops.triu, [INF, 1], [INF, 1]),
        (lambda x: ops.argmax(x, axis=-1), [NAN, -3, -1], [2]),
        (lambda x: ops.argmin(x, axis=-1), [NAN, -3, -1], [1]),
        (ops.isfinite, [NAN, INF, -1], [False, False, True]),
    ],
    ids=["erfinv", "arctan2", "arctan2_inf", "cumprod", "triu", "argmax", "argmin", "isfinite"],
)
@pytest.mark.parametrize("opset", [13, 18])
def test_values_that_are_known(function, given, expected, opset):
    x = np.float32([given])
    built = model(function, x.shape[1:])
    proto, _ = converted(built, opset)
    for run in (run_onnxruntime, run_onnxwalk):
        (found,) = run(proto, {"x0": x})
        np.testing.assert_allclose(found.ravel(), np.ravel(expected), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint16"])
def test_shifts_keep_the_sign(dtype):
    info = np.iinfo(dtype)
    x = np.array([[info.min, info.max, 5]], dtype)
    for function, expected in ((ops.right_shift, x >> 2), (ops.left_shift, x << 2)):
        proto, _ = converted(model(lambda x, f=function: f(x, 2), (3,), dtype=dtype))
        for run in (run_onnxruntime, run_onnxwalk):
            np.testing.assert_array_equal(run(proto, {"x0": x})[0], expected)


def test_refusals_say_what_to_do():
    for function, words in ((ops.inv, "outside of the model"), (ops.cholesky, "outside of")):
        with pytest.raises(ExportError, match=words):
            converted(model(function, (3, 3)))
