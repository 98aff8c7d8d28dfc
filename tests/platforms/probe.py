"""What runs on the platform itself, with nothing but NumPy and onnxwalk: cases out of a file.

    python probe.py CASES

Prints one JSON object: the versions, how many cases gave what they give elsewhere, and the others,
each with what was wrong.
"""

import json
import pickle
import platform
import sys
import time
import warnings

import numpy as np

import onnxwalk


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


def main(path):
    with open(path, "rb") as file:
        cases = pickle.load(file)
    wrong, right, begun = {}, 0, time.process_time()
    for name, model, feeds, expected, rtol, atol in cases:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what load assumes of a file
            try:
                session = onnxwalk.load(model, seed=0)
                for _ in range(2):  # bound, then replayed
                    found = session.run(None, feeds)
                text = differs(found, expected, rtol, atol)
            except Exception as error:  # whatever it is, it is the platform's result
                text = f"{type(error).__name__}: {error}"
        right += not text
        if text:
            wrong[name] = text[:300]
    about = {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "machine": platform.machine(),
        "bits": 64 if sys.maxsize > 2**32 else 32,
        "byteorder": sys.byteorder,
        "numpy": np.__version__,
        "onnxwalk": onnxwalk.__version__,
        "seconds": round(time.process_time() - begun, 1),
    }
    print(json.dumps({**about, "right": right, "cases": len(cases), "wrong": wrong}))


if __name__ == "__main__":
    main(sys.argv[1])
