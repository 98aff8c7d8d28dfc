"""spox, graphs by its operator functions of opsets 17 to 21; NumPy's answers are the framework's"""

import numpy as np
import onnx
import spox
import spox.opset.ai.onnx.ml.v3 as ml
import spox.opset.ai.onnx.v17 as v17
import spox.opset.ai.onnx.v18 as v18
import spox.opset.ai.onnx.v19 as v19
import spox.opset.ai.onnx.v20 as v20
import spox.opset.ai.onnx.v21 as v21
from writing import write

REQUIREMENTS = ["spox==0.18.2", "onnx==1.23.2", "numpy==2.4.6"]
REFUSED = 5
rng = np.random.default_rng(0)
x = rng.normal(size=(3, 4)).astype(np.float32)
y = rng.normal(size=(4, 5)).astype(np.float32)


def loop(a):
    rows = []
    for i in range(4):
        rows.append(a.max())
        a = a * a + np.float32(i)
    return [a, np.array(rows)]


def check(name, function, arrays, answer):
    def to(path):
        arguments = {
            f"x{i}": spox.argument(spox.Tensor(a.dtype, (None,) * a.ndim))
            for i, a in enumerate(arrays)
        }
        results = function(*arguments.values())
        results = results if isinstance(results, tuple | list) else [results]
        onnx.save(spox.build(arguments, {f"y{i}": r for i, r in enumerate(results)}), path)

    write(name, to, list(arrays), answer)


for version, op in ((17, v17), (18, v18), (19, v19), (20, v20), (21, v21)):
    tag = f"-{version}"
    check("matmul" + tag, op.matmul, [x, y], lambda a, b: a @ b)
    check(
        "gemm" + tag,
        lambda a, b, op=op: op.gemm(a, b, alpha=0.5, transB=1),
        [x, x],
        lambda a, b: 0.5 * a @ b.T,
    )
    check(
        "softmax" + tag,
        lambda a, op=op: op.softmax(a, axis=0),
        [x],
        lambda a: np.exp(a) / np.exp(a).sum(0),
    )
    check(
        "cumsum" + tag,
        lambda a, op=op: op.cumsum(a, op.const(1), reverse=1),
        [x],
        lambda a: a[:, ::-1].cumsum(1)[:, ::-1],
    )
    check(
        "if" + tag,
        lambda a, op=op: op.if_(
            op.greater(op.reduce_sum(a, keepdims=0), op.const(0.0, np.float32)),
            then_branch=lambda: [op.mul(a, op.const(2.0, np.float32))],
            else_branch=lambda: [op.neg(a)],
        ),
        [x],
        lambda a: a * 2 if a.sum() > 0 else -a,
    )
    check(
        "loop" + tag,
        lambda a, op=op: op.loop(
            op.const(4),
            v_initial=[a],
            body=lambda i, _, v: [
                op.const(True),
                op.add(op.mul(v, v), op.cast(i, to=np.float32)),
                op.reduce_max(v, keepdims=0),
            ],
        ),
        [x[0] / 4],
        lambda a: loop(a),
    )
    check(
        "scan" + tag,
        lambda a, op=op: op.scan(
            [op.const(np.zeros(4, np.float32)), a],
            body=lambda s, row: [op.add(s, row), op.mul(s, row)],
            num_scan_inputs=1,
        ),
        [x],
        lambda a: [a.sum(0), np.array([a[:i].sum(0) * a[i] for i in range(3)])],
    )
    check(
        "sequence-map" + tag,
        lambda a, op=op: op.concat_from_sequence(
            op.sequence_map(op.split_to_sequence(a, axis=0), body=lambda v: [op.exp(v)])[0], axis=0
        ),
        [x],
        np.exp,
    )
    check(
        "topk" + tag,
        lambda a, op=op: op.top_k(a, op.const([2])),
        [x],
        lambda a: [-np.sort(-a)[:, :2], np.argsort(-a)[:, :2]],
    )
    check(
        "unique" + tag,
        lambda a, op=op: op.unique(a, sorted=1),
        [np.array([3, 1, 3, -5])],
        lambda a: np.unique(a, True, True, True),
    )
    check(
        "einsum" + tag,
        lambda a, b, op=op: op.einsum([a, b], equation="ij,jk->ki"),
        [x, y],
        lambda a, b: (a @ b).T,
    )
    check(
        "mod" + tag,
        lambda a, b, op=op: (op.mod(a, b), op.mod(a, b, fmod=1)),
        [np.array([-7, 7, -8]), np.array([3, -3, 3])],
        lambda a, b: [a % b, np.fmod(a, b)],
    )
    check(
        "one-hot" + tag,
        lambda a, op=op: op.one_hot(a, op.const(4), op.const([0, 1])),
        [np.array([0, -1, 3])],
        lambda a: np.eye(4, dtype=int)[a],
    )
    check(
        "trilu" + tag,
        lambda a, op=op: op.trilu(a, op.const(-1), upper=0),
        [x],
        lambda a: np.tril(a, -1),
    )
    check(
        "layer-norm" + tag,
        lambda a, op=op: op.layer_normalization(a, op.const(np.ones(4, np.float32)))[0],
        [x],
        lambda a: (a - a.mean(1, keepdims=True)) / np.sqrt(a.var(1, keepdims=True) + 1e-5),
    )
    check(
        "strings" + tag,
        lambda a, op=op: op.string_normalizer(a, case_change_action="UPPER", stopwords=["B"]),
        [np.array(["a", "B", "c"])],
        lambda a: np.array(["A", "C"]),
    )
