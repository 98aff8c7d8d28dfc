"""GreedySearch, BeamSearch, WhisperBeamSearch and Sampling, held against ONNX Runtime."""

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxwalk
from tests.support.generators import (
    BEAM,
    SAMPLING,
    WHISPER,
    generator,
    gpt,
    integer,
    number,
    random_search,
    seq2seq,
)
from tests.support.harness import check, run_directly, run_onnxruntime, run_onnxwalk
from tests.support.microsoft import case, i32, normal

IDS = np.array([[0, 0, 3, 4], [5, 6, 7, 8]], np.int32)
TOKENS = {"eos_token_id": 1, "pad_token_id": 0}
GPT = {"decoder": gpt(), **TOKENS}
ENCODER, DECODER = seq2seq(scale=2)
T5 = {
    "encoder": ENCODER,
    "decoder": DECODER,
    **TOKENS,
    "model_type": 1,
    "decoder_start_token_id": 2,
}
HEARS, WRITES = seq2seq(whisper=5, scale=2)
WHISPERS = {"encoder": HEARS, "decoder": WRITES, **TOKENS, "decoder_start_token_id": 2}
THREE = [i32(7), i32(0), i32(3), i32(2), number(0.5)]

WITHOUT_FIVE = (np.arange(20) != 5).astype(np.int32)

#: continued with two beams, the second prompt's text ends in another way beside the first one
BESIDE = {**GPT, "decoder": gpt(vocab=12, seed=194, scale=1.0)}
PAIR, WIDTH_2 = (
    np.array([[11, 10, 4], [10, 11, 4]], np.int32),
    [i32(14), i32(0), i32(2), i32(2), number(1)],
)
APART = np.zeros((2, 2, 14), np.int32)
APART[0, 0, :3], APART[1, 0, :3] = PAIR
APART[0, 1, :6] = 11, 10, 4, 11, 3, 9
APART[1, 1, :12] = 10, 11, 4, 6, 5, 10, 9, 11, 10, 9, 6, 5

#: of ONNX Runtime's GreedySearch, for the second prompt
MOST_PROBABLE = (1, 5, 9, 1, 5)

