"""A small study that the tests share: two variants of each family, on the built-in data."""

import fcntl
import os
import shutil

import pytest

pytest.importorskip("tensorflow", reason="the study needs TensorFlow")
pytest.importorskip("sklearn", reason="the study needs scikit-learn")

from onnxwalk.export.study import main

VARIANTS = ("final", "1x32", "2x64", "conv-32", "average")


def study(output, *more):
    """The command, at its smallest; its exit status."""
    return main(["--preset", "smoke", "--output", str(output), "--debug", *map(str, more)])


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The output folder of a study, trained once for all workers; don't change it."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    output = base / "study"
    with open(base / "study.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (output / "report.html").exists():
            assert study(output, *(f"--variant={name}" for name in VARIANTS)) == 0
    return output


@pytest.fixture
def copy(trained, tmp_path):
    """A copy to change."""
    return shutil.copytree(trained, tmp_path / "copy")
