#!/usr/bin/env bash
# ONNX Runtime's Shape of a ConvTranspose with auto_pad SAME and output_padding is 15 optimized, where 14 numbers come out.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: input times stride, 14, as the specification says for SAME and as the kernel answers.
# Seen: shape inference adds the output padding on top. With basic optimizations the Shape of the result is folded to
#   that, so that what uses it fails; without optimizations it is 14. Both SAME_UPPER and SAME_LOWER.
# Output:
#   onnx infers [1, 1, 15]
#   not optimized: result (1, 1, 14), its Shape [1, 1, 14]
#   optimized: result (1, 1, 14), its Shape [1, 1, 15]
#   optimized, a tensor expanded to that Shape and added: doesn't run
# Who is hurt: decoders that bring another branch to the size of an upsampled one.
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
from onnx import TensorProto, helper, numpy_helper

Level = ort.GraphOptimizationLevel
ort.set_default_logger_severity(4)


def build(auto_pad, use):
    nodes = [
        helper.make_node(
            "ConvTranspose", ["x", "w"], ["y"], auto_pad=auto_pad, kernel_shape=[3], strides=[2], output_padding=[1]
        ),
        helper.make_node("Shape", ["y"], ["s"]),
    ]
    outputs = [("y", TensorProto.FLOAT, [None] * 3), ("s", TensorProto.INT64, [3])]
    if use:
        nodes += [helper.make_node("Expand", ["one", "s"], ["e"]), helper.make_node("Add", ["y", "e"], ["z"])]
        outputs = [("z", TensorProto.FLOAT, [None] * 3)]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 7])],
        [helper.make_tensor_value_info(*output) for output in outputs],
        [
            numpy_helper.from_array(np.ones((1, 1, 3), np.float32), "w"),
            numpy_helper.from_array(np.ones(1, np.float32), "one"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def run(model, level):
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.ones((1, 1, 7), np.float32)})


for auto_pad in ("SAME_UPPER", "SAME_LOWER"):
    show = print if auto_pad == "SAME_UPPER" else lambda text: None
    inferred = onnx.shape_inference.infer_shapes(build(auto_pad, False)).graph.output[0]
    sizes = [d.dim_value for d in inferred.type.tensor_type.shape.dim]
    show(f"onnx infers {sizes}")
    assert sizes == [1, 1, 15]
    for text, level, size in (("not optimized", Level.ORT_DISABLE_ALL, 14), ("optimized", Level.ORT_ENABLE_BASIC, 15)):
        y, s = run(build(auto_pad, False), level)
        show(f"{text}: result {y.shape}, its Shape {s.tolist()}")
        assert y.shape == (1, 1, 14) and s.tolist() == [1, 1, size]
    assert run(build(auto_pad, True), Level.ORT_DISABLE_ALL)[0].shape == (1, 1, 14)
    try:
        run(build(auto_pad, True), Level.ORT_ENABLE_BASIC)
    except Exception as error:
        assert "14" in str(error) and "15" in str(error), error
        show("optimized, a tensor expanded to that Shape and added: doesn't run")
    else:
        raise SystemExit("it runs")
PY
