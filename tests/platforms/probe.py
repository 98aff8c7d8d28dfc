"""What runs on the platform itself, with nothing but NumPy and onnxwalk: cases out of a file, then
commands, and what programs do with models.

    python probe.py CASES

Prints one JSON object: the versions, what this Python lacks, how many cases gave what they give
elsewhere, the others, each with what was wrong, in how many a fast form failed, which is wrong even
where plain operators give the right results, and the milliseconds of the demo's models.
"""

import contextlib
import importlib
import io
import json
import os
import pickle
import platform
import sys
import tempfile
import threading
import time
import warnings

import numpy as np

import onnxwalk
from onnxwalk.interpreter.cli import main as onnxwalk_command
from onnxwalk.interpreter.runtime import fallback

DEMO = os.path.join(onnxwalk.__path__[0], "interpreter", "cli", "_demo")
DIGITS, LSTM = (os.path.join(DEMO, name) for name in ("digits.onnx", "lstm.onnx"))
PICTURE = [[[[column * row] for column in range(8)] for row in range(8)]]


def differs(found, expected, rtol, atol):
    """What is wrong with a value; "" if nothing is."""
    if isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            return f"not a list of {len(expected)}"
        pairs = zip(found, expected, strict=True)
        return next((text for pair in pairs if (text := differs(*pair, rtol, atol))), "")
    if not isinstance(expected, np.ndarray):
        return "" if found == expected else f"{found!r:.60}, not {expected!r:.60}"
    if not isinstance(found, np.ndarray):
        return f"{type(found).__name__}, not an array"
    expected = expected.astype(expected.dtype.newbyteorder("="), copy=False)
    if (found.dtype, found.shape) != (expected.dtype, expected.shape):
        return f"{found.dtype} {found.shape}, not {expected.dtype} {expected.shape}"
    if expected.dtype.kind in "fc":
        if np.allclose(found, expected, rtol, atol, equal_nan=True):
            return ""
        with np.errstate(all="ignore"):
            return f"off by up to {np.nanmax(np.abs(found - expected)):.3g}"
    return "" if np.array_equal(found, expected) else "other values"


def command(*arguments):
    """What a command prints. Raises AssertionError if it fails."""
    said, complaint = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complaint):
        try:
            status = onnxwalk_command([*map(str, arguments)])
        except SystemExit as end:  # argparse's
            status = end.code
    assert status == 0, f"exit status {status}: {complaint.getvalue()}"
    return said.getvalue()


def try_command(*arguments):
    return lambda: command(*arguments)


def explore():
    with tempfile.TemporaryDirectory() as folder:
        page = os.path.join(folder, "page.html")
        command("explore", DIGITS, "-o", page)
        assert os.path.getsize(page) > 10_000


def demo_session(**options):
    session = onnxwalk.load(DIGITS, **options)
    return session, np.random.default_rng(0).normal(size=(64, 8, 8, 1)).astype(np.float32)


def two_threads():
    """As one; where no thread can be started, with a warning."""
    session, x = demo_session()
    right = session(x)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            session, x = demo_session(threads=2)
        except onnxwalk.InvalidInputError as error:
            assert "threadpoolctl" in str(error)  # isn't installed here
            return
    said = ["no thread can be started" in str(warning.message) for warning in caught]
    assert said == ([True] if "threads" in lacks() else []), f"warnings: {len(said)}"
    for _ in range(3):
        assert not differs(session(x), right, 1e-5, 1e-6)


def at_once():
    """A session in several threads, if there can be some."""
    session, x = demo_session()
    right, wrong = session(x), []

    def work(number):
        for size in range(number + 1, 30):
            if text := differs(session(x[:size]), right[:size], 1e-4, 1e-6):
                wrong.append(text)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    if "threads" in lacks():
        return
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[0]


def pickled():
    session, x = demo_session()
    again = pickle.loads(pickle.dumps(session))
    assert not differs(again(x), session(x), 0, 0)


def traced():
    session, x = demo_session()
    last = list(session.trace({"image": x}))[-1]
    (found,) = last.outputs.values()
    assert not differs(found, session(x), 1e-5, 1e-6)


def limited():
    session, x = demo_session(limits=onnxwalk.Limits(max_memory=10_000_000))
    session(x)
    try:
        session(np.concatenate([x] * 100))
    except onnxwalk.LimitError:
        return
    raise AssertionError("ten megabytes were enough for 6,400 pictures")


