"""What identifies a model: its hash, which a thread computes while a large one is used already."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper

import onnxwalk
from onnxwalk.batches import cached_session, run_part
from onnxwalk.interpreter.batches import sessions
from onnxwalk.interpreter.batches.folder import Folder
from onnxwalk.interpreter.cli import main

SIDE = 1_700  # of a matrix of more than 8 MiB, whose hash a thread computes


def write(path: Path, factor: float, external: str | None = None) -> Path:
    """A model that multiplies by a large matrix, ``factor`` on its diagonal."""
    matrix = np.eye(SIDE, dtype=np.float32) * np.float32(factor)
    infos = [helper.make_tensor_value_info(name, T.FLOAT, ["n", SIDE]) for name in "xy"]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    tensor = onnx.numpy_helper.from_array(matrix, "w")
    graph = helper.make_graph([node], "g", infos[:1], infos[1:], [tensor])
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    if external is None:
        onnx.save(model, path)
    else:
        (path.parent / external).unlink(missing_ok=True)
        onnx.save(model, path, save_as_external_data=True, location=external)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("parts")
    for number in range(3):
        np.save(f"parts/{number}.npy", np.full((4, SIDE), number, np.float32))
    return tmp_path


def stored() -> str:
    return str(json.loads(Path("out/.onnxwalk/run.json").read_text())["model"])


def command(model: Path, *options: str) -> int:
    return main(["run", str(model), "--input", "parts/*.npy", "--output", "out/", *options])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_hash_is_the_file_s(folder, workers):
    model = write(folder / "m.onnx", 2)
    assert model.stat().st_size > sessions._LARGE
    assert command(model, "--workers", workers) == 0
    assert stored() == hashlib.sha256(model.read_bytes()).hexdigest()


def test_the_hash_has_the_external_data_in_it(folder):
    model = write(folder / "m.onnx", 2, external="m.data")
    run_part(model, "parts/1.npy", "out")
    content = model.read_bytes() + Path("m.data").read_bytes()
    assert stored() == hashlib.sha256(content).hexdigest()
    assert np.load("out/1.npy")[0, 0] == 2


@pytest.mark.parametrize("external", [None, "m.data"])
def test_another_model_is_refused_and_nothing_is_overwritten(folder, capsys, external):
    """Also for parts that aren't done, which are tried while the hash is computed."""
    assert command(write(folder / "m.onnx", 2, external)) == 0
    Path("out/2.npy").unlink()
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in Path("out").glob("*.npy")}
    record = Path("out/.onnxwalk/run.json").read_bytes()
    capsys.readouterr()
    assert command(write(folder / "m.onnx", 3, external), "--resume") == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and "made with another model" in errors
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in Path("out").glob("*.npy")} == before
    assert len(before) == 2 and Path("out/.onnxwalk/run.json").read_bytes() == record


def change(path: Path) -> None:
    """Write to a file, whose size stays."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"changed!")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))  # a coarse clock may not have gone on


@pytest.mark.parametrize("external", [None, "m.data"])
def test_a_model_that_changes_while_it_is_loaded(folder, monkeypatch, external):
    model = write(folder / "m.onnx", 2, external)
    load = sessions.load

    def slow(*arguments, **options):
        session = load(*arguments, **options)
        change(Path(external or "m.onnx"))
        return session

    monkeypatch.setattr(sessions, "load", slow)
    with pytest.raises(onnxwalk.InvalidInputError, match="was written to while it was used"):
        run_part(model, "parts/0.npy", "out")
    assert Folder(Path("out")).facts() is None and not Path("out/0.npy").exists()


@pytest.mark.parametrize("external", [None, "m.data"])
def test_a_model_that_changes_while_a_part_is_run(folder, external):
    model = write(folder / "m.onnx", 2, external)
    run_part(model, "parts/0.npy", "out")

    def tell(done: int, total: int) -> None:
        change(Path(external or "m.onnx"))

    with pytest.raises(onnxwalk.InvalidInputError, match="was written to while it was used"):
        run_part(model, "parts/1.npy", "out", tell=tell)
    assert not Path("out/1.npy").exists()
    with pytest.raises(onnxwalk.InvalidInputError, match="made with another model"):
        run_part(model, "parts/1.npy", "out")  # it is loaded anew


def test_a_model_that_is_replaced_stays_what_it_was(folder):
    session = onnxwalk.load(write(folder / "m.onnx", 2))
    write(folder / "other.onnx", 3).replace("m.onnx")
    run_part(session, "parts/1.npy", "out")
    assert np.load("out/1.npy")[0, 0] == 2
    assert cached_session(folder / "m.onnx").sha256 != stored()


def test_other_external_data_are_another_model(folder):
    """Also where they were replaced, and the file that names them is the same."""
    model = write(folder / "m.onnx", 2, external="m.data")
    first = cached_session(model)
    write(folder / "other.onnx", 3, external="other.data")
    Path("other.data").replace("m.data")
    second = cached_session(model)
    assert second is not first and second.sha256 != first.sha256
    run_part(model, "parts/1.npy", "out")
    assert np.load("out/1.npy")[0, 0] == 3


def test_threads_load_a_model_once(folder, monkeypatch):
    write(folder / "m.onnx", 2)
    load, loaded, found = sessions.load, [], []

    def noted(*arguments, **options):
        loaded.append(arguments)
        return load(*arguments, **options)

    monkeypatch.setattr(sessions, "load", noted)

    def work():
        found.append(cached_session(folder / "m.onnx").sha256)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loaded) == 1 and len(found) == 4 and len(set(found)) == 1
