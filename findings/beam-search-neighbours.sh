#!/usr/bin/env bash
# ONNX Runtime's BeamSearch ends a prompt's text by the scores of the prompts beside it.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: the prompts of a batch have nothing to do with each other: the text for a prompt is the same alone
#   and in a batch.
# Seen: whether the search for a prompt can end is asked of scores that begin a batch's row too early: the
#   second prompt's search ends, or goes on, by scores of the first one. Only without early_stopping, where
#   the best open beam is compared with the worst text that has ended.
# Output (1 ends a text, 0 fills up):
#   [3] alone:      [3, 7, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0]
#   beside [2]:     [3, 6, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4]
#   beside itself:  [3, 7, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0]
# Who is hurt: whoever translates in batches with a converted T5 or GPT-2: texts change with the order of the
#   batch, and evaluations can't be repeated with another batch size.
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


def search(table, *prompts):
    numbers = {"max_length": 12, "min_length": 0, "num_beams": 2, "num_return_sequences": 1}
    feeds = {"input_ids": np.array(prompts, np.int32)[:, None]}
    feeds |= {name: np.array([n], np.int32) for name, n in numbers.items()}
    feeds["length_penalty"] = np.array([1], np.float32)
    return run("BeamSearch", table, feeds, 3)[:, 0].tolist()


table = (np.random.default_rng(257).integers(-6, 7, (VOCABULARY, VOCABULARY)) / 2).astype(np.float32)
alone, beside, twice = search(table, 3)[0], search(table, 2, 3)[1], search(table, 3, 3)[1]
print("[3] alone:     ", alone)
print("beside [2]:    ", beside)
print("beside itself: ", twice)
assert alone == twice and alone != beside
assert search(table, 3, 2)[0] == alone  # the first prompt of a batch isn't hurt
PY
