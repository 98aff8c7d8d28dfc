"""Tables in terminals of any width."""

from __future__ import annotations

import pytest

from onnxwalk.interpreter.cli import _show, _terminal
from onnxwalk.interpreter.display import table_lines

COLUMNS = ("output", "dtype", "shape", "mean", "first values")
ROWS = [
    ("a_long_name/of_a_layer/dense_1", "float32", "(1, 10)", "0.018471", "0.0303297, 0.286847, …"),
    ("y", "int64", "(3, 4)", "-12,345,678", "1, 2, 3"),
]
NUMBERS = ["float32", "0.018471", "0.0303297,", "0.286847,", "-12,345,678", "int64"]


@pytest.fixture
def shown(monkeypatch, capsys):
    """What a table is in a terminal of so many columns."""
    real = _terminal.console

    def at(width, *args, **more):
        def console(**options):
            found = real(**options)
            found.width = width
            return found

        monkeypatch.setattr(_terminal, "console", console)
        monkeypatch.setattr(_show, "terminal", lambda stream: _terminal)
        capsys.readouterr()
        _show.table(*args, **more)
        return capsys.readouterr().out.splitlines()

    return at


@pytest.mark.parametrize("width", range(20, 120, 3))
@pytest.mark.parametrize("indent", [0, 2])
def test_numbers_are_never_broken(shown, width, indent):
    lines = shown(width, COLUMNS, ROWS, right=["mean"], indent=indent)
    words = [word for line in lines for word in line.split()]
    assert all(number in words for number in NUMBERS)
    assert max(map(len, lines)) <= width and all(line == line.rstrip() for line in lines)
    text = "".join(lines).replace(" ", "")
    assert all(column.split()[0] in text for column in COLUMNS[1:])


def test_a_wide_terminal_has_a_line_for_each_row(shown):
    lines = shown(100, COLUMNS, ROWS, right=["mean"])
    assert len(lines) == 3 and lines[1].endswith("0.0303297, 0.286847, …")


def test_a_narrow_one_has_several(shown):
    assert shown(40, COLUMNS, ROWS, right=["mean"]) == [
        "a_long_name/of_a_layer/dense_1",
        "    dtype float32  shape (1, 10)",
        "    mean 0.018471",
        "    first values 0.0303297, 0.286847, …",
        "y",
        "    dtype int64  shape (3, 4)",
        "    mean -12,345,678",
        "    first values 1, 2, 3",
    ]


def test_no_rows_and_no_names(shown):
    assert shown(10, COLUMNS, []) == []
    assert shown(10, ("", ""), [("name", "x" * 30)])[0].startswith("name")


@pytest.mark.parametrize("columns", [COLUMNS, [""] * 5])
def test_a_pipe_gets_what_a_wide_terminal_would(shown, columns):
    """The plain tables, which need no rich, are rich's."""
    rows = [*ROWS, ("畳み込み", "e\u0301té", "", "1", "ｆｕｌｌ"), ("", "", "", "", "")]
    plain = [text.rstrip() for text in table_lines(columns, rows, {"mean"})]
    assert plain == shown(1000, columns, rows, right=["mean"])
    assert table_lines(columns, [], {"mean"}) == ([] if not any(columns) else ["  ".join(columns)])
