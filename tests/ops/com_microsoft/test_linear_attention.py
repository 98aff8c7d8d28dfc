"""LinearAttention, LinearAttentionGate and CausalConvWithState, held against ONNX Runtime."""

import numpy as np
import pytest

from tests.support.harness import check, run_directly
from tests.support.microsoft import case, f, normal


def conv(length, *, last=False, state=True, inner=(3,), **attributes):
    """CausalConvWithState of 2 sequences, 4 taps."""
    channels, past = int(np.prod(inner)), 3 * attributes.get("dilation", 1)
    shape = (2, length, *inner) if last else (2, channels, length)
    before = (2, past, *inner) if last else (2, channels, past)
    inputs = [normal(*shape), normal(channels, 1, 4, seed=1), normal(channels, seed=2)]
    inputs += [normal(*before, seed=3)] if state else []
    attributes["channels_last"] = int(last)
    return case("CausalConvWithState", inputs, attributes, outputs=2, atol=1e-5)


def attention(rule, heads, states, keys, steps=3, *, state=True, each=1, **attributes):
    """LinearAttention of heads of 2 features, values of 3; ``each``: decays of a state."""
    inputs = [
        normal(2, steps, heads * 2),
        normal(2, steps, keys * 2, seed=1) / 2,
        normal(2, steps, states * 3, seed=2),
        normal(2, states, 2, 3, seed=3) if state else None,
        -np.abs(normal(2, steps, states * each, seed=4)) if "gated" in rule else None,
        np.abs(normal(2, steps, states, seed=5)) if "delta" in rule else None,
    ]
    while inputs[-1] is None:
        inputs.pop()
    attributes |= {"update_rule": rule, "q_num_heads": heads, "kv_num_heads": states}
    return case("LinearAttention", inputs, attributes, outputs=2, atol=1e-5)


A, H = f([[[-200, -1, 0], [1, 30, 200]]]), normal(3)
SPECIAL = f([[[np.nan, np.inf, -np.inf]]])

# fmt: off
CASES = [
    *(conv(length, dilation=dilation) for length in (0, 1, 5) for dilation in (1, 2)),
    *(conv(length, last=True, inner=inner, dilation=2)
      for length in (0, 1, 5) for inner in ((3,), (2, 3))),
    conv(5, activation="silu"), conv(5, activation="swish", last=True),
    conv(2, state=False), conv(2, state=False, last=True, dilation=3),
    *(attention(rule, heads, states, keys)
      for rule in ("linear", "gated", "delta", "gated_delta")
      for heads, states, keys in ((4, 2, 2), (2, 4, 4), (2, 4, 2), (4, 4, 1))),
    attention("gated", 4, 2, 2, each=2, scale=0.3),
    attention("gated_delta", 2, 4, 4, state=False),
    attention("linear", 2, 2, 2, 1),
    case("LinearAttentionGate", [A, H, -np.abs(H), A], outputs=2),
    case("LinearAttentionGate", [A, H, H]),
    case("LinearAttentionGate", [SPECIAL, H, H, SPECIAL], outputs=2),
    case("LinearAttentionGate", [A.astype(np.float16), H, H, A.astype(np.float16)], outputs=2,
         rtol=2e-3),
    case("LinearAttentionGate", [A[:0], H, H, A[:0]], outputs=2),
]

REFUSED = [
    (conv(5, state_window=2), "state_window"),
    (conv(5, ndim=2), "ndim"),
    (conv(5, dilation=0), "dilation"),
    (case("CausalConvWithState", conv(5).inputs, outputs=3), "state_update"),
    (case("CausalConvWithState", conv(5).inputs, {"dilation": 2}), "past_state"),
    (attention("linear", 2, 2, 2, state_window=1), "state_window"),
    (attention("linear", 3, 2, 2), "multiple"),
    *((case("LinearAttention", [x[0] if i == which else x for i, x in enumerate(
        attention("linear", 2, 2, 2).inputs[:3])], attention("linear", 2, 2, 2).attributes), text)
      for which, text in ((0, "2 heads"), (1, "rank 3"), (2, "rank 3"))),
    (case("LinearAttention", attention("linear", 4, 2, 2).inputs,
          {"q_num_heads": 3, "kv_num_heads": 3, "update_rule": "linear"}), "3 heads"),
    (case("LinearAttentionGate", [A, H[:2], H]), "dt_bias"),
    (case("LinearAttentionGate", [A, H, H, A[:, :1]]), "shape of a"),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@pytest.mark.parametrize("case, message", REFUSED, ids=str)
def test_refused(case, message):
    with pytest.raises((ValueError, NotImplementedError), match=message):
        run_directly(case)
