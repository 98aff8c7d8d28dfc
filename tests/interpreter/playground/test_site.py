"""The files of the site, and the command that writes them."""

import hashlib
import json
import marshal
import re
import threading
import urllib.request
import zipfile

import pytest

import onnxwalk
from onnxwalk.interpreter.cli import main
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.playground import pyodide
from onnxwalk.interpreter.playground.archives import compiled, packed, unpacked
from onnxwalk.interpreter.playground.server import serving
from onnxwalk.interpreter.playground.site import write_site


@pytest.fixture
def small(tmp_path):
    """The smallest folder that passes for a distribution."""
    folder = tmp_path / "distribution"
    folder.mkdir()
    for name in pyodide.FILES:
        (folder / name).write_bytes(packed([("abc.py", b"x = 1\n"), ("pydoc.py", b"")]))
    wheel = packed([("numpy/__init__.py", b""), ("numpy/tests/a.py", b""), ("numpy/a.pyi", b"")])
    (folder / "numpy.whl").write_bytes(wheel)
    entry = {"file_name": "numpy.whl", "sha256": hashlib.sha256(wheel).hexdigest(), "depends": []}
    lock = {"info": {}, "packages": {"numpy": entry, "scipy": {}}}
    (folder / pyodide.LOCK).write_text(json.dumps(lock), "utf-8")
    return folder


@pytest.fixture
def no_node(monkeypatch):
    monkeypatch.setattr(pyodide, "can_compile", lambda: False)


def test_only_what_is_needed_is_copied(small, no_node, tmp_path):
    write_site(tmp_path / "site", str(small))
    lock = json.loads((tmp_path / "site/pyodide" / pyodide.LOCK).read_text("utf-8"))
    assert list(lock["packages"]) == ["numpy"]
    wheel = (tmp_path / "site/pyodide/numpy.whl").read_bytes()
    assert lock["packages"]["numpy"]["sha256"] == hashlib.sha256(wheel).hexdigest()
    assert [name for name, _ in unpacked(wheel)] == ["numpy/__init__.py"]
    stdlib = zipfile.ZipFile(tmp_path / "site/pyodide" / pyodide.STDLIB)
    assert stdlib.namelist() == ["abc.py"]
    listed = (tmp_path / "site/files.js").read_text("utf-8")
    files = json.loads(listed.removeprefix("self.SITE = ").removesuffix(";\n"))["files"]
    there = [p for p in (tmp_path / "site").rglob("*") if p.is_file() and p.name != "files.js"]
    assert sorted(files) == sorted(p.relative_to(tmp_path / "site").as_posix() for p in there)
    write_site(tmp_path / "site", str(small))  # once more, over the older one


def test_no_script_or_style_in_the_pages(small, no_node, tmp_path):
    """Which their policy would forbid; and no address but their own."""
    write_site(tmp_path / "site", str(small))
    for name in ("index.html", "view.html"):
        text = (tmp_path / "site" / name).read_text("utf-8")
        assert "default-src 'none'" in text and "unsafe-inline" not in text
        assert not re.search(r"<style|style=|\son\w+=|javascript:|https?://|@[A-Z]+@", text)
        scripts = re.findall(r"<script([^>]*)>([^<]*)</script>", text)
        assert all(not body and ("src=" in tag or "json" in tag) for tag, body in scripts)
    script = (tmp_path / "site/playground.js").read_text("utf-8")
    assert "http://" not in script and "https://" not in script


def test_from_an_address_nothing_is_copied(tmp_path):
    write_site(tmp_path / "site", "https://cdn.example/pyodide/v1/full")
    text = (tmp_path / "site/index.html").read_text("utf-8")
    assert 'data-pyodide="https://cdn.example/pyodide/v1/full/"' in text
    assert "connect-src 'self' https://cdn.example;" in text
    assert not (tmp_path / "site/pyodide").exists()


@pytest.mark.parametrize("name", [*pyodide.FILES, pyodide.LOCK, "numpy.whl"])
def test_a_distribution_that_lacks_a_file(small, tmp_path, name, capsys):
    (small / name).unlink()
    assert main(["playground", "-o", str(tmp_path / "site"), "--pyodide", str(small)]) == 1
    assert (
        f"{small} is no complete Pyodide distribution: {name} is missing" in capsys.readouterr().err
    )


def test_a_damaged_wheel(small, tmp_path):
    (small / "numpy.whl").write_bytes(b"PK")
    with pytest.raises(onnxwalk.InvalidInputError, match="not the file that"):
        write_site(tmp_path / "site", str(small))


def test_a_folder_with_other_files_is_left_alone(small, no_node, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site/thesis.tex").write_text("x", "utf-8")
    with pytest.raises(onnxwalk.InvalidInputError, match="holds other files"):
        write_site(tmp_path / "site", str(small))


def test_the_command_needs_a_folder_or_to_serve(capsys):
    assert main(["playground"]) == 1
    assert "pass -o DIR" in capsys.readouterr().err


def test_what_cannot_be_fetched(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(pyodide.shutil, "which", lambda name: None)
    assert main(["playground", "-o", str(tmp_path / "site")]) == 1
    error = capsys.readouterr().err
    assert f"npm is needed to fetch {pyodide.PYODIDE}" in error and "--pyodide" in error
    assert not list(tmp_path.glob("onnxwalk/*pyodide*"))


def test_compiled_code_runs_and_has_no_lines():
    archive = dict(unpacked(compiled(packed([("a.py", b"def f():\n    return 7\n"), ("b", b"")]))))
    assert list(archive) == ["a.pyc", "b"]
    names = {}
    exec(marshal.loads(archive["a.pyc"][16:]), names)
    assert names["f"]() == 7 and not names["f"].__code__.co_linetable


def test_the_server_says_what_files_are(tmp_path):
    (tmp_path / "a.wasm").write_bytes(b"")
    (tmp_path / "a.mjs").write_bytes(b"")
    with serving(tmp_path) as (server, address):
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            types = []
            for name in ("a.wasm", "a.mjs"):
                with urllib.request.urlopen(address + name) as answer:
                    types.append(answer.headers["Content-Type"])
            assert types == ["application/wasm", "text/javascript"]
        finally:
            server.shutdown()
            thread.join()
    with (
        pytest.raises(onnxwalk.InvalidInputError, match="port 99999 can't be used"),
        serving(tmp_path, 99999),
    ):
        pass


def test_files_that_are_others_than_were_pinned_are_refused(tmp_path):
    path = tmp_path / pyodide.NUMPY
    path.write_bytes(b"another wheel")
    with pytest.raises(InvalidInputError, match="its sha256 is"):
        pyodide._checked(path, "0" * 64)
