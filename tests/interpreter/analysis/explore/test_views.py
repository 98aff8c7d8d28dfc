"""Small pictures of large values: right where they can be, honest where they can't."""

import base64

import numpy as np
import pytest

from onnxwalk.interpreter.analysis.explore import views


def codes(view):
    raw = np.frombuffer(base64.b64decode(view["data"]), np.uint8)
    return raw.reshape(
        view["n"], view["h"], view["w"], *((3,) if view["kind"] == "picture" else ())
    )


def seen(view):
    """The values that the page would tell."""
    return view["lo"] + (view["hi"] - view["lo"]) * codes(view).astype(float) / views.TOP


def test_maps_complete_and_downsampled():
    rng = np.random.default_rng(0)
    array = rng.normal(size=(1, 8, 16, 12)).astype(np.float32)
    view = views.build_view(array, "", 10_000)
    assert view["kind"] == "maps" and "was" not in view
    step = (view["hi"] - view["lo"]) / views.TOP
    np.testing.assert_allclose(seen(view), array[0], atol=step)
    small = views.build_view(array, "", 400)
    assert small["was"] == [8, 16, 12] and np.prod(small["is"]) <= 400
    expected = views.downsample(
        array[0][views.spread_indices(8, small["n"])], small["h"], small["w"]
    )
    np.testing.assert_allclose(seen(small), expected, atol=step)


def test_recurrent_outputs_are_steps_by_units():
    y = np.random.default_rng(0).normal(size=(7, 2, 3, 5)).astype(np.float32)
    view = views.build_view(y, "time", 10_000)
    step = (view["hi"] - view["lo"]) / views.TOP
    assert view["n"] == 6
    np.testing.assert_allclose(seen(view)[4], y[:, 1, 1], atol=step)
    np.testing.assert_allclose(
        seen(views.build_view(y.transpose(2, 0, 1, 3), "sample", 10_000))[3], y[:, 1, 1], atol=step
    )


def test_averages_are_means_of_blocks():
    maps = np.arange(32.0).reshape(1, 4, 8)
    expected = maps.reshape(1, 2, 2, 4, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(views.downsample(maps, 2, 4), expected)
    np.testing.assert_allclose(views.downsample(maps, 3, 3)[0, 0, 0], maps[0, :1, :2].mean())


def test_what_is_no_number_has_codes_of_its_own():
    array = np.array([[0, np.nan, 1], [np.inf, -np.inf, 0.5]], np.float32)
    view = views.build_view(array, "", 100)
    assert codes(view)[0].tolist() == [[0, 255, 252], [254, 253, 126]]
    assert (view["lo"], view["hi"]) == (0, 1)
    found = views.statistics(array)
    assert (found["nan"], found["inf"], found["-inf"]) == (1, 1, 1)
    assert (found["min"], found["max"], found["mean"]) == (0, 1, 0.5)
    nothing = views.build_view(np.full((2, 2), np.nan), "", 100)
    assert codes(nothing).tolist() == [[[255, 255], [255, 255]]] and nothing["hi"] == 0
    assert "min" not in views.statistics(np.full(3, np.nan))


@pytest.mark.parametrize(
    ("shape", "role", "kind"),
    [
        ((1, 3, 8, 8), "", "maps"),
        ((1, 8, 8, 3), "last", "picture"),
        ((2, 8, 8, 5), "last", "maps"),
        ((1, 8, 8, 1), "last", "maps"),
        ((6, 3, 5, 5), "filter", "picture"),
        ((6, 2, 5, 5), "filter", "maps"),
        ((6, 4, 1, 1), "filter", "heat"),
        ((1, 10), "", "numbers"),
        ((7, 1, 5), "", "heat"),
        ((7, 2, 1, 5), "", "heat"),
        ((1, 4, 1, 1), "", "numbers"),
        ((), "", "numbers"),
        ((2, 3, 4), "", "maps"),
        ((1, 2, 3, 4, 5), "", "maps"),
        ((7, 1, 1, 5), "time", "heat"),
        ((7, 2, 1, 5), "time", "maps"),
        ((3, 7, 2, 5), "sample", "maps"),
    ],
)
@pytest.mark.parametrize("room", [1, 50, 100_000])
def test_every_shape_has_a_form(shape, role, kind, room):
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    view = views.build_view(array, role, room)
    assert view["kind"] == kind
    assert len(base64.b64decode(view["data"])) <= max(room, 4)
    if room == 100_000:
        assert len(base64.b64decode(view["data"])) == views.full_size(array, role)


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint8", "int64", "float16", "float64", "complex64"]
)
def test_every_type(dtype):
    array = np.arange(6).astype(dtype)
    view = views.build_view(array, "", 1000)
    data = np.frombuffer(base64.b64decode(view["data"]), f"<{view['as']}")
    np.testing.assert_array_equal(data, np.abs(array).astype(float))
    assert views.statistics(array)["max"] == (1 if dtype == "bool" else 5)


def test_bfloat16():
    bfloat16 = np.dtype(pytest.importorskip("ml_dtypes").bfloat16)
    view = views.build_view(np.array([1, 2], bfloat16), "", 100)
    assert view["as"] == "f4"


def test_extremes_of_a_type():
    most = np.finfo(np.float64).max
    array = np.array([[-most, 0], [most, 1]])
    assert codes(views.build_view(array, "", 100))[0].tolist() == [[0, 126], [252, 126]]
    found = views.statistics(np.linspace(-1, 1, 100) * most)
    assert sum(found["bins"]) == 100 and "mean" not in found


def test_the_histogram_counts_everything_once():
    found = views.statistics(np.random.default_rng(0).normal(size=1000).astype(np.float32))
    assert sum(found["bins"]) == 1000


def test_shares():
    assert views.find_share([10, 10, 1000], 120) == 100
    assert views.find_share([5, 5], 100) == 5
    assert views.find_share([100] * 4, 200) == 50
    assert views.find_share([], 10) == 0


def test_roles_follow_transpositions():
    nodes = [
        ("Mul", {}, ["x", "s"], ["scaled"]),
        ("Transpose", {"perm": [0, 3, 1, 2]}, ["scaled"], ["first"]),
        ("Conv", {}, ["first", "w"], ["c"]),
        ("Transpose", {"perm": [0, 2, 3, 1]}, ["c"], ["back"]),
        ("Relu", {}, ["back"], ["y"]),
    ]
    shapes = {"x": (1, 8, 8, 3), "scaled": (1, 8, 8, 3), "back": (1, 8, 8, 5), "y": (1, 8, 8, 5)}
    found = views.find_roles(nodes, shapes, ["x"])
    assert found == {"x": "last", "scaled": "last", "w": "filter", "back": "last", "y": "last"}
