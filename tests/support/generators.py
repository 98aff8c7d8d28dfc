"""Small random models of text generation, as ONNX Runtime's convert_generation arranges them: a
node with the decoder, and the encoder if there is one, as subgraphs."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import onnxwalk

I32, F32 = TensorProto.INT32, TensorProto.FLOAT


class Graph:
    """Nodes and weights in the order of their making; each value gets a name of its own."""

    def __init__(self, prefix: str, seed: int, scale: float = 1.0) -> None:
        self.prefix, self.scale = prefix, scale
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def add(self, operator: str, *inputs: Any, outputs: Any = 1, **attributes: Any) -> Any:
        """The names of the outputs of a node; arrays among the inputs become initializers."""
        names = [self.constant(x) if isinstance(x, np.ndarray) else x for x in inputs]
        if isinstance(outputs, int):
            outputs = [f"{self.prefix}{operator}{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, names, outputs, **attributes))
        return outputs[0] if len(outputs) == 1 else outputs

    def constant(self, array: np.ndarray) -> str:
        name = f"{self.prefix}w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def random(self, *shape: int) -> np.ndarray:
        size = self.scale / np.sqrt(shape[0])
        return (size * self.rng.normal(size=shape)).astype(np.float32)

    def dense(self, x: str, n: int, m: int) -> str:
        return self.add("MatMul", x, self.random(n, m))

    def feed_forward(self, x: str, n: int) -> str:
        inner = self.add("Tanh", self.dense(x, n, 2 * n))
        return self.add("Add", x, self.dense(inner, 2 * n, n))

    def heads(self, x: str, heads: int, size: int) -> str:
        """(B, S, N) to (B, H, S, D)."""
        split = self.add("Reshape", x, np.array([0, 0, heads, size]))
        return self.add("Transpose", split, perm=[0, 2, 1, 3])

    def attention(self, q: str, k: str, v: str, mask: str | None, heads: int, size: int) -> str:
        """(B, H, S, D) each; ``mask`` is int32 (B, T), 0 for what isn't seen."""
        scores = self.add("MatMul", q, self.add("Transpose", k, perm=[0, 1, 3, 2]))
        if mask is not None:
            hidden = self.add("Sub", np.float32([1]), self.add("Cast", mask, to=F32))
            hidden = self.add("Unsqueeze", hidden, np.array([1, 2]))
            scores = self.add("Add", scores, self.add("Mul", hidden, np.float32([-1e4])))
        mixed = self.add("MatMul", self.add("Softmax", scores, axis=-1), v)
        mixed = self.add("Transpose", mixed, perm=[0, 2, 1, 3])
        return self.add("Reshape", mixed, np.array([0, 0, heads * size]))

    def done(self, inputs: list[Any], outputs: list[Any]) -> onnx.GraphProto:
        return helper.make_graph(self.nodes, self.prefix, inputs, outputs, self.weights)


def value(name: str, kind: int, *shape: Any) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def gpt(
    *,
    vocab: int = 20,
    layers: int = 1,
    heads: int = 2,
    size: int = 4,
    seed: int = 0,
    scale: float = 3.0,
    prefix: str = "gpt_",
    outer_embedding: str = "",
) -> onnx.GraphProto:
    """A decoder as of GPT-2. ``outer_embedding``: the name of an outer value to be read as the
    table of tokens, (vocab, heads · size)."""
    g, n = Graph(prefix, seed, scale), heads * size
    table = outer_embedding or g.constant(g.random(vocab, n) * np.float32(np.sqrt(vocab)))
    x = g.add(
        "Add",
        g.add("Gather", table, "input_ids"),
        g.add("Gather", g.random(256, n) * np.float32(16), "position_ids"),
    )
    inputs = [
        value("input_ids", I32, "B", "S"),
        value("position_ids", I32, "B", "S"),
        value("attention_mask", I32, "B", "T"),
    ]
    outputs = [value("logits", F32, "B", "S", vocab)]
    for i in range(layers):
        mixed, _ = g.add(
            "Attention",
            x,
            g.random(n, 3 * n),
            g.random(3 * n),
            "attention_mask",
            f"past_{i}",
            outputs=[f"{prefix}mixed{i}", f"present_{i}"],
            domain="com.microsoft",
            num_heads=heads,
            unidirectional=1,
        )
        x = g.feed_forward(g.add("Add", x, g.dense(mixed, n, n)), n)
        inputs.append(value(f"past_{i}", F32, 2, "B", heads, "P", size))
        outputs.append(value(f"present_{i}", F32, 2, "B", heads, "T", size))
    g.add("MatMul", x, g.random(n, vocab), outputs=["logits"])
    return g.done(inputs, outputs)


