"""``python -m tests.platforms i386``: 32 bits, which this machine's processor knows as well."""

import json

import numpy as np
import pytest

from onnxwalk.interpreter.runtime.bind import Scope
from tests.platforms import __main__ as command
from tests.platforms import probe
from tests.platforms.cases import write_cases
from tests.platforms.fetch import Unavailable, prepared
from tests.platforms.probe import USES, differs
from tests.platforms.pythons import PLATFORMS, Debian, Platform

RESULT = {
    "implementation": "CPython", "python": "3.13.5", "numpy": "2.2.4", "bits": 32,
    "byteorder": "little", "lacks": ["mmap", "fork"], "right": 7, "cases": 9, "uses": 14,
    "seconds": 1.5, "demo": {"a.onnx": 1.25, "b.onnx": 2}, "slow": 0, "wrong": {},
}  # fmt: skip


def test_i386(capsys):
    status = command.main(["i386", "--cases", "1000"])
    said = capsys.readouterr().out
    if "not to be had" in said:
        pytest.skip(said)
    assert status == 0, said
    assert f"{len(USES)} uses right, 0 wrong" in said


@pytest.fixture
def without_cases(monkeypatch):
    monkeypatch.setattr(command, "write_cases", lambda *_, **__: 0)


def answering(monkeypatch, result):
    """Every platform's probe gives this, or raises it."""

    def answer(platform, cases):
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(command, "run_platform", answer)


def test_a_platform_that_is_not_to_be_had(monkeypatch, capsys, tmp_path, without_cases):
    def refuse(self):
        raise Unavailable("no network")

    monkeypatch.setattr(Debian, "command", refuse)
    page = tmp_path / "page.md"
    assert command.main(["i386", "-o", str(page)]) == 1
    assert capsys.readouterr().out == "i386: not to be had: no network\n"
    assert "| i386 | not to be had: no network |" in page.read_text("utf-8")


@pytest.mark.parametrize(
    "result, status, cell",
    [
        (RESULT, 0, "| 7 | 0 | 14 | 0 | 0 | 3.2 ms | 1.5 |"),
        (
            RESULT | {"wrong": {"a case": "other values"}},
            1,
            "| 7 | 0 | 14 | 0 | 1 | 3.2 ms | 1.5 |",
        ),
        (RuntimeError("ended\nby signal 11"), 1, "| i386 | broke off: ended by signal 11 |"),
    ],
)
def test_a_row_that_fails_fails_the_command(
    monkeypatch, capsys, tmp_path, without_cases, result, status, cell
):
    answering(monkeypatch, result if isinstance(result, Exception) else {**result, "pillow": 0})
    page = tmp_path / "page.md"
    assert command.main(["i386", "-o", str(page)]) == status
    assert cell in page.read_text("utf-8")
    # rows of platforms that aren't run are kept, in their order
    answering(monkeypatch, {**RESULT, "pillow": 0})
    assert command.main(["wasi", "native", "-o", str(page)]) == 0
    rows = [line for line in page.read_text("utf-8").splitlines() if line.startswith("| ")]
    assert [row.split("|")[1].strip() for row in rows] == ["platform", "native", "i386", "wasi"]
    assert cell in rows[2]


def test_what_the_probe_says_is_judged(monkeypatch, tmp_path):
    """What needs Pillow, and what is wrong everywhere, isn't wrong."""
    wrong = {"a": "ImageDecoder needs Pillow", "b": "other values", next(iter(command.KNOWN)): "x"}
    said = json.dumps({**RESULT, "wrong": wrong})
    monkeypatch.setattr(command, "_run", lambda arguments: (said, ""))
    result = command.run_platform(PLATFORMS["native"], tmp_path)
    assert (result["pillow"], result["wrong"]) == (1, {"b": "other values"})


def test_a_python_that_does_not_start(monkeypatch, tmp_path):
    class Broken(Platform):
        def command(self):
            return ["python-that-is-nowhere"]

    with pytest.raises(Unavailable, match="python-that-is-nowhere"):
        command.run_platform(Broken("broken", "nowhere"), tmp_path)


def test_folders_are_filled_once(monkeypatch, tmp_path):
    monkeypatch.setattr("tests.platforms.fetch.CACHE", tmp_path)
    filled = []

    def fill(folder):
        filled.append(folder)
        (folder / "file").write_text("x")
        if len(filled) == 2:
            raise Unavailable("half")

    assert prepared("a", "1", fill) == prepared("a", "1", fill) == tmp_path / "a"
    assert len(filled) == 1
    for version in "22":
        if len(filled) == 1:
            with pytest.raises(Unavailable):
                prepared("a", version, fill)
        else:  # what was begun is made anew
            prepared("a", version, fill)
    assert len(filled) == 3


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


@pytest.mark.fast_forms_fail
def test_a_fast_form_that_fails_is_wrong_although_results_are_right(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no such thing")

    path = tmp_path / "cases.pickle"
    write_cases(path, 40, backend=False)
    monkeypatch.setattr(probe, "slow", {})
    right, wrong = probe.run_cases(str(path))
    assert not wrong
    monkeypatch.setattr(Scope, "bind", fail)
    fewer, wrong = probe.run_cases(str(path))
    assert fewer < right and probe.slow == wrong
    assert all("RuntimeError in the bound plan" in text for text in wrong.values())
