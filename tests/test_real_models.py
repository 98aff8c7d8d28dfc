"""The models of a few wheels on PyPI give what ONNX Runtime gives (see ``real_models``)."""

import pytest

from tests.real_models import default_cache, fetch, models, run

EXPECTED = 10  # three of rapidocr, six of silero-vad, one of magika


def test_real_models():
    try:
        fetch(default_cache())
    except RuntimeError as error:
        pytest.skip(f"the wheels are not there: {error}")
    found = list(models(default_cache()))
    assert len(found) == EXPECTED
    results = {model.name: (model, run(model)) for model in found}
    wrong = {
        name: result
        for name, (model, result) in results.items()
        if result.difference > model.tolerance * max(1, result.size)
    }
    assert not wrong
