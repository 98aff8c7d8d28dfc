"""RNN, LSTM, GRU, against the spec's equations taken one sequence and one step at a time."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.harness import (
    Case,
    assert_same,
    check,
    feeds_of,
    one_node_model,
    run_directly,
    run_onnxruntime,
)
from tests.support.prepared import run_prepared

f32 = np.float32
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}

#: name: function of (v, alpha, beta), default alpha, default beta; as the spec writes them
ACTIVATIONS = {
    "Relu": (lambda v, a, b: np.maximum(0, v), None, None),
    "Tanh": (lambda v, a, b: np.tanh(v), None, None),
    "Sigmoid": (lambda v, a, b: 1 / (1 + np.exp(-v)), None, None),
    "Affine": (lambda v, a, b: a * v + b, 1.0, 0.0),
    "LeakyRelu": (lambda v, a, b: np.where(v >= 0, v, a * v), 0.01, None),
    "ThresholdedRelu": (lambda v, a, b: np.where(v >= a, v, 0), 1.0, None),
    "ScaledTanh": (lambda v, a, b: a * np.tanh(b * v), "required", "required"),
    "HardSigmoid": (lambda v, a, b: np.minimum(np.maximum(a * v + b, 0), 1), 0.2, 0.5),
    "Elu": (lambda v, a, b: np.where(v >= 0, v, a * (np.exp(v) - 1)), 1.0, None),
    "Softsign": (lambda v, a, b: v / (1 + abs(v)), None, None),
    "Softplus": (lambda v, a, b: np.logaddexp(0, v), None, None),
}


@np.errstate(over="ignore")  # 1 / (1 + exp(1000)) is 0
def by_the_equations(case):
    """The spec's equations in float64, one row of the batch and one step at a time."""
    operator, attributes = case.operator, case.attributes
    inputs = [None if x is None else np.asarray(x, np.float64) for x in case.inputs]
    x, w, r, b, lengths, h0, c0, p = inputs + [None] * (8 - len(inputs))
    gates, hidden, count = GATES[operator], r.shape[2], len(w)
    if attributes.get("layout", 0):
        x = x.swapaxes(0, 1)
        h0, c0 = (None if s is None else s.swapaxes(0, 1) for s in (h0, c0))
    steps, batch, _ = x.shape
    b = np.zeros((count, 2 * gates * hidden)) if b is None else b
    p = np.zeros((count, 3 * hidden)) if p is None else p
    h0, c0 = (np.zeros((count, batch, hidden)) if s is None else s for s in (h0, c0))
    lengths = [steps] * batch if lengths is None else lengths.astype(int)
    names = attributes.get("activations") or DEFAULTS[operator] * count
    alphas = list(attributes.get("activation_alpha") or [])
    betas = list(attributes.get("activation_beta") or [])
    clip = attributes.get("clip", np.inf)
    functions = []
    for name in names:
        function, alpha, beta = ACTIVATIONS[name]
        if alpha is not None and alphas:
            alpha = alphas.pop(0)
        if beta is not None and betas:
            beta = betas.pop(0)
        functions.append(lambda v, f=function, alpha=alpha, beta=beta: f(v, alpha, beta))

    y = np.zeros((steps, count, batch, hidden))
    y_h, y_c = np.zeros((2, count, batch, hidden))
    for d in range(count):
        act = functions[d * len(DEFAULTS[operator]) :]
        backwards = attributes.get("direction") == "reverse" or d == 1
        W, R = w[d].reshape(gates, hidden, -1), r[d].reshape(gates, hidden, hidden)
        Wb, Rb = b[d].reshape(2, gates, hidden)
        for n in range(batch):
            H, C = h0[d, n], c0[d, n]
            for t in range(lengths[n])[:: -1 if backwards else 1]:
                X = x[t, n]
                if operator == "RNN":
                    H = act[0](np.clip(W[0] @ X + R[0] @ H + Wb[0] + Rb[0], -clip, clip))
                elif operator == "GRU":
                    z, r_ = (
                        act[0](np.clip(W[k] @ X + R[k] @ H + Wb[k] + Rb[k], -clip, clip))
                        for k in (0, 1)
                    )
                    if attributes.get("linear_before_reset", 0):
                        new = W[2] @ X + r_ * (R[2] @ H + Rb[2]) + Wb[2]
                    else:
                        new = W[2] @ X + R[2] @ (r_ * H) + Rb[2] + Wb[2]
                    H = (1 - z) * act[1](np.clip(new, -clip, clip)) + z * H
                else:
                    Pi, Po, Pf = p[d].reshape(3, hidden)
                    i, o, f, c = (W[k] @ X + R[k] @ H + Wb[k] + Rb[k] for k in range(4))
                    i = act[0](np.clip(i + Pi * C, -clip, clip))
                    f = act[0](np.clip(f + Pf * C, -clip, clip))
                    if attributes.get("input_forget", 0):
                        f = 1 - i
                    C = f * C + i * act[1](np.clip(c, -clip, clip))
                    o = act[0](np.clip(o + Po * C, -clip, clip))
                    H = o * act[2](C)
                y[t, d, n] = H
            y_h[d, n], y_c[d, n] = H, C
    if attributes.get("layout", 0):
        y, y_h, y_c = y.transpose(2, 0, 1, 3), y_h.swapaxes(0, 1), y_c.swapaxes(0, 1)
    results = (y, y_h, y_c)[: 3 if operator == "LSTM" else 2]
    return [result.astype(case.inputs[0].dtype) for result in results]


