#!/usr/bin/env bash
# ONNX Runtime looks for external weights in the working directory where a constant condition chose their branch.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: a model loaded by its path finds the weights that lie beside it, wherever the program runs.
# Seen: if the weights are read in a branch of an If, and the condition is a constant, the session is only
#   created when the working directory is the model's own; elsewhere it is an error that speaks of a model
#   "loaded from bytes". With the condition as an input it is created everywhere.
# Output (the working directory; whether the session is created):
#   condition constant: model's folder True, another folder False
#   condition an input: model's folder True, another folder True
# Who is hurt: exports of large models with a constant If (a merged decoder whose cache branch was fixed):
#   they run on the developer's desk, and not as a service.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
mkdir models other
venv/bin/python - <<'PY'
import os

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

here = os.getcwd()
info = helper.make_tensor_value_info


def branch(name):
    product = helper.make_node("MatMul", ["x", "w"], [name])
    return helper.make_graph([product], name, [], [info(name, TensorProto.FLOAT, [2, 2])])


def write(constant):
    weights = [numpy_helper.from_array(np.ones((2, 2), np.float32), "w")]
    inputs = [info("x", TensorProto.FLOAT, [2, 2])]
    if constant:
        weights.append(numpy_helper.from_array(np.array(True), "condition"))
    else:
        inputs.append(info("condition", TensorProto.BOOL, []))
    branches = {"then_branch": branch("p"), "else_branch": branch("q")}
    graph = helper.make_graph(
        [helper.make_node("If", ["condition"], ["y"], **branches)],
        "g", inputs, [info("y", TensorProto.FLOAT, [2, 2])], weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path = f"{here}/models/{constant}.onnx"
    onnx.save(model, path, save_as_external_data=True, size_threshold=0, location=f"{constant}.data")
    onnx.checker.check_model(path)
    return path


def is_created(path, folder):
    os.chdir(f"{here}/{folder}")
    try:
        ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:
        assert "loaded from bytes" in str(error), error
        return False
    return True


for constant, kind in ((True, "constant"), (False, "an input")):
    path = write(constant)
    seen = [is_created(path, folder) for folder in ("models", "other")]
    print(f"condition {kind}: model's folder {seen[0]}, another folder {seen[1]}")
    assert seen == [True, not constant]
PY
