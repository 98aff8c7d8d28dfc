#!/usr/bin/env bash
# ONNX Runtime saves an optimized model that it can't load: its external data is elsewhere.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: optimized_model_filepath in another folder writes a model with its weights, or an error.
# Seen: the file refers to the data by the old name, which is now one in the new folder. In the same
#   folder it works.
# Output:
#   saved beside the model: loads
#   saved to other/: written without an error, and doesn't load: External data path does not exist
# Who is hurt: those who optimize on one machine and copy the file to another.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, numpy_helper, save
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

ort.set_default_logger_severity(4)
x, y = (make_tensor_value_info(name, TensorProto.FLOAT, [300]) for name in "xy")
w = numpy_helper.from_array(np.ones(300, np.float32), "w")
graph = make_graph([make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [w])
model = make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8)
save(model, "model.onnx", save_as_external_data=True, location="model.data", size_threshold=0)
Path("other").mkdir()


def loads(target):
    options = ort.SessionOptions()
    options.optimized_model_filepath = target
    ort.InferenceSession("model.onnx", options, providers=["CPUExecutionProvider"])
    assert Path(target).exists()
    try:
        ort.InferenceSession(target, providers=["CPUExecutionProvider"])
    except Exception as error:
        assert "External data path does not exist" in str(error)
        return False
    return True


beside, elsewhere = loads("beside.onnx"), loads("other/optimized.onnx")
print("saved beside the model:", "loads" if beside else "doesn't load")
text = "loads" if elsewhere else "written without an error, and doesn't load: External data path does not exist"
print("saved to other/:", text)
assert beside and not elsewhere
PY
