"""The recipes of docs/CLUSTERS.md as they stand there, each in an environment of its own:

    python -m tests.programs.recipes [NAME …] [--rows N] [--keep]

An environment with pinned packages is made in a temporary folder and removed after the run. Each
row must come out exactly once, with the result that a session alone gives for it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import onnxwalk

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "CLUSTERS.md"
MODEL = ROOT / "interpreter" / "cli" / "_demo" / "digits.onnx"

#: of each recipe: its packages; NumPy, rich and threadpoolctl are always there
RECIPES = {
    "joblib": ["joblib==1.6.0"],
    "dask": ["dask==2026.8.0", "distributed==2026.8.0"],
    "ray": ["ray[data]==2.60.0", "pyarrow==26.0.1"],
    "beam": ["apache-beam==2.77.0"],
    "spark": ["pyspark==4.3.0", "pandas==2.3.3", "pyarrow==26.0.1"],
    "spark-arrow": ["pyspark==4.3.0", "pandas==2.3.3", "pyarrow==26.0.1"],
}
_PARTS = 8
_SECONDS = 200

#: run by the recipe's Python, where pyarrow is: parts of a table, and what came out of them
_WRITE = """
import numpy, pyarrow, pyarrow.parquet, sys
x = numpy.load("x.npy").reshape(-1, 64)
size = -(-len(x) // int(sys.argv[1]))
for number, start in enumerate(range(0, len(x), size)):
    rows = numpy.arange(start, min(start + size, len(x)))
    table = pyarrow.table({"row": rows, "image": x[rows].tolist()})
    pyarrow.parquet.write_table(table, f"parts/{number}.parquet")
"""
_READ = """
import numpy, pathlib, pyarrow.parquet
files = sorted(pathlib.Path("out").glob("*.parquet"))
tables = [pyarrow.parquet.read_table(file) for file in files]
rows = numpy.concatenate([table["row"].to_numpy() for table in tables])
y = [row for table in tables for row in table["y"].to_pylist()]
numpy.savez("found.npz", rows=rows, y=numpy.array(y, "float32"))
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command: 1 if a recipe failed, or a row is missing, twice there, or wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.programs.recipes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)}")
    parser.add_argument("--rows", type=int, default=4_000)
    args = parser.parse_args(argv)
    if unknown := set(args.names) - set(RECIPES):
        parser.error(f"no recipe is named {', '.join(sorted(unknown))}")
    failed = 0
    for name in args.names or RECIPES:
        with TemporaryDirectory(prefix="onnxwalk-recipe-") as folder:
            begun = time.monotonic()
            problem = run(name, Path(folder), args.rows)
            failed += bool(problem)
            said = problem or f"{args.rows:,} rows, each once, none wrong"
            print(f"{name}: {said} ({time.monotonic() - begun:.0f} s)", flush=True)
    return int(bool(failed))


def code_of(name: str) -> str:
    """The recipe's block in the page."""
    (found,) = re.findall(rf"```python {name}\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    return str(found)


def run(name: str, folder: Path, rows: int) -> str:
    """What is wrong with a recipe; "" if nothing is."""
    python = _environment(RECIPES[name], folder / "venv")
    work = folder / "work"
    (work / "parts").mkdir(parents=True)
    (work / "model.onnx").write_bytes(MODEL.read_bytes())
    (work / "recipe.py").write_text(code_of(name), "utf-8")
    x = np.random.default_rng(0).random((rows, 8, 8, 1), np.float32)
    np.save(work / "x.npy", x)
    if name == "joblib":
        for number, piece in enumerate(np.array_split(x, _PARTS)):
            np.save(work / "parts" / f"{number}.npy", piece)
    elif name != "dask":
        _python(python, work, "-c", _WRITE, str(_PARTS))
    try:
        said = _python(python, work, "recipe.py")
    except subprocess.CalledProcessError as error:
        return f"ended with {error.returncode}: {error.stderr.strip()[-2000:]}"
    except subprocess.TimeoutExpired:
        return f"not done after {_SECONDS} s"
    if name == "dask":
        return "" if "dask.array" in said else f"it printed {said!r}"
    if name == "joblib":
        found = np.concatenate([np.load(work / "out" / f"{i}.npy") for i in range(_PARTS)])
        numbers = np.arange(len(found))
    else:
        _python(python, work, "-c", _READ)
        stored = np.load(work / "found.npz")
        numbers, found = stored["rows"], stored["y"]
    return _differences(numbers, found, onnxwalk.load(MODEL)(x), ordered=name == "ray")


def _differences(
    numbers: np.ndarray, found: np.ndarray, expected: np.ndarray, *, ordered: bool
) -> str:
    times = np.bincount(numbers, minlength=len(expected))
    if len(times) > len(expected) or (times != 1).any():
        return f"{(times == 0).sum()} rows are missing, {(times > 1).sum()} are there twice"
    if not np.allclose(found, expected[numbers], atol=1e-5):
        return f"{(~np.isclose(found, expected[numbers], atol=1e-5).all(1)).sum()} rows are wrong"
    return "the order isn't that of the parts" if ordered and (np.diff(numbers) != 1).any() else ""


def _environment(packages: Sequence[str], folder: Path) -> Path:
    """The Python of an environment with the packages and with this checkout of onnxwalk."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    always = ["numpy==2.4.6", "rich", "threadpoolctl"]
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *always, *packages]
    subprocess.run(pip, check=True, capture_output=True, text=True)
    (site,) = folder.glob("lib/*/site-packages")
    (site / "onnxwalk-checkout.pth").write_text(f"{ROOT}\n", "utf-8")
    return python


def _python(python: Path, work: Path, *arguments: str) -> str:
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    quiet = {"PYTHONPATH": "", "PATH": path, "HOME": str(work), "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [python, *arguments],
        cwd=work,
        env={**os.environ, **quiet, "PYSPARK_PYTHON": str(python)},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
