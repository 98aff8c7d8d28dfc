#!/usr/bin/env bash
# ONNX's reference evaluator runs LSTM, GRU and RNN without sequence_lens, clip, activations and input_forget.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
# Expected: what the operators' text says, which is also what the evaluator is for; or a refusal.
# Seen: the inputs and attributes are accepted and change nothing: rows that are shorter go on through their padding, other
#   functions are sigmoid and tanh. RNN alone reads activations, and refuses Relu. Bias, peepholes, initial states,
#   directions and linear_before_reset count.
# Output (all inputs and weights 1, three steps; the last hidden state, then with the change):
#   LSTM: ONNX Runtime 0.789, reference 0.789
#   LSTM, sequence_lens 1: ONNX Runtime 0.37, reference 0.789
#   LSTM, clip 0.1: ONNX Runtime 0.049, reference 0.789
#   LSTM, input_forget 1: ONNX Runtime 0.587, reference 0.789
#   LSTM, activations HardSigmoid, Relu, Tanh: ONNX Runtime 0.841, reference 0.789
#   GRU: ONNX Runtime 0.452, reference 0.452
#   GRU, sequence_lens 1: ONNX Runtime 0.205, reference 0.452
#   GRU, clip 0.1: ONNX Runtime 0.085, reference 0.452
#   RNN: ONNX Runtime 0.96, reference 0.96
#   RNN, sequence_lens 1: ONNX Runtime 0.762, reference 0.96
#   RNN, clip 0.1: ONNX Runtime 0.1, reference 0.96
# Who is hurt: whoever holds a runtime or an exporter against the reference: batches of sequences of different lengths differ,
#   and the runtime is right.
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
from onnx.reference import ReferenceEvaluator

gates = {"LSTM": 4, "GRU": 3, "RNN": 1}
x = np.ones((3, 1, 1), np.float32)


def both(kind, length=None, **attributes):
    """The last hidden state of three steps, of one number."""
    held = {"w": np.ones((1, gates[kind], 1), np.float32), "r": np.ones((1, gates[kind], 1), np.float32)}
    names = ["x", "w", "r"]
    if length is not None:
        held["length"] = np.array([length], np.int32)
        names += ["", "length"]
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node(kind, names, ["", "y"], hidden_size=1, **attributes)],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1])],
            [numpy_helper.from_array(v, n) for n, v in held.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0].item(), ReferenceEvaluator(model).run(None, {"x": x})[0].item()


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


# After one step of the LSTM from zero: sigmoid(1) * tanh(sigmoid(1) * tanh(1)).
one_step = sigmoid(1) * np.tanh(sigmoid(1) * np.tanh(1))
changes = [
    ("", {}),
    (", sequence_lens 1", {"length": 1}),
    (", clip 0.1", {"clip": 0.1}),
    (", input_forget 1", {"input_forget": 1}),
    (", activations HardSigmoid, Relu, Tanh", {"activations": ["HardSigmoid", "Relu", "Tanh"]}),
]
for kind in gates:
    plain = both(kind)[1]
    for text, change in changes if kind == "LSTM" else changes[:3]:
        there, here = both(kind, **change)
        print(f"{kind}{text}: ONNX Runtime {round(there, 3)}, reference {round(here, 3)}")
        assert here == plain and (abs(there - here) < 1e-5) == (not change)
        assert (kind, text) != ("LSTM", ", sequence_lens 1") or np.isclose(there, one_step)
try:
    raise SystemExit(f"RNN with Relu runs now, and gives {both('RNN', activations=['Relu'])}")
except RuntimeError as error:
    assert "Unknown activation function 'Relu'" in str(error)
PY
