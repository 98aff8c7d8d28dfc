"""The study's report in other languages: nothing lacks a translation, and nothing stands outside of
the catalogue."""

import html
import json
import re
import sys
from collections import Counter
from gettext import NullTranslations

import pytest

pytest.importorskip("babel", reason="catalogues are read by Babel")

from onnxwalk.export.errors import ExportError
from onnxwalk.export.study import language
from tests.export.study.conftest import study
from tools import catalogue

OTHERS = language.LANGUAGES[1:]

#: what a translation must have as often as the text: placeholders and tags
MARKS = re.compile(r"%\(\w+\)s|\{\w*\}|</?\w+[^>]*>|`[^`]*`")


def test_which_languages():
    assert language.LANGUAGES == ("en", "id")


@pytest.mark.parametrize("code", OTHERS)
def test_the_catalogue_is_complete_and_has_nothing_else(code):
    """``python -m tools.catalogue`` mends the list."""
    texts = {message.id for message in catalogue.texts() if message.id}
    there = {message.id: message for message in catalogue.read(code) if message.id}
    assert texts == set(there)
    lacking = [text for text, message in there.items() if not message.string or message.fuzzy]
    assert not lacking


@pytest.mark.parametrize("code", OTHERS)
def test_placeholders_and_tags_agree(code):
    for message in catalogue.read(code):
        if message.id and not message.id.startswith("Written by"):  # which names --language
            found = Counter(MARKS.findall(message.string))
            assert found == Counter(MARKS.findall(message.id)), message.id


def test_every_text_of_a_template_is_marked():
    """What is left without texts for translation, code and tags is the same in every language."""
    same = {"onnxwalk", "ONNX", "Runtime", "tanh", "max"}
    for path in (catalogue.STUDY / "_templates").glob("*.html"):
        text = re.sub(r"\{% trans.*?endtrans \+?%\}", " ", path.read_text("utf-8"), flags=re.S)
        text = re.sub(r"\{[#%{].*?[#%}]\}", " ", text, flags=re.S)
        words = re.findall(r"[A-Za-z]{2,}", html.unescape(re.sub(r"<[^>]*>", " ", text)))
        assert not set(words) - same, path.name


class Marked(NullTranslations):
    """Every text in brackets."""

    def gettext(self, message):
        return f"⟦{message}⟧"


def test_every_text_of_the_page_comes_from_the_catalogue(copy, monkeypatch):
    monkeypatch.setattr(language, "catalogue", lambda code: Marked())
    monkeypatch.setattr("onnxwalk.export.study.cli.catalogue", lambda code: Marked())
    assert study(copy, "--report", "--language", "id", "--docs", copy / "docs") == 0
    page = (copy / "report.html").read_text("utf-8")
    page = re.sub(r"<style.*?</style>|<code>.*?</code>|class=.chip.*?</span>", "", page, flags=re.S)
    for text in (page, (copy / "docs" / "RESULTS.md").read_text("utf-8")):
        text = html.unescape(re.sub(r"<[^>]*>|\(\w+\.svg\)", "\n", text))
        while (shorter := re.sub(r"⟦[^⟦⟧]*⟧", "", text)) != text:
            text = shorter
        assert "⟧" not in text
        words = set(re.findall(r"[^\W\d_]{3,}", text)) - SAME
        assert not words - set(_data_words(copy)), sorted(words)


#: names, the same in every language: models, operators, variants, engines, columns of the CSV file
SAME = set(
    """
    CNN SimpleRNN LSTM cnn simplernn lstm final conv average Keras onnxwalk ONNX Runtime svg
    Reshape Conv Relu ReLU MaxPool AveragePool ReduceMean MatMul Add Softmax Gather Equal Not Cast
    TopK Unsqueeze GatherND ReduceSum RNN Squeeze Transpose CumSum Sub GlobalAveragePool tanh max
    False True true false python tensorflow keras numpy onnx onnxruntime scikit learn
    family variant parameters epochs labels equal abs diff seconds loss
    """.split()
)


def _data_words(output):
    for file in output.rglob("evaluation.json"):
        record = json.loads(file.read_text())
        yield from record["classes"]
        yield from record["sample"].get("words", ())


def test_the_page_in_indonesian(copy, capsys):
    assert study(copy, "--report", "--language", "id", "--docs", copy / "docs") == 0
    page = (copy / "report.html").read_text("utf-8")
    assert '<html lang="id">' in page
    for text in (
        "Apakah sama?", "Hitung manual: LSTM", "data digits dari scikit-learn", "Empat gate",
        "35.914", "yang pertama dengan 6 sampai 12 kata", "Temuan", "akurasi validasi",
    ):  # fmt: skip
        assert text in page, text
    assert not re.search(r">\d+\.\d{4}<", page), "a decimal point"
    results = (copy / "docs" / "RESULTS.md").read_text("utf-8")
    assert "Aturan" in results and "Terbaik: " in results
    assert study(copy, "--report") == 0
    assert "Is it equal?" in (copy / "report.html").read_text("utf-8")


def test_numbers_and_lists():
    assert (language.number("1,234.5"), language.separator()) == ("1,234.5", ", ")
    assert language.all_of("ab") == "a and b" and language.any_of([1, 2, 3]) == "1, 2 or 3"
    with language.speaking("id"):
        assert (language.number("1,234.5"), language.separator()) == ("1.234,5", "; ")
        assert language.fmt(1234.5, ",.2f") == "1.234,50"
        assert language.all_of("ab") == "a dan b" and language.any_of([1]) == "1"
        with language.speaking("en"):
            assert language.translate("word") == "word"
        assert language.translate("word") == "kata"
    assert language.current() == "en"


def test_without_babel(monkeypatch):
    language.catalogue.cache_clear()
    monkeypatch.setitem(sys.modules, "babel", None)
    for name in [name for name in sys.modules if name.startswith("babel.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ExportError, match=r'study needs babel: pip install "onnxwalk\[study\]"'):
        language.catalogue("id")
    assert language.catalogue("en").gettext("word") == "word"
