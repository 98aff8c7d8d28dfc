"""``python -m tests.programs.kill``, short: a few kills of run, and what the check itself finds."""

import random
import sys

from tests.programs.kill import VICTIMS, Victim, kill_over_and_over, main
from tests.support.supervised import Progress


def test_run_is_whole_or_not_there(tmp_path):
    victim = VICTIMS["run"](tmp_path)
    kill_over_and_over(victim, 4, random.Random(0), Progress(sys.stderr), every=2)
    assert not victim.problems
    assert sum(victim.kills.values()) + victim.finished == 4


def test_damage_is_seen(tmp_path):
    def whole(path):
        assert path.read_text() == "whole"

    victim = Victim("none", tmp_path, [sys.executable, "-c", "exit(1)"], {"out": whole})
    (tmp_path / "out").write_text("ha")
    (tmp_path / ".out.7.part").write_text("ha")
    (tmp_path / ".out.8.tmp").write_text("ha")
    (tmp_path / "other").write_text("ha")
    victim.run_to_the_end()
    text = "\n".join(victim.problems)
    for part in ("ended with 1", "out is damaged", "2 temporary files", "other doesn't belong"):
        assert part in text
    assert not (tmp_path / ".out.7.part").exists()


def test_no_kills(capsys):
    assert main(["--times", "0", "--only", "run"]) == 0
    assert "run" in capsys.readouterr().out
