#!/usr/bin/env bash
# OpenVINO reads int64 as int32 without a word, compares int32 as float32, and cuts a shifted byte to 255.
#
# Packages: openvino 2026.4.1, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: the integers' own answers, or an error for a type that the device doesn't have.
# Seen: an int64 input keeps its lower 32 bits, a sum of three comes back without the large one; Equal says that 2**24
#   and 2**24 + 1 are equal; 200 << 1 of bytes is 255 for 144.
# Output:
#   Add of int64 [9007199254740992, 7] and [1, 1]: ONNX Runtime [9007199254740993, 8], OpenVINO [1, 8]
#   ReduceSum of int64 [9007199254740992, 1, 1]: ONNX Runtime [9007199254740994], OpenVINO [2]
#   Clip of int64 [9007199254740993, 5] to at least 0: ONNX Runtime [9007199254740993, 5], OpenVINO [1, 5]
#   Equal of int32 [16777216, 5] and [16777217, 5]: ONNX Runtime [False, True], OpenVINO [True, True]
#   Less of int32 [16777216, 5] and [16777217, 6]: ONNX Runtime [True, True], OpenVINO [False, True]
#   BitShift to the left of uint8 [200, 3] by [1, 2]: ONNX Runtime [144, 12], OpenVINO [255, 12]
# Who is hurt: identifiers, times in milliseconds and hashes in a model.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    openvino==2026.4.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
import openvino
from onnx import helper, numpy_helper


def both(kind, inputs, opset, constants=(), **attributes):
    """ONNX Runtime's and OpenVINO's first output of one node; the inputs numbered in constants are initializers."""
    names = ["" if v is None else f"i{n}" for n, v in enumerate(inputs)]
    held = {f"i{n}": inputs[n] for n in constants}
    feeds = {n: v for n, v in zip(names, inputs) if n and n not in held}
    infos = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
        for n, v in feeds.items()
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, names, ["y"], **attributes)],
        "g",
        infos,
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(v, n) for n, v in held.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "model.onnx")
    there = ort.InferenceSession("model.onnx", providers=["CPUExecutionProvider"]).run(None, feeds)[0]
    compiled = openvino.Core().compile_model("model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return there, np.array(compiled(feeds)[0])


def row(dtype, *values):
    return np.array(values, dtype)


large = 2**53
for text, arguments, attributes, right, wrong in (
    (
        f"Add of int64 [{large}, 7] and [1, 1]",
        ("Add", [row(np.int64, large, 7), row(np.int64, 1, 1)], 13), {}, [large + 1, 8], [1, 8],
    ),
    (f"ReduceSum of int64 [{large}, 1, 1]", ("ReduceSum", [row(np.int64, large, 1, 1)], 13), {}, [large + 2], [2]),
    (
        f"Clip of int64 [{large + 1}, 5] to at least 0",
        ("Clip", [row(np.int64, large + 1, 5), np.array(0)], 13, (1,)), {}, [large + 1, 5], [1, 5],
    ),
    (
        "Equal of int32 [16777216, 5] and [16777217, 5]",
        ("Equal", [row(np.int32, 2**24, 5), row(np.int32, 2**24 + 1, 5)], 13), {}, [False, True], [True, True],
    ),
    (
        "Less of int32 [16777216, 5] and [16777217, 6]",
        ("Less", [row(np.int32, 2**24, 5), row(np.int32, 2**24 + 1, 6)], 13), {}, [True, True], [False, True],
    ),
    (
        "BitShift to the left of uint8 [200, 3] by [1, 2]",
        ("BitShift", [row(np.uint8, 200, 3), row(np.uint8, 1, 2)], 13), {"direction": "LEFT"}, [144, 12], [255, 12],
    ),
):
    there, here = both(*arguments, **attributes)
    print(f"{text}: ONNX Runtime {there.tolist()}, OpenVINO {here.tolist()}")
    assert there.tolist() == right and here.tolist() == wrong
PY
