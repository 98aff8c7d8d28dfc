"""Files of rows as programs and people write them: each is read as it is meant, or refused."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from onnxwalk import InvalidInputError
from onnxwalk.interpreter.tables.files import open_table
from onnxwalk.interpreter.tables.options import Options

NAN = float("nan")


class Shape(NamedTuple):
    """A file, and what is in it: the names of its columns, its numbers and strings."""

    text: str
    names: list[str] | None
    columns: list[list[float | str]]
    unfed: frozenset[int] = frozenset()


SHAPES = {
    "plain": Shape("a,b\n1,2\n3,4.5\n", ["a", "b"], [[1, 3], [2, 4.5]]),
    "no header": Shape("1,2\n3,4.5\n", None, [[1, 3], [2, 4.5]]),
    "one row": Shape("1,2,3\n", None, [[1], [2], [3]]),
    "Windows": Shape("a,b\r\n1,2\r\n3,4\r\n", ["a", "b"], [[1, 3], [2, 4]]),
    "no newline at the end": Shape("a,b\n1,2\n3,4", ["a", "b"], [[1, 3], [2, 4]]),
    "tabs": Shape("a\tb\n1\tx, y\n2\tz\n", ["a", "b"], [[1, 2], ["x, y", "z"]]),
    "bars": Shape("a|b\n1|2\n3|4\n", ["a", "b"], [[1, 3], [2, 4]]),
    "Excel in Germany": Shape("a;b\n1,5;x\n2,0;y, z\n", ["a", "b"], [[1.5, 2], ["x", "y, z"]]),
    "decimal commas, no header": Shape("1,5;2,5\n3,25;4\n", None, [[1.5, 3.25], [2.5, 4]]),
    "decimal commas, one column": Shape("x\n1,5\n-2,25\n", ["x"], [[1.5, -2.25]]),
    "decimal commas, tabs": Shape(
        "a\tb\n0,5\t1e3\n1\t2,5e-1\n", ["a", "b"], [[0.5, 1], [1000, 0.25]]
    ),
    "semicolons, decimal points": Shape("a;b\n1.5;2\n3;4\n", ["a", "b"], [[1.5, 3], [2, 4]]),
    "thousands by points": Shape(
        "a;b\n1.234,5;1\n1.000.000;2\n", ["a", "b"], [[1234.5, 1e6], [1, 2]]
    ),
    "thousands by commas": Shape(
        'a,b\n"1,234.5",1\n"1,000,000",2\n', ["a", "b"], [[1234.5, 1e6], [1, 2]]
    ),
    "thousands by blanks": Shape(
        "a;b\n1 234,5;1\n12\u00a0000;2\n", ["a", "b"], [[1234.5, 12000], [1, 2]]
    ),
    "a separator that is stated": Shape("sep=;\na;b\n1;2\n", ["a", "b"], [[1], [2]]),
    "pandas with its index": Shape(
        ",a,b\n0,1,2\n1,3,4\n", ["", "a", "b"], [[0, 1], [1, 3], [2, 4]], frozenset([0])
    ),
    "pandas without names": Shape(
        ",0,1\n0,1.5,2\n1,3,4\n", ["", "0", "1"], [[0, 1], [1.5, 3], [2, 4]], frozenset([0])
    ),
    "R with names of rows": Shape(
        '"a","b"\n"r1",1,2\n"r2",3,4\n',
        ["", "a", "b"],
        [["r1", "r2"], [1, 3], [2, 4]],
        frozenset([0]),
    ),
    "R with numbers of rows": Shape(
        '"a","b"\n"1",5,2\n"2",3,4\n', ["", "a", "b"], [[1, 2], [5, 3], [2, 4]], frozenset([0])
    ),
    "R's table": Shape(
        '"a" "b"\n"1" 5 2.5\n"2" 3 4\n', ["", "a", "b"], [[1, 2], [5, 3], [2.5, 4]], frozenset([0])
    ),
    "NumPy": Shape("1.000e+00 2.500e+00\n3.000e+00 -4.000e+00\n", None, [[1, 3], [2.5, -4]]),
    "NumPy with a header": Shape("# a b\n1.0 2.5\n3.0 4.0\n", ["a", "b"], [[1, 3], [2.5, 4]]),
    "columns of fixed width": Shape("  1.5   2\n 10.25  3\n", None, [[1.5, 10.25], [2, 3]]),
    "comments": Shape("# made on Monday\n# by hand\na,b\n1,2\n", ["a", "b"], [[1], [2]]),
    "a column named #": Shape("#,a\n1,x\n2,y\n", ["#", "a"], [[1, 2], ["x", "y"]]),
    "UCI, blanks after commas": Shape(
        "39, State-gov, 77\n50, Self-emp, 83\n",
        None,
        [[39, 50], ["State-gov", "Self-emp"], [77, 83]],
    ),
    "UCI, question marks": Shape("5,?,1\n3,2,?\n", None, [[5, 3], [NAN, 2], [1, NAN]]),
    "empty cells": Shape("a,b\n1,\n,4\n", ["a", "b"], [[1, NAN], [NAN, 4]]),
    "NA": Shape("a,b,c\n1,NA,n/a\nNaN,2,null\n", ["a", "b", "c"], [[1, NAN], [NAN, 2], [NAN, NAN]]),
    "a delimiter at each end": Shape("a,b,\n1,2,\n3,4,\n", ["a", "b"], [[1, 3], [2, 4]]),
    "a delimiter at the rows' ends": Shape("a,b\n1,2,\n3,4,\n", ["a", "b"], [[1, 3], [2, 4]]),
    "a delimiter at the ends, no header": Shape("1;2;\n3;4;\n", None, [[1, 3], [2, 4]]),
    "empty lines": Shape("\na,b\n\n1,2\n\n3,4\n\n", ["a", "b"], [[1, 3], [2, 4]]),
    "empty lines in one column": Shape("x\n1\n\n3\n\n\n", ["x"], [[1, NAN, 3]]),
    "line breaks in quotes": Shape(
        'a,t\n1,"x\ny"\n2,"he said ""no"""\n', ["a", "t"], [[1, 2], ["x\ny", 'he said "no"']]
    ),
    "one column of text": Shape(
        "text\nhello, world\nfoo, bar, baz\nx\n", ["text"], [["hello, world", "foo, bar, baz", "x"]]
    ),
    "text with semicolons": Shape(
        "id,text\n1,a; b; c\n2,d\n", ["id", "text"], [[1, 2], ["a; b; c", "d"]]
    ),
    "labels and reviews": Shape(
        "label;text\n1;good, so good\n0;bad, bad\n",
        ["label", "text"],
        [[1, 0], ["good, so good", "bad, bad"]],
    ),
    "strings only": Shape(
        "city,land\nRome,Italy\nOslo,Norway\n",
        ["city", "land"],
        [["Rome", "Oslo"], ["Italy", "Norway"]],
    ),
    "names with blanks": Shape(
        '"sepal length (cm)", "b"\n5.1, 2\n', ["sepal length (cm)", "b"], [[5.1], [2]]
    ),
    "truth": Shape("a,b\nTrue,false\nFALSE,yes\n", ["a", "b"], [[1, 0], [0, 1]]),
    "infinite": Shape("a,b\ninf,1\n-Infinity,2\n", ["a", "b"], [[np.inf, -np.inf], [1, 2]]),
    "a blank in a name of one column": Shape("net weight\n1\n2\n", ["net weight"], [[1, 2]]),
    "a comma in the name of one column": Shape(
        "weight, kg\n1\n2\n3\n", ["weight, kg"], [[1, 2, 3]]
    ),
    "dates": Shape(
        "day,x\n2024-01-31,1\n2024-02-01,2\n", ["day", "x"], [["2024-01-31", "2024-02-01"], [1, 2]]
    ),
}


