"""``python -m tests.programs.interrupts``, short: a few interrupts, and what the check finds."""

import os
import random
import sys

import pytest

from tests.programs.interrupts import COMMANDS, Command, interrupt_over_and_over, main
from tests.support.supervised import Progress

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")


@pytest.mark.parametrize("name", ["run", "train"])
def test_the_first_interrupt_ends_it(tmp_path, name):
    command = COMMANDS[name](tmp_path)
    interrupt_over_and_over(command, 3, random.Random(0), Progress(sys.stderr))
    assert not command.problems
    assert command.interrupted + command.in_python + command.finished == 3


IGNORES = """
import signal, sys, time
signal.signal(signal.SIGINT, lambda number, frame: None)
open("ready", "w").close()
end = time.monotonic() + 3
while time.monotonic() < end:
    time.sleep(0.05)
print("it went on")
print("one\\ntwo", file=sys.stderr)
"""


def test_what_goes_on_is_seen(tmp_path):
    command = Command("none", tmp_path, [sys.executable, "-c", IGNORES], {"ready": lambda p: None})
    command.seconds = 3
    command.interrupt(1.0, alone=True)
    text = "\n".join(command.problems)
    assert "at 1.000 s it ended with 0" in text and "it said 'one" in text


def test_damage_is_seen(tmp_path):
    command = Command("none", tmp_path, [sys.executable, "-c", ""], {})
    command.result = lambda folder: random.random()
    (tmp_path / ".out.7.part").write_text("ha")
    command.run_to_the_end()
    command.run_to_the_end()
    text = "\n".join(command.problems)
    assert "temporary files were left" in text and "another result" in text


def test_no_interrupts(capsys):
    assert main(["--times", "0", "--only", "demo"]) == 0
    assert "demo" in capsys.readouterr().out