# fmt: off
CASES = [
    case("GreedySearch", [IDS, i32(6)], GPT),
    case("GreedySearch", [IDS, i32(12), i32(10), number(1.5)], {**GPT, "no_repeat_ngram_size": 2}),
    case("BeamSearch", [IDS, *THREE], GPT, outputs=2),
    case("BeamSearch", [IDS, *THREE], {**GPT, "early_stopping": 1}, outputs=2),
    case("BeamSearch", [IDS, *THREE, number(1.2), WITHOUT_FIVE], GPT, outputs=2),
    case("BeamSearch", [PAIR, *WIDTH_2], BESIDE, [APART]),
    case("BeamSearch", [IDS, *THREE], T5, outputs=2),
    case("WhisperBeamSearch", [normal(2, 5, 6), *THREE], WHISPERS, outputs=2),
    case("WhisperBeamSearch", [normal(2, 5, 6), *THREE, number(1.2), WITHOUT_FIVE], WHISPERS,
         outputs=2),
    case("Sampling", [IDS[1:], i32(6), i32(5)], {**GPT, "top_p": 0.01, "min_tokens_to_keep": 1}),
    case("Sampling", [IDS[1:], i32(6), i32(5), number(1.5)],
         {**GPT, "top_p": 0.01, "min_tokens_to_keep": 1}),
    case("Sampling", [IDS[1:], i32(9), i32(8)], {**GPT, "eos_token_id": 19},
         [i32(5, 6, 7, 8, *MOST_PROBABLE)[None]], note="top_p is 0"),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


def until_the_end(sequences, found, pad):
    """ONNX Runtime leaves GreedySearch's result as the memory was, after all sequences ended."""
    filled = (found == pad).all(0)
    ends = found.shape[-1] - np.argmin([*filled[::-1], False]) + 1
    return np.where(np.arange(found.shape[-1]) < ends, sequences, pad)


@pytest.mark.parametrize("kind", ["greedy", "gpt", "t5", "whisper"])
def test_like_onnxruntime(kind):
    """The same tokens; where two sequences score the same but for rounding, the same scores."""
    ties = 0
    for seed in range(25):
        model, feeds = random_search(kind, np.random.default_rng(seed))
        expected, found = run_onnxruntime(model, feeds), onnxwalk.load(model).run(None, feeds)
        if kind == "greedy":
            pad = next(a.i for a in model.graph.node[0].attribute if a.name == "pad_token_id")
            expected[0] = until_the_end(expected[0], found[0], pad)
        else:
            np.testing.assert_allclose(found[1], expected[1], 1e-4, 1e-5, err_msg=f"{kind} {seed}")
            if (found[0] != expected[0]).any():
                ties += 1
                continue
        np.testing.assert_array_equal(found[0], expected[0], err_msg=f"{kind} {seed}")
    assert ties <= 2


@pytest.mark.parametrize("kind", ["greedy", "gpt", "t5", "whisper"])
def test_bound_and_walked_are_the_same(kind):
    model, feeds = random_search(kind, np.random.default_rng(5))
    session, walk = onnxwalk.load(model), onnxwalk.load(model, executor="walk")
    expected = walk.run(None, feeds)
    for _ in range(3):
        for one, other in zip(session.run(None, feeds), expected, strict=True):
            np.testing.assert_allclose(one, other, 1e-5, 1e-6)


def beam(outputs=("sequences", "sequences_scores", "scores"), attributes=GPT, **feeds):
    feeds = {
        "input_ids": IDS[1:],
        "max_length": integer(9),
        "min_length": integer(0),
        "num_beams": integer(2),
        "num_return_sequences": integer(2),
        "length_penalty": number(1),
        **feeds,
    }
    return generator("BeamSearch", feeds, BEAM, list(outputs), **attributes), feeds


def test_scores_of_each_step():
    never = {**GPT, "decoder": gpt(seed=3, scale=1.0), "eos_token_id": 19}
    model, feeds = beam(attributes=never, min_length=integer(8))
    found, expected = onnxwalk.load(model).run(None, feeds), run_onnxruntime(model, feeds)
    assert found[2].shape == (5, 1, 2, 20)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, 1e-4, 1e-5)


def test_of_equal_scores_the_lower_token_comes_first():
    level = gpt(scale=0.0)
    model, feeds = beam(["sequences"], {**GPT, "decoder": level})
    found, expected = onnxwalk.load(model).run(None, feeds), run_onnxruntime(model, feeds)
    np.testing.assert_array_equal(found[0], expected[0])


def test_times_of_whisper():
    """The rules of times, with more times than the first one may be."""
    encoder, decoder = seq2seq(whisper=5, vocab=90, scale=1.5)
    names = "translate transcribe start_of_lm no_speech no_timestamps beginning_timestamp".split()
    for seed in range(12):
        feeds = {
            "input_ids": normal(1, 5, 6, seed=seed),
            "max_length": integer(14),
            "min_length": integer(0),
            "num_beams": integer(2),
            "num_return_sequences": integer(1),
            "length_penalty": number(1),
            "decoder_input_ids": i32(2, 4)[None, : 1 + seed % 2],
            "logits_processor": integer(1),
        }
        ids = {f"{name}_token_id": token for name, token in zip(names, range(3, 9), strict=True)}
        attributes = {**WHISPERS, **ids, "encoder": encoder, "decoder": decoder}
        outputs = ["sequences", "sequences_scores"]
        model = generator("WhisperBeamSearch", feeds, WHISPER, outputs, **attributes)
        found, expected = onnxwalk.load(model).run(None, feeds), run_onnxruntime(model, feeds)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_allclose(found[1], expected[1], 1e-4, 1e-5)


def test_the_probability_that_nobody_speaks():
    feeds = dict(zip(BEAM, [normal(2, 5, 6), *THREE], strict=False))
    outputs = ["sequences", "", "scores", "", "non_speech_probs"]
    attributes = {**WHISPERS, "no_speech_token_id": 7}
    model = generator("WhisperBeamSearch", feeds, WHISPER, outputs, **attributes)
    _, scores, silence = onnxwalk.load(model).run(None, feeds)
    np.testing.assert_allclose(silence, np.exp(scores[0, :, 0, 7]), 1e-5)


