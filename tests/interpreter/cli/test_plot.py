"""Plots of ratios: nothing is lost when matplotlib's SVG is shortened."""

import re
from xml.etree import ElementTree

import pytest

pytest.importorskip("matplotlib")

from onnxwalk.interpreter.cli import _plot

SVG = "{http://www.w3.org/2000/svg}"
SERIES = {"one": [0.5, None, 3.0, 0.0], "two": [2.0, float("nan"), float("inf"), 4.0]}
LABELS = ["a & b", "<c>", "d", "e"]


def test_every_value_and_word_is_in_the_svg(tmp_path):
    file = tmp_path / "plot.svg"
    _plot.draw(file, "machine & versions", LABELS, SERIES, rules=[2])
    text = file.read_text("utf-8")
    root = ElementTree.fromstring(text)
    words = [element.text for element in root.iter(f"{SVG}text")]
    assert set(LABELS) | {"machine & versions", "one", "two", "equally fast"} <= set(words)
    # a mark for each value that has a place on the scale, and one for each name in the legend
    assert len(list(root.iter(f"{SVG}use"))) == 2 + 2 + 2
    outlines = {element.get("id") for element in root.iter(f"{SVG}path") if element.get("id")}
    assert {use.get("href") for use in root.iter(f"{SVG}use")} == {f"#{name}" for name in outlines}
    classes = {element.get("class") for element in root.iter() if element.get("class")}
    assert classes == set(re.findall(r"\.(s\w+)\{", text))
    assert "prefers-color-scheme:dark" in text and len(text) < 6000
    _plot.draw(tmp_path / "again.svg", "machine & versions", LABELS, SERIES, rules=[2])
    assert (tmp_path / "again.svg").read_text("utf-8") == text


def test_values_are_where_they_belong(tmp_path):
    """By the scale's lines at 1 and 2, the mark of 4 stands twice as far from 1 as that of 2."""
    file = tmp_path / "plot.svg"
    _plot.draw(file, "", ["x", "y", "z"], {"one": [1.0, 2.0, 4.0]})
    root = ElementTree.fromstring(file.read_text("utf-8"))
    marks = list(root.iter(f"{SVG}use"))[:3]
    one, two, four = (float(mark.get("x")) for mark in marks)
    assert four - two == pytest.approx(two - one, abs=0.2) and two - one > 100
    ys = [float(mark.get("y")) for mark in marks]
    assert ys == sorted(ys)
    ticks = {text.text: float(text.get("x")) for text in root.iter(f"{SVG}text") if text.get("x")}
    assert [ticks["1"], ticks["2"]] == pytest.approx([one, two], abs=0.2)


@pytest.mark.parametrize(("suffix", "begins"), [(".png", b"\x89PNG"), (".pdf", b"%PDF")])
def test_other_formats(tmp_path, suffix, begins):
    file = tmp_path / f"plot{suffix}"
    _plot.draw(file, "title", LABELS, SERIES)
    assert file.read_bytes().startswith(begins)
    _plot.draw(file, "nothing", [], {})
