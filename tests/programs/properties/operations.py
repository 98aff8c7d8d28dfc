"""What the models are built of: functions of ``keras.ops`` and layers, each with what it takes.

An ``Operation`` says which tensors it accepts, draws its arguments (plain data, so that a model can
be written down), and is applied to tensors. A layer is made once and may be applied again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from hypothesis import strategies as st
from keras import layers, ops

Draw = Callable[[Any], Any]
Arguments = dict[str, Any]

FLOATS = ("float32", "float16", "float64")
INTEGERS = ("int32", "int64", "int8", "uint8", "int16", "uint32")
DTYPES = (*FLOATS, *INTEGERS, "bool")


@dataclass(frozen=True)
class Operation:
    """``takes`` says whether the first tensor is accepted, ``arity`` how many there are (the others
    are of the same dtype), ``arguments`` draws the rest for them, ``apply`` computes."""

    name: str
    apply: Callable[..., Any]
    takes: Callable[[Any], bool]
    arity: int = 1
    arguments: Callable[[Draw, list[Any]], Arguments] = lambda draw, tensors: {}
    is_layer: bool = False


def is_float(x: Any) -> bool:
    return x.dtype in FLOATS


def is_number(x: Any) -> bool:
    return x.dtype != "bool"


def is_integer(x: Any) -> bool:
    return x.dtype in INTEGERS


def is_bool(x: Any) -> bool:
    return x.dtype == "bool"


def is_anything(x: Any) -> bool:
    return True


def rank(number: int, *, floating: bool = True) -> Callable[[Any], bool]:
    return lambda x: len(x.shape) == number and x.shape[-1] is not None and is_float(x) == floating


def has_axes(x: Any) -> bool:
    return len(x.shape) > 1


def number_with_axes(x: Any) -> bool:
    return is_number(x) and len(x.shape) > 1


def float_with_axes(x: Any) -> bool:
    return is_float(x) and len(x.shape) > 1 and x.shape[-1] is not None


def axis_of(draw: Draw, x: Any) -> int:
    """An axis beside the batch."""
    axis = draw(st.integers(1, len(x.shape) - 1))
    return int(axis - len(x.shape) if draw(st.booleans()) else axis)


def an_axis(draw: Draw, tensors: list[Any]) -> Arguments:
    return {"axis": axis_of(draw, tensors[0])}


def reduction(draw: Draw, tensors: list[Any]) -> Arguments:
    return an_axis(draw, tensors) | {"keepdims": draw(st.booleans())}


def one_of(**choices: Any) -> Callable[[Draw, list[Any]], Arguments]:
    """Each argument is one of the values listed."""
    return lambda draw, tensors: {k: draw(st.sampled_from(v)) for k, v in choices.items()}


def function(name: str, takes: Callable[[Any], bool], arity: int = 1, arguments: Any = None):
    more = {} if arguments is None else {"arguments": arguments}
    return Operation(name, getattr(ops, name), takes, arity, **more)


def layer(name: str, takes: Callable[[Any], bool], arity: int = 1, arguments: Any = None):
    more = {} if arguments is None else {"arguments": arguments}
    return Operation(name, getattr(layers, name), takes, arity, is_layer=True, **more)


UNARY_FLOAT = """relu relu6 selu silu softplus softsign sigmoid tanh hard_sigmoid hard_silu
log_sigmoid squareplus sparse_plus hard_tanh tanh_shrink exp expm1 exp2 log log1p log2 log10 sqrt
rsqrt reciprocal sin cos tan sinh cosh arcsin arccos arctan arcsinh arctanh erf cbrt
deg2rad sinc nan_to_num floor ceil round trunc isnan isinf isfinite""".split()
UNARY_NUMBER = "abs negative sign square".split()
BINARY_NUMBER = """add subtract multiply maximum minimum less less_equal greater greater_equal equal
not_equal floor_divide mod true_divide""".split()
BINARY_FLOAT = "divide divide_no_nan logaddexp arctan2 power".split()
BINARY_INTEGER = "bitwise_and bitwise_or bitwise_xor gcd lcm".split()
BINARY_BOOL = "logical_and logical_or logical_xor".split()
REDUCTIONS = "sum mean max min prod var std".split()
DENSE = {"units": (1, 3), "use_bias": (True, False), "activation": (None, "relu", "tanh", "gelu")}
RECURRENT: Arguments = {"units": (2, 3), "return_sequences": (True, False)}
RECURRENT |= {"go_backwards": (True, False)}
POOL: Arguments = {"pool_size": (2, 3), "strides": (None, 1, 2), "padding": ("valid", "same")}
CONV: Arguments = {"filters": (2, 3), "kernel_size": (1, 2, 3), "padding": ("valid", "same")}
CONV |= {"strides": (1, 2), "use_bias": (True, False), "activation": (None, "relu")}


_PART = st.sampled_from((0, 1))


def _pads(draw: Draw, tensors: list[Any]) -> Arguments:
    sizes = st.tuples(st.integers(0, 2), st.integers(0, 2))
    width = [(0, 0), *(draw(sizes) for _ in tensors[0].shape[1:])]
    return {"pad_width": width, "mode": draw(st.sampled_from(["constant", "reflect", "symmetric"]))}


def _permutation(draw: Draw, tensors: list[Any]) -> Arguments:
    return {"axes": [0, *draw(st.permutations(range(1, len(tensors[0].shape))))]}


def _clip(draw: Draw, tensors: list[Any]) -> Arguments:
    low = draw(st.integers(0, 3))
    return {"x_min": low, "x_max": low + draw(st.integers(0, 4))}


def _take(draw: Draw, tensors: list[Any]) -> Arguments:
    axis = axis_of(draw, tensors[0])
    size = tensors[0].shape[axis] or 1
    indices = draw(st.lists(st.integers(-size, size - 1), min_size=1, max_size=4))
    return {"indices": indices, "axis": axis}


def _slice(draw: Draw, tensors: list[Any]) -> Arguments:
    bound = st.none() | st.integers(-3, 3)
    step = st.sampled_from([None, 1, 2, -1])
    return {"slices": [(draw(bound), draw(bound), draw(step)) for _ in tensors[0].shape[1:]]}


def _getitem(x: Any, slices: list[Any]) -> Any:
    return x[(slice(None), *(slice(*part) for part in slices))]


def _where(x: Any, y: Any, negated: bool, limit: int) -> Any:
    condition = ops.less(x, ops.cast(limit, x.dtype))
    return ops.where(ops.logical_not(condition) if negated else condition, x, y)


def _attention(x: Any, y: Any, **arguments: Any) -> Any:
    return layers.MultiHeadAttention(**arguments)(x, y)


def _joined(name: str) -> Callable[..., Any]:
    return lambda *tensors, axis: getattr(ops, name)(list(tensors), axis=axis)


def _top_k(x: Any, k: int, index: int) -> Any:
    return ops.top_k(x, k)[index]


def _split(x: Any, axis: int, index: int) -> Any:
    return ops.split(x, [1], axis=axis)[index]


OPERATIONS = [
    *(function(name, is_float) for name in UNARY_FLOAT),
    *(function(name, is_number) for name in UNARY_NUMBER),
    *(function(name, is_number, 2) for name in BINARY_NUMBER),
    *(function(name, is_float, 2) for name in BINARY_FLOAT),
    *(function(name, is_integer, 2) for name in BINARY_INTEGER),
    *(function(name, is_bool, 2) for name in BINARY_BOOL),
    *(function(name, number_with_axes, 1, reduction) for name in REDUCTIONS),
    function("bitwise_not", is_integer),
    function("logical_not", is_anything),
    function("elu", is_float, 1, one_of(alpha=(0.5, 1.0, 2.0))),
    function("celu", is_float, 1, one_of(alpha=(0.5, 2.0))),
    function("gelu", is_float, 1, one_of(approximate=(True, False))),
    function("leaky_relu", is_float, 1, one_of(negative_slope=(0.0, 0.2))),
    function("hard_shrink", is_float, 1, one_of(threshold=(0.0, 0.5))),
    function("soft_shrink", is_float, 1, one_of(threshold=(0.0, 0.5))),
    function("threshold", is_float, 1, one_of(threshold=(-1, 0.5), default_value=(0, 20))),
    function("clip", is_number, 1, _clip),
    function("all", has_axes, 1, reduction),
    function("any", has_axes, 1, reduction),
    function("count_nonzero", has_axes, 1, an_axis),
    function("logsumexp", float_with_axes, 1, reduction),
    function("argmax", number_with_axes, 1, reduction),
    function("argmin", number_with_axes, 1, reduction),
    function("softmax", float_with_axes, 1, an_axis),
    function("log_softmax", float_with_axes, 1, an_axis),
    function("cumsum", number_with_axes, 1, an_axis),
    function("cumprod", number_with_axes, 1, an_axis),
    function("sort", number_with_axes, 1, an_axis),
    function("argsort", number_with_axes, 1, an_axis),
    function("flip", has_axes, 1, an_axis),
    function("diff", number_with_axes, 1, an_axis),
    function("expand_dims", is_anything, 1, one_of(axis=(1, -1))),
    function("transpose", has_axes, 1, _permutation),
    function("pad", number_with_axes, 1, _pads),
    function("take", has_axes, 1, _take),
    function("roll", has_axes, 1, lambda d, t: an_axis(d, t) | {"shift": d(st.integers(-2, 2))}),
    function("repeat", has_axes, 1, lambda d, t: an_axis(d, t) | {"repeats": d(st.integers(1, 3))}),
    function("cast", is_anything, 1, one_of(dtype=DTYPES)),
    function("normalize", float_with_axes, 1, one_of(order=(1, 2), axis=(-1,))),
    function("one_hot", is_integer, 1, one_of(num_classes=(2, 5), axis=(-1, 1))),
    function("matmul", float_with_axes, 2),
    function("tril", lambda x: len(x.shape) > 2, 1, one_of(k=(-1, 0, 1))),
    Operation("top_k", _top_k, float_with_axes, 1, one_of(k=(1, 2), index=(0, 1))),
    Operation("split", _split, has_axes, 1, lambda d, t: an_axis(d, t) | {"index": d(_PART)}),
    Operation("getitem", _getitem, has_axes, 1, _slice),
    Operation("where", _where, is_number, 2, one_of(negated=(True, False), limit=(0, 20))),
    Operation("concatenate", _joined("concatenate"), has_axes, 2, an_axis),
    Operation("stack", _joined("stack"), is_anything, 2, one_of(axis=(1, -1))),
    layer("Dense", float_with_axes, 1, one_of(**DENSE)),
    layer("Conv1D", rank(3), 1, one_of(**CONV)),
    layer("SeparableConv1D", rank(3), 1, one_of(**CONV)),
    layer("Conv1DTranspose", rank(3), 1, one_of(**CONV)),
    layer("Conv2D", rank(4), 1, one_of(**CONV)),
    layer("MaxPooling1D", rank(3), 1, one_of(**POOL)),
    layer("AveragePooling1D", rank(3), 1, one_of(**POOL)),
    layer("MaxPooling2D", rank(4), 1, one_of(**POOL)),
    layer("AveragePooling2D", rank(4), 1, one_of(**POOL)),
    layer("GlobalAveragePooling1D", rank(3), 1, one_of(keepdims=(True, False))),
    layer("GlobalMaxPooling1D", rank(3), 1, one_of(keepdims=(True, False))),
    layer("SimpleRNN", rank(3), 1, one_of(**RECURRENT)),
    layer("LSTM", rank(3), 1, one_of(**RECURRENT)),
    layer("GRU", rank(3), 1, one_of(**RECURRENT, reset_after=(True, False))),
    layer("LayerNormalization", float_with_axes, 1, one_of(axis=(-1,))),
    layer("RMSNormalization", float_with_axes, 1, one_of(axis=(-1,))),
    layer("BatchNormalization", float_with_axes, 1, one_of(scale=(True, False))),
    layer("UnitNormalization", float_with_axes, 1, an_axis),
    layer("Masking", rank(3), 1, one_of(mask_value=(0.0, 1.0))),
    layer("Softmax", float_with_axes, 1, an_axis),
    layer("PReLU", float_with_axes),
    layer("ReLU", is_float, 1, one_of(max_value=(None, 6), negative_slope=(0, 0.1),
                                      threshold=(0, 1))),
    layer("Dropout", is_float, 1, one_of(rate=(0.3,))),
    layer("Flatten", has_axes),
    layer("Rescaling", is_number, 1, one_of(scale=(0.5, 1 / 255), offset=(0.0, -1.0))),
    layer("ZeroPadding1D", rank(3), 1, one_of(padding=(1, (0, 2)))),
    layer("Cropping1D", rank(3), 1, one_of(cropping=(1, (0, 1)))),
    layer("UpSampling1D", rank(3), 1, one_of(size=(2, 3))),
    layer("UpSampling2D", rank(4), 1, one_of(size=(2,), interpolation=("nearest", "bilinear"))),
    layer("RepeatVector", rank(2), 1, one_of(n=(2, 3))),
    layer("Embedding", is_integer, 1, one_of(input_dim=(10,), output_dim=(3,),
                                             mask_zero=(True, False))),
    Operation("MultiHeadAttention", _attention, rank(3), 2, one_of(num_heads=(1, 2), key_dim=(2,),
                                                                   use_bias=(True, False))),
    *(
        Operation(name, lambda x, y, name=name: getattr(layers, name)()([x, y]), is_float, 2)
        for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
    ),
]  # fmt: skip
BY_NAME = {operation.name: operation for operation in OPERATIONS}
assert len(BY_NAME) == len(OPERATIONS) and keras.backend.backend() == "tensorflow"
