"""What ``supervised`` starts ends with the program, also when that is terminated."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")

PROGRAM = """
import sys, time
from tests.support.supervised import none_left, start

@none_left()
def main():
    try:
        for _ in range(2):
            print(start([sys.executable, "-c", "import time; time.sleep(600)"]).pid)
        sys.stdout.flush()
        time.sleep(600)
    except KeyboardInterrupt:
        print("stopped", flush=True)

main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_no_process_is_left(number):
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    started = [int(process.stdout.readline()) for _ in range(2)]
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "stopped\n")
    end = time.monotonic() + 30
    while any(map(_runs, started)) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(map(_runs, started))


def _runs(pid: int) -> bool:
    """Whether a process is there, and isn't a zombie where the system tells that in /proc."""
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # it has gone, perhaps meanwhile
        return False
