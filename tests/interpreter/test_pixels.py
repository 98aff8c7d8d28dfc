"""Which pixels a model expects."""

from types import SimpleNamespace

import numpy as np
import pytest

from onnxwalk.interpreter.errors import InvalidModelError
from onnxwalk.interpreter.pixels import Expected, pixels_of_graph, stored_pixels


@pytest.mark.parametrize(
    "metadata, expected",
    [
        ({}, None),
        ({"Image.BitmapPixelFormat": "Bgr8"}, None),
        ({"Image.NominalPixelRange": "NominalRange_0_255"}, (0, 255, False)),
        ({"image.nominalpixelrange": "NORMALIZED_0_1"}, (0, 1, False)),
        (
            {"Image.NominalPixelRange": "Normalized_1_1", "Image.BitmapPixelFormat": "Bgr8"},
            (-1, 1, True),
        ),
    ],
)
def test_metadata(metadata, expected):
    found = stored_pixels(metadata)
    assert found == (expected and Expected(*expected, "as the file's metadata say"))


def test_unknown_metadata():
    with pytest.raises(InvalidModelError, match=r"Image\.NominalPixelRange: 'nominal' is none of"):
        stored_pixels({"Image.NominalPixelRange": "Nominal"})


def chain(*steps):
    """Nodes and constants of operators in a row, each with a number or none, and a Conv."""
    nodes, constants = [], {}
    for i, (op_type, numbers) in enumerate([*steps, ("Conv", np.ones((2, 3, 3, 3)))]):
        inputs = [f"v{i}"]
        if numbers is not None:
            constants[f"c{i}"] = np.asarray(numbers, np.float32)
            inputs.append(f"c{i}")
        nodes.append(SimpleNamespace(op_type=op_type, inputs=inputs, outputs=[f"v{i + 1}"]))
    return nodes, constants.get, "v0"


@pytest.mark.parametrize(
    "steps, expected",
    [
        ([], None),
        ([("Relu", None), ("Mul", 1 / 255)], None),
        ([("Mul", 1 / 255)], (0, 255)),
        ([("Div", 127.5), ("Sub", 1)], (0, 255)),
        ([("Transpose", None), ("Sub", np.full((1, 3, 1, 1), 123)), ("Div", 58)], (0, 255)),
        ([("Sub", [103, 116, 123])], (0, 255)),
        ([("Sub", [[[0.4]], [[0.5]], [[0.6]]]), ("Div", 0.2)], (0, 1)),
        ([("Add", 0.1)], None),
        ([("Mul", 1 / 255), ("Mul", 255)], None),
        ([("Mul", np.full((8, 8), 1 / 255))], None),  # weights of places, not of colours
        ([("Div", 0)], None),
        ([("Mul", np.nan)], None),
    ],
)
def test_graphs(steps, expected):
    found = pixels_of_graph(*chain(*steps))
    assert (found and (found.low, found.high)) == expected


def test_the_operators_are_named():
    found = pixels_of_graph(*chain(("Resize", None), ("Div", 127.5), ("Sub", 1)))
    assert found.source == "as its first nodes, Div, Sub, are made for"
