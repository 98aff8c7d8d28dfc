"""Mixtures of experts: MoE and QMoE, and a router for them, MoEGroupRouter.

A router gives each token a score for each expert; the k best of these, small networks of two
layers, are applied to it, and their results added up by the softmax of the scores.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from onnxwalk.ops.ai_onnx import activation
from onnxwalk.ops.ai_onnx.softmax import softmax
from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.com_microsoft.attention import refuse_unsupported
from onnxwalk.ops.com_microsoft.nbits import unpack_bits
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared import products
from onnxwalk.ops.shared.cost import PER_CALL, multiply_adds, wide_copies, wide_itemsize
from onnxwalk.ops.shared.numeric import distinct, wide

_ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": activation.relu,
    "gelu": partial(activation.gelu, approximate="tanh"),
    "silu": activation.swish,
    "identity": lambda x: x,
}
_CHOICES = {"activation_type": "relu gelu silu swiglu identity"}


@op(
    "MoE",
    since=1,
    domain=DOMAIN,
    optional=["fc1_experts_bias"],
)
def moe(
    input,
    router_probs,
    fc1_experts_weights,
    fc1_experts_bias,
    fc2_experts_weights,
    fc2_experts_bias=None,
    fc3_experts_weights=None,
    fc3_experts_bias=None,
    *,
    activation_alpha=1.0,
    activation_beta=0.0,
    activation_type="relu",
    k=1,
    normalize_routing_weights=0,
    swiglu_fusion=0,
    swiglu_limit=None,
    swiglu_limit_after_activation=0,
    use_sparse_mixer=0,
):
    """y = Σ p[e]·(f(x·W1[e]ᵀ + b1[e])·W2[e]ᵀ + b2[e]) over the k experts e with the largest p

    p = softmax(router_probs), divided by the sum of the k with normalize_routing_weights; of equal
    ones the expert with the higher number comes first. input (…, H), router_probs (tokens, E),
    W1 (E, I, H), b1 (E, I), W2 (E, H, I), b2 (E, H); y (…, H). f is relu, gelu (by tanh), silu,
    identity, or swiglu of W1 with 2·I rows, gates g and values l in turn (swiglu_fusion = 1):
    g·sigmoid(alpha·g)·(l + beta), g at most swiglu_limit, l between it and its negative.

    Source: com.microsoft.MoE-1, ONNX Runtime 1.32.
    """
    refuse_unsupported(
        fc3_experts_weights=fc3_experts_weights,
        fc3_experts_bias=fc3_experts_bias,
        swiglu_limit_after_activation=swiglu_limit_after_activation,
        use_sparse_mixer=use_sparse_mixer,
    )
    f = _make_activation(
        activation_type, swiglu_fusion, activation_alpha, activation_beta, swiglu_limit
    )
    first = _plain_layer(fc1_experts_weights, fc1_experts_bias)
    second = _plain_layer(fc2_experts_weights, fc2_experts_bias)
    return _mix(input, router_probs, None, first, second, f, k, bool(normalize_routing_weights))


class _Layer(NamedTuple):
    """One layer of all experts: the shape (E, out, in) of the weights, those of an expert in float,
    and the biases (E, out)."""

    shape: tuple[int, ...]
    weights_of: Callable[[int], np.ndarray]
    biases: np.ndarray | None

    def apply(self, expert: int, x: np.ndarray) -> np.ndarray:
        y = products.matmul(x, self.weights_of(expert).T)
        return y if self.biases is None else y + wide(self.biases[expert])


def _plain_layer(weights: np.ndarray, biases: np.ndarray | None) -> _Layer:
    return _Layer(weights.shape, lambda expert: wide(weights[expert]), biases)


def _make_activation(
    name: str, fusion: int, alpha: float, beta: float, limit: float | None
) -> Callable[[np.ndarray], np.ndarray]:
    if name != "swiglu":
        return _ACTIVATIONS[name]
    if fusion != 1:
        raise NotImplementedError(f"swiglu_fusion {fusion} is not supported: only 1, interleaved")

    def swiglu(x: np.ndarray) -> np.ndarray:
        gate, linear = x[:, ::2], x[:, 1::2]
        if limit is not None:
            gate = np.minimum(gate, x.dtype.type(limit))
            linear = np.clip(linear, x.dtype.type(-limit), x.dtype.type(limit))
        return activation.swish(gate, alpha=alpha) * (linear + x.dtype.type(beta))

    return swiglu


def _mix(
    input: np.ndarray,
    router_probs: np.ndarray,
    router_weights: np.ndarray | None,
    first: _Layer,
    second: _Layer,
    f: Callable[[np.ndarray], np.ndarray],
    k: int,
    normalize: bool,
) -> np.ndarray:
    """The formula of MoE. With router_weights these are added up by, not by the softmax."""
    x = wide(input).reshape(-1, input.shape[-1])
    tokens, experts = len(x), first.shape[0]
    if router_probs.shape != (tokens, experts) or not 1 <= k <= experts:
        raise ValueError(
            f"router_probs {router_probs.shape} should be ({tokens}, {experts}), k {k} from 1 to "
            f"{experts}"
        )
    if router_weights is not None and router_weights.shape != router_probs.shape:
        raise ValueError(f"router_weights {router_weights.shape} should be {router_probs.shape}")
    _check_layers(x, first, second)
    scores = softmax(wide(router_probs))
    chosen = np.argsort(scores, axis=1, kind="stable")[:, ::-1][:, :k]  # (tokens, k)
    amounts = np.take_along_axis(
        scores if router_weights is None else wide(router_weights), chosen, 1
    )
    if normalize:
        amounts = amounts / amounts.sum(1, keepdims=True)
    y = np.zeros_like(x)
    for expert in distinct(chosen):
        token, rank = np.nonzero((chosen == expert) & (amounts > 0))
        result = second.apply(expert, f(first.apply(expert, x[token])))
        y[token] += amounts[token, rank, None] * result
    return y.reshape(input.shape).astype(input.dtype, copy=False)


def _check_layers(x: np.ndarray, first: _Layer, second: _Layer) -> None:
    width = x.shape[1]
    if first.shape[2] != width or second.shape[:2] != (first.shape[0], width):
        raise ValueError(f"weights {first.shape}, {second.shape} don't fit tokens of {x.shape}")
    for layer in (first, second):
        if layer.biases is not None and layer.biases.shape != layer.shape[:2]:
            raise ValueError(f"biases {layer.biases.shape} should be {layer.shape[:2]}")


@op(
    "QMoE",
    since=1,
    domain=DOMAIN,
    optional=["fc1_scales", "fc1_experts_bias"],
)
def qmoe(
    input,
    router_probs,
    fc1_experts_weights,
    fc1_scales,
    fc1_experts_bias,
    fc2_experts_weights,
    fc2_scales=None,
    fc2_experts_bias=None,
    fc3_experts_weights=None,
    fc3_scales=None,
    fc3_experts_bias=None,
    fc1_zero_points=None,
    fc2_zero_points=None,
    fc3_zero_points=None,
    router_weights=None,
    fc1_global_scale=None,
    fc2_global_scale=None,
    fc1_act_scale=None,
    fc2_act_scale=None,
    fc1_act_block_scale=None,
    fc2_act_block_scale=None,
    *,
    accuracy_level=0,
    activation_alpha=1.0,
    activation_beta=0.0,
    activation_type="relu",
    block_size=None,
    expert_weight_bits=4,
    fc1_expert_weight_bits=None,
    fc2_expert_weight_bits=None,
    fc3_expert_weight_bits=None,
    k=1,
    normalize_routing_weights=0,
    quant_type="int",
    swiglu_fusion=0,
    swiglu_limit=None,
    swiglu_limit_after_activation=0,
    use_sparse_mixer=0,
    weights_prepacked=-1,
):
    """MoE with weights (q - zero_point)·scale of 2, 4 or 8 bits

    The q of a row of W1 and W2 are packed into bytes, lowest bits first. scales (E, rows), or with
    block_size (E, rows, blocks), of block_size weights of a row each; zero points packed like the
    weights along the last axis, by default 2^(bits - 1). router_weights (tokens, E) are what the
    chosen experts are added up by, divided by their sum with normalize_routing_weights; without
    them it is the softmax of router_probs, which always is. Computed in float, whatever
    accuracy_level, which is a lower bound.

    Source: com.microsoft.QMoE-1, ONNX Runtime 1.32.
    """
    refuse_unsupported(
        fc3_experts_weights=fc3_experts_weights,
        fc1_global_scale=fc1_global_scale,
        fc1_act_scale=fc1_act_scale,
        swiglu_limit_after_activation=swiglu_limit_after_activation,
        use_sparse_mixer=use_sparse_mixer,
    )
    if quant_type != "int" or weights_prepacked == 1:
        raise NotImplementedError(
            f"quant_type {quant_type!r} with weights_prepacked {weights_prepacked} is not supported"
        )
    f = _make_activation(
        activation_type, swiglu_fusion, activation_alpha, activation_beta, swiglu_limit
    )
    size, bits = block_size or 0, expert_weight_bits
    first = _quantized_layer(
        fc1_experts_weights,
        fc1_scales,
        fc1_zero_points,
        fc1_expert_weight_bits or bits,
        size,
        fc1_experts_bias,
    )
    second = _quantized_layer(
        fc2_experts_weights,
        fc2_scales,
        fc2_zero_points,
        fc2_expert_weight_bits or bits,
        size,
        fc2_experts_bias,
    )
    normalize = bool(normalize_routing_weights) or router_weights is None
    return _mix(input, router_probs, router_weights, first, second, f, k, normalize)


def _quantized_layer(
    packed: np.ndarray,
    scales: np.ndarray | None,
    zero_points: np.ndarray | None,
    bits: int,
    block_size: int,
    biases: np.ndarray | None,
) -> _Layer:
    """A layer whose weights are dequantized for those experts that are chosen."""
    if bits not in (2, 4, 8) or packed.ndim != 3 or scales is None:
        raise ValueError(f"weights {packed.shape} of {bits} bits should be (E, rows, bytes)")
    experts, rows, size = packed.shape
    width = size * 8 // bits
    blocks = width // block_size if block_size else 1
    if scales.size != experts * rows * blocks or width % max(blocks, 1):
        raise ValueError(f"scales {scales.shape} don't fit weights {(experts, rows, width)}")
    # one for each block of a row, or, without blocks, those of all rows of an expert side by side
    lines, count = (rows, blocks) if block_size else (1, rows)
    if len(scales) != experts or (
        zero_points is not None
        and (
            len(zero_points) != experts
            or zero_points.size != experts * lines * -(-count * bits // 8)
        )
    ):
        raise ValueError(f"scales {scales.shape} or zero points don't fit weights {packed.shape}")

    def weights_of(expert: int) -> np.ndarray:
        scale = wide(scales[expert]).reshape(rows, blocks, 1)
        zeros: Any = scale.dtype.type(2 ** (bits - 1))
        if zero_points is not None:
            unpacked = unpack_bits(zero_points[expert].reshape(lines, -1), bits)[:, :count]
            zeros = unpacked.reshape(rows, blocks, 1).astype(scale.dtype)
        steps = unpack_bits(packed[expert], bits).reshape(rows, blocks, -1)
        return ((steps - zeros) * scale).reshape(rows, width)

    return _Layer((experts, rows, width), weights_of, biases)


@op("MoEGroupRouter", since=1, domain=DOMAIN)
def moe_group_router(
    logits,
    expert_bias,
    projection_weight=None,
    *,
    group_topk=2,
    n_group=1,
    router_sentinel=-10000.0,
    top_k,
    topk_group=1,
):
    """log(max(s, 1e-20)) of the chosen experts, router_sentinel for the others; s + bias; and s

    s = sigmoid(logits), logits (…, E), or logits @ projection_weightᵀ of logits (tokens, W). Of
    n_group groups of experts those topk_group are chosen whose group_topk largest s + bias give the
    largest sum, and of their experts the top_k with the largest s + bias; of equal ones the first.
    The first result (tokens, E) has the type of logits, the others are float.

    Source: com.microsoft.MoEGroupRouter-1, ONNX Runtime 1.32.
    """
    x = wide(logits).reshape(-1, logits.shape[-1])
    if projection_weight is not None:
        x = products.matmul(x, wide(projection_weight).T)
    tokens, experts = x.shape
    if expert_bias.shape != (experts,):
        raise ValueError(f"expert_bias {expert_bias.shape} should be ({experts},)")
    if n_group < 1 or experts % n_group or group_topk < 1:
        raise ValueError(f"{experts} experts don't divide into {n_group} groups")
    size = experts // n_group
    if not (1 <= topk_group <= n_group and 1 <= top_k <= topk_group * size):
        raise ValueError(
            f"topk_group {topk_group} should be from 1 to {n_group}, top_k {top_k} from 1 to "
            f"{topk_group * size}"
        )
    weights = activation.sigmoid(x)
    scores = weights + expert_bias
    by_group = scores.reshape(tokens, n_group, size)
    best = -np.sort(-by_group, axis=-1)[..., :group_topk].sum(-1, dtype=scores.dtype)
    groups = np.argsort(-best, axis=-1, kind="stable")[:, :topk_group]
    is_open = np.zeros((tokens, n_group), bool)
    np.put_along_axis(is_open, groups, True, 1)
    candidates = np.where(is_open[..., None], by_group, -np.inf).reshape(tokens, experts)
    chosen = np.argsort(-candidates, axis=-1, kind="stable")[:, :top_k]
    routed = np.full((tokens, experts), router_sentinel, np.float32)
    logarithms = np.log(np.maximum(np.take_along_axis(weights, chosen, 1), np.float32(1e-20)))
    np.put_along_axis(routed, chosen, logarithms, 1)
    return routed.astype(logits.dtype, copy=False), scores, weights


# ------------------------------------------------------------------------------------------- costs


@moe_group_router.cost
def cost_of_group_router(
    logits: np.ndarray,
    expert_bias: np.ndarray,
    projection_weight: np.ndarray | None = None,
    **_: Any,
) -> Cost:
    """Scores, sorted and as they are, orders of experts, and the three results."""
    tokens, experts = logits.size // max(logits.shape[-1], 1), expert_bias.size
    macs = 0 if projection_weight is None else logits.size * experts
    memory = wide_copies(logits, projection_weight) + 60 * tokens * experts
    return Cost(memory, multiply_adds(macs, np.dtype(np.float32)) + 600 * tokens * experts)


@moe.cost
def cost_of_moe(
    input: np.ndarray,
    router_probs: np.ndarray,
    fc1_experts_weights: np.ndarray,
    fc1_experts_bias: Any,
    fc2_experts_weights: np.ndarray,
    *_: Any,
    k: int = 1,
    **__: Any,
) -> Cost:
    return _cost_of_mix(input, router_probs, fc1_experts_weights, fc2_experts_weights, k, 8)


@qmoe.cost
def cost_of_qmoe(
    input: np.ndarray,
    router_probs: np.ndarray,
    fc1_experts_weights: np.ndarray,
    fc1_scales: Any,
    fc1_experts_bias: Any,
    fc2_experts_weights: np.ndarray,
    *_: Any,
    k: int = 1,
    expert_weight_bits: int = 4,
    fc1_expert_weight_bits: int | None = None,
    fc2_expert_weight_bits: int | None = None,
    **__: Any,
) -> Cost:
    """As MoE, and the weights of one expert bit by bit, and dequantized."""
    bits = (expert_weight_bits, fc1_expert_weight_bits or 8, fc2_expert_weight_bits or 8)
    least = max(min(bits), 1)
    weights = fc1_experts_weights, fc2_experts_weights
    cost = _cost_of_mix(input, router_probs, *weights, k, least)
    largest = max(w.size // max(len(w), 1) for w in weights)
    unpacked = sum(w.size for w in weights)
    return Cost(cost.memory + (16 + 72 // least) * largest, cost.work + 400 * unpacked)


def _cost_of_mix(
    input: np.ndarray, router_probs: np.ndarray, w1: np.ndarray, w2: np.ndarray, k: int, bits: int
) -> Cost:
    """Scores and choices; for the tokens of one expert (all of them, at worst) what goes in, both
    layers' results and a few arrays for the activation; the weights of one expert in float."""
    experts, rows, tokens = max(len(w1), 1), w1.shape[1], len(router_probs)
    item = wide_itemsize(input.dtype)
    macs = tokens * max(k, 0) * (w1.size + w2.size) // experts * (8 // bits)
    memory = item * (4 * input.size + 4 * tokens * rows) + 40 * router_probs.size
    memory += wide_copies(w1, w2) // experts
    calls = experts * 30 * PER_CALL
    return Cost(memory, multiply_adds(macs, input.dtype) + calls + 300 * tokens * rows)


moe.choices(_CHOICES)
qmoe.choices(_CHOICES)
qmoe.not_computed({"T1": "float8e4m3fn", "T2": "float8e8m0 float8e4m3fn", "T4": "float"})
