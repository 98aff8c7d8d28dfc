"""Gates, branches and fused normalizations, held against ONNX Runtime."""

import numpy as np
import pytest

from tests.support.harness import check, run_directly
from tests.support.microsoft import case, f, normal

HALF = np.float16
GROUPED, FLAT = normal(2, 5, 3, 4), normal(2, 5, 12)
WIDE = 4 * normal(2, 3, 8)
SPECIAL = normal(2, 3, 8)
SPECIAL[0, 0] = 0
SPECIAL[0, 1, 2], SPECIAL[1, 0, 3], SPECIAL[1, 1, 1] = np.nan, np.inf, -np.inf


def mix(*shape, dtype=np.float32):
    return normal(*shape, seed=1, dtype=dtype)


def in_half(made):
    """The case with all inputs in float16."""
    inputs = [None if x is None else x.astype(HALF) for x in made.inputs]
    return case(made.operator, inputs, made.attributes, outputs=made.outputs, rtol=3e-3, atol=3e-3,
                note="half")  # fmt: skip


KEY, QUERY, VALUE = normal(2, 3, 2, 4), normal(2, 3, 2, 4, seed=1), normal(2, 3, 4, seed=2)
SCALES = [normal(2, 4, seed=seed) for seed in (3, 4, 5)]

# fmt: off
FLOAT = [
    case("ScaledSiLU", [WIDE]),
    case("ScaledSiLU", [SPECIAL], {"alpha": 1.75}),
    case("ScaledSiLU", [WIDE, f(0.5)], {"alpha": 9.0}),
    case("ScaledSiLU", [WIDE[:0], f(2)]),
    case("GatedAdd", [WIDE, SPECIAL, normal(2, 3, 1)]),
    *(case("GatedRMSNorm", [WIDE, normal(4, seed=1), 3 * WIDE], {"activation": name})
      for name in ("silu", "swish", "sigmoid")),
    case("GatedRMSNorm", [SPECIAL, normal(8, seed=1), WIDE], {"epsilon": 0.5}),
    case("GatedRMSNorm", [WIDE[:0], normal(4), WIDE[:0]]),
    case("BranchwiseRMSNorm", [GROUPED]),
    case("BranchwiseRMSNorm", [GROUPED, mix(12)]),
    case("BranchwiseRMSNorm", [GROUPED, mix(3, 4)], {"epsilon": 0.5}),
    case("BranchwiseRMSNorm", [FLAT, mix(4)], {"num_branches": 3}),
    case("BranchwiseRMSNorm", [SPECIAL]),
    *(case("HyperConnectionPreMix", [GROUPED, mix(*shape)], {"reduction_scale": 0.5})
      for shape in ((2, 5, 3), (2, 5, 3, 1), (2, 5, 3, 4))),
    *(case("HyperConnectionPreMix", [FLAT, mix(*shape)], {"num_branches": 3})
      for shape in ((2, 5, 3), (2, 5, 3, 1), (2, 5, 3, 4), (2, 5, 12))),
    *(case("HyperConnectionPostMix", [GROUPED, normal(2, 5, 4), mix(*shape), given])
      for shape in ((2, 5, 3), (2, 5, 3, 1), (2, 5, 3, 4)) for given in (None, mix(2, 5, 3, 3))),
    case("HyperConnectionPostMix", [FLAT, normal(2, 5, 4), mix(2, 5, 3), mix(2, 5, 3, 3)],
         {"num_branches": 3}),
    case("EngramGate", [KEY, QUERY, VALUE, *SCALES], {"epsilon": 0.125}, outputs=2),
    case("EngramGate", [KEY, QUERY, VALUE, *SCALES[:2]]),
    case("EngramGate", [KEY[:0], QUERY[:0], VALUE[:0], *SCALES], outputs=2),
]
CASES = [
    *FLOAT,
    *(in_half(made) for made in FLOAT if SPECIAL is not made.inputs[0]),
    case("BranchwiseRMSNorm", [GROUPED, mix(12, dtype=HALF)], note="a scale in half"),
    case("HyperConnectionPreMix", [GROUPED, mix(2, 5, 3, dtype=HALF)], note="a mix in half"),
]

REFUSED = [
    (case("ScaledSiLU", [WIDE, f([1, 2])]), "one number"),
    (case("GatedAdd", [WIDE, WIDE, WIDE]), "gate"),
    (case("GatedAdd", [WIDE, WIDE, WIDE[..., :1], normal(1, 1)]), "gate_weight"),
    (case("GatedRMSNorm", [WIDE, normal(3), WIDE]), "divide"),
    (case("GatedRMSNorm", [WIDE, normal(4), WIDE[:1]]), "shape of X"),
    (case("BranchwiseRMSNorm", [FLAT], {"num_branches": 5}), "5 branches"),
    (case("BranchwiseRMSNorm", [normal(4)]), "branches, features"),
    (case("BranchwiseRMSNorm", [GROUPED, normal(3)]), "scale"),
    (case("HyperConnectionPreMix", [GROUPED, normal(2, 5)]), "pre_mix"),
    (case("HyperConnectionPostMix", [GROUPED, normal(2, 5, 3), normal(2, 5, 3)]), "block_output"),
    (case("HyperConnectionPostMix", [GROUPED, normal(2, 5, 4), normal(2, 5, 3), normal(3, 3)]),
     "stream_mix"),
    (case("EngramGate", [KEY, QUERY[:1], VALUE, *SCALES]), "key"),
    (case("EngramGate", [KEY, QUERY, VALUE, *SCALES[:2]], outputs=2), "conv_norm_scale"),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@pytest.mark.parametrize("case, message", REFUSED, ids=str)
def test_refused(case, message):
    with pytest.raises((ValueError, NotImplementedError), match=message):
        run_directly(case)


def test_no_features(recwarn):
    found = run_directly(case("BranchwiseRMSNorm", [normal(2, 3, 0)], {"num_branches": 2**31}))[0]
    assert found.shape == (2, 3, 0) and not recwarn.list
