#!/usr/bin/env bash
# tinygrad's Attention gives query heads the keys of another group, and forgets the past in a causal mask.
#
# Packages: tinygrad 0.14.0, onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: of four query heads the first two belong to the first of two key heads; a token after two past ones sees three;
#   a token masked by minus infinity isn't seen. ONNX's reference evaluator agrees with ONNX Runtime.
# Seen: heads take turns; the new token sees the first past one alone; with softcap the mask is capped too.
# Output (the values are 10, 20 and 30, the scores are equal):
#   four query heads, two key heads: ONNX Runtime [10.0, 10.0, 20.0, 20.0], tinygrad [10.0, 20.0, 10.0, 20.0]
#   causal after two past tokens: ONNX Runtime [20.0], tinygrad [10.0]
#   softcap 1, the second token masked: ONNX Runtime [10.0], tinygrad [11.47]
#   softcap 0, the second token masked: ONNX Runtime [10.0], tinygrad [10.0]
# Who is hurt: language models with grouped queries or a cache whose files have the Attention of opset 23; with
#   as many key heads as query heads and no cache all is right.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    tinygrad==0.14.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
# tinygrad's device in Python needs no compiler.
DEV=PYTHON venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from tinygrad.nn.onnx import OnnxRunner


def values(*numbers):
    """Of shape (1, 1, tokens, 1)."""
    return np.array(numbers, np.float32).reshape(1, 1, -1, 1)


def both(feeds, names, outputs, **attributes):
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, v.shape) for n, v in feeds.items()]
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Attention", names, outputs, **attributes)],
            "g",
            infos,
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, None, None, 1]) for n in outputs],
        ),
        opset_imports=[helper.make_opsetid("", 23)],
        ir_version=11,
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, "model.onnx")
    there = ort.InferenceSession("model.onnx", providers=["CPUExecutionProvider"]).run(None, feeds)[0]
    assert np.allclose(there, ReferenceEvaluator(model).run(None, feeds)[0])
    return there.ravel(), OnnxRunner("model.onnx")(feeds)["y"].numpy().ravel()


heads = {
    "q": np.ones((1, 4, 1, 1), np.float32),
    "k": np.ones((1, 2, 1, 1), np.float32),
    "v": np.array([10, 20], np.float32).reshape(1, 2, 1, 1),
}
cached = {"q": values(1), "k": values(0), "v": values(30), "past_k": values(0, 0), "past_v": values(10, 20)}
masked = {"q": values(1), "k": values(1, 1), "v": values(10, 20), "mask": np.array([[0, -np.inf]], np.float32)}
cache_names = ["q", "k", "v", "", "past_k", "past_v"]
for text, (there, here), right, wrong in (
    (
        "four query heads, two key heads", both(heads, ["q", "k", "v"], ["y"]),
        [10, 10, 20, 20], [10, 20, 10, 20],
    ),
    (
        "causal after two past tokens", both(cached, cache_names, ["y", "present_k", "present_v"], is_causal=1),
        [20], [10],
    ),
    ("softcap 1, the second token masked", both(masked, list(masked), ["y"], softcap=1.0), [10], [11.4659]),
    ("softcap 0, the second token masked", both(masked, list(masked), ["y"]), [10], [10]),
):
    there_text, here_text = (np.round(a.astype(float), 2).tolist() for a in (there, here))
    print(f"{text}: ONNX Runtime {there_text}, tinygrad {here_text}")
    assert np.allclose(there, right) and np.allclose(here, wrong, atol=1e-3)
PY