def sample(rows=4000, **settings):
    """How often each token follows the prompt, here and in ONNX Runtime."""
    attributes = {name: x for name, x in settings.items() if not isinstance(x, np.ndarray)}
    feeds = {"input_ids": np.repeat(i32(3, 4, 5)[None], rows, 0), "max_length": integer(4)}
    feeds |= {name: x for name, x in settings.items() if isinstance(x, np.ndarray)}
    feeds["seed"] = integer(7)
    attributes |= {"decoder": gpt(vocab=12, scale=1.0), "eos_token_id": 11, "pad_token_id": 0}
    model = generator("Sampling", feeds, SAMPLING, ["sequences"], **attributes)
    results = onnxwalk.load(model).run(None, feeds), run_onnxruntime(model, feeds)
    return [np.bincount(found[:, 3], minlength=12) / rows for (found,) in results]


@pytest.mark.parametrize(
    "settings",
    [
        {"top_p": 1.0},
        {"top_p": 1.0, "temperature": 2.0},
        {"top_p": 0.6, "temperature": 2.0},
        {"top_p": 0.05, "min_tokens_to_keep": 3},
        {"top_p": 0.6, "filter_value": -2.0},
        {"top_p": 0.7, "custom": 1},
        {"top_p": 1.0, "repetition_penalty": number(3)},
        {"top_p": 0.95, "no_repeat_ngram_size": 1},
    ],
    ids=str,
)
def test_tokens_are_drawn_as_often(settings):
    found, expected = sample(**settings)
    np.testing.assert_array_equal(found == 0, expected == 0)
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_one_token_is_left_where_top_p_is_0():
    """ONNX Runtime gives all tokens the same probability, if min_tokens_to_keep is 0 too."""
    found, expected = sample(top_p=0.0)
    assert found.max() == 1 and expected.max() < 0.3


def test_what_is_present_is_less_probable():
    """ONNX Runtime changes no score but the first of all."""
    mask = np.zeros((4000, 12), np.int32)
    mask[:, [0, 10]] = 1
    settings = {"top_p": 1.0, "presence_mask": mask}
    (found, expected), (before, _) = sample(**settings, presence_penalty=2.0), sample(top_p=1.0)
    assert found[10] < before[10] / 2 and abs(expected[10] - before[10]) < 0.03


def test_seeds():
    feeds = {"input_ids": IDS, "max_length": integer(12)}
    attributes = {**GPT, "top_p": 1.0, "temperature": 5.0, "decoder": gpt(scale=1.0)}
    outputs = ["sequences", "filtered_logits"]
    model = generator("Sampling", feeds, SAMPLING, outputs, **attributes)
    first, second = (onnxwalk.load(model, seed=3) for _ in range(2))
    one, other = (s.run(None, feeds)[0] for s in (first, second))
    np.testing.assert_array_equal(one, other)
    assert (first.run(None, feeds)[0] != one).any()
    feeds["seed"] = integer(-5)
    model = generator("Sampling", feeds, SAMPLING, outputs, **attributes)
    session = onnxwalk.load(model)
    one, other = (session.run(None, feeds) for _ in range(2))
    np.testing.assert_array_equal(one[0], other[0])
    assert one[1].shape == (2, 20)


