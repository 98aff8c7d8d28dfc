"""The notebook and its JupyterLite, without a browser; tests.programs.notebook has one."""

import ast
import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

import onnxwalk
from onnxwalk.interpreter.cli import main
from onnxwalk.interpreter.playground import notebook, pyodide
from onnxwalk.interpreter.wheels import packed_wheel

NOTEBOOK = Path(notebook.__file__).parent / "_notebook/networks.ipynb"


def code_cells():
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_every_cell_runs(capsys):
    """Its own assertions hold what is computed by hand against the models."""
    names, shown = {}, []
    for code in code_cells():
        tree = ast.parse(code)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "cell", "exec"), names)
        if last is not None:
            shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))
    pictures = [value for value in shown if type(value).__name__ == "Pictures"]
    assert len(pictures) == 5 and all("<div title=" in value._repr_html_() for value in pictures)
    assert isinstance(shown[-1], onnxwalk.Page)
    assert capsys.readouterr().out.count("right: ") == 3


def test_the_notebook_is_stored_without_outputs():
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A distribution of empty packages, and what JupyterLite's command would write."""
    packages = {}
    for name in ("numpy", *pyodide.NOTEBOOK, "pandas"):
        (tmp_path / f"{name}.whl").write_bytes(name.encode())
        depends = ["six"] if name == "ipython" else []
        packages[name] = {"name": name, "file_name": f"{name}.whl", "depends": depends}
    packages["six"] = {"name": "six", "file_name": "numpy.whl", "depends": []}
    for name in (*pyodide.FILES, pyodide.SCRIPT):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / pyodide.LOCK).write_text(json.dumps({"info": {}, "packages": packages}), "utf-8")
    wheels = {
        f"{notebook._WHEELS}/{name}-0.6.1-py3-none-any.whl": b"" for name in notebook._KERNELS
    }
    monkeypatch.setattr(notebook, "_built", lambda: {"index.html": b"", **wheels})
    monkeypatch.setattr(notebook, "fetched_comm", lambda: {"comm-1-py3-none-any.whl": b""})
    monkeypatch.setattr(notebook.importlib.util, "find_spec", lambda name: True)
    return tmp_path


def test_all_that_python_begins_with_is_in_the_site(small):
    files = notebook.notebook_files(small)
    lock = json.loads(files[f"pyodide/{pyodide.LOCK}"])["packages"]
    assert "pandas" not in lock and "six" in lock
    for name in notebook._settings()["jupyter-config-data"]["litePluginSettings"][
        f"{notebook._KERNEL}:kernel"
    ]["loadPyodideOptions"]["packages"]:
        entry = lock[name.replace("_", "-")]
        assert f"pyodide/{entry['file_name']}" in files
    wheel = files[f"pyodide/{lock['onnxwalk']['file_name']}"]
    assert lock["onnxwalk"]["sha256"] == hashlib.sha256(wheel).hexdigest()


def test_a_distribution_without_a_package(small, tmp_path):
    lock = json.loads((small / pyodide.LOCK).read_text("utf-8"))
    del lock["packages"]["six"]
    (small / pyodide.LOCK).write_text(json.dumps(lock), "utf-8")
    with pytest.raises(onnxwalk.InvalidInputError, match="no package 'six'"):
        notebook.notebook_files(small)


def test_the_wheel_is_enough_for_the_notebook(tmp_path):
    """Installed by pip, which checks it, and without what the checkout has."""
    ((name, data),) = notebook._onnxwalk().items()
    (tmp_path / name).write_bytes(data)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target"]
    subprocess.run([*pip, tmp_path / "there", tmp_path / name], check=True)
    code = "\n".join(code_cells()[:5])
    start = (
        f"import sys; sys.modules['rich'] = None; sys.path.insert(0, {str(tmp_path / 'there')!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{start}\n{code}\nprint(onnxwalk.__file__)"],
        cwd=tmp_path, capture_output=True, text=True, check=True, env={},
    )  # fmt: skip
    assert str(tmp_path / "there") in done.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], 'pip install "onnxwalk[notebook]"'),
        (["--pyodide", "https://cdn.example/"], "not an address"),
    ],
)
def test_what_the_notebook_needs(arguments, text, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["playground", "-o", str(tmp_path / "site"), "--notebook", *arguments]) == 1
    assert text in capsys.readouterr().err
    assert not (tmp_path / "site").exists()


def test_wheels_are_the_same_each_time():
    one, other = (packed_wheel("a-1", "Name: a\n", {"a.py": b"x = 1\n"}) for _ in range(2))
    assert one == other
