"""The commands as a user runs them: in a process of their own, piped, stopped, in a terminal."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto as T

import onnxwalk
from onnxwalk.interpreter.cli import _show, main

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "interpreter"]


def environment(**more: str) -> dict[str, str]:
    drop = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM", "PYTHONIOENCODING", "PYTHONUNBUFFERED")
    kept = {name: value for name, value in os.environ.items() if name not in drop}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def onnxwalk_command(*argv: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, argv)],
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )


def test_run_from_a_shell(tmp_path, classifier):
    np.save(tmp_path / "x.npy", np.ones((3, 4)))
    done = onnxwalk_command("run", "classifier.onnx", "--input", "x=x.npy", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    (output,) = json.loads(done.stdout)["outputs"]
    expected = onnxwalk.load(classifier)(np.ones((3, 4), np.float32))
    np.testing.assert_allclose(output["values"], expected, rtol=1e-6)


def test_an_error_is_one_line_and_status_1_unless_debug(tmp_path, classifier):
    done = onnxwalk_command("run", classifier, "-i", "no.npy", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "onnxwalk: no.npy: no such file\n"
    for argv in (("--debug", "run"), ("run", "--debug")):
        done = onnxwalk_command(*argv, classifier, "-i", "no.npy", cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.startswith("Traceback") and "InvalidInputError" in done.stderr


def test_what_nobody_thought_of_is_one_line_too(cli, classifier, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("a\nb")

    monkeypatch.setattr("onnxwalk.interpreter.cli.inspect.read_model", broken)
    assert "ZeroDivisionError: a\\nb; this is a bug in onnxwalk" in cli("inspect", classifier).error
    with pytest.raises(ZeroDivisionError):
        cli("inspect", classifier, "--debug")


def test_every_command_that_reads_a_model_takes_limits(cli, classifier):
    tight = ("--max-nodes", "1")
    commands = [("run", "--random"), ("profile",), ("explore",), ("inspect", "--deep")]
    for command, *more in commands:
        assert "max_nodes allows: 1" in cli(command, classifier, *more, *tight).error
    small = ("--max-memory", "16B")
    assert "max_memory is 16 bytes" in cli("inspect", classifier, *small).error
    result = cli("diff", classifier, classifier, *small)
    assert result.status == 2 and "max_memory is 16 bytes" in result.err


def test_a_wrong_command_line_is_status_2(tmp_path):
    for argv in ((), ("nonsense",), ("run",), ("run", "m.onnx", "--batch", "0"), ("run", "--top")):
        done = onnxwalk_command(*argv, cwd=tmp_path)
        assert done.returncode == 2 and "usage: onnxwalk" in done.stderr
        assert "Traceback" not in done.stderr
    done = onnxwalk_command("--version", cwd=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, onnxwalk.__version__)


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        (("help", "rnu"), 2, "invalid choice: 'rnu'; did you mean 'run'?"),
        (("rnu", "m.onnx"), 2, "invalid choice: 'rnu'; did you mean 'run'?"),
        (
            ("run", "m.onnx", "--bacth=3"),
            2,
            "onnxwalk run: error: unrecognized arguments: --bacth=3",
        ),
        (("run", "m.onnx", "--bacth=3"), 2, "; did you mean '--batch'?"),
        (("run", "m.onnx", "--executor", "wlk"), 2, "'wlk'; did you mean 'walk'?"),
        (("run", "m.onnx", "more"), 2, "onnxwalk run: error: unrecognized arguments: more\n"),
        (("cats",), 2, "invalid choice: 'cats' (choose from "),
        ((), 2, "Run and examine ONNX models"),
    ],
)
def test_what_was_meant(tmp_path, argv, status, message):
    done = onnxwalk_command(*argv, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (status, "") and message in done.stderr


def test_a_command_imports_its_own_module_alone(tmp_path):
    """Which keeps its start short; only the help of all commands needs them all, and lists them."""
    code = """if True:
        import sys
        from interpreter.cli import main
        try:
            main(sys.argv[1:])
        except SystemExit:
            pass
        modules = [m.removeprefix("interpreter.cli.") for m in sys.modules if "rpreter.cli." in m]
        print(*sorted(m for m in modules if m[0] != "_" and "." not in m), file=sys.stderr)
    """
    imported = {}
    for asked in ("run", "inspect", "--help"):
        argv = [sys.executable, "-c", code, asked, *(["--help"] if asked != "--help" else [])]
        done = subprocess.run(
            argv, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60
        )
        imported[asked] = done.stderr.split()
    assert imported["run"] == ["run"] and imported["inspect"] == ["inspect"]
    assert {"run", "inspect", "compare", "serve", "completion"} <= set(imported["--help"])
    assert all(f"\n    {name} " in done.stdout for name in imported["--help"] if "_" not in name)


def test_help_and_version(tmp_path):
    for argv, same_as in ((("help", "run"), ("run", "--help")), (("help",), ("--help",))):
        done, same = (onnxwalk_command(*a, cwd=tmp_path) for a in (argv, same_as))
        assert (done.returncode, done.stdout, done.stderr) == (0, same.stdout, "")
    done = onnxwalk_command("-V", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{onnxwalk.__version__}\n")


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_closed_streams(tmp_path, classifier):
    """What would be printed isn't; the rest is done, and no file is taken for a stream."""
    command = " ".join(map(shlex.quote, COMMAND))
    for closed in (">&-", "2>&-", "<&-", ">&- 2>&- <&-"):
        line = f"{command} run {shlex.quote(classifier)} --random -o y.npy {closed}"
        done = subprocess.run(line, shell=True, cwd=tmp_path, env=environment(), timeout=60)
        assert done.returncode == 0
        assert np.load(tmp_path / "y.npy").shape == (1, 3)
        line = f"{command} run missing.onnx --random {closed}"
        done = subprocess.run(line, shell=True, cwd=tmp_path, env=environment(), timeout=60)
        assert done.returncode == 1