check("split-18", lambda a: v18.split(a, num_outputs=3, axis=0), [x], lambda a: np.split(a, 3))
check(
    "center-crop-18",
    lambda a: v18.center_crop_pad(a, v18.const([2, 6])),
    [x],
    lambda a: np.pad(a[:2], ((0, 0), (1, 1))),
)
check(
    "bitwise-18",
    lambda a: v18.bitwise_not(a),
    [np.array([0, -1, 127, -128], np.int8)],
    lambda a: ~a,
)
check(
    "gelu-20",
    lambda a: v20.gelu(a, approximate="tanh"),
    [x],
    lambda a: 0.5 * a * (1 + np.tanh(np.sqrt(2 / np.pi) * (a + 0.044715 * a**3))),
)
check(
    "isinf-20",
    lambda a: v20.isinf(a),
    [np.array([np.inf, -np.inf, np.nan, 1], np.float32)],
    np.isinf,
)
check(
    "concat-strings-20",
    lambda a: v20.string_concat(a, v20.const(np.array(["!"]))),
    [np.array(["ä", "b"])],
    lambda a: np.array([t + "!" for t in a]),
)
check(
    "split-strings-20",
    lambda a: v20.string_split(a, delimiter="."),
    [np.array(["a.b", "c"])],
    lambda a: [np.array([["a", "b"], ["c", ""]]), np.array([2, 1])],
)
check(
    "scaler-ml",
    lambda a: ml.scaler(a, offset=[1.0, 2, 3, 4], scale=[2.0] * 4),
    [x],
    lambda a: (a - [1, 2, 3, 4]) * 2,
)
check(
    "label-encoder-ml",
    lambda a: ml.label_encoder(a, keys_strings=["a", "b"], values_int64s=[5, 6], default_int64=-1),
    [np.array(["b", "x", "a"])],
    lambda a: np.array([6, -1, 5]),
)
inner = spox.argument(spox.Tensor(np.float32, (None, 4)))
model = spox.build({"a": inner}, {"b": v17.tanh(inner)})
check("inlined", lambda a: v21.add(spox.inline(model)(a)["b"], a), [x], lambda a: np.tanh(a) + a)
