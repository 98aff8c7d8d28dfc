"""``python -m tests.programs.soak``, for seconds."""

import sys

import pytest

from tests.programs.soak import Soak
from tests.support.supervised import Progress

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")


def test_threads_processes_copies_and_forks():
    soak = Soak(threads=4, processes=1)
    soak.run(4.0, Progress(sys.stderr))
    assert not soak.problems
    names = {"CNN", "LSTM", "If", "Loop", "strings", "sequences", "copies", "forks"}
    assert names | {"other processes"} == {name for name, count in soak.runs.items() if count}


def test_growth_is_seen():
    soak = Soak(threads=0, processes=0)
    soak.memory = [(second, 100.0 + second / 60) for second in range(120)]
    assert 1000 < soak.slope < 1050
    soak.memory = [(second, 100.0 + (second < 30)) for second in range(120)]
    assert soak.slope == 0