def seq2seq(
    *,
    vocab: int = 20,
    layers: int = 1,
    heads: int = 2,
    size: int = 4,
    seed: int = 0,
    scale: float = 3.0,
    start: bool = True,
    hidden_states: bool = True,
    whole_sequence: bool = False,
    whisper: int = 0,
) -> tuple[onnx.GraphProto, onnx.GraphProto]:
    """An encoder and a decoder as of T5. ``start``: the encoder makes the first step of the
    decoder too; ``hidden_states``: the decoder has them as an input; ``whole_sequence``: it reads
    all tokens each time; ``whisper``: the number of features of sounds, in place of tokens."""
    n = heads * size
    rng = np.random.default_rng(seed)
    shared = [
        {
            name: rng.normal(size=shape).astype(np.float32) * np.float32(scale / np.sqrt(n))
            for name, shape in {
                "qkv": (n, 3 * n),
                "o": (n, n),
                "q": (n, n),
                "p": (n, n),
                "m": (n, n),
            }.items()
        }
        for _ in range(layers)
    ]
    table = (scale * rng.normal(size=(vocab, n)) / 2).astype(np.float32)
    out = (scale * rng.normal(size=(n, vocab)) / np.sqrt(n)).astype(np.float32)

    def decode(
        g: Graph,
        ids: str,
        mask: str | None,
        pasts: list[str] | None,
        cross: list[str],
        names: list[str],
    ) -> str:
        x = g.add("Gather", table, ids)
        for i, w in enumerate(shared):
            q, k, v = (
                g.heads(part, heads, size)
                for part in g.add(
                    "Split", g.add("MatMul", x, w["qkv"]), outputs=3, axis=-1, num_outputs=3
                )
            )
            before = pasts[2 * i : 2 * i + 2] if pasts else []
            k = g.add("Concat", *before[:1], k, axis=2, outputs=[names[2 * i]])
            v = g.add("Concat", *before[1:], v, axis=2, outputs=[names[2 * i + 1]])
            mixed = g.attention(q, k, v, None, heads, size)
            x = g.add("Add", x, g.add("MatMul", mixed, w["o"]))
            q = g.heads(g.add("MatMul", x, w["q"]), heads, size)
            mixed = g.attention(q, cross[2 * i], cross[2 * i + 1], mask, heads, size)
            x = g.add("Add", x, g.add("MatMul", mixed, w["p"]))
            x = g.add("Add", x, g.add("Tanh", g.add("MatMul", x, w["m"])))
        return x

    e = Graph("encoder_", seed + 1, scale)
    if whisper:
        turned = e.add("Transpose", "encoder_input_ids", perm=[0, 2, 1])
        h = e.dense(turned, whisper, n)
        inputs = [value("encoder_input_ids", F32, "B", whisper, "E")]
    else:
        h = e.add("Gather", table, "encoder_input_ids")
        inputs = [
            value("encoder_input_ids", I32, "B", "E"),
            value("encoder_attention_mask", I32, "B", "E"),
        ]
    h = e.add("Tanh", e.dense(h, n, n), outputs=["encoder_hidden_states"])
    cross, caches, selves = [], [], []
    for i in range(layers):
        for kind in ("key", "value"):
            name = f"present_{kind}_cross_{i}"
            e.add(
                "Transpose",
                e.add("Reshape", e.dense(h, n, n), np.array([0, 0, heads, size])),
                perm=[0, 2, 1, 3],
                outputs=[name],
            )
            cross.append(name)
            caches.append(value(name, F32, "B", heads, "E", size))
            selves.append(f"present_{kind}_self_{i}")
    outputs = caches
    if start:
        inputs.append(value("decoder_input_ids", I32, "B", "D" if whisper else 1))
        mask = None if whisper else "encoder_attention_mask"
        x = decode(e, "decoder_input_ids", mask, None, cross, selves)
        e.add("MatMul", x, out, outputs=["logits"])
        outputs = [
            value("logits", F32, "B", "D", vocab),
            value("encoder_hidden_states", F32, "B", "E", n),
            *(value(name, F32, "B", heads, "D", size) for name in selves),
            *caches,
        ]
    encoder = e.done(inputs, outputs)

    d = Graph("decoder_", seed + 2, scale)
    inputs = [value("input_ids", I32, "B", "S" if whole_sequence else 1)]
    if not whisper:
        inputs.append(value("encoder_attention_mask", I32, "B", "E"))
    if hidden_states:
        inputs.append(value("encoder_hidden_states", F32, "B", "E", n))
    pasts = [name.replace("present", "past") for name in selves]
    crosses = [name.replace("present", "past") for name in cross]
    inputs += [value(name, F32, "B", heads, "P", size) for name in pasts]
    inputs += [value(name, F32, "B", heads, "E", size) for name in crosses]
    ids = "input_ids"
    if whole_sequence:
        ids = d.add("Slice", "input_ids", np.array([-1]), np.array([2**31 - 1]), np.array([1]))
    mask = None if whisper else "encoder_attention_mask"
    x = decode(d, ids, mask, pasts, crosses, selves)
    d.add("MatMul", x, out, outputs=["logits"])
    outputs = [value("logits", F32, "B", 1, vocab)]
    outputs += [value(name, F32, "B", heads, "T", size) for name in selves]
    return encoder, d.done(inputs, outputs)