def test_names_of_a_megabyte_are_shortened(cli, make):
    from onnx import helper

    long = "n" * 1_000_000
    x, y = ("x", T.FLOAT, [1]), ("y", T.FLOAT, [1])
    graphs = [
        (helper.make_node(long, ["x"], ["y"]), x),
        (helper.make_node("Relu", ["x"], ["y"], domain=long), x),
        (helper.make_node("Relu", [long], ["y"], name=long), x),
        (helper.make_node("Relu", ["x"], ["y"], **{long: 1}), x),
        (helper.make_node("Relu", [long], ["y"]), (long, T.FLOAT, [1])),
        (helper.make_node("Relu", ["x"], ["y"]), ("x", T.FLOAT, [long])),
    ]
    for node, given in graphs:
        path = make("m.onnx", [node], [given], [y])
        for argv in (("inspect", path), ("run", path, "--random")):
            result = cli(*argv)
            assert len(result.out) < 10_000 and len(result.err) < 6_000
            assert "nn…nn" in result.out + result.err or given is not x


def test_a_header_of_python_2_is_no_news(cli, identity, tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3L, 4), }".ljust(117) + b"\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    (tmp_path / "x.npy").write_bytes(data + bytes(48))
    result = cli("run", identity(["n", 4]), "-i", "x.npy")
    assert (result.status, result.err) == (0, "")
    (tmp_path / "x.npy").write_bytes(data + bytes(47))
    assert cli("run", identity(["n", 4]), "-i", "x.npy").error.startswith("x.npy: not an .npy file")


