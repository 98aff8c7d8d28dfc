"""The command that compares real programs: its judgement, without installing anything."""

from __future__ import annotations

import ast
import math

import pytest

from tests.programs.in_place.table import FOLDER, PROGRAMS, Row, difference, write_table


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (["a", 1, [0.5]], ["a", 1, [0.5]], 0.0),
        ([1.0, 2.5], [1.0, 2.0], 0.25),
        ([math.nan], [math.nan], 0.0),
        ({"a": 1.5}, {"a": 1.0}, 0.5),
        ({"a": 1.5}, {"b": 1.5}, math.inf),
        (["a"], ["b"], math.inf),
        ([1], [1.0], math.inf),
        ([1, 2], [1], math.inf),
        ([None], [None], 0.0),
    ],
)
def test_difference(ours, theirs, expected):
    assert difference(ours, theirs) == expected


def test_rows_say_what_became_of_a_program(tmp_path):
    magika, *_ = PROGRAMS
    right = Row(magika, 1e-5)
    wrong, failed = Row(magika, 0.1), Row(magika, None, "ImportError: x")
    assert right.is_right and not wrong.is_right and not failed.is_right
    page = tmp_path / "page.md"
    page.write_text("before <!-- programs: begin -->old<!-- programs: end --> after")
    write_table([right, wrong, failed], page)
    text = page.read_text()
    assert "old" not in text and text.startswith("before") and text.endswith("after")
    assert "numbers to 1e-05" in text and "DIFFERENT by 0.1" in text and "ImportError: x" in text


def test_every_program_is_listed_and_says_what_it_answers():
    assert {program.path for program in PROGRAMS} == set(FOLDER.glob("*.py"))
    for program in PROGRAMS:
        tree = ast.parse(program.path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree) and "==" in program.package
        text = program.path.read_text(encoding="utf-8")
        assert "onnxwalk" not in text  # as its users write it