def read(path, options=None, size=10**9):
    """Names, columns and unfed columns of a file."""
    table = open_table(Path(path), options)
    every = range(len(table.columns))
    table.want(every)
    columns = [[] for _ in every]
    for index in range(-(-table.length // size)):
        for i, column in table.piece(size, index).items():
            try:
                array, _ = column.as_array(np.dtype(np.float64), lambda row: f"row {row}")
            except InvalidInputError:
                array, _ = column.as_array(np.dtype(object), lambda row: f"row {row}")
            columns[i] += array.tolist()
    return list(table.columns) if table.has_names else None, columns, set(table.unfed)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("size", [1, 10**9])
def test_each_shape_is_read_as_it_is_meant(tmp_path, name, size):
    shape = SHAPES[name]
    (tmp_path / "t.csv").write_text(shape.text, encoding="utf-8", newline="")
    names, columns, unfed = read(tmp_path / "t.csv", size=size)
    assert (names, unfed) == (shape.names, shape.unfed)
    for found, expected in zip(columns, shape.columns, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_there_are_more_than_thirty():
    assert len(SHAPES) > 40


@pytest.mark.parametrize(
    ("name", "encoding"), [("t.csv", "utf-8-sig"), ("t.tsv", "utf-16"), ("t.csv.gz", "utf-8")]
)
def test_encodings_and_compression(tmp_path, name, encoding):
    data = "größe\tb\n1\t2\n".encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert read(tmp_path / name)[0] == ["größe", "b"]


def test_an_encoding_that_is_said(tmp_path):
    (tmp_path / "t.csv").write_bytes("größe;b\n1;2\n".encode("cp1252"))
    with pytest.raises(InvalidInputError, match=r"not a text file in UTF-8.*--encoding.*cp1252"):
        read(tmp_path / "t.csv")
    assert read(tmp_path / "t.csv", Options(encoding="cp1252"))[0] == ["größe", "b"]
    with pytest.raises(InvalidInputError, match="there is no such encoding"):
        read(tmp_path / "t.csv", Options(encoding="latin-99"))


def test_what_is_said_goes_before_what_is_found(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("2020,2021\n1,2\n")
    assert read(path) == (None, [[2020, 1], [2021, 2]], set())
    assert read(path, Options(header=True)) == (["2020", "2021"], [[1], [2]], set())
    path.write_text("a,b\nc,d\n")
    assert read(path, Options(header=False))[1] == [["a", "c"], ["b", "d"]]
    path.write_text("x:y\n1,5:2\n")
    assert read(path, Options(delimiter=":", decimal=",")) == (["x", "y"], [[1.5], [2]], set())


def test_a_comma_that_may_mean_two_things_is_refused(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a;b\n1,234;5\n")
    table = open_table(path)
    table.want([0])
    with pytest.raises(
        InvalidInputError, match=r"line 2: '1,234' may be read in two ways.*--decim"
    ):
        table.piece(10, 0)[0].as_array(np.dtype(float), lambda row: table.where(0, 10, row))
    assert read(path, Options(decimal=","))[1] == [[1.234], [5]]
    assert read(path, Options(decimal="."))[1] == [[1234], [5]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3\n", r"line 3: expected 2 columns, got 1"),
        ("a,b\n1,2\n3,4,5\n", r"line 3: expected 2 columns, got 3"),
        ('a,b\n1,"x\ny"\n3\n', r"line 4: expected 2 columns, got 1"),
        ("a,b,\n" + "1,2,\n" * 2000 + "3,4,5\n", r"line 2002: a value in column 3, which is empty"),
        ("a,b\n", "no rows below the header"),
        ("\n\n", "no rows"),
    ],
)
def test_rows_that_do_not_fit_are_named(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InvalidInputError, match=message):
        open_table(tmp_path / "t.csv")


def test_a_row_far_below_is_checked_too(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "1,2\n" * 5000 + "1\n")
    with pytest.raises(InvalidInputError, match=r"line 5002: expected 2 columns, got 1"):
        open_table(path)
    path.write_text("a;b\n" + "1;2\n" * 5000 + "1,5;2\n")
    table = open_table(path)
    table.want([0])
    with pytest.raises(InvalidInputError, match=r"line 5002: '1,5' is not a number; for decimal c"):
        table.piece(10_000, 0)[0].as_array(np.dtype(float), lambda row: table.where(0, 1, row))


@pytest.mark.parametrize("name", ["t.csv.gz", "t.jsonl.gz"])
def test_a_damaged_archive_takes_one_line(tmp_path, name):
    data = gzip.compress(b"1,2\n" * 1000)
    (tmp_path / name).write_bytes(data[:-20])
    with pytest.raises(InvalidInputError, match="a damaged gzip file"):
        open_table(tmp_path / name)
