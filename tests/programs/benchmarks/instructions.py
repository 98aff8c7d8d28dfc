"""How many instructions one run of a model takes: a number that no busy machine disturbs.

Good to compare commits, not engines: an instruction may be one addition or sixteen, and valgrind
has no AVX-512, so what runs under it is not quite what runs without.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.cli._engines import blas_environment

_RUNS = 3

_SCRIPT = """\
import pickle, sys, interpreter
feeds = pickle.load(open(sys.argv[2], "rb"))
session = onnxwalk.load(sys.argv[1])
for _ in range(int(sys.argv[3])):
    session.run(None, feeds)
"""


def count(model: Path, feeds: Mapping[str, Any]) -> int:
    """Instructions of one run, not the first. Raises RuntimeError if valgrind fails or isn't there.

    Two processes are counted, one of which runs the model more often: the rest is the same.
    """
    if not shutil.which("valgrind"):
        raise RuntimeError("valgrind isn't installed, and --instructions needs it")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "feeds.pickle"
        file.write_bytes(pickle.dumps(dict(feeds)))
        few, many = (_count(model, file, runs) for runs in (1, 1 + _RUNS))
    return (many - few) // _RUNS


def _count(model: Path, feeds: Path, runs: int) -> int:
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={feeds.parent / 'out'}"]
    command += [sys.executable, "-c", _SCRIPT, str(model), str(feeds), str(runs)]
    env = {**os.environ, **blas_environment(1), "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise RuntimeError(f"{model}: valgrind failed: {last}")
    return int(found[1])
