#!/usr/bin/env bash
# Two sessions of ONNX Runtime in one process draw the same numbers without a seed.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: "if not specified we will auto generate one", says the spec of RandomNormal's seed; so two
#   sessions of the same model draw different noise, as two generators of NumPy do.
# Seen: ONNX Runtime makes up one seed for the process, and each node of each session starts its own
#   generator from that (two nodes of one session do differ). Sessions of the same model repeat each
#   other exactly; another process gets other numbers, so that no test with a fixed expectation shows it.
# Output:
#   process 1: session a [-0.200 -0.279 1.459 1.127], then [0.625 -0.070 1.429 -1.318]
#              session b [-0.200 -0.279 1.459 1.127], then [0.625 -0.070 1.429 -1.318]
#   process 2: other numbers, again the same in both sessions
# Who is hurt: servers with a pool of sessions (one for a worker), and ensembles of samplers: requests
#   share their noise, averages over sessions don't converge.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import subprocess
import sys

CHILD = """
import numpy as np, onnx, onnxruntime as ort

def load(text):
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 17]> ' + text)
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

noise = "g () => (float[4] y) { y = RandomNormal <shape = [4]> () }"
a, b = load(noise), load(noise)
draws = [session.run(None, {})[0] for session in (a, a, b, b)]
print(*draws, sep="|")
"""


def sequences():
    out = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, check=True
    ).stdout
    return out.strip().replace("\n", "").split("|")


first, second = sequences(), sequences()
for number, draws in enumerate((first, second), 1):
    print(f"process {number}: session a {draws[0]} {draws[1]}")
    print(f"           session b {draws[2]} {draws[3]}")
    assert draws[0] != draws[1], "one session does go on drawing"
    assert draws[:2] == draws[2:], "but a second session draws the same numbers again"
assert first[0] != second[0], "though the seed is another one in each process"
PY
