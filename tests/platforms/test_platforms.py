"""``python -m tests.platforms i386``: 32 bits, which this machine's processor knows as well."""

import numpy as np
import pytest

from tests.platforms.__main__ import main, page
from tests.platforms.debian import Debian, Unavailable
from tests.platforms.probe import differs


def test_i386(capsys):
    status = main(["i386", "--cases", "1000"])
    said = capsys.readouterr().out
    if "not to be had" in said:
        pytest.skip(said)
    assert status == 0, said


def test_a_platform_that_is_not_to_be_had(monkeypatch, capsys, tmp_path):
    def refuse(self):
        raise Unavailable("no network")

    monkeypatch.setattr(Debian, "command", refuse)
    monkeypatch.setattr("tests.platforms.__main__.write_cases", lambda *_, **__: 0)
    assert main(["i386", "-o", str(tmp_path / "page.md")]) == 1
    assert capsys.readouterr().out == "i386: not to be had here: no network\n"
    assert "| i386 | not to be had: no network |" in (tmp_path / "page.md").read_text()


@pytest.mark.parametrize(
    "found, text",
    [
        (np.array([1, 2]), ""),
        (np.array([1, 2], np.int32), "int32 (2,), not int64 (2,)"),
        (np.array([1, 3]), "other values"),
        ([1, 2], "list, not an array"),
    ],
)
def test_what_differs(found, text):
    assert differs(found, np.array([1, 2]), 0, 0) == text


def test_the_page_counts_what_is_wrong():
    result = {
        "implementation": "CPython", "python": "3.13.5", "numpy": "2.2.4", "bits": 32,
        "byteorder": "little", "right": 7, "cases": 9, "seconds": 1.5,
        "wrong": {"a": "other values", "b": "ImageDecoder needs Pillow"},
    }  # fmt: skip
    assert "| i386 | CPython 3.13.5 | 2.2.4 | 32 | little | 7 | 1 | 1 | 1.5 |" in page(
        {"i386": result}
    )