def generator(
    operator: str,
    feeds: dict[str, Any],
    order: list[str],
    outputs: list[str],
    initializers: Any = (),
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of one node. ``order``: all names of the operator's inputs; those that aren't fed
    are left out."""
    node = helper.make_node(
        operator,
        [name if name in feeds else "" for name in order],
        outputs,
        domain="com.microsoft",
        name="search",
        **attributes,
    )
    while node.input and not node.input[-1]:
        del node.input[-1]
    kinds = {"int32": I32, "float32": F32}
    inputs = [value(n, kinds[str(x.dtype)], *x.shape) for n, x in feeds.items() if n in order]
    floats = {"sequences_scores", "scores", "filtered_logits", "cross_qk", "non_speech_probs"}
    results = [value(n, F32 if n in floats else I32) for n in outputs if n]
    for info in results:
        info.type.tensor_type.ClearField("shape")
    graph = helper.make_graph([node], "g", inputs, results, list(initializers))
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


GREEDY = "input_ids max_length min_length repetition_penalty vocab_mask prefix_vocab_mask".split()
GREEDY += ["attention_mask"]
SAMPLING = [*GREEDY, "presence_mask", "seed"]
BEAM = (
    "input_ids max_length min_length num_beams num_return_sequences length_penalty "
    "repetition_penalty vocab_mask prefix_vocab_mask attention_mask decoder_input_ids "
    "logits_processor"
).split()
WHISPER = [*BEAM, "cross_qk_layer_head", "extra_decoding_ids", "temperature"]


class Body:
    """A subgraph as an operator gets it, run as a model of its own. A call that was made before
    takes no memory, so that the operator's own can be measured."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
        session = onnxwalk.load(helper.make_model(graph, opset_imports=opsets, ir_version=9))
        self.inputs = session.model.graph.inputs
        self.output_types = [value.type for value in session.model.graph.outputs]
        self._run = session.run
        self._known: dict[Any, tuple[Any, ...]] = {}

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        key = tuple((x.shape, zlib.crc32(np.ascontiguousarray(x))) for x in inputs)
        if key not in self._known:
            names = [value.name for value in self.inputs]
            self._known[key] = tuple(self._run(None, dict(zip(names, inputs, strict=True))))
        return self._known[key]

    def reserve(self, nbytes: int) -> None:
        """There is no limit."""


def as_body(attribute: Any) -> Any:
    """A graph as a ``Body``; other attributes unchanged."""
    return Body(attribute) if isinstance(attribute, onnx.GraphProto) else attribute


def integer(x: int) -> np.ndarray:
    return np.array([x], np.int32)


def number(x: float) -> np.ndarray:
    return np.array([x], np.float32)


def random_search(kind: str, rng: np.random.Generator) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """A model and feeds with settings of all kinds; ``kind``: greedy, gpt, t5 or whisper."""
    vocab, batch, length = (int(rng.integers(*limits)) for limits in ((8, 40), (1, 4), (1, 6)))
    shape = {
        "vocab": vocab,
        "layers": int(rng.integers(1, 3)),
        "seed": int(rng.integers(1e6)),
        "scale": float(rng.choice([1, 2, 3])),
    }
    eos, pad, start = rng.integers(0, vocab, 3).tolist()
    ids = rng.integers(0, vocab, (batch, length)).astype(np.int32)
    if rng.random() < 0.5:
        ids[:, : int(rng.integers(0, length))] = pad
    most = (1 if kind == "t5" else length) + int(rng.integers(2, 13))
    feeds: dict[str, Any] = {
        "input_ids": ids,
        "max_length": integer(most),
        "min_length": integer(int(rng.choice([0, 0, rng.integers(0, most)]))),
    }
    if rng.random() < 0.4:
        feeds["repetition_penalty"] = number(rng.choice([1, 0.7, 1.3, 2]))
    if rng.random() < 0.3:
        feeds["vocab_mask"] = (rng.random(vocab) < 0.8).astype(np.int32)
    if rng.random() < 0.3:
        feeds["prefix_vocab_mask"] = (rng.random((batch, vocab)) < 0.7).astype(np.int32)
    if rng.random() < 0.3 and kind != "whisper":
        feeds["attention_mask"] = (rng.random((batch, length)) < 0.8).astype(np.int32)
        feeds["attention_mask"][:, -1] = 1
    settings: dict[str, Any] = {
        "eos_token_id": eos,
        "pad_token_id": pad,
        "no_repeat_ngram_size": int(rng.choice([0, 0, 1, 2, 3])),
    }
    if kind in ("greedy", "gpt"):
        settings["decoder"] = gpt(**shape)
        if rng.random() < 0.2:
            settings["init_decoder"] = gpt(**{**shape, "seed": 7, "prefix": "init_"})
    if kind == "greedy":
        return generator("GreedySearch", feeds, GREEDY, ["sequences"], **settings), feeds
    beams = int(rng.integers(1, 5))
    feeds |= {
        "num_beams": integer(beams),
        "num_return_sequences": integer(int(rng.integers(1, beams + 1))),
        "length_penalty": number(rng.choice([1, 0, -1, 0.5, 2])),
    }
    settings["early_stopping"] = int(rng.integers(0, 2))
    outputs = ["sequences", "sequences_scores"]
    if kind == "gpt":
        return generator("BeamSearch", feeds, BEAM, outputs, **settings), feeds
    settings |= {"decoder_start_token_id": start, "model_type": 1}
    if kind == "t5":
        starts = bool(rng.integers(2))
        settings["encoder"], settings["decoder"] = seq2seq(
            **shape,
            start=starts,
            hidden_states=starts and bool(rng.integers(2)),
            whole_sequence=bool(rng.integers(2)),
        )
        return generator("BeamSearch", feeds, BEAM, outputs, **settings), feeds
    feeds["decoder_input_ids"] = feeds["input_ids"]
    feeds["input_ids"] = rng.normal(size=(batch, 5, 6)).astype(np.float32)
    feeds["temperature"] = number(rng.choice([0.5, 1, 2]))
    feeds["logits_processor"] = integer(int(rng.integers(2)))
    encoder, decoder = seq2seq(**shape, whisper=5, hidden_states=bool(rng.integers(2)))
    names = "translate transcribe start_of_lm no_speech no_timestamps beginning_timestamp".split()
    tokens = np.sort(rng.choice(vocab, len(names), replace=False)).tolist()
    settings |= {f"{name}_token_id": t for name, t in zip(names, tokens, strict=True)}
    settings |= {"model_type": 2, "encoder": encoder, "decoder": decoder}
    return generator("WhisperBeamSearch", feeds, WHISPER, outputs, **settings), feeds