def recurrent(
    operator,
    opset=14,
    steps=5,
    batch=3,
    features=2,
    hidden=4,
    *,
    dtype=f32,
    bias=True,
    lengths=None,
    initial=False,
    peepholes=False,
    by_equations=False,
    note="",
    rtol=1e-5,
    atol=1e-6,
    **attributes,
):
    """A case with random weights."""
    rng = np.random.default_rng(0)
    count = 2 if attributes.get("direction") == "bidirectional" else 1
    gates = GATES[operator]

    def noise(*shape):  # small enough for many steps not to be chaotic
        return (rng.standard_normal(shape) * min(0.7, hidden**-0.5)).astype(dtype)

    batch_first = attributes.get("layout", 0)
    states = (batch, count, hidden) if batch_first else (count, batch, hidden)
    inputs = [
        noise(*((batch, steps) if batch_first else (steps, batch)), features),
        noise(count, gates * hidden, features),
        noise(count, gates * hidden, hidden),
        noise(count, 2 * gates * hidden) if bias else None,
        None if lengths is None else np.array(lengths, np.int32),
        noise(*states) if initial else None,
    ]
    if operator == "LSTM":
        inputs += [noise(*states) if initial else None]
        inputs += [noise(count, 3 * hidden) if peepholes else None]
    while inputs[-1] is None:
        inputs.pop()
    case = Case(
        operator,
        opset,
        inputs,
        {"hidden_size": hidden, **attributes},
        outputs=3 if operator == "LSTM" else 2,
        note=note or " ".join(f"{k}={v}" for k, v in attributes.items()),
        rtol=rtol,
        atol=atol,
    )
    if by_equations:
        object.__setattr__(case, "expected", by_the_equations(case))
    return case


ONE, ZERO = np.ones((1, 1, 1), f32), np.zeros((1, 1, 1), f32)
SIGMOID_1 = 1 / (1 + np.exp(-1.0))


def out(*rows):
    return [np.array(row, f32) for row in rows]