def trained():
    """A few steps of training, by gradients of every node."""
    x = np.random.default_rng(0).normal(size=(64, 8, 8, 1)).astype(np.float32)
    history = onnxwalk.train(
        DIGITS, (x, np.arange(64) % 10), loss="sparse_categorical_crossentropy", epochs=4, seed=0
    )
    losses = history.history["loss"]
    assert np.isfinite(losses).all() and losses[-1] < losses[0], losses


#: what programs and people do with models; each raises if it doesn't work
USES = {
    "onnxwalk inspect": try_command("inspect", DIGITS),
    "onnxwalk run": try_command("run", DIGITS, "--random"),
    "onnxwalk demo": try_command("demo"),
    "onnxwalk ops": try_command("ops", "LSTM"),
    "onnxwalk profile": try_command("profile", LSTM),
    "onnxwalk diff": try_command("diff", DIGITS, DIGITS),
    "onnxwalk saliency": try_command("saliency", DIGITS, "-i", f"image={PICTURE}"),
    "onnxwalk explore": explore,
    "threads=2": two_threads,
    "runs at once": at_once,
    "a pickled session": pickled,
    "a trace": traced,
    "limits": limited,
    "training": trained,
}


def lacks():
    """What most Pythons have and this one doesn't."""
    found = []
    for name in ("mmap", "ctypes", "zlib"):
        try:
            importlib.import_module(name)
        except ImportError:
            found.append(name)
    thread = threading.Thread(target=int)
    try:
        thread.start()
        thread.join()
    except RuntimeError:
        found.append("threads")
    if not hasattr(os, "fork") or sys.platform == "emscripten":
        found.append("fork")
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    if not blas.get("found") or blas.get("name") in (None, "none"):
        found.append("BLAS")
    return found


#: by case or use: the fast form that failed in it
slow = {}


@contextlib.contextmanager
def slow_if_hidden(name):
    """Note in ``slow`` if a fast form fails in these lines, whatever becomes of the warning."""
    fallback.seen.clear()
    yield
    if fallback.seen:
        slow[name] = fallback.seen[0][-300:]


def run_cases(path):
    """How many cases are right, and what is wrong with the others, by name."""
    with open(path, "rb") as file:
        cases = pickle.load(file)
    wrong = {}
    for name, model, feeds, expected, rtol, atol in cases:
        with warnings.catch_warnings(), slow_if_hidden(name):
            warnings.simplefilter("ignore")  # what load assumes of a file; ``slow_if_hidden``
            try:
                session = onnxwalk.load(model, seed=0)
                for _ in range(2):  # bound, then replayed
                    found = session.run(None, feeds)
                text = differs(found, expected, rtol, atol)
            except Exception as error:  # whatever it is, it is the platform's result
                text = (
                    "" if type(error).__name__ == expected else f"{type(error).__name__}: {error}"
                )
        if text:
            wrong[name] = text[:300]
    wrong.update(slow)
    return len(cases) - len(wrong), wrong


def try_uses():
    """What doesn't work, by name."""
    wrong = {}
    for name, use in USES.items():
        with slow_if_hidden(name):
            try:
                use()
            except Exception as error:
                wrong[name] = f"{type(error).__name__}: {error}"[:300]
    return {**slow, **wrong}


def demo_milliseconds():
    """The demo's time for the 200 samples of each of its models, by file."""
    return {r["model"]: round(r["seconds"] * 1e3, 2) for r in json.loads(command("demo", "--json"))}


def main(path):
    begun, of_processor = time.perf_counter(), time.process_time()
    right, wrong = run_cases(path)
    # Pyodide's Node has no time of the processor
    seconds = time.process_time() - of_processor or time.perf_counter() - begun
    failed = try_uses()
    lock = getattr(sys, "_is_gil_enabled", lambda: True)()
    about = {
        "python": platform.python_version(),
        "implementation": platform.python_implementation() + ("" if lock else " without lock"),
        "machine": platform.machine(),
        "bits": 64 if sys.maxsize > 2**32 else 32,
        "byteorder": sys.byteorder,
        "numpy": np.__version__,
        "onnxwalk": onnxwalk.__version__,
        "lacks": lacks(),
        "seconds": round(seconds, 1),
        "demo": demo_milliseconds() if "onnxwalk demo" not in failed else {},
    }
    uses = len(USES) - len(USES.keys() & failed)
    result = {"right": right, "uses": uses, "slow": len(slow), "wrong": {**wrong, **failed}}
    print(json.dumps({**about, **result}))


if __name__ == "__main__":
    main(sys.argv[1])