BROKEN = gpt(heads=3)
BROKEN.input[3].type.tensor_type.shape.dim[2].dim_param = "H"
REFUSED = [
    (case("GreedySearch", [IDS, i32(4)], GPT), "max_length 4 should be more than the 4 tokens"),
    (case("GreedySearch", [IDS, i32(9), i32(9)], GPT), "min_length 9 should be less"),
    (case("GreedySearch", [IDS, i32(9)], {**GPT, "model_type": 1}), "should be 0"),
    (case("GreedySearch", [IDS, i32(9)], {**GPT, "pad_token_id": -1}), "at least 0"),
    (case("GreedySearch", [IDS, i32(9), None, number(0)], GPT), "repetition_penalty 0.0"),
    (case("GreedySearch", [IDS, i32(9), None, None, i32(1, 1)], GPT), "vocab_mask (2,)"),
    (case("GreedySearch", [IDS, i32(9)], {**GPT, "vocab_size": 21}), "the logits are 20"),
    (case("GreedySearch", [IDS, i32(9)], {**GPT, "decoder": DECODER}), "position_ids"),
    (case("GreedySearch", [IDS, i32(9)], {**GPT, "decoder": BROKEN}), "heads and their size"),
    (case("BeamSearch", [IDS, *THREE[:3], i32(4), THREE[4]], GPT), "from 1 to num_beams 3"),
    (case("BeamSearch", [IDS, *THREE], {**T5, "encoder": None}), "encoder is missing"),
    (case("BeamSearch", [IDS, *THREE], {**T5, "decoder_start_token_id": -1}), "start_token_id is"),
    (case("BeamSearch", [IDS, *THREE], {**T5, "encoder": HEARS}), "first inputs of encoder"),
    (case("BeamSearch", [IDS, *THREE], {**GPT, "model_type": 3}), "0, 1 or 2"),
    (case("WhisperBeamSearch", [IDS, *THREE], WHISPERS), "(B, features, time)"),
    (
        case("WhisperBeamSearch", [normal(2, 5, 6), *THREE, *[None] * 5, i32(1)], WHISPERS),
        "beginning_timestamp_token_id",
    ),
    (
        case(
            "BeamSearch",
            [normal(2, 5, 6), *THREE, *[None] * 5, i32(1)],
            {**WHISPERS, "model_type": 2},
        ),
        "WhisperBeamSearch",
    ),
]


@pytest.mark.parametrize("case, message", REFUSED, ids=str)
def test_refused(case, message):
    with pytest.raises(ValueError) as error:
        run_directly(case)
    assert message in str(error.value)


def test_prompts_of_a_batch_are_independent():
    """ONNX Runtime asks the scores of other prompts whether the beams of one can still win."""
    differ = 0
    for seed in range(186, 196):
        ids = np.random.default_rng(seed).integers(2, 12, (2, 3)).astype(np.int32)
        settings = {**GPT, "decoder": gpt(vocab=12, seed=seed, scale=1.0)}
        results = []
        for prompts in (ids, ids[:1], ids[1:]):
            model, feeds = beam(["sequences"], settings, input_ids=prompts, max_length=integer(14))
            results.append(
                [onnxwalk.load(model).run(None, feeds)[0], run_onnxruntime(model, feeds)[0]]
            )
        (both, theirs), *alone = results
        np.testing.assert_array_equal(both, np.concatenate([found for found, _ in alone]))
        differ += (theirs != np.concatenate([found for _, found in alone])).any()
    assert differ, "ONNX Runtime's prompts are independent now: SUPPORT.md says they aren't"


def in_float16(encoder):
    """An encoder that takes float16, and computes as before."""
    body = type(encoder)()
    body.CopyFrom(encoder)
    name = body.input[0].name
    body.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    for node in body.node:
        node.input[:] = ["in_float32" if used == name else used for used in node.input]
    body.node.insert(0, helper.make_node("Cast", [name], ["in_float32"], to=TensorProto.FLOAT))
    return body


@pytest.mark.parametrize("operator", ["WhisperBeamSearch", "BeamSearch"])
def test_what_is_heard_and_the_numbers_may_be_float16(operator):
    """``tests/conformance/test_types.py`` changes the inputs alone, not the bodies with them."""
    features = normal(2, 5, 6).astype(np.float16)
    most, least, beams, returned, penalty = THREE
    settings = {**WHISPERS, "model_type": 2} if operator == "BeamSearch" else WHISPERS
    whole = case(operator, [features.astype(np.float32), *THREE], settings, outputs=2)
    half = case(
        operator,
        [features, most, least, beams, returned, penalty.astype(np.float16)],
        {**settings, "encoder": in_float16(HEARS)},
        outputs=2,
    )
    sequences, scores = run_onnxwalk(half)
    expected, near = run_onnxwalk(whole)
    np.testing.assert_array_equal(sequences, expected)
    assert scores.dtype == np.float16
    np.testing.assert_allclose(scores, near, rtol=2e-3)
