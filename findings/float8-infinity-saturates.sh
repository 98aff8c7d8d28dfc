#!/usr/bin/env bash
# ONNX Runtime casts infinity to the FNUZ kinds of float8 as opset 24 says, also in opsets 19 to 23.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: the text of Cast up to opset 23 has NaN for infinity with saturate=1 in E4M3FNUZ and E5M2FNUZ,
#   and the largest number in E4M3FN and E5M2. Opset 24 has the largest number for all four. A model states
#   its opset, so a runtime can do both.
# Seen: the largest number, whatever the opset. The script prints the table's own words beside.
# Output (opsets 21 and 23 as 19):
#   opset 19: E4M3FN says FLT_MAX is 448, E4M3FNUZ says NaN is 240, E5M2 says FLT_MAX is 57344, E5M2FNUZ says NaN is 57344
#   opset 24: E4M3FN says FLT_MAX is 448, E4M3FNUZ says FLT_MAX is 240, E5M2 says FLT_MAX is 57344, E5M2FNUZ says FLT_MAX is 57344
# Who is hurt: overflow checks of float8 models: infinity comes back as 240, which is an ordinary value.
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
from onnx import TensorProto, helper

KINDS = ("E4M3FN", "E4M3FNUZ", "E5M2", "E5M2FNUZ")


def written(opset):
    """Cast's documentation of that version: the line for Inf of its first table, which is saturate=1."""
    schema = onnx.defs.get_schema("Cast", opset)
    line = next(line for line in schema.doc.splitlines() if line.strip().startswith("| Inf"))
    return [cell.strip() for cell in line.strip().strip("|").split("|")[1:]]


def cast(opset, kind):
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Cast", ["x"], ["q"], to=getattr(TensorProto, f"FLOAT8{kind}"), saturate=1),
                helper.make_node("Cast", ["q"], ["y"], to=TensorProto.FLOAT),
            ],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=11 if opset > 23 else 10,
    )
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.array([np.inf], np.float32)})[0].item()


largest = [448.0, 240.0, 57344.0, 57344.0]
for opset in (19, 21, 23, 24):
    seen = [cast(opset, kind) for kind in KINDS]
    print(f"opset {opset}: {', '.join(f'{k} says {w} is {v:g}' for k, w, v in zip(KINDS, written(opset), seen))}")
    assert seen == largest
    assert written(opset) == ["FLT_MAX", "NaN" if opset < 24 else "FLT_MAX"] * 2
PY
