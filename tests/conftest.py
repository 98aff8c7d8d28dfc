"""A fast form that fails is hidden by plain operators, which take over: here it fails the test."""

import pytest

from onnxwalk.interpreter.runtime import fallback


@pytest.fixture(autouse=True)
def _no_fast_form_fails(request):
    """Tests that make one fail say so: ``@pytest.mark.fast_forms_fail``."""
    fallback.seen.clear()
    yield
    reported = [*fallback.seen]
    if request.node.get_closest_marker("fast_forms_fail") is None:
        assert not reported, reported
