"""The check of an export on special values: what it finds, what it says, and what it lets pass."""

import re

import keras
import numpy as np
import pytest

from onnxwalk.export import ExportError, to_onnx
from onnxwalk.export.agreement import find_allowed, find_differences, has_steps, nudge, shrink
from onnxwalk.export.cli import main
from onnxwalk.export.random_inputs import ODD_SIZES, make_random_inputs
from onnxwalk.export.special_feeds import Feed, make_special_feeds, special_values
from onnxwalk.export.verify import read_mode, verify_model
from tests.export.helpers import converted

L, ops = keras.layers, keras.ops


def model(function, *inputs, name="net"):
    given = [keras.Input(s, dtype=d, name=f"x{i}") for i, (s, d) in enumerate(inputs)]
    return keras.Model(given, function(*given), name=name)


def verify(right, wrong, *inputs, mode="quick"):
    """Verify the file of the function ``wrong`` as if it were that of ``right``."""
    proto, _ = converted(model(wrong, *inputs))
    keras_model = model(right, *inputs)
    return verify_model(keras_model, proto, converted(keras_model)[1], mode=mode)


def through(dtype):
    """Numbers taken through another type and back."""
    return lambda x: ops.cast(ops.cast(x, dtype), x.dtype)


def same(x):
    return x + ops.zeros((), x.dtype)


