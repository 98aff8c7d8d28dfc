"""Faulty and hostile model files: made by hand by what they attack, and mutants."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, parser

from tests.programs.fuzz.case import Case
from tests.programs.fuzz.mutate import mutant
from tests.programs.fuzz.seeds import seeds

HUGE = 2**63 - 1
X = {"x": np.array([1.0, 2.0], np.float32)}


def faults(mutants: int) -> list[Case]:
    """All of them, each with "group/name" as its origin, the same each time."""
    by_hand = [*_bombs(), *_endless(), *_structure(), *_external(), *_tensors(), *_damaged()]
    return [*by_hand, *_mutants(mutants)]


def _model(nodes: str, inputs: str = "float[2] x", outputs: str = "y") -> onnx.ModelProto:
    head = '<ir_version: 10, opset_import: ["": 20]>'
    return _typed(parser.parse_model(f"{head} g ({inputs}) => ({outputs}) {{ {nodes} }}"))


def _typed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the types of its outputs, without which ONNX's checker refuses all."""
    found = onnx.shape_inference.infer_shapes(model).graph.output
    for value, inferred in zip(model.graph.output, found, strict=True):
        value.type.CopyFrom(inferred.type)
        if value.type.WhichOneof("value") in (None, "tensor_type"):
            tensor = value.type.tensor_type
            tensor.elem_type = tensor.elem_type or TensorProto.FLOAT
            tensor.ClearField("shape")
    return model


def _case(origin: str, model: onnx.ModelProto | bytes, **files: bytes) -> Case:
    data = model if isinstance(model, bytes) else model.SerializeToString()
    return Case(
        data, X, files={n.replace("_", "."): data for n, data in files.items()}, origin=origin
    )


def _ints(name: str, *values: int) -> str:
    return f"{name} = Constant<value_ints = [{', '.join(map(str, values))}]>() "