BY_HAND = [
    Case(
        "RNN",
        7,
        [np.array([[[1]], [[2]]], f32), ONE, ONE, np.array([[0.25, 0.25]], f32)],
        {"activations": ["Relu"]},
        out([[[[1.5]]], [[[4]]]], [[[4]]]),
        outputs=2,
        note="1 + 0 + 1/2, 2 + 3/2 + 1/2",
    ),
    Case(
        "RNN",
        14,
        [
            np.array([[[1], [10]], [[2], [20]], [[3], [30]]], f32),
            ONE,
            ONE,
            None,
            np.array([0, 2], np.int32),
            np.array([[[100], [200]]], f32),
        ],
        {"activations": ["Relu"], "direction": "reverse"},
        out([[[[0], [230]]], [[[0], [220]]], [[[0], [0]]]], [[[100], [230]]]),
        outputs=2,
        # ONNX Runtime answers 0 for the state of an empty sequence; no step has replaced the
        # initial one.
        note="lengths 0 and 2, backwards",
    ),
    Case(
        "RNN",
        14,
        [np.array([[[9]], [[1]]], f32), ONE, ZERO],
        {"activations": ["Affine"], "clip": 3.0},
        out([[[[3]]], [[[1]]]], [[[1]]]),
        outputs=2,
        note="clip",
    ),
    Case(
        "LSTM",
        7,
        [ONE, np.ones((1, 4, 1), f32), np.zeros((1, 4, 1), f32)],
        {},
        out(
            [[[[SIGMOID_1 * np.tanh(SIGMOID_1 * np.tanh(1))]]]],
            [[[SIGMOID_1 * np.tanh(SIGMOID_1 * np.tanh(1))]]],
            [[[SIGMOID_1 * np.tanh(1)]]],
        ),
        outputs=3,
    ),
    Case(
        "LSTM",
        7,
        # i, o, f, c are 2, 3, 5, 7 with everything linear: C = 5 * 11 + 2 * 7 = 69, h = 3 * 69
        [
            ONE,
            np.array([[[2], [3], [5], [7]]], f32),
            np.zeros((1, 4, 1), f32),
            None,
            None,
            None,
            np.array([[[11]]], f32),
        ],
        {"activations": ["Affine"] * 3},
        out([[[[207]]]], [[[207]]], [[[69]]]),
        outputs=3,
        note="the order of the gates",
    ),
    Case(
        "LSTM",
        7,
        # i = 2 + 1 * 11 = 13, f = 5 + 100 * 11 = 1105, C = 1105 * 11 + 13 * 7 = 12246,
        # o = 3 + 10 * C = 122463
        [
            ONE,
            np.array([[[2], [3], [5], [7]]], f32),
            np.zeros((1, 4, 1), f32),
            None,
            None,
            None,
            np.array([[[11]]], f32),
            np.array([[1, 10, 100]], f32),
        ],
        {"activations": ["Affine", "Affine", "HardSigmoid"]},
        out([[[[122463]]]], [[[122463]]], [[[12246]]]),
        outputs=3,
        note="peepholes: i and f see the old state, o the new one",
    ),
    Case(
        "GRU",
        7,
        # z, r are 1/4, 1/2 and linear: h = 3/4 * (8 + 4 / 2) + 1/4 * 4
        [
            ONE,
            np.array([[[0.25], [0.5], [8]]], f32),
            np.array([[[0], [0], [1]]], f32),
            None,
            None,
            np.array([[[4]]], f32),
        ],
        {"activations": ["Affine", "Affine"]},
        out([[[[8.5]]]], [[[8.5]]]),
        outputs=2,
    ),
]

AGAINST_ONNXRUNTIME = [
    recurrent(operator, opset, **settings)
    for operator in GATES
    for opset, settings in [
        (7, {"bias": False}),
        (7, {"direction": "reverse"}),
        (14, {"direction": "bidirectional", "initial": True}),
        (14, {"direction": "bidirectional", "lengths": [2, 5, 3], "initial": True}),
        (14, {"direction": "reverse", "lengths": [5, 1, 4]}),
        (14, {"clip": 0.5, "lengths": [5, 1, 4]}),
        (14, {"steps": 40, "batch": 33, "hidden": 70, "features": 65, "atol": 1e-5}),
        (14, {"steps": 1, "batch": 1}),
    ]
] + [
    recurrent("LSTM", peepholes=True, initial=True, direction="bidirectional"),
    recurrent("LSTM", input_forget=1, initial=True),
    recurrent("LSTM", peepholes=True, clip=0.3, lengths=[3, 0, 5]),
    recurrent(
        "LSTM",
        direction="bidirectional",
        activations=["HardSigmoid", "Elu", "Softsign", "Sigmoid", "LeakyRelu", "ScaledTanh"],
        activation_alpha=[0.3, 0.5, 0.2, 1.5],
        activation_beta=[0.4, 0.6],
    ),
    recurrent("GRU", linear_before_reset=1, direction="bidirectional", initial=True),
    recurrent("GRU", linear_before_reset=1, lengths=[2, 5, 3], bias=False),
    recurrent("GRU", linear_before_reset=1, clip=0.4, initial=True),
    recurrent("GRU", activations=["HardSigmoid", "Softsign"]),
    recurrent("RNN", activations=["Softplus"]),
]

