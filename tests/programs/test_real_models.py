"""The models of a few wheels on PyPI give what ONNX Runtime gives (see ``real_models``)."""

import pytest

from tests.programs.real_models import default_cache, fetch, models, run

EXPECTED = 10  # three of rapidocr, six of silero-vad, one of magika


@pytest.fixture(scope="module")
def found():
    try:
        fetch(default_cache())
    except RuntimeError as error:
        pytest.skip(f"the wheels are not there: {error}")
    return list(models(default_cache()))


def test_all_are_there(found):
    assert len(found) == EXPECTED


@pytest.mark.parametrize("index", range(EXPECTED))
def test_as_onnxruntime(found, index):
    model = found[index]
    result = run(model)
    assert result.difference <= model.tolerance * max(1, result.size), model.name
