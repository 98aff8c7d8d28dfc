#!/usr/bin/env bash
# ndonnx orders and sums uint64 as int64: half of the numbers come out as negative ones.
#
# Packages: ndonnx 0.23.0, spox 0.18.2, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: max, sort, argsort and sum of uint64 are those of the array API; what can't be exported is refused,
#   as ndonnx refuses signbit and hypot.
# Seen: sort casts to int64 and back, so numbers from 2**63 on stand before 0. The largest of a list is then
#   not the largest, and no warning says so. cumulative_sum goes by way of a type with fewer digits.
#   Comparisons of the same numbers are right, and so is everything for uint32.
# Output:
#   uint32 sort: right
#   uint64 sort: NumPy [1, 3, 9223372036854775813, 18446744073709551615], ndonnx [9223372036854775813, 18446744073709551615, 1, 3]
#   uint64 argsort: NumPy [0, 2, 1, 3], ndonnx [1, 3, 0, 2]
#   uint64 max of 2: NumPy 9223372036854775813, ndonnx 3
# Who is hurt: hashes and identifiers, which fill all 64 bits.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    ndonnx==0.23.0 spox==0.18.2 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import ndonnx as ndx
import numpy as np
import onnxruntime as ort


def run(function, x):
    argument = ndx.argument(shape=(None,), dtype=ndx.from_numpy_dtype(x.dtype))
    model = ndx.build({"x": argument}, {"y": function(ndx, argument)})
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def say(text, function, x):
    there, here = function(np, x), run(function, x)
    same = np.array_equal(there, here)
    print(f"{text}: right" if same else f"{text}: NumPy {there.tolist()}, ndonnx {here.tolist()}")
    return same


x = np.array([1, 2**63 + 5, 3, 2**64 - 1], np.uint64)
assert say("uint32 sort", lambda xp, x: xp.sort(x), np.array([1, 2**31 + 5, 3, 2**32 - 1], np.uint32))
assert not say("uint64 sort", lambda xp, x: xp.sort(x), x)
assert not say("uint64 argsort", lambda xp, x: xp.argsort(x, stable=True), x)
assert not say("uint64 max of 2", lambda xp, x: xp.max(x), x[1:3])
PY