# What ONNX Runtime hasn't got: batch first, other types than float, opset 1 to 6; or gets wrong:
# the default alphas of RNN (it takes 0).
BY_THE_EQUATIONS = [
    recurrent(operator, opset, by_equations=True, **settings)
    for operator in GATES
    for opset, settings in [
        (6, {"output_sequence": 1}),
        (14, {"layout": 1, "direction": "bidirectional", "initial": True, "lengths": [3, 0, 5]}),
        (14, {"layout": 1, "initial": True}),
        (14, {"dtype": np.float64, "rtol": 1e-13, "atol": 1e-14}),
        (14, {"dtype": np.float16, "rtol": 1e-3, "atol": 1e-3}),
        (22, {"dtype": ml_dtypes.bfloat16, "rtol": 1e-2, "atol": 1e-2}),
        (14, {"batch": 0, "initial": True}),
        (14, {"batch": 0, "lengths": []}),
        (14, {"steps": 0, "initial": True}),
        (14, {"lengths": [0, 0, 0], "initial": True, "direction": "bidirectional"}),
    ]
] + [
    recurrent("GRU", 1, by_equations=True, direction="foward"),
    recurrent("GRU", 3, by_equations=True, output_sequence=1, linear_before_reset=1),
    recurrent("RNN", 1, by_equations=True),
    recurrent("LSTM", 1, by_equations=True),
]
for name, (_, alpha, beta) in ACTIVATIONS.items():
    numbers = {}
    if alpha is not None:
        numbers["activation_alpha"] = [0.3]
    if beta is not None:
        numbers["activation_beta"] = [0.7]
    BY_THE_EQUATIONS.append(recurrent("RNN", by_equations=True, activations=[name], **numbers))
    if alpha is not None and alpha != "required":
        BY_THE_EQUATIONS.append(recurrent("RNN", by_equations=True, activations=[name]))

CASES = BY_HAND + AGAINST_ONNXRUNTIME + BY_THE_EQUATIONS


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@pytest.mark.parametrize("case", [c for c in CASES if (c.operator, c.opset) != ("GRU", 1)], ids=str)
def test_prepared_agrees(case):
    assert_same(run_prepared(case), run_directly(case), rtol=0, atol=0)


@pytest.mark.parametrize("case", AGAINST_ONNXRUNTIME, ids=str)
def test_the_equations_are_onnxruntimes(case):
    """The oracle of the other cases is itself put to the test."""
    expected = run_onnxruntime(one_node_model(case), feeds_of(case))
    assert_same(by_the_equations(case), expected, rtol=case.rtol, atol=1e-5)


@pytest.mark.parametrize("case", AGAINST_ONNXRUNTIME, ids=str)
def test_blocks_do_not_matter(case, monkeypatch):
    expected = run_directly(case)
    monkeypatch.setattr("onnxwalk.ops.shared.recurrence.BLOCK_BYTES", 100)
    assert_same(run_directly(case), expected, rtol=1e-5, atol=1e-6)


def test_names_of_activations_in_any_case():
    for name in ("tanh", "TANH"):
        case = recurrent("RNN", activations=[name])
        assert_same(run_directly(case), run_directly(recurrent("RNN", activations=["Tanh"])))


@pytest.mark.parametrize("operator", GATES)
def test_extreme_inputs_raise_no_warning(operator):
    case = recurrent(operator)
    case.inputs[0][...] = 1e30
    with np.errstate(all="raise"):
        for result in run_directly(case):
            assert np.isfinite(result).all()


