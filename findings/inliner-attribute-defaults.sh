#!/usr/bin/env bash
# onnx.inliner forgets the default values of a function's attributes.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: a function may give its attributes defaults (attribute_proto); a call without the attribute
#   means the default, as ONNX Runtime has it.
# Seen: inlined, the attribute of the inner node is left out, so the operator's own default counts: 0.01
#   for LeakyRelu where the function says 0.25. The checker passes both models.
# Output:
#   leak(-4) with {'slope': 0.5}: -2, inlined -2 with attributes [0.5]
#   leak(-4) with no attribute: -1, inlined -0.04 with attributes []
# Who is hurt: whoever inlines functions for tools that don't know them; an epsilon, axis or alpha changes
#   silently.
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
import onnx.inliner
import onnxruntime as ort
from onnx import TensorProto, helper


def run(model):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return float(session.run(None, {"x": np.array([-4], np.float32)})[0].item())


def compare(given):
    """A function of one attribute, slope, which is 0.25 unless given; it is LeakyRelu's alpha."""
    leaky = helper.make_node("LeakyRelu", ["a"], ["b"])
    leaky.attribute.append(
        onnx.AttributeProto(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="slope")
    )
    one = helper.make_opsetid("", 20)
    leak = helper.make_function(
        "d", "leak", ["a"], ["b"], [leaky], [one], attribute_protos=[helper.make_attribute("slope", 0.25)]
    )
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("leak", ["x"], ["y"], domain="d", **given)],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        ),
        opset_imports=[one, helper.make_opsetid("d", 1)],
        functions=[leak],
        ir_version=10,
    )
    onnx.checker.check_model(model, full_check=True)
    inlined = onnx.inliner.inline_local_functions(model)
    onnx.checker.check_model(inlined, full_check=True)
    there, here = run(model), run(inlined)
    left = [helper.get_attribute_value(a) for a in inlined.graph.node[0].attribute]
    print(f"leak(-4) with {given or 'no attribute'}: {there:g}, inlined {here:g} with attributes {left}")
    return there, here


assert compare({"slope": 0.5}) == (-2, -2)
there, here = compare({})
assert there == -1 and abs(here + 0.04) < 1e-6
PY
