#!/usr/bin/env bash
# Of two sizes for one free dimension ONNX Runtime keeps the first, without a word.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: the later setting counts, as it does for configuration entries (which also warn).
# Seen: a batch of 1 that was set to 5 afterwards stays 1, by name and by denotation; denotations are
#   compared without regard to capitals, names with; and a symbol that only an output has is ignored.
# Output:
#   by name, 1 then 5: [1, 3]
#   by denotation, DATA_BATCH 1 then data_batch 5: [1, 3]
#   configuration entry, 1 then 5: 5
#   symbol of the output only: ['M', 3]
# Who is hurt: a program that changes the defaults of a helper's SessionOptions; the shape is then
#   enforced, and the error speaks of an input "Got: 5 Expected: 1".
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import onnxruntime as ort
from onnx import TensorProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

ort.set_default_logger_severity(4)
x = make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])
x.type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
y = make_tensor_value_info("y", TensorProto.FLOAT, ["M", 3])
graph = make_graph([make_node("Relu", ["x"], ["y"])], "g", [x], [y])
model = make_model(graph, opset_imports=[make_opsetid("", 17)], ir_version=8).SerializeToString()


def shapes(options):
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.get_inputs()[0].shape, session.get_outputs()[0].shape


options = ort.SessionOptions()
for size in (1, 5):
    options.add_free_dimension_override_by_name("N", size)
    options.add_session_config_entry("session.own", str(size))
by_name, _ = shapes(options)
print("by name, 1 then 5:", by_name)

denoted = ort.SessionOptions()
denoted.add_free_dimension_override_by_denotation("DATA_BATCH", 1)
denoted.add_free_dimension_override_by_denotation("data_batch", 5)
by_denotation, _ = shapes(denoted)
print("by denotation, DATA_BATCH 1 then data_batch 5:", by_denotation)
entry = options.get_session_config_entry("session.own")
print("configuration entry, 1 then 5:", entry)

only = ort.SessionOptions()
only.add_free_dimension_override_by_name("M", 2)
_, of_output = shapes(only)
print("symbol of the output only:", of_output)
assert by_name == by_denotation == [1, 3] and entry == "5" and of_output == ["M", 3]
PY
