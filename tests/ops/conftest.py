"""Operators are called as the walk calls them: with NumPy's floating-point warnings off."""

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _as_the_walk_does():
    with np.errstate(all="ignore"):
        yield
