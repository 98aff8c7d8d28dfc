#!/usr/bin/env bash
# TVM finds no box where the limit of NonMaxSuppression is an input of the model.
#
# Packages: apache-tvm 0.27.0.post1, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: the same boxes, whether max_output_boxes_per_class and the thresholds are constants or fed; or a refusal.
# Seen: converted without a word. A limit that is fed counts as 0, so that no box is left, a fed threshold as 0.5.
# Output (three boxes, of which the second covers most of the first):
#   all constant: ONNX Runtime [0, 2], TVM [0, 2]
#   the limit fed, 3: ONNX Runtime [0, 2], TVM []
#   the threshold fed, 0.5: ONNX Runtime [0, 2], TVM [0, 2]
#   the threshold fed, 0.99: ONNX Runtime [0, 1, 2], TVM [0, 2]
# Who is hurt: detectors whose limits were left adjustable: no objects at all, or always those of one threshold.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    apache-tvm==0.27.0.post1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx

boxes = np.array([[[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, 10, 1, 11]]], np.float32)
scores = np.array([[[0.9, 0.75, 0.6]]], np.float32)


def both(fed, threshold):
    """The chosen boxes by both; fed names the inputs that aren't constant."""
    data = {
        "boxes": boxes,
        "scores": scores,
        "limit": np.array([3]),
        "threshold": np.array([threshold], np.float32),
        "least": np.array([0], np.float32),
    }
    feeds = {n: v for n, v in data.items() if n in ("boxes", "scores", *fed)}
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for n, v in feeds.items()
    ]
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("NonMaxSuppression", list(data), ["y"])],
            "g",
            infos,
            [helper.make_tensor_value_info("y", TensorProto.INT64, ["chosen", 3])],
            [numpy_helper.from_array(v, n) for n, v in data.items() if n not in feeds],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    there = session.run(None, feeds)[0]
    module = relax.transform.DecomposeOpsForInference()(from_onnx(model))
    machine = relax.VirtualMachine(tvm.compile(relax.transform.LegalizeOps()(module), target="llvm"), tvm.cpu())
    here = machine["main"](*[tvm.runtime.tensor(v) for v in feeds.values()]).numpy()
    return there[:, 2].tolist(), here[:, 2].tolist()


for text, fed, threshold, right, wrong in (
    ("all constant", (), 0.5, [0, 2], [0, 2]),
    ("the limit fed, 3", ("limit",), 0.5, [0, 2], []),
    ("the threshold fed, 0.5", ("threshold",), 0.5, [0, 2], [0, 2]),
    ("the threshold fed, 0.99", ("threshold",), 0.99, [0, 1, 2], [0, 2]),
):
    there, here = both(fed, threshold)
    print(f"{text}: ONNX Runtime {there}, TVM {here}")
    assert there == right and here == wrong
PY
