"""PyTorch, modules and functions, by TorchScript and by dynamo, opsets 17 to 20"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import rnn
from writing import write

REQUIREMENTS = [
    "torch==2.13.0",
    "transformers==5.24.0",
    "onnx==1.23.2",
    "onnxscript==0.7.2",
    "numpy==2.4.6",
]

REFUSED = 23
KNOWN = {
    "dynamo-*-cross-entropy": "the exporter drops it: findings/torch-label-smoothing.sh",
    "dynamo-*-antialias-*": "both runtimes and ONNX's reference agree on Resize's "
    "antialias; PyTorch's own differs",
    "dynamo-*-special-round": "sign of NaN: 0 in PyTorch, NaN in ONNX",
    "script-*-gru-packed-both": "padded to the input's length, not to the longest of lengths",
    "script-*-integers-64": "x >> 3 is a division towards zero; PyTorch 2.14 mends it",
    "script-*-index-add": "index_put with accumulate: indices that occur twice count once",
    "specification:*-bilinear-corners-*": "align_corners with scales: the specification takes the "
    "unrounded size, as its reference evaluator does",
    "onnxruntime:*-special-softmax": "ReduceMax of NaN: ONNX Runtime passes over it",
}

torch.manual_seed(0)
r = torch.randn
inf, nan = float("inf"), float("nan")
special = torch.tensor([[0.0, -0.0, 1.5, -2.5, inf, -inf, nan, 1e-30]])


class Of(nn.Module):
    """A function as a module."""

    def __init__(self, function, *modules):
        super().__init__()
        self.function, self.inner = function, nn.ModuleList(modules)

    def forward(self, *xs):
        return self.function(*self.inner, *xs)


class Packed(nn.Module):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, x, lengths):
        packed = rnn.pack_padded_sequence(x, lengths, batch_first=True)
        y, h = self.cell(packed)
        return rnn.pad_packed_sequence(y, batch_first=True)[0], h


class Loop(nn.Module):
    def forward(self, x, n: int):
        for i in range(n):
            x = x * 0.5 + i
        return x


class Branch(nn.Module):
    def forward(self, x):
        if bool(x.sum() > 0):
            return x * 2
        return x - 1


class Cond(nn.Module):
    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda x: x * 2, lambda x: x - 1, (x,))


def put(x, i, v):
    x = x.clone()
    x[i] = v
    return x


def add_at(x, i, v):
    return x.index_put((i,), v, accumulate=True)


image, small = r(2, 3, 12, 14), r(2, 4, 6, 6)
seq = r(3, 7, 5)
i32 = torch.tensor([-(2**31), -7, -1, 0, 3, 2**31 - 1], dtype=torch.int32)
i64 = torch.tensor([-(2**63), -7, -1, 0, 3, 2**63 - 1])

#: name -> module, inputs
CASES = {
    "conv": (nn.Conv2d(3, 4, 3, 2, 1), (image,)),
    "conv-depthwise": (nn.Conv2d(4, 8, 3, groups=4, dilation=2), (small,)),
    "conv-same-reflect": (nn.Conv2d(3, 4, 3, padding="same", padding_mode="reflect"), (image,)),
    "conv-circular": (nn.Conv2d(3, 4, 3, padding=2, padding_mode="circular"), (image,)),
    "conv1d": (nn.Conv1d(5, 6, 3, padding=1), (r(2, 5, 9),)),
    "conv3d": (nn.Conv3d(2, 3, 2), (r(1, 2, 4, 5, 6),)),
    "conv-transpose": (nn.ConvTranspose2d(3, 4, 3, 2, 1, output_padding=1, dilation=2), (image,)),
    "batch-norm": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), (image,)),
    "group-norm": (nn.GroupNorm(2, 4), (small,)),
    "instance-norm": (nn.InstanceNorm2d(4, affine=True), (small,)),
    "layer-norm": (nn.LayerNorm([5]), (seq,)),
    "layer-norm-two-axes": (nn.LayerNorm([7, 5]), (seq,)),
    "rms-norm": (nn.RMSNorm(5), (seq,)),
    "local-response-norm": (nn.LocalResponseNorm(3), (small,)),
    "weight-norm": (nn.utils.parametrizations.weight_norm(nn.Linear(5, 4)), (seq,)),
    "rnn": (nn.RNN(5, 4, 2, batch_first=True), (seq,)),
    "rnn-relu-both": (nn.RNN(5, 4, nonlinearity="relu", bidirectional=True), (seq,)),
    "lstm-both": (nn.LSTM(5, 4, 2, bidirectional=True, batch_first=True), (seq,)),
    "gru": (nn.GRU(5, 4, bias=False), (seq,)),
    "gru-both": (nn.GRU(5, 4, 2, bidirectional=True, batch_first=True), (seq,)),
    "lstm-packed": (Packed(nn.LSTM(5, 4, batch_first=True)), (seq, torch.tensor([7, 4, 2]))),
    "gru-packed-both": (
        Packed(nn.GRU(5, 4, batch_first=True, bidirectional=True)),
        (seq, torch.tensor([6, 4, 1])),
    ),
    "lstm-cell": (nn.LSTMCell(5, 4), (r(3, 5),)),
    "attention": (
        nn.MultiheadAttention(8, 2, batch_first=True),
        (r(2, 3, 8), r(2, 5, 8), r(2, 5, 8)),
    ),
    "sdpa-causal": (
        Of(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)),
        (r(2, 2, 5, 4), r(2, 2, 5, 4), r(2, 2, 5, 4)),
    ),
    "sdpa-mask": (
        Of(lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m)),
        (r(1, 2, 3, 4), r(1, 2, 5, 4), r(1, 2, 5, 4), torch.tensor([[1, 1, 0, 1, 0]] * 3).bool()),
    ),
    "encoder-layer": (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (r(2, 5, 8),)),
    "decoder-layer": (
        nn.TransformerDecoderLayer(8, 2, 16, activation="gelu"),
        (r(4, 2, 8), r(5, 2, 8)),
    ),
    "einsum": (Of(lambda a, b: torch.einsum("bij,bkj->bik", a, b)), (r(2, 3, 4), r(2, 5, 4))),
    "einsum-diagonal": (Of(lambda a: torch.einsum("bii->i", a)), (r(2, 3, 3),)),
    "index-put": (Of(put), (r(5, 3), torch.tensor([0, -1]), r(2, 3))),
    "index-add": (Of(add_at), (r(5, 3), torch.tensor([1, 1, -2]), r(3, 3))),
    "boolean-mask": (Of(lambda x: x[x > 0]), (r(4, 5),)),
    "scatter": (
        Of(lambda x, i, s: x.scatter(1, i, s)),
        (r(3, 5), torch.tensor([[0, 2], [1, 3], [4, 0]]), r(3, 2)),
    ),
    "scatter-add": (
        Of(lambda x, i, s: x.scatter_add(1, i, s)),
        (r(3, 5), torch.tensor([[0, 0], [1, 3], [4, 4]]), r(3, 2)),
    ),
    "scatter-amax": (
        Of(lambda x, i, s: x.scatter_reduce(1, i, s, "amax")),
        (r(3, 5), torch.tensor([[0, 0], [1, 3], [4, 4]]), r(3, 2)),
    ),
    "gather": (Of(lambda x, i: x.gather(1, i)), (r(3, 5), torch.tensor([[0, 2], [1, 3], [4, 0]]))),
    "pixel-shuffle": (nn.PixelShuffle(2), (small,)),
    "max-pool": (nn.MaxPool2d(3, 2, 1, dilation=2, ceil_mode=True), (image,)),
    "max-pool-indices": (nn.MaxPool2d(2, return_indices=True), (image,)),
    "avg-pool": (nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), (image,)),
    "avg-pool-include": (nn.AvgPool2d(3, 2, 1, ceil_mode=True), (r(1, 2, 8, 9),)),
    "adaptive-pool": (nn.AdaptiveAvgPool2d((3, 2)), (small,)),
    "lp-pool": (nn.LPPool2d(2, 3, 2), (image,)),
    "grid-sample": (
        Of(lambda x, g: F.grid_sample(x, g, align_corners=False)),
        (small, r(2, 5, 5, 2)),
    ),
    "grid-sample-bicubic": (
        Of(lambda x, g: F.grid_sample(x, g, "bicubic", "reflection", True)),
        (small, r(2, 5, 5, 2)),
    ),
    "affine-grid": (
        Of(lambda t: F.affine_grid(t, [2, 3, 4, 5], align_corners=False)),
        (r(2, 2, 3),),
    ),
    "cross-entropy": (
        nn.CrossEntropyLoss(label_smoothing=0.1),
        (r(4, 5), torch.tensor([0, 4, 2, 1])),
    ),
    "nll-ignore": (
        Of(lambda x, t: F.nll_loss(F.log_softmax(x, 1), t, ignore_index=2)),
        (r(4, 5), torch.tensor([0, 4, 2, 1])),
    ),
    "bce-logits": (
        nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0])),
        (r(4, 1), torch.rand(4, 1)),
    ),
    "kl": (nn.KLDivLoss(reduction="batchmean"), (r(3, 4).log_softmax(1), r(3, 4).softmax(1))),
    "smooth-l1": (nn.SmoothL1Loss(beta=0.5), (r(3, 4), r(3, 4))),
    "embedding": (nn.Embedding(9, 4, padding_idx=0), (torch.tensor([[0, 8], [3, 0]]),)),
    "embedding-bag": (
        nn.EmbeddingBag(9, 4, mode="mean"),
        (torch.tensor([0, 8, 3, 1, 2]), torch.tensor([0, 2])),
    ),
    "embedding-bag-max": (nn.EmbeddingBag(9, 4, mode="max"), (torch.tensor([[0, 8], [3, 1]]),)),
    "bilinear": (nn.Bilinear(3, 4, 2), (r(5, 3), r(5, 4))),
    "unfold": (nn.Unfold(3, 2, 1, 2), (image,)),
    "fold": (nn.Fold((6, 6), 2, stride=2), (r(1, 12, 9),)),
    "unique": (Of(lambda x: torch.unique(x, return_inverse=True, return_counts=True)), (i64,)),
    "topk": (Of(lambda x: torch.topk(x, 3)), (r(4, 6),)),
    "sort": (Of(lambda x: torch.sort(x, 1, descending=True)), (r(4, 6),)),
    "cumsum": (Of(lambda x: (x.cumsum(1), torch.logcumsumexp(x, 1))), (r(4, 6),)),
    "statistics": (
        Of(lambda x: (x.std(1), x.var(0, correction=0), x.logsumexp(1), x.norm(3, 1))),
        (r(4, 6),),
    ),
    "median-mode": (
        Of(lambda x: (x.amax((0, 1)), x.argmin(1), x.prod(1), torch.all(x > -9, 1))),
        (r(4, 6),),
    ),
    "activations": (
        Of(
            lambda x: [
                f(x)
                for f in (
                    F.gelu,
                    F.silu,
                    F.mish,
                    F.selu,
                    F.celu,
                    F.softplus,
                    F.hardswish,
                    F.hardsigmoid,
                    F.softsign,
                    F.logsigmoid,
                    F.tanhshrink,
                )
            ]
        ),
        (r(3, 7) * 4,),
    ),
    "gelu-tanh": (nn.GELU("tanh"), (r(3, 7) * 4,)),
    "glu": (nn.GLU(), (r(3, 8),)),
    "special-relu": (
        Of(lambda x: (F.relu(x), x.clamp(-1, 1), F.leaky_relu(x), F.hardtanh(x))),
        (special,),
    ),
    "special-round": (
        Of(lambda x: (x.round(), x.floor(), x.sign(), x.trunc(), x.isnan(), x.isinf())),
        (special,),
    ),
    "special-exp": (
        Of(lambda x: (x.exp(), x.tanh(), x.sigmoid(), x.abs().sqrt(), x.erf())),
        (special,),
    ),
    "special-softmax": (Of(lambda x: (x.softmax(0), x.sum(0), x.amax(1))), (special,)),
    "special-nan-to-num": (Of(lambda x: x.nan_to_num(7.0, 8.0, -9.0)), (special,)),
    "integers-divide": (
        Of(
            lambda a, b: (
                torch.div(a, b, rounding_mode="floor"),
                torch.remainder(a, b),
                torch.fmod(a, b),
            )
        ),
        (i32[1:5], torch.tensor([3, -3, 3, -3], dtype=torch.int32)),
    ),
    "integers-32": (Of(lambda x: (x + x, x.abs(), x * 3, x.clamp(-5, 5), x.float())), (i32,)),
    "integers-64": (Of(lambda x: (x + x, x * 3, x.sign(), x.clamp(-5, 5), x >> 3)), (i64,)),
    "uint8": (
        Of(lambda x: (x + 250, x // 7, x.float() / 255, ~x)),
        (torch.tensor([0, 1, 127, 255], dtype=torch.uint8),),
    ),
    "half": (Of(lambda x: (x @ x.T, x.softmax(1), x.sum(1))), (r(4, 6).half(),)),
    "bfloat16": (Of(lambda x: (x.bfloat16() * 3 + 1).float()), (r(4, 6),)),
    "double": (
        Of(lambda x: (x.erf(), x.log1p(), F.layer_norm(x, (6,)), x @ x.T)),
        (torch.rand(4, 6).double(),),
    ),
    "complex": (Of(lambda x: torch.view_as_real(torch.fft.fft(x))), (r(3, 8),)),
    "stft": (
        Of(lambda x: torch.stft(x, 8, 4, window=torch.hann_window(8), return_complex=False)),
        (r(2, 32),),
    ),
    "fake-quantize": (
        Of(lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 3, 0, 255)),
        (r(4, 6) * 9,),
    ),
    "triu": (
        Of(lambda x: (x.triu(1), x.tril(-1), x.diagonal(1), torch.roll(x, 2, 1), x.flip(0))),
        (r(5, 5),),
    ),
    "pad": (
        Of(
            lambda x: (
                F.pad(x, (1, 2), "reflect"),
                F.pad(x, (1, -2), value=3.0),
                F.pad(x, (2, 1), "replicate"),
            )
        ),
        (r(1, 3, 8),),
    ),
    "searchsorted": (Of(lambda x: torch.bucketize(x, torch.tensor([-1.0, 0.0, 1.0]))), (r(5),)),
    "cdist": (Of(lambda a, b: torch.cdist(a, b)), (r(4, 3), r(5, 3))),
    "where-nonzero": (
        Of(lambda x: (torch.where(x > 0, x, x * 0.1), (x > 0).nonzero())),
        (r(3, 4),),
    ),
    "one-hot": (Of(lambda x: F.one_hot(x, 5)), (torch.tensor([0, 4, 2]),)),
    "addmm": (
        Of(lambda b, x, y: torch.addmm(b, x, y, beta=0.5, alpha=2.0)),
        (r(4), r(3, 5), r(5, 4)),
    ),
    "cond": (Cond(), (r(3, 4).abs(),)),
    "script-loop": (torch.jit.script(Loop()), (r(3), torch.tensor(4))),
    "script-branch": (torch.jit.script(Branch()), (r(3).abs(),)),
}
for mode, more in {
    "nearest": {},
    "nearest-exact": {},
    "bilinear": {"align_corners": False},
    "bilinear-corners": {"align_corners": True},
    "bicubic": {"align_corners": False},
    "bilinear-antialias": {"align_corners": False, "antialias": True},
    "bicubic-antialias": {"align_corners": False, "antialias": True},
    "area": {},
}.items():
    for factor in (1.7, 0.6):
        kind = mode.removesuffix("-corners").removesuffix("-antialias")
        function = Of(
            lambda x, kind=kind, more=more, factor=factor: F.interpolate(
                x, scale_factor=factor, mode=kind, **more
            )
        )
        CASES[f"interpolate-{mode}-{factor}"] = (function, (small,))


def export(module, inputs, opset, dynamo):
    def to(path):
        torch.onnx.export(module, inputs, path, opset_version=opset, dynamo=dynamo)

    return to


for number, (name, (module, inputs)) in enumerate(CASES.items()):
    module.eval()

    def answer(*_, module=module, inputs=inputs):
        with torch.no_grad():
            return module(*inputs)

    script, dynamo = 17 + number % 4, 18 + number % 3
    write(f"script-{script}-{name}", export(module, inputs, script, False), list(inputs), answer)
    if not isinstance(module, torch.jit.ScriptModule):
        write(f"dynamo-{dynamo}-{name}", export(module, inputs, dynamo, True), list(inputs), answer)
