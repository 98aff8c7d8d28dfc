"""``python -m export`` as it is typed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import onnxwalk
from onnxwalk.export.cli import COMMANDS, default_output, main

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m.weights.h5", "m"])
def test_default_output(name):
    assert default_output(f"a/{name}") == Path("a/m.onnx")


def test_help_does_not_load_tensorflow():
    code = (
        "import sys; from onnxwalk.export.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "bad = {'tensorflow', 'keras', 'onnx', 'tf2onnx', 'h5py'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "--architecture" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "out", "err"),
    [
        (["--version"], 0, f"{onnxwalk.__version__}\n", ""),
        (["-V"], 0, f"{onnxwalk.__version__}\n", ""),
        ([], 2, "", "usage: onnxwalk-export"),
        (["layer"], 2, "", "no file and no command 'layer'; did you mean 'layers'?"),
        (
            ["m.keras", "--opest", "18"],
            2,
            "",
            "unrecognized arguments: --opest 18; did you mean '--op",
        ),
        (["layers", "--ouput", "x"], 2, "", "did you mean '--output'?"),
        (["m.keras", "--verify", "ful"], 2, "", "invalid choice: 'ful'; did you mean 'full'?"),
    ],
)
def test_what_was_meant(arguments, status, out, err, capsys):
    try:
        found = main(arguments)
    except SystemExit as stopped:
        found = stopped.code
    shown = capsys.readouterr()
    assert (found, shown.out) == (status, out) and err in shown.err


@pytest.mark.skipif(os.name == "nt", reason="pipes are POSIX's")
def test_a_broken_pipe_ends_quietly():
    code = "from onnxwalk.export.errors import run_command; import sys\n"
    code += "sys.exit(run_command(lambda: print('x' * 100_000) or 0, debug=False))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(60) == 141
    process.stderr.close()


def test_missing_package(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ModuleNotFoundError('no', name='tensorflow')")
    result = subprocess.run(
        [sys.executable, "-m", "export", "m.keras"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert result.stderr == 'error: export needs tensorflow: pip install "onnxwalk[export]"\n'


def test_export(tmp_path):
    pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")
    from onnxwalk.export.coverage.random_weights import randomize
    from onnxwalk.export.study.assignment import cnn

    randomize(cnn((16,), 3)).save(tmp_path / "m.keras")
    result = subprocess.run(
        [sys.executable, "-m", "export", str(tmp_path / "m.keras")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (result.returncode, result.stderr) == (0, "")
    first, second, third = result.stdout.splitlines()
    assert first.startswith(f"{tmp_path / 'm.onnx'}  ") and "kB" in first
    assert "nodes: " in second and "Conv 1" in second
    assert third.startswith("largest difference from Keras: ")


def test_errors(tmp_path, capsys):
    pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")
    assert main([str(tmp_path / "absent.keras")]) == 1
    assert capsys.readouterr().err == f"error: no such file: {tmp_path / 'absent.keras'}\n"
    assert main(["m.keras", "-o", str(tmp_path)]) == 1
    assert "is a folder: pass a file name to --output" in capsys.readouterr().err
    assert main(["m.keras", "-o", str(tmp_path / "no" / "m.onnx")]) == 1
    assert "no such folder" in capsys.readouterr().err
    with pytest.raises(ValueError, match="no such file"):
        main([str(tmp_path / "absent.keras"), "--debug"])


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_have_a_help_of_their_own(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert command in capsys.readouterr().out.splitlines()[0]
