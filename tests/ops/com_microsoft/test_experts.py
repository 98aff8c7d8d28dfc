"""MoE, QMoE, MoEGroupRouter and MatMulBnb4, held against ONNX Runtime."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.support.harness import assert_same, check, run_directly, run_onnxruntime
from tests.support.microsoft import case, f, normal

SWIGLU = {"activation_type": "swiglu", "swiglu_fusion": 1}
ALL_OF_IT = SWIGLU | {"activation_alpha": 1.702, "activation_beta": 1.0, "swiglu_limit": 0.5}


def bits_of(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def rows_of(attributes):
    return 2 if attributes.get("activation_type") == "swiglu" else 1


def moe(tokens=5, *, biases=True, router=None, **attributes):
    """MoE of 4 experts, 8 features and 6 hidden ones."""
    rows = 6 * rows_of(attributes)
    inputs = [
        normal(tokens, 8),
        normal(tokens, 4, seed=1) if router is None else router,
        normal(4, rows, 8, seed=2),
        normal(4, rows, seed=3) if biases else None,
        normal(4, 8, 6, seed=4),
        normal(4, 8, seed=5) if biases else None,
    ]
    return case("MoE", inputs, {"k": 2, **attributes}, atol=1e-5)


def qmoe(tokens=5, *, block=0, zeros=False, weights=False, dtype=np.float32, **attributes):
    """QMoE of 4 experts, 32 features and 32 hidden ones."""
    bits = attributes.get("expert_weight_bits", 4)

    def layer(rows, seed):
        blocks = [32 // block] if block else []
        packed = -(-(blocks[0] if block else rows) * bits // 8)
        q = bits_of(4, rows, 32 * bits // 8, seed=seed)
        scales = np.abs(normal(4, rows, *blocks, seed=seed)) * 2.0**-bits
        zero_points = bits_of(4, *([rows] if block else []), packed, seed=seed + 1)
        return q, scales.astype(dtype), zero_points if zeros else None

    rows = 32 * rows_of(attributes)
    w1, scales1, zeros1 = layer(rows, 10)
    w2, scales2, zeros2 = layer(32, 20)
    inputs = [
        normal(tokens, 32).astype(dtype), normal(tokens, 4, seed=1).astype(dtype),
        w1, scales1, normal(4, rows, seed=3).astype(dtype), w2, scales2, None, None, None, None,
        zeros1, zeros2, None, np.abs(normal(tokens, 4, seed=6)).astype(dtype) if weights else None,
    ]  # fmt: skip
    if block:
        attributes["block_size"] = block
    rough = 1e-4 if dtype == np.float32 else 2e-2
    note = f"{bits} bits {block}{' zeros' if zeros else ''}"
    return case("QMoE", inputs, {"k": 2, **attributes}, rtol=rough, atol=rough, note=note)


def bnb4(columns, depth, block, kind):
    count = columns * depth
    inputs = [normal(2, depth), bits_of((count + 1) // 2), normal(-(-count // block), seed=1)]
    attributes = {"N": columns, "K": depth, "block_size": block, "quant_type": kind}
    return case("MatMulBnb4", inputs, attributes, atol=1e-5)


ROUTED = 3 * normal(6, 8, seed=7)
TIES = np.round(normal(30, 4, seed=1))
EACH_CODE = f([[1 if i == j else 0 for i in range(16)] for j in range(16)])
CODES = np.arange(1, 256, 34)[:8].astype(np.uint8)  # 0x01, 0x23, 0x45, …

# fmt: off
CASES = [
    *(moe(activation_type=name) for name in ("relu", "gelu", "silu", "identity")),
    moe(**SWIGLU), moe(**ALL_OF_IT),
    moe(biases=False, k=3, normalize_routing_weights=1),
    moe(k=1), moe(k=4), moe(tokens=0),
    moe(tokens=30, router=TIES),
    case("MoE", [normal(1, 5, 8), *moe().inputs[1:]], {"k": 2}, atol=1e-5, note="3-D"),
    *(qmoe(expert_weight_bits=bits, block=block, zeros=zeros)
      for bits in (2, 4, 8) for block in (0, 16, 32) for zeros in (False, True)),
    *(qmoe(activation_type=name) for name in ("relu", "gelu", "silu", "identity")),
    qmoe(**ALL_OF_IT),
    qmoe(weights=True), qmoe(weights=True, normalize_routing_weights=1),
    qmoe(normalize_routing_weights=1), qmoe(weights_prepacked=0), qmoe(accuracy_level=4, block=32),
    qmoe(tokens=0), qmoe(dtype=np.float16),
    *(case("MoEGroupRouter", [scores, bias], {"top_k": 3, "n_group": 4, "topk_group": 2})
      for scores in (ROUTED, ROUTED[:0], np.round(ROUTED), ROUTED.reshape(2, 3, 8))
      for bias in (normal(8, seed=8), 0 * normal(8))),
    case("MoEGroupRouter", [ROUTED, normal(8, seed=8)], {"top_k": 2, "router_sentinel": -1.0}),
    case("MoEGroupRouter", [ROUTED, normal(8, seed=8)],
         {"top_k": 2, "n_group": 2, "topk_group": 1, "group_topk": 9}),
    case("MoEGroupRouter", [ROUTED.astype(np.float16), normal(8, seed=8)], {"top_k": 2}, rtol=2e-3),
    *(bnb4(columns, depth, block, kind)
      for columns, depth, block in ((2, 32, 16), (3, 5, 16), (5, 48, 32)) for kind in (0, 1)),
    *(case("MatMulBnb4", [EACH_CODE, CODES, f([1])],
           {"N": 1, "K": 16, "block_size": 16, "quant_type": kind}) for kind in (0, 1)),
]

REFUSED = [
    (moe(activation_type="swiglu"), "swiglu_fusion 0"),
    (moe(k=5), "from 1 to 4"),
    (moe(use_sparse_mixer=1), "use_sparse_mixer"),
    (moe(router=normal(5, 3)), "router_probs"),
    (case("MoE", [normal(5, 9), *moe().inputs[1:]]), "don't fit"),
    (case("MoE", [*moe().inputs[:3], normal(4, 5), *moe().inputs[4:]]), "biases"),
    (case("MoE", [*moe().inputs, normal(4, 6, 8)]), "fc3"),
    (qmoe(quant_type="fp8"), "fp8"),
    (qmoe(weights_prepacked=1), "weights_prepacked"),
    (qmoe(block_size=16), "scales"),
    (case("QMoE", [*qmoe(weights=True).inputs[:-1], normal(5, 3)]), "router_weights"),
    (case("QMoE", [*qmoe(zeros=True).inputs[:11], bits_of(1, 4, 16)]), "zero points"),
    (case("MatMulBnb4", bnb4(2, 32, 16, 0).inputs,
          {"N": 2, "K": 32, "block_size": 16, "quant_type": 0, "transB": 0}), "transB"),
    (case("MatMulBnb4", bnb4(2, 32, 16, 0).inputs,
          {"N": 2, "K": 32, "block_size": 24, "quant_type": 0}), "block_size"),
    (case("MatMulBnb4", bnb4(2, 32, 16, 0).inputs,
          {"N": 2, "K": 30, "block_size": 16, "quant_type": 0}), "should be"),
    (bnb4(2, 32, 16, 2), "quant_type"),
    (case("MoEGroupRouter", [ROUTED, normal(7)], {"top_k": 2}), "expert_bias"),
    (case("MoEGroupRouter", [ROUTED, normal(8)], {"top_k": 2, "n_group": 3}), "3 groups"),
    (case("MoEGroupRouter", [ROUTED, normal(8)], {"top_k": 5, "n_group": 2}), "top_k 5"),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


def test_full_scores_of_a_projection():
    """Its other two outputs, which ONNX Runtime gives only without the first."""
    inputs = [normal(3, 256), normal(8, seed=1), normal(8, 256, seed=2)]
    names = ["logits", "expert_bias", "projection_weight"]
    node = helper.make_node(
        "MoEGroupRouter", names, ["", "s", "w"], domain="com.microsoft", top_k=2
    )
    graph = helper.make_graph(
        [node],
        "router",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape)
            for name, x in zip(names, inputs, strict=True)
        ],
        [onnx.ValueInfoProto(name=name) for name in "sw"],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    expected = run_onnxruntime(model, dict(zip(names, inputs, strict=True)))
    _, *found = run_directly(case("MoEGroupRouter", inputs, {"top_k": 2}, outputs=3))
    assert_same(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case, message", REFUSED, ids=str)
def test_refused(case, message):
    with pytest.raises((ValueError, NotImplementedError), match=message):
        run_directly(case)
