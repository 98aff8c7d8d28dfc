"""SparseAttention and MRotaryEmbedding, held against ONNX Runtime."""

import numpy as np
import onnxruntime
import pytest

from tests.support.harness import assert_same, check, feeds_of, one_node_model, run_directly
from tests.support.microsoft import case, i32, normal

#: two layouts of 4 blocks of 16 tokens, from the operator's documentation
SEEN = np.array(
    [
        [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 1]],
        [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 1, 1]],
    ]
)
ROWS = i32([0, 1, 3, 5, 8], [0, 1, 3, 6, 9])
COLUMNS = i32([0, 0, 1, 1, 2, 1, 2, 3, -1], [0, 0, 1, 0, 1, 2, 0, 2, 3])
HEADS, SHARED, SIZE, CACHE = 4, 2, 16, 64


def sparse(length, totals, *, packed=False, rotary=0, expected=True, **attributes):
    """SparseAttention of 4 heads that share 2 keys, with what must come out."""
    batch = len(totals)
    q, k, v = (
        normal(batch, length, n * SIZE, seed=i) for i, n in enumerate((HEADS, SHARED, SHARED))
    )
    caches = [normal(batch, SHARED, CACHE, SIZE, seed=seed) for seed in (3, 4)]
    attributes |= {"num_heads": HEADS, "kv_num_heads": SHARED, "sparse_block_size": 16}
    results = by_loops(q, k, v, *caches, totals, attributes.get("scale")) if expected else None
    given = [np.concatenate([q, k, v], -1), None, None] if packed else [q, k, v]
    inputs = [*given, *caches, ROWS, COLUMNS, np.array(max(totals), np.int32), i32(*totals)]
    if rotary:
        inputs += [normal(CACHE, SIZE // 2, seed=5), normal(CACHE, SIZE // 2, seed=6)]
        attributes["do_rotary"] = 1
    note = f"{totals}{' packed' if packed else ''}"
    return case("SparseAttention", inputs, attributes, results, 3, note=note, atol=1e-5)


def by_loops(q, k, v, past_k, past_v, totals, scale):
    """One query, head and sequence after the other."""
    batch, length, _ = q.shape
    y = np.zeros((batch, length, HEADS, SIZE), np.float32)
    present = [np.zeros_like(past_k), np.zeros_like(past_v)]
    for b, total in enumerate(totals):
        past = 0 if length == max(totals) else total - length
        for cache, before, new in zip(present, (past_k, past_v), (k, v), strict=True):
            cache[b, :, :past] = before[b, :, :past]
            cache[b, :, past : past + length] = new[b].reshape(length, SHARED, SIZE).swapaxes(0, 1)
        for head in range(HEADS):
            keys, values = (cache[b, head // (HEADS // SHARED)] for cache in present)
            for i in range(length):
                at = past + i
                sees = [j for j in range(at + 1) if SEEN[head % 2, at // 16, j // 16]]
                scores = keys[sees] @ q[b, i].reshape(HEADS, SIZE)[head]
                scores = np.exp(scores * (scale or SIZE**-0.5))
                y[b, i, head] = scores / scores.sum() @ values[sees]
    return [y.reshape(batch, length, -1), *present]


def with_blocks(rows, columns):
    made = sparse(1, [9])
    inputs = [*made.inputs[:5], rows, columns, *made.inputs[7:]]
    return case("SparseAttention", inputs, made.attributes)


def by_onnx_runtime(made):
    """The result alone; the caches must be the memory of the new ones."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        one_node_model(made).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    arrays = {name: np.array(x, order="C") for name, x in feeds_of(made).items()}
    binding = session.io_binding()
    values = {n: onnxruntime.OrtValue.ortvalue_from_numpy(x) for n, x in arrays.items()}
    for name, value in values.items():
        binding.bind_ortvalue_input(name, value)
    binding.bind_output("y0")
    binding.bind_ortvalue_output("y1", values["x3"])
    binding.bind_ortvalue_output("y2", values["x4"])
    session.run_with_iobinding(binding)
    return np.array(binding.get_outputs()[0].numpy())


def m_rotary(section, *, shape=(2, 3, 32), dtype=np.float32, **attributes):
    positions = np.random.default_rng(0).integers(0, 9, (3, 2, 3))
    caches = [normal(9, 8, seed=seed, dtype=dtype) for seed in (1, 2)]
    attributes |= {"mrope_section": section}
    if len(shape) == 3:
        attributes.setdefault("num_heads", 2)
    rough = 1e-5 if dtype == np.float32 else 3e-3
    inputs = [normal(*shape, dtype=dtype), positions, *caches]
    return case("MRotaryEmbedding", inputs, attributes, rtol=rough, atol=rough)


# fmt: off
CASES = [
    sparse(40, [40, 40]), sparse(40, [40], packed=True), sparse(64, [64]),
    sparse(1, [37, 50]), sparse(1, [50, 37], packed=True), sparse(5, [40, 21]),
    sparse(1, [1]), sparse(1, [64], scale=0.5),
    *(m_rotary(section, mrope_layout=layout, interleaved=interleaved)
      for section in ([4, 2, 2], [2, 3, 3], [8, 0, 0], [0, 4, 4])
      for layout in (0, 1) for interleaved in (0, 1)),
    m_rotary([4, 2, 2], shape=(2, 2, 3, 16)),
    m_rotary([4, 2, 2], shape=(2, 3, 48), rotary_embedding_dim=16),
    m_rotary([4, 2, 2], dtype=np.float16),
]

REFUSED = [
    (sparse(1, [65], expected=False), "more than 4 blocks"),
    (case("SparseAttention", [*sparse(1, [9]).inputs[:6], COLUMNS[:1], *sparse(1, [9]).inputs[7:]],
          sparse(1, [9]).attributes), "layouts"),
    (case("SparseAttention", sparse(1, [9]).inputs,
          sparse(1, [9]).attributes | {"sparse_block_size": 0}), "sparse_block_size 0"),
    (with_blocks(ROWS, COLUMNS + 2), "below 4"),
    (with_blocks(ROWS[:, ::-1], COLUMNS), "rise"),
    (with_blocks(ROWS, COLUMNS[:, :8]), "rise"),
    (with_blocks(i32([0, 2**31 - 1, -(2**31), 1, 8], ROWS[1]), COLUMNS), "rise"),
    (m_rotary([4, 2, 1]), "mrope_section"),
    (m_rotary([4, 4, 2, -2]), "mrope_section"),
    (m_rotary([4, 2, 2], mrope_layout=2), "mrope_layout"),
    (case("MRotaryEmbedding", [normal(2, 3, 32), np.zeros((2, 3), np.int64), normal(9, 8),
                               normal(9, 8)], {"mrope_section": [4, 2, 2]}), "position_ids"),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(case):
    check(case)


@pytest.mark.parametrize(
    "made",
    [
        sparse(40, [40, 40]),
        sparse(1, [37]),
        sparse(5, [40, 40], packed=True),
        sparse(40, [40], rotary=1, expected=False),
        sparse(1, [33], rotary=1, expected=False),
        sparse(3, [33, 33], rotary=1, packed=True, expected=False),
    ],
    ids=str,
)
def test_like_onnxruntime(made):
    """Of sequences of one length: with several, ONNX Runtime 1.32 answers something else for the
    shorter ones than for each alone."""
    assert_same(run_directly(made)[0], by_onnx_runtime(made), atol=1e-5)


def test_sequences_of_several_lengths_as_each_alone():
    together = sparse(1, [37, 50])
    (y, *_) = run_directly(together)
    for i, total in enumerate((37, 50)):
        inputs = [x[i : i + 1] if j < 5 else x for j, x in enumerate(together.inputs)]
        inputs[7:] = [np.array(total, np.int32), i32(total)]
        alone = case("SparseAttention", inputs, together.attributes, outputs=3)
        assert_same(y[i : i + 1], by_onnx_runtime(alone), atol=1e-5)


@pytest.mark.parametrize("case, message", REFUSED, ids=str)
def test_refused(case, message):
    with pytest.raises((ValueError, NotImplementedError), match=message):
        run_directly(case)