@pytest.mark.parametrize("operator", GATES)
def test_inputs_are_left_alone(operator):
    case = recurrent(operator, initial=True, lengths=[2, 5, 0])
    before = [None if x is None else x.copy() for x in case.inputs]
    run_directly(case)
    assert_same(list(case.inputs), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 3}, "hidden_size 3 does not match"),
        ({"direction": "sideways"}, "direction 'sideways'"),
        ({"activations": ["Tanh", "Tanh"]}, "3 names"),
        ({"activations": ["Sigmoid", "Tanh", "Gelu"]}, "'Gelu'"),
        ({"activations": ["Sigmoid", "Tanh", "ScaledTanh"]}, "ScaledTanh needs"),
        ({"clip": 0.0}, "clip"),
        ({"layout": 2}, "layout"),
        ({"x": np.zeros((5, 3, 7), f32)}, "input"),
        ({"x": np.zeros((5, 3), f32)}, "input"),
        ({"w": np.zeros((1, 15, 2), f32)}, "W"),
        ({"r": np.zeros((2, 16, 4), f32)}, "R"),
        ({"b": np.zeros((1, 16), f32)}, "B"),
        ({"lengths": np.array([1, 2], np.int32)}, "sequence_lens"),
        ({"lengths": np.array([1, 2, 6], np.int32)}, "between 0 and 5"),
        ({"lengths": np.array([1, 2, -1], np.int32)}, "between 0 and 5"),
        ({"h": np.zeros((1, 2, 4), f32)}, "initial_h"),
        ({"p": np.zeros((1, 4), f32)}, "P"),
    ],
)
def test_refuses(change, message):
    case = recurrent("LSTM", lengths=[1, 2, 3], initial=True, peepholes=True)
    inputs = list(case.inputs)
    names = ["x", "w", "r", "b", "lengths", "h", "c", "p"]
    attributes = dict(case.attributes)
    for name, value in change.items():
        if name in names:
            inputs[names.index(name)] = value
        else:
            attributes[name] = value
    with pytest.raises(ValueError, match=message):
        run_directly(Case("LSTM", 14, inputs, attributes))


@st.composite
def any_recurrent(draw, operator):
    steps, batch = draw(st.integers(0, 6)), draw(st.integers(0, 4))
    options = {
        "direction": draw(st.sampled_from(["forward", "reverse", "bidirectional"])),
        "layout": draw(st.integers(0, 1)),
    }
    if draw(st.booleans()):
        options["lengths"] = draw(st.lists(st.integers(0, steps), min_size=batch, max_size=batch))
    if draw(st.booleans()):
        options["clip"] = draw(st.sampled_from([0.1, 1.0, 5.0]))
    if operator == "GRU":
        options["linear_before_reset"] = draw(st.integers(0, 1))
    if operator == "LSTM":
        options["input_forget"] = draw(st.integers(0, 1))
        options["peepholes"] = draw(st.booleans())
    if draw(st.booleans()):
        count = len(DEFAULTS[operator]) * (2 if options["direction"] == "bidirectional" else 1)
        names = st.sampled_from(sorted(ACTIVATIONS))
        options["activations"] = draw(st.lists(names, min_size=count, max_size=count))
        options["activation_alpha"] = [0.1 * (k + 1) for k in range(count)]
        options["activation_beta"] = [0.15 * (k + 1) for k in range(count)]
    case = recurrent(
        operator,
        steps=steps,
        batch=batch,
        features=draw(st.integers(1, 3)),
        hidden=draw(st.integers(1, 3)),
        bias=draw(st.booleans()),
        initial=draw(st.booleans()),
        **options,
    )
    if draw(st.booleans()):
        case.inputs[0] = np.asfortranarray(case.inputs[0])
    return case


@pytest.mark.parametrize("operator", GATES)
@settings(deadline=None, max_examples=80)
@given(st.data())
def test_is_the_equations(operator, data):
    case = data.draw(any_recurrent(operator))
    expected = by_the_equations(case)
    largest = max((abs(y).max() for y in expected if y.size), default=0)
    # Unbounded activations can make a state grow at every step, and its rounding errors with it,
    # until float32 overflows where the equations, in float64, do not.
    assume(largest < 1e4)
    assert_same(run_directly(case), expected, rtol=1e-4, atol=1e-5 * max(1, largest))
    assert_same(run_prepared(case), run_directly(case), rtol=0, atol=0)