def _bombs() -> Iterator[Case]:
    """A few bytes that ask for terabytes."""
    big = 1 << 40
    image = "r = Constant<value_ints = [1, 1, 1, 2]>() i = Reshape(x, r) "
    number = f"n = Constant<value_int = {big}>() "
    for name, nodes in {
        "Expand": _ints("s", 1 << 20, 1 << 20, 2) + "y = Expand(x, s)",
        "Expand, to what fits barely": _ints("s", 1 << 30, 2) + "y = Expand(x, s)",
        "Tile": _ints("s", big) + "y = Tile(x, s)",
        "ConstantOfShape": _ints("s", big, 4) + "y = ConstantOfShape(s)",
        "ConstantOfShape, product over 64 bits": _ints("s", big, big) + "y = ConstantOfShape(s)",
        "Range": f"a = Constant<value_int = 0>() {number} d = Constant<value_int = 1>() "
        "y = Range(a, n, d)",
        "Pad": _ints("s", big, big) + "y = Pad(x, s)",
        "Resize": image + _ints("s", 1, 1, 1 << 20, 1 << 20) + "y = Resize(i, , , s)",
        "Resize, by scales": image
        + "s = Constant<value_floats = [1.0, 1.0, 1e9, 1e9]>() y = Resize(i, , s)",
        "OneHot": number + "t = Cast<to = 7>(x) v = Constant<value_floats = [0.0, 1.0]>() "
        "y = OneHot(t, n, v)",
        "EyeLike": _ints("s", 1 << 22, 1 << 22) + "c = ConstantOfShape(s) y = EyeLike(c)",
        "ConvTranspose": image + _ints("s", 1, 1, 1, 1) + "k = ConstantOfShape(s) "
        f"y = ConvTranspose<strides = [1, {big}]>(i, k)",
        "ConvTranspose, by output_padding": image
        + _ints("s", 1, 1, 1, 1)
        + f"k = ConstantOfShape(s) y = ConvTranspose<output_padding = [{big}, 0], "
        f"strides = [{HUGE}, 1]>(i, k)",
        "Conv, by pads": image
        + _ints("s", 1, 1, 1, 1)
        + f"k = ConstantOfShape(s) y = Conv<pads = [{1 << 20}, {1 << 20}, 0, 0]>(i, k)",
        "MaxPool, by its kernel": image
        + f'y = MaxPool<kernel_shape = [1, {1 << 31}], auto_pad = "SAME_UPPER">(i)',
        "AveragePool, by its kernel": image
        + f'y = AveragePool<kernel_shape = [1, {1 << 31}], auto_pad = "SAME_LOWER">(i)',
        "MatMul of vectors made large": _ints("s", 1 << 17, 1)
        + _ints("t", 1, 1 << 17)
        + "a = ConstantOfShape(s) b = ConstantOfShape(t) y = MatMul(a, b)",
        "MatMul that takes hours": _ints("s", 7000, 7000)
        + "a = ConstantOfShape(s) b = MatMul(a, a) c = MatMul(b, b) d = MatMul(c, c) "
        "e = MatMul(d, d) f = MatMul(e, e) y = MatMul(f, f)",
        "Einsum of seven indices": _ints("s", 1 << 10) + "a = ConstantOfShape(s) "
        'y = Einsum<equation = "a,b,c,d,e,f,g->abcdefg">(a, a, a, a, a, a, a)',
        "broadcasting": _ints("s", 1 << 17, 1) + "a = ConstantOfShape(s) b = Transpose(a) "
        "y = Add(a, b)",
        "Concat, doubling": "".join(
            f"a{i} = Concat<axis = 0>({p}, {p}) "
            for i, p in enumerate(["x", *(f"a{i}" for i in range(39))])
        )
        + "y = Identity(a39)",
        "NonZero": _ints("s", 1 << 28) + "c = ConstantOfShape<value = bool[1] {1}>(s) "
        "y = NonZero(c)",
        "RandomNormal": f"y = RandomNormal<shape = [{big}]>()",
        "Multinomial": "r = Constant<value_ints = [1, 2]>() i = Reshape(x, r) "
        f"y = Multinomial<sample_size = {1 << 31}>(i)",
        "BlackmanWindow": number + "y = BlackmanWindow(n)",
        "MelWeightMatrix": "a = Constant<value_int = 1000000>() "
        "b = Constant<value_int = 4000000>() c = Constant<value_int = 8000>() "
        "lo = Constant<value_float = 0.0>() hi = Constant<value_float = 4000.0>() "
        "y = MelWeightMatrix(a, b, c, lo, hi)",
        "DFT, by its length": "r = Constant<value_ints = [1, 2, 1]>() i = Reshape(x, r) "
        f"n = Constant<value_int = {1 << 36}>() y = DFT(i, n)",
        "SplitToSequence of a large one": _ints("s", 1 << 24)
        + "c = ConstantOfShape(s) q = SplitToSequence<axis = 0>(c) y = SequenceLength(q)",
        "strings, doubling": "t = Cast<to = 8>(x) "
        + "".join(
            f"a{i} = StringConcat({p}, {p}) "
            for i, p in enumerate(["t", *(f"a{i}" for i in range(39))])
        )
        + "y = Identity(a39)",
        "a regular expression that backtracks": "t = Constant<value_strings = "
        f'["{"a" * 40}b"]>() y = RegexFullMatch<pattern = "(a*)*(a*)*c">(t)',
        "Unique and TopK of what is large": _ints("s", 1 << 30)
        + "c = ConstantOfShape(s) k = Constant<value_ints = [5]>() y, z = TopK(c, k)",
        "CumSum along views": _ints("s", 1 << 20, 1 << 14, 2)
        + "e = Expand(x, s) n = Constant<value_int = 0>() y = CumSum(e, n)",
        "LSTM of many units": _ints("s", 1, 1 << 20, 1)
        + _ints("t", 1, 1 << 20, 1 << 18)
        + "r = Constant<value_ints = [2, 1, 1]>() i = Reshape(x, r) w = ConstantOfShape(s) "
        f"v = ConstantOfShape(t) y = LSTM<hidden_size = {1 << 18}>(i, w, v)",
    }.items():
        yield _case(f"bombs/{name}", _model(nodes))