#: what Keras computes, a form of it that is right for random numbers, dtype, what shows it
WRONG = [
    (L.ReLU(), lambda x: x * ops.cast(x > 0, x.dtype), "float32", "NaN|-infinity"),
    (ops.floor, lambda x: through("int32")(x) - ops.cast(x < 0, x.dtype), "float32", "NaN"),
    (
        lambda x: ops.where(x > 20, x, ops.log1p(ops.exp(ops.minimum(x, 20)))),
        lambda x: ops.log1p(ops.exp(x)),
        "float32",
        "the largest float32",
    ),
    (same, through("float32"), "int64", "the largest int64"),
    (same, through("float64"), "int64", "the largest int64"),
    (
        lambda x: x > ops.flip(x, -1),
        lambda x: ops.cast(x, "float32") > ops.flip(ops.cast(x, "float32"), -1),
        "int32",
        r"the largest int32|the lowest int32|2\^24",
    ),
    (same, through("float32"), "float64", "the largest float64"),
    (  # which float32 rounds, but not to that
        lambda x: x * 31.6 + (0.1 - x * 31.6),
        lambda x: ops.where(ops.abs(ops.abs(x) - 1e3) < 1, 0.2, x * 31.6 + (0.1 - x * 31.6)),
        "float32",
        "1000|-1000",
    ),
    (lambda x: x // -1, lambda x: ops.clip(x, -100, 100) * -1, "int8", "the lowest int8"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_random_numbers_hide_is_found(number):
    right, wrong, dtype, shown = WRONG[number]
    with pytest.raises(ExportError) as caught:
        verify(right, wrong, ((4,), dtype))
    text = str(caught.value)
    fed = re.search(r"fed with (.*?): (\S+) instead of (\S+) at \[\d+, \d+\]", text)
    assert fed and re.search(f"input x0 with ({shown}).*", fed[1]), text
    assert text.count("\n") == 0 and "Nothing was written" in text and "--verify none" in text


def test_the_message_names_the_layer():
    def dense(name, units):
        return L.Dense(units, name=name, kernel_initializer=keras.initializers.RandomNormal(seed=1))

    def right(x):
        return dense("last", 2)(L.ReLU(name="turn")(dense("first", 3)(x)))

    def wrong(x):
        return dense("last", 2)(L.ReLU(max_value=1e3, name="turn")(dense("first", 3)(x)))

    with pytest.raises(ExportError, match=r"at \[0, \d\], first in layer turn \(ReLU\)\. Nothing"):
        verify(right, wrong, ((4,), "float32"))


#: what TensorFlow computes in an order of its own, or by kernels that don't agree with each other
UNDECIDED = {
    "a sum that overflows": (lambda x: L.Dense(2)(x), ((300,), "float32")),
    "a mean that overflows": (lambda x: L.GlobalAveragePooling1D()(x), ((50, 2), "float32")),
    "sums that cancel": (lambda x: ops.sum(x, -1), ((40,), "float32")),
    "softmax of a row with NaN": (lambda x: ops.softmax(x), ((9,), "float32")),
    "the order of NaN": (lambda x: ops.sort(x), ((9,), "float32")),
    "casts of numbers out of range": (lambda x: ops.cast(x, "int8"), ((5, 1), "float32")),
    "the places of NaN": (lambda x: ops.argsort(x, axis=-1), ((3,), "float32")),
    "a gate of a sum that overflows": (lambda x: L.GRU(5)(x), ((4, 6), "float32")),
    "a logarithm of what may be 0": (lambda x: ops.log(ops.softmax(x)), ((9,), "float32")),
    "a convolution of no pictures": (
        lambda x: L.Conv2D(2, 3, strides=3, padding="same", use_bias=False)(x),
        ((7, 8, 3), "float32"),
    ),
    "a norm of equal numbers": (
        lambda x: L.LayerNormalization(beta_initializer="random_normal")(x),
        ((8,), "float32"),
    ),
    "a norm of doubles that overflow": (
        lambda x: L.LayerNormalization(beta_initializer="random_normal")(x),
        ((1,), "float64"),
    ),
    "a convolution of no steps": (
        lambda x: L.DepthwiseConv1D(3, strides=2, padding="same")(x),
        ((None, 4), "float32"),
    ),
    "float16": (lambda x: L.Dense(2)(L.Dense(30)(x)), ((40,), "float16")),
    "ids": (lambda x: L.Embedding(7, 2)(x), ((3,), "int64")),
    "numbers that Keras refuses": (
        lambda x: ops.take(ops.ones((10, 2)), x, axis=0),
        ((3,), "int32"),
    ),
    "steps": (lambda x: ops.round(L.Dense(50)(x)), ((20,), "float32")),
    # sums of 1000 times a window's wave, which are 0 but for rounding
    "spectrum": (
        L.MelSpectrogram(256, 256, 160, num_mel_bins=4, power_to_db=False),
        ((1024,), "float32"),
    ),
    # Keras takes no fewer than 33 steps
    "long": (L.MelSpectrogram(64, 64, 16, num_mel_bins=4), ((None,), "float32")),
    # of no elements ONNX can't find the size -1
    "nothing": (L.Reshape((-1, 2)), ((None, 6), "float32")),
}


@pytest.mark.parametrize("name", UNDECIDED)
@pytest.mark.parametrize("mode", ["quick", "full"])
def test_right_files_pass(name, mode):
    function, given = UNDECIDED[name]
    keras_model = model(function, given)
    proto, traced = converted(keras_model)
    assert verify_model(keras_model, proto, traced, mode=mode)


def test_rows_that_keras_takes_are_compared_where_it_refuses_others():
    """An index out of range must not hide the index that is wrong."""

    def right(x, y):
        return ops.take(ops.ones((10,)), x, axis=0) + L.ReLU()(y)

    def wrong(x, y):
        return ops.take(ops.ones((10,)), x, axis=0) + y * ops.cast(y > 0, "float32")

    with pytest.raises(ExportError, match=r"x1 with (NaN|-infinity)"):
        verify(right, wrong, ((3,), "int32"), ((3,), "float32"), mode="full")


def test_modes():
    assert [read_mode(m) for m in (True, False, "quick", "full", "none")] == [
        "quick", "none", "quick", "full", "none",
    ]  # fmt: skip
    with pytest.raises(ExportError, match="verify='fast': it is one of quick, full, none"):
        to_onnx(model(ops.relu, ((2,), "float32")), verify="fast")


@pytest.mark.parametrize(
    ("option", "compared"),
    [([], True), (["--verify", "full"], True), (["--verify", "none"], False),
     (["--no-verify"], False)],
)  # fmt: skip
def test_command(tmp_path, capsys, option, compared):
    path = tmp_path / "m.keras"
    model(L.Dense(2), ((3,), "float32")).save(path)
    assert main([str(path), *option]) == 0
    assert ("not compared with Keras" not in capsys.readouterr().out) is compared


def test_special_feeds():
    def function(x, y):
        return ops.sum(x, (1, 2)) + ops.cast(y, "float32")

    _, traced = converted(model(function, ((None, None, 3), "float32"), ((3,), "uint8")))
    random = make_random_inputs(traced)
    one, with_nan, rows, empty, odd = make_special_feeds(traced, random)
    assert (one.values["x0"].shape, empty.values["x1"].shape) == ((1, 64, 64, 3), (0, 3))
    assert odd.values["x0"].shape == (3, ODD_SIZES.height, ODD_SIZES.width, 3)
    first = with_nan.describe(0)
    assert first == ("input x0 with NaN in places, input x1 with the largest uint8 (255) in places")
    values = with_nan.pick(0).values["x0"]
    assert not any(np.isnan(v).any() for v in rows.values.values())
    assert values.shape == (1, 64, 64, 3) and 0.2 < np.isnan(values).mean() < 0.3
    assert len(list(make_special_feeds(traced, random, full=True))) > 8


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint64", "int64"])
def test_special_values_fit_their_type(dtype):
    for special in special_values(dtype):
        made = np.array(special.values, dtype)
        assert [v.item() for v in made] == [pytest.approx(v, nan_ok=True) for v in special.values]


def test_a_fixed_batch_gets_all_rows():
    x = keras.Input(batch_shape=(2, 3), name="x")
    _, traced = converted(keras.Model(x, ops.abs(x)))
    feeds = list(make_special_feeds(traced, make_random_inputs(traced)))
    assert all(feed.values["x"].shape == (2, 3) for feed in feeds)
    assert any(np.isnan(feed.values["x"]).all(1).any() for feed in feeds)


def test_rule_for_integers_and_rows():
    a, e = np.array([2**53 + 1, 3]), np.array([2**53, 3])
    assert find_differences(a, e, find_allowed(e, 1e-4)).tolist() == [True, False]
    assert not find_differences(a, e, find_allowed(e, 1e-4, [a])).any()
    e = np.float32([[1e25, 1], [1, 1]])
    a = e + np.float32([[0, 1], [0, 1]])
    assert find_differences(a, e, find_allowed(e, 1e-4, by_row=True)).tolist() == [
        [False, False], [False, True],
    ]  # fmt: skip
    assert not find_differences(a, e, find_allowed(e, 1e-4)).any()


def test_whole_numbers_stay():
    x = np.float32([3, -100, 0.5, 1e25, np.nan, np.inf])
    changed = nudge(x, "float32", 0, whole=False) != x
    assert changed.tolist() == [False, False, True, True, True, False]
    assert shrink(x, overflow=False).tolist()[:2] == [3, -50]
    assert shrink(x[:3], overflow=True) is not None and shrink(x[:1], overflow=False) is not None
    kept = x[:3]
    assert shrink(kept, overflow=True) is kept


def test_whole_numbers_change_where_nothing_jumps():
    x = np.float32([3, -100, 0, np.inf])
    assert (nudge(x, "float32", 0, whole=True) != x).tolist() == [True, True, False, False]
    for function, jumps in (
        (ops.round, True),
        (lambda x: ops.cast(x, "int32"), True),
        (lambda x: ops.where(x > 0, x, 0), True),
        (L.Dense(2), False),
        (lambda x: ops.cast(ops.relu(x), "float16"), False),
    ):
        assert has_steps(converted(model(function, ((3,), "float32")))[1]) is jumps


def test_keras_takes_no_random_inputs():
    keras_model = model(lambda x: ops.take(ops.ones((5,)), x + 100), ((3,), "int32"))
    proto, traced = converted(keras_model)
    with pytest.raises(ExportError, match=r"Keras doesn't take .* \[6, 3\]: .*--verify none"):
        verify_model(keras_model, proto, traced)


def test_feed_describes_itself():
    feed = Feed({"x": np.zeros((2, 1))}, ("a", "b"))
    assert [feed.describe(), feed.describe(1), feed.pick(1).describe()] == [
        "rows of special values", "b", "b",
    ]  # fmt: skip
