"""docs/SERVING.md: its session, typed as it stands."""

import contextlib
import io
import re
import shutil
import subprocess

import pytest

from tests.interpreter.serving.conftest import DEMO, ROOT

pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

PAGE = (ROOT / "docs/SERVING.md").read_text("utf-8")
CONSOLES = re.findall(r"```console\n(.*?)```", PAGE, re.S)


@pytest.fixture(scope="module")
def server(serve):
    return serve(DEMO / "digits.onnx", f"reviews={DEMO / 'lstm.onnx'}")


def here(text, server):
    return text.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")


def test_what_is_shown_at_the_start(server):
    command, *shown = CONSOLES[0].splitlines()
    assert command == (
        "$ onnxwalk serve interpreter/cli/_demo/digits.onnx reviews=interpreter/cli/_demo/lstm.onnx"
    )
    assert server.shown == [here(line, server) for line in shown]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl(server):
    lines = CONSOLES[1].splitlines()
    for command, shown in zip(lines[::2], lines[1::2], strict=True):
        text = here(command.removeprefix("$ "), server)
        done = subprocess.run(text, shell=True, capture_output=True, text=True, check=True)
        assert done.stdout == shown


def test_the_client(server):
    pytest.importorskip("tritonclient.http")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE, re.S)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(here(code, server), "SERVING.md", "exec"), {})
    assert printed.getvalue() == shown