def _endless() -> Iterator[Case]:
    """What never ends, or grows as it goes."""
    loop = "i{0} = Constant<value_int = " + str(HUGE) + ">() t = Constant<value = bool {{1}}>() "
    body = "(int64 i, bool c, float[2] s) => (bool d, float[2] u) { d = Identity(c) u = Add(s, x) }"
    growing = "(int64 i, bool c, float[m] s) => (bool d, float[k] u) "
    growing += "{ d = Identity(c) u = Concat<axis = 0>(s, s) }"
    scans = "(int64 i, bool c) => (bool d, float[2] u) { d = Identity(c) u = Identity(x) }"
    start = loop.format("")
    yield _case("endless/Loop", _model(start + f"y = Loop<body = b {body}>(i, t, x)"))
    yield _case(
        "endless/Loop without a count", _model(start + f"y = Loop<body = b {body}>(, t, x)")
    )
    yield _case(
        "endless/Loop that doubles", _model(start + f"y = Loop<body = b {growing}>(i, t, x)")
    )
    yield _case("endless/Loop that collects", _model(start + f"y = Loop<body = b {scans}>(i, t)"))
    inner = start.replace("t = ", "t2 = ").replace("i = ", "i2 = ")
    nested = "(int64 j, bool c, float[2] s) => (bool d, float[2] u) { d = Identity(c) "
    nested += f"{inner} u = Loop<body = b2 {body}>(i2, t2, s) }}"
    yield _case("endless/Loops in Loops", _model(start + f"y = Loop<body = b {nested}>(i, t, x)"))
    yield _case("endless/functions: a billion laughs", _laughs(30))
    yield _case("endless/functions that call themselves", _laughs(2, again=True))
    chain = [helper.make_node("Neg", [f"v{i}"], [f"v{i + 1}"]) for i in range(100_000)]
    chain[0].input[0], chain[-1].output[0] = "x", "y"
    model = _model("y = Neg(x)")
    del model.graph.node[:]
    model.graph.node.extend(chain)
    yield _case("endless/a chain of 100,000 nodes", model)
    wide = _model("y = Neg(x)")
    many = [helper.make_node("Concat", ["x"] * 500_000, ["y"], axis=0)]
    del wide.graph.node[:]
    wide.graph.node.extend(many)
    yield _case("endless/a node of 500,000 inputs", wide)


def _laughs(levels: int, *, again: bool = False) -> onnx.ModelProto:
    """Functions that each call the one below ten times."""
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    model = _model("y = Neg(x)")
    model.opset_import.append(imports[1])
    for level in range(levels):
        below, domain = (f"F{level - 1}", "own") if level else ("Neg", "")
        if again and not level:
            below, domain = f"F{levels - 1}", "own"
        names = ["a", *(f"v{i}" for i in range(9)), "b"]
        calls = [
            helper.make_node(below, [names[i]], [names[i + 1]], domain=domain) for i in range(10)
        ]
        model.functions.append(
            helper.make_function("own", f"F{level}", ["a"], ["b"], calls, imports, [])
        )
    model.graph.node[0].op_type, model.graph.node[0].domain = f"F{levels - 1}", "own"
    return model


