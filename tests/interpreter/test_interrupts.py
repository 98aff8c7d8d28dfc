"""The first Ctrl-C ends a command, also where Python loses KeyboardInterrupt."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from onnxwalk.interpreter import interrupts

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")

#: what a library may do with the KeyboardInterrupt that arrives after "ready"
PROGRAM = """
import sys, time
from onnxwalk.interpreter import interrupts

def wait(seconds):
    print("ready", flush=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)

class InDel:
    def __del__(self):
        wait(30)

def in_del():
    InDel()
    time.sleep(60)
    return 0

def swallowed():
    for _ in range(3):
        try:
            wait(30)
        except:
            pass
    time.sleep(60)
    return 0

def made_an_error():
    try:
        wait(30)
    except BaseException as error:
        raise ValueError("broken") from error

def in_the_last_moment():
    try:
        wait(30)
    except BaseException:
        return 0

def printed_by_c():
    # C++ that calls Python does this
    import ctypes
    call = ctypes.CFUNCTYPE(None)(lambda: wait(30))
    call()
    time.sleep(60)
    return 0

def executed():
    exec("wait(30)")

def kept():
    interrupts.SECONDS = 1
    try:
        wait(30)
    except BaseException as error:
        keep.append(error)
    time.sleep(60)

keep = []
if __name__ == "__main__":
    sys.exit(interrupts.run(globals()[sys.argv[1]], "stopped"))
"""


def start(*argv, cwd):
    return subprocess.Popen(
        [sys.executable, *argv],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background jobs ignore Ctrl-C, and what they start would too
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize(
    "way",
    "in_del swallowed made_an_error in_the_last_moment printed_by_c executed kept".split(),
)
def test_what_was_lost_comes_again(tmp_path, way):
    # the package's name: a process that is a command doesn't give the signal back
    folder = tmp_path / "onnxwalk_programs"
    folder.mkdir()
    (folder / "onnxwalk").write_text(PROGRAM)
    process = start("onnxwalk", way, cwd=folder)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "stopped\n")
    assert out == ("ready\n" if way == "swallowed" else "") * out.count("ready")
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("module", ["numpy.version", "onnxwalk.interpreter.session"])
def test_imports_end_at_once(tmp_path, module):
    name = "interpreter" if module == "numpy.version" else "onnxwalk"  # both ways to start it
    process = start("-X", "importtime", "-m", name, "demo", cwd=tmp_path)
    assert process.stderr is not None
    for line in process.stderr:
        if line.rpartition("|")[2].strip() == module:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err


def test_an_interrupt_in_a_string_that_is_executed(tmp_path):
    """Python ends ``python -m`` by the signal then, whatever its exit status."""
    (tmp_path / "plain.py").write_text(
        "import sys\ntry:\n    exec('raise KeyboardInterrupt')\n"
        "except KeyboardInterrupt:\n    sys.exit(130)\n"
    )
    (tmp_path / "ours.py").write_text(
        "import sys\nfrom onnxwalk.interpreter import interrupts\n"
        "def command():\n    exec('raise KeyboardInterrupt')\n"
        "sys.exit(interrupts.run(command))\n"
    )
    assert start("-m", "plain", cwd=tmp_path).wait(60) in (130, -signal.SIGINT)
    assert start("-m", "ours", cwd=tmp_path).wait(60) == 130


def test_a_program_that_calls_a_command_has_its_handlers_back(capsys):
    def command():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
        return 0

    def outer():
        assert interrupts.run(command, "inner") == 130
        assert interrupts.was_pressed()
        return 0

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    hooks = sys.unraisablehook, sys.excepthook
    try:
        assert interrupts.run(outer, "outer") == 130
        assert capsys.readouterr().err == "inner\n"
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert (sys.unraisablehook, sys.excepthook) == hooks
        assert not interrupts.was_pressed()
        with pytest.raises(ValueError, match="its own"):
            interrupts.run(lambda: int("its own"))
        assert interrupts.run(lambda: 3) == 3
        with pytest.raises(SystemExit):
            interrupts.run(lambda: sys.exit(2))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in the background
        assert interrupts.run(lambda: os.kill(os.getpid(), signal.SIGINT) or 0) == 0
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(interrupts.run(lambda: 4)))
    thread.start()
    thread.join()
    assert found == [4]
    assert interrupts.run(_raise) == 130


def _raise():
    raise KeyboardInterrupt
