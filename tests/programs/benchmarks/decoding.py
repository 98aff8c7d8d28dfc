"""A small language model writes, beside ONNX Runtime, one thread each:

    python -m tests.programs.benchmarks.decoding [--tokens N] [--conversations N]

The model has layers of GroupQueryAttention and gated products with generated weights, in float32
and in four bits. Each conversation begins with a prompt of 100 tokens, of whose answer both engines
compute one token after the other, each from its own past. Printed are the times of the prompt and
of a token (the median), this package's over ONNX Runtime's, for each conversation: in the first
one all lengths are new. Exit status 1 if the tokens differ.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import onnxwalk
from tests.programs.benchmarks.transformers import to_int4

LAYERS, WIDTH, HEADS, GROUPS, INNER, WORDS, LONGEST = 4, 512, 8, 2, 1408, 8000, 2048
SIZE = WIDTH // HEADS
PROMPT = 100


class _Writer:
    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        self.constants[name := f"c{len(self.constants)}"] = np.asarray(value, dtype)
        return name

    def node(self, operator: str, *inputs: str, outputs: Sequence[str] = (), **rest: Any) -> str:
        outputs = outputs or [f"v{len(self.nodes)}"]
        name = f"{operator} {len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, outputs, name, **rest))
        return outputs[0]

    def linear(self, x: str, inputs: int, outputs: int, name: str = "") -> str:
        weights = self.rng.standard_normal((inputs, outputs), np.float32) / np.sqrt(inputs)
        return self.node("MatMul", x, self.constant(weights), outputs=[name] * bool(name))

    def normalized(self, x: str, added: str) -> tuple[str, str]:
        """The norm of a sum, and the sum."""
        outputs = [f"{added} norm", "", "", f"{added} sum"]
        scale = self.constant(self.rng.uniform(0.5, 1.5, WIDTH))
        operator = "SkipSimplifiedLayerNormalization"
        y = self.node(
            operator, x, added, scale, outputs=outputs, domain="com.microsoft", epsilon=1e-6
        )
        return y, outputs[3]

    def attention(self, x: str, layer: int, lengths: Sequence[str], waves: Sequence[str]) -> str:
        q, k, v = (self.linear(x, WIDTH, n) for n in (WIDTH, GROUPS * SIZE, GROUPS * SIZE))
        past, present = ([f"{when}.{layer}.{n}" for n in "kv"] for when in ("past", "present"))
        y = self.node(
            "GroupQueryAttention", q, k, v, *past, *lengths, *waves,
            outputs=[f"attention {layer}", *present], domain="com.microsoft",
            num_heads=HEADS, kv_num_heads=GROUPS, do_rotary=1,
        )  # fmt: skip
        return self.linear(y, WIDTH, WIDTH)

    def gated(self, x: str) -> str:
        gate, up = self.linear(x, WIDTH, INNER), self.linear(x, WIDTH, INNER)
        swish = self.node("Mul", gate, self.node("Sigmoid", gate))
        return self.linear(self.node("Mul", swish, up), INNER, WIDTH)

    def model(self) -> onnx.ModelProto:
        angles = np.arange(LONGEST)[:, None] / 10_000 ** (np.arange(SIZE // 2) / (SIZE // 2))
        waves = self.constant(np.cos(angles)), self.constant(np.sin(angles))
        one = self.constant([1], np.int64)
        count = self.node("ReduceSum", "attention_mask", one, keepdims=0)
        last = self.node("Cast", self.node("Sub", count, one), to=TensorProto.INT32)
        total = self.node("Gather", self.node("Shape", "attention_mask"), self.constant(1, int))
        lengths = last, self.node("Cast", total, to=TensorProto.INT32)
        words = self.rng.standard_normal((WORDS, WIDTH), np.float32)
        x = self.node("Gather", self.constant(words), "input_ids")
        scale = self.constant(self.rng.uniform(0.5, 1.5, WIDTH))
        y = self.node("SimplifiedLayerNormalization", x, scale, axis=-1, epsilon=1e-6, stash_type=1)
        for layer in range(LAYERS):
            y, x = self.normalized(x, self.attention(y, layer, lengths, waves))
            y, x = self.normalized(x, self.gated(y))
        self.linear(y, WIDTH, WORDS, "logits")
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", length])
            for name, length in (("input_ids", "tokens"), ("attention_mask", "total"))
        ]
        inputs += _caches("past")
        logits = helper.make_tensor_value_info(
            "logits", TensorProto.FLOAT, ["batch", "tokens", WORDS]
        )
        weights = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(
            self.nodes, "decoder", inputs, [logits, *_caches("present")], weights
        )
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _caches(when: str) -> list[onnx.ValueInfoProto]:
    shape = ["batch", GROUPS, when, SIZE]
    return [
        helper.make_tensor_value_info(f"{when}.{layer}.{n}", TensorProto.FLOAT, shape)
        for layer in range(LAYERS)
        for n in "kv"
    ]


def write(
    run: Callable[[Any], Any], prompt: np.ndarray, count: int
) -> tuple[list[int], list[float]]:
    """The tokens that follow, by ``run(feeds) -> outputs by name``, and the seconds of each run."""
    feeds = {"input_ids": prompt, "attention_mask": np.ones_like(prompt)}
    feeds |= {v.name: np.zeros((1, GROUPS, 0, SIZE), np.float32) for v in _caches("past")}
    tokens, times = [], []
    for length in range(PROMPT + 1, PROMPT + 1 + count):
        begun = time.perf_counter()
        found = run(feeds)
        times.append(time.perf_counter() - begun)
        tokens.append(int(found["logits"][0, -1].argmax()))
        feeds = {v.name: found[v.name.replace("past", "present")] for v in _caches("past")}
        feeds["input_ids"] = np.array([tokens[-1:]], np.int64)
        feeds["attention_mask"] = np.ones((1, length), np.int64)
    return tokens, times


def _by_name(session: Any) -> Callable[[Any], dict[str, np.ndarray]]:
    names = ["logits", *(value.name for value in _caches("present"))]
    return lambda feeds: dict(zip(names, session.run(names, feeds), strict=True))


def main(arguments: Sequence[str] | None = None) -> int:
    import onnxruntime

    parser = argparse.ArgumentParser(
        prog="python -m tests.programs.benchmarks.decoding", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--tokens", type=int, default=60, help="of an answer: %(default)s")
    parser.add_argument("--conversations", type=int, default=3, help="%(default)s")
    options = parser.parse_args(arguments)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    same = True
    for form, convert in (("float32", lambda model: model), ("int4", to_int4)):
        with TemporaryDirectory() as folder:
            path = Path(folder) / "decoder.onnx"
            onnx.save(convert(_Writer().model()), path)
            sessions = [
                onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"]),
                onnxwalk.load(path),
            ]
        runs = [_by_name(session) for session in sessions]
        for number in range(options.conversations):
            prompt = np.random.default_rng(number).integers(0, WORDS, (1, PROMPT))
            (theirs, slow), (ours, fast) = (write(run, prompt, options.tokens) for run in runs)
            same &= theirs == ours
            token, their_token = (statistics.median(times[1:]) for times in (fast, slow))
            print(
                f"{form}, conversation {number + 1}: prompt {fast[0] / slow[0]:.2f}, "
                f"token {token / their_token:.2f} ({1e3 * token:.1f} ms)"
                + ("" if theirs == ours else ", other tokens"),
                flush=True,
            )
    return int(not same)


if __name__ == "__main__":
    sys.exit(main())