def _structure() -> Iterator[Case]:
    """Graphs that are none."""
    for name, nodes in {
        "a cycle": "a = Add(x, y) y = Neg(a)",
        "not in order": "y = Neg(a) a = Neg(x)",
        "a value made twice": "y = Neg(x) y = Abs(x)",
        "an input made again": "x = Neg(x) y = Abs(x)",
        "a value that nobody makes": "y = Add(x, nobody)",
        "no such operator": "y = NoSuch(x)",
        "too many inputs": "y = Neg(x, x, x)",
        "too many outputs": "y, z, w = Neg(x)",
        "attributes of another type": "y = Softmax<axis = 1.5>(x)",
        "an axis far outside": f"y = Softmax<axis = {HUGE}>(x)",
        "types that don't fit": "t = Cast<to = 7>(x) y = Add(x, t)",
        "Reshape to what it hasn't": _ints("s", 3, -1) + "y = Reshape(x, s)",
        "Gather far outside": f"i = Constant<value_ints = [{HUGE}]>() y = Gather(x, i)",
        "Scatter far outside": f"i = Constant<value_ints = [{-HUGE}]>() "
        "u = Constant<value_floats = [1.0]>() y = ScatterElements(x, i, u)",
        "Slice by extremes": _ints("a", -HUGE)
        + _ints("b", HUGE)
        + _ints("n", 0)
        + _ints("s", -HUGE)
        + "y = Slice(x, a, b, n, s)",
        "a step of zero": _ints("a", 0)
        + _ints("b", 2)
        + _ints("n", 0)
        + _ints("s", 0)
        + "y = Slice(x, a, b, n, s)",
        "division by zero": "t = Cast<to = 7>(x) z = Sub(t, t) y = Div(t, z)",
        "the least number by minus one": f"a = Constant<value_ints = [{-HUGE - 1}]>() "
        "b = Constant<value_ints = [-1]>() y = Div(a, b)",
        "a group of zero": "r = Constant<value_ints = [1, 1, 1, 2]>() i = Reshape(x, r) "
        + _ints("s", 1, 1, 1, 1)
        + "k = ConstantOfShape(s) y = Conv<group = 0>(i, k)",
        "strides of zero": "r = Constant<value_ints = [1, 1, 1, 2]>() i = Reshape(x, r) "
        "y = MaxPool<kernel_shape = [1, 1], strides = [0, 0]>(i)",
        "negative pads": "r = Constant<value_ints = [1, 1, 1, 2]>() i = Reshape(x, r) "
        "y = MaxPool<kernel_shape = [1, 1], pads = [0, -9, 0, -9]>(i)",
        "an equation that is none": 'y = Einsum<equation = "...->,->ij">(x)',
        "a pattern that is none": 't = Cast<to = 8>(x) y = RegexFullMatch<pattern = "(((">(t)',
    }.items():
        yield _case(f"structure/{name}", _model(nodes))
    for name, change in {
        "opset 0": lambda m: setattr(m.opset_import[0], "version", 0),
        "opset -1": lambda m: setattr(m.opset_import[0], "version", -1),
        "opset 2³¹": lambda m: setattr(m.opset_import[0], "version", 2**31),
        "no opset": lambda m: m.ClearField("opset_import"),
        "no graph": lambda m: m.ClearField("graph"),
        "IR version 2⁶³ - 1": lambda m: setattr(m, "ir_version", HUGE),
        "a name of a megabyte": lambda m: setattr(m.graph.node[0], "op_type", "N" * (1 << 20)),
        "a name of lines": lambda m: setattr(m.graph.node[0], "op_type", "N\n\u2028\x00N"),
    }.items():
        model = _model("y = Neg(x)")
        change(model)
        yield _case(f"structure/{name}", model)
    for depth in (30, 90, 5000):
        yield _case(f"structure/graphs in {depth} graphs", _nested(depth))


def _nested(depth: int) -> bytes:
    """If in If, as bytes: protobuf itself writes no more than 100 messages in each other."""
    graph = _model("y = Neg(x)").graph.SerializeToString()
    for _ in range(depth):
        attribute = b"\x0a\x0bthen_branch" + _field(6, graph) + b"\xa0\x01\x05"
        node = b"\x0a\x01c\x12\x01y\x22\x02If" + _field(5, attribute)
        graph = _field(1, node) + b"\x12\x01g" + b"\x62\x03\x0a\x01y"
    return b"\x08\x0a" + _field(7, graph) + b"\x42\x02\x10\x14"


def _field(number: int, data: bytes) -> bytes:
    length, parts = len(data), []
    while length >= 0x80:
        parts.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([number << 3 | 2, *parts, length]) + data


def _external() -> Iterator[Case]:
    """Data beside the model, which must stay there."""
    for name, entries in {
        "through ..": {"location": "../../../../etc/passwd"},
        "an absolute path": {"location": "/etc/passwd"},
        "a device": {"location": "/dev/zero"},
        "no such file": {"location": "nowhere"},
        "the folder": {"location": "."},
        "no place": {},
        "beyond the end": {"location": "w.bin", "offset": "4", "length": "8"},
        "from before the start": {"location": "w.bin", "offset": "-8", "length": "8"},
        "a length of exabytes": {"location": "w.bin", "length": str(HUGE)},
        "an offset that is no number": {"location": "w.bin", "offset": "1e3"},
        "a wrong checksum": {"location": "w.bin", "checksum": "0" * 40},
        "the model itself": {"location": "model.onnx", "length": "8"},
        "a name with a zero": {"location": "w.bin\0.txt"},
    }.items():
        model = _model("y = Add(x, w)")
        tensor = model.graph.initializer.add(name="w", data_type=1, dims=[2])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
        yield _case(f"external data/{name}", model, w_bin=bytes(8))