def test_piped_output_has_no_escape_codes_and_cuts_no_names(tmp_path, identity, make):
    from onnx import helper

    name = "a_very_long_name/" * 20 + "end"
    node = helper.make_node("Identity", [name], ["y"])
    make("m.onnx", [node], [(name, T.FLOAT, [1])], [("y", T.FLOAT, [1])])
    for argv in (("inspect", "m.onnx"), ("run", "m.onnx", "--random"), ("ops",), ("ops", "gemm")):
        done = onnxwalk_command(*argv, cwd=tmp_path, COLUMNS="40", TERM="xterm-256color")
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout and done.stderr == ""
        assert all(line == line.rstrip() for line in done.stdout.splitlines())
        assert name in done.stdout or argv[0] == "ops"


def test_output_in_an_encoding_without_the_characters(tmp_path):
    done = onnxwalk_command("ops", cwd=tmp_path, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0 and r"1\u2013" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("env", "bold"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_headings_are_bold_in_a_terminal_unless_no_color(tmp_path, classifier, env, bold):
    import pty

    parent, child = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "inspect", classifier],
        stdout=child,
        stderr=child,
        cwd=tmp_path,
        env=environment(TERM="xterm-256color", **env),
    )
    os.close(child)
    out = b""
    try:
        while chunk := os.read(parent, 65536):
            out += chunk
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(parent)
    assert process.wait(60) == 0
    assert (b"\x1b[1minputs" in out) == bold and (b"\x1b" in out) == bold
    assert b"float32[batch, 4]" in out


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_progress_is_shown_on_a_terminal_only(tmp_path, classifier):
    import pty

    np.save(tmp_path / "x.npy", np.ones((300, 4)))
    argv = [*COMMAND, "run", classifier, "-i", "x.npy", "--batch", "1"]
    parent, child = pty.openpty()
    env = environment(TERM="xterm")
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=child, cwd=tmp_path, env=env)
    os.close(child)
    shown = b""
    try:
        while chunk := os.read(parent, 65536):
            shown += chunk
    except OSError:
        pass
    os.close(parent)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and b"running" in shown and b"/300" in shown
    assert b"running" not in out and b"\x1b" not in out
    assert onnxwalk_command(*argv[3:], cwd=tmp_path).stderr == ""


@pytest.mark.skipif(os.name == "nt", reason="pipes and signals are POSIX's")
@pytest.mark.parametrize("argv", [["ops", "--json"], ["ops", "relu"]])  # beyond a buffer, within
def test_a_broken_pipe_ends_quietly(tmp_path, argv):
    process = subprocess.Popen(
        [*COMMAND, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(),
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 141


@pytest.mark.skipif(os.name == "nt", reason="pipes and signals are POSIX's")
def test_ctrl_c_ends_quietly_and_leaves_no_file(tmp_path, classifier):
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (5_000_000, 4))  # sparse
    (tmp_path / "y.npy").write_text("old")
    before = set(os.listdir(tmp_path))
    process = subprocess.Popen(
        [*COMMAND, "run", classifier, "-i", "x.npy", "--batch", "10", "-o", "y.npy"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(),
        # a shell's background jobs ignore Ctrl-C, and what they start would too
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while set(os.listdir(tmp_path)) == before:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"")
    assert (tmp_path / "y.npy").read_text() == "old"
    assert set(os.listdir(tmp_path)) == before


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
@pytest.mark.parametrize("module", ["onnxwalk", "onnxwalk.export"])
def test_ctrl_c_during_imports_is_quiet(tmp_path, module):
    """A folder of imports in which a NumPy lies that is stopped."""
    (tmp_path / "numpy.py").write_text("raise KeyboardInterrupt")
    process = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        env=environment(PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)])),
        capture_output=True,
        timeout=60,
    )
    assert (process.returncode, process.stderr) == (-signal.SIGINT, b"")


def test_every_file_is_a_command_and_rich_stays_in_cli(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    folder = Path(_show.__file__).parent
    for command in (p.stem for p in folder.glob("[!_]*.py")):
        assert f"\n    {command.replace('_', '-')} " in shown
    code = "import onnxwalk, sys; print([m for m in sys.modules if m[:4] in ('rich', 'PIL')])"
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, env=environment(), cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "[]\n"
