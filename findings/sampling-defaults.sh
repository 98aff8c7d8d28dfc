#!/usr/bin/env bash
# ONNX Runtime's Sampling with its default settings draws all tokens equally often.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: tokens are drawn by their probability, among the fewest that have top_p together. top_p is 0 by
#   default, so that is one token; or, as in other libraries, no limit at all.
# Seen: with top_p and min_tokens_to_keep at their defaults, both 0, every token is filtered out, and all get
#   the same filter_value: a token of probability 3e-7 is drawn as often as one of 0.98. With
#   min_tokens_to_keep 1 the most probable one is drawn, with top_p 1 each as often as it should be.
# Output (how often each of 8 tokens is drawn, in hundredths; the model's probabilities first):
#   model      [0, 0, 0, 0, 98, 0, 2, 0]
#   defaults   [0, 25, 12, 13, 13, 13, 12, 12] or nearly so (0 is written as 1)
#   keep 1     [0, 0, 0, 0, 100, 0, 0, 0]
#   top_p 1    [0, 0, 0, 0, 98, 0, 2, 0]
# Who is hurt: whoever builds the node without these attributes, since all of them are optional: the text is
#   noise, and no error says so.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
venv/bin/python - <<'PY'
import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

EOS, PAD, VOCABULARY = 1, 0, 8
INT32, FLOAT = TensorProto.INT32, TensorProto.FLOAT
value = helper.make_tensor_value_info


def decoder(table):
    """The logits of each token's successors are a row of a table; the past is there for the form."""
    return helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["logits"]),
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=FLOAT),
            helper.make_node("Unsqueeze", ["mask", "axes"], ["one"]),
            helper.make_node("Concat", ["one", "one"], ["present_0"], axis=0),
        ],
        "decoder",
        [
            value("input_ids", INT32, ["b", "s"]),
            value("position_ids", INT32, ["b", "s"]),
            value("attention_mask", INT32, ["b", "t"]),
            value("past_0", FLOAT, [2, "b", 1, "p", 1]),
        ],
        [
            value("logits", FLOAT, ["b", "s", VOCABULARY]),
            value("present_0", FLOAT, [2, "b", 1, "t", 1]),
        ],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([0, 2, 4]), "axes"),
        ],
    )


def run(operator, table, feeds, rank, **attributes):
    """The sequences that a model of this operator alone gives."""
    node = helper.make_node(
        operator, list(feeds), ["sequences"], domain="com.microsoft", decoder=decoder(table),
        eos_token_id=EOS, pad_token_id=PAD, **attributes,
    )
    kinds = {"int32": INT32, "float32": FLOAT}
    graph = helper.make_graph(
        [node], "g",
        [value(name, kinds[str(x.dtype)], x.shape) for name, x in feeds.items() if name],
        [value("sequences", INT32, [None] * rank)],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {name: x for name, x in feeds.items() if name})[0]


def hundredths(table, **attributes):
    """How often each token is the first one after the token 2."""
    feeds = {
        "input_ids": np.full((20_000, 1), 2, np.int32),
        "max_length": np.array([2], np.int32),
    }
    drawn = run("Sampling", table, feeds, 2, **attributes)[:, 1]
    drawn[drawn == PAD] = EOS  # which the end of a text is written as
    return np.round(np.bincount(drawn, minlength=VOCABULARY) / 200).astype(int).tolist()


table = np.full((VOCABULARY, VOCABULARY), -5, np.float32)
table[:, 4], table[:, 6], table[:, PAD] = 10, 6, -30
model = np.exp(table[2]) / np.exp(table[2]).sum()
print("model    ", np.round(100 * model).astype(int).tolist())
defaults = hundredths(table)
print("defaults ", defaults)
kept, whole = hundredths(table, min_tokens_to_keep=1), hundredths(table, top_p=1.0)
print("keep 1   ", kept)
print("top_p 1  ", whole)
assert kept[4] == 100 and abs(whole[4] - 98) <= 1
assert max(defaults) < 30 and min(defaults[2:]) > 8
PY