def _tensors() -> Iterator[Case]:
    """Tensors that contradict themselves, or are larger than they look."""
    for name, fields in {
        "too few bytes": {"dims": [3], "raw_data": b"1234"},
        "dims of exabytes": {"dims": [1 << 40, 1 << 40], "raw_data": b"1234"},
        "dims whose product is 0 in 64 bits": {"dims": [1 << 32, 1 << 32], "raw_data": b""},
        "negative dims": {"dims": [-2], "raw_data": b"12345678"},
        "no type": {"data_type": 0, "dims": [2], "raw_data": b"12345678"},
        "a type that doesn't exist": {"data_type": 99, "dims": [2], "raw_data": b"12345678"},
        "two kinds of data": {"dims": [2], "raw_data": b"12345678", "float_data": [1, 2]},
        "a segment": {"dims": [2], "raw_data": b"12345678", "segment": {"begin": 0, "end": 2}},
        "int4 of few bytes": {"data_type": 22, "dims": [1 << 40], "raw_data": b"1"},
        "strings that are none": {"data_type": 8, "dims": [2], "string_data": [b"\xff", b"\xfe"]},
    }.items():
        model = _model("y = Add(x, w)")
        kept = dict(fields)
        segment = kept.pop("segment", None)
        tensor = TensorProto(name="w", **{"data_type": 1, **kept})  # type: ignore[arg-type]
        if segment:
            tensor.segment.begin, tensor.segment.end = 0, 2
        model.graph.initializer.append(tensor)
        yield _case(f"tensors/{name}", model)
    for name, dims, place in (
        ("sparse: terabytes", [1 << 20, 1 << 20], 0),
        ("sparse: an index outside", [2], 9),
        ("sparse: a negative index", [2], -1),
    ):
        model = _model("s = Shape(w) y = Add(x, w)")
        values = numpy_helper.from_array(np.ones(1, np.float32), "w")
        places = numpy_helper.from_array(np.array([place]), "places")
        model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, dims))
        yield _case(f"tensors/{name}", model)
    twice = _model("y = Add(x, w)")
    for value in (1.0, 2.0):
        array = np.full(2, value, np.float32)
        twice.graph.initializer.append(numpy_helper.from_array(array, "w"))
    yield _case("tensors/two of one name", twice)


def _damaged() -> Iterator[Case]:
    """Files that were cut off, or are another's."""
    data = _model("a = Mul(x, x) y = Softmax<axis = 0>(a)").SerializeToString()
    for part in (0, 1, len(data) // 3, len(data) // 2, len(data) - 1):
        yield _case(f"damaged/cut off after {part} of {len(data)} bytes", data[:part])
    for name, other in {
        "text": b"this is no model",
        "zeros": bytes(1000),
        "ones": b"\xff" * 1000,
        "a zip archive": b"PK\x03\x04" + bytes(100),
        "a length beyond the end": b"\x3a\xff\xff\xff\xff\x0f\x00",
        "names that are not UTF-8": data.replace(b"Softmax", b"S\xff\xfemax"),
        "groups in groups": b"\x0b" * 100_000,
        "at the end something else": data + b"\x00" * 10,
    }.items():
        yield _case(f"damaged/{name}", other)


def _mutants(count: int) -> Iterator[Case]:
    """Mutants of models over all operators."""
    every, rng = list(seeds(backend=False)), random.Random(0)
    for number in range(count):
        seed = rng.choice(every)
        model = _typed(onnx.ModelProto.FromString(seed.model))
        case = mutant(replace(seed, model=model.SerializeToString()), every, rng)
        yield replace(case, layouts={}, origin=f"mutants/{number} of {seed.origin}")
