#!/usr/bin/env bash
# ONNX Runtime adds int64 up in float64, and its integer sums saturate where its other operators wrap.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: int64 is the type one takes for sums that must be exact; ReduceSum of [2**53 + 1, 2] is
#   2**53 + 3. Past the largest number it wraps around as Add, CumSum and MatMul do, and as NumPy does.
# Seen: ReduceSum, ReduceL1, ReduceProd and ReduceSumSquare of integers are computed in float64 and cast
#   back. Above 2**53 the low bits are gone, and what is too large becomes the largest int32 or int64.
#   CumSum of the same tensor is exact, and wraps: its last element and the sum differ.
# Output:
#   int64 ReduceSum (x, axis): [9007199254740993, 2] -> 9007199254740994
#   int64 CumSum (x, axis): [9007199254740993, 2] -> 9007199254740995
#   int32 ReduceSum (x, axis): [1073741824, 1073741824] -> 2147483647
#   int32 CumSum (x, axis): [1073741824, 1073741824] -> -2147483648
# Who is hurt: checksums, feature hashing and bit packing (the sum of bit * 2**i) in a graph, time stamps
#   in nanoseconds, emulations of fixed-point arithmetic that count on wrapping.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort


def run(node, values, kind="int64"):
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 18]>'
        f"g ({kind}[{len(values)}] x) => ({kind}[n] y) <int64[1] axis = {{0}}> {{ y = {node} }}"
    )
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    y = int(session.run(None, {"x": np.array(values, kind)})[0][-1])
    print(f"{kind:5} {node}: {values} -> {y}")
    return y


odd = 2**53 + 1
assert run("ReduceSum (x, axis)", [odd, 2]) == odd + 1  # should be odd + 2
assert run("ReduceL1 (x, axis)", [-odd, 2]) == odd + 1
assert run("ReduceProd (x, axis)", [odd, 3]) == 3 * odd - 3
assert run("ReduceSumSquare (x, axis)", [2**27 + 1]) == (2**27 + 1) ** 2 - 1
assert run("CumSum (x, axis)", [odd, 2]) == odd + 2  # exact
assert run("ReduceMax (x, axis)", [odd, odd - 1]) == odd  # exact

half = [2**30, 2**30]
assert run("ReduceSum (x, axis)", half, "int32") == 2**31 - 1  # saturates
assert run("CumSum (x, axis)", half, "int32") == -(2**31)  # wraps around
assert run("ReduceSum (x, axis)", [2**62, 2**62]) == 2**63 - 1
PY
