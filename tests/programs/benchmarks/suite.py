"""The models that are measured: each has a file, made once, and inputs of each size."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from onnxwalk.export.quiet import quiet
from onnxwalk.interpreter.session import Session
from tests.programs import real_models
from tests.programs.benchmarks import operators, transformers
from tests.programs.benchmarks.shipped import shipped

Feeds = dict[str, Any]

BATCHES = (1, 32, 256)
APPLICATIONS = (
    "MobileNet MobileNetV2 MobileNetV3Small EfficientNetB0 ResNet50 DenseNet121 NASNetMobile "
    "ConvNeXtTiny"
).split()

#: groups of which only times are measured: the models of a group before them tell the rest
TIMES_ONLY = ("assignment, other settings", "operators")
#: groups that tract is measured on: whole models
AGAINST_TRACT = (
    "assignment",
    "assignment, other settings",
    "loops",
    "models of wheels",
    "light networks",
    "keras.applications",
)
#: groups that the reference evaluator is measured on; others take it minutes a run, or it can't
REFERENCED = ("assignment", "models of wheels", "keras.applications")


@dataclass(frozen=True)
class Entry:
    """``build(path, cache)`` writes the .onnx file, ``feeds(session, size)`` makes its inputs, in
    ``parts(size)`` parts for one run after the other."""

    group: str
    name: str
    build: Callable[[Path, Path], None]
    feeds: Callable[[Session, int], Feeds]
    sizes: Sequence[int] = (1,)
    parts: Callable[[int], int] = lambda size: 1

    def file(self, cache: Path, fresh: bool = False) -> Path:
        """The model in the cache folder, built if it isn't there yet or is to be made anew."""
        path = cache / f"{self.group}-{self.name}.onnx".replace(" ", "-").replace("/", "-")
        if fresh or not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"part-{path.name}")  # a build that is stopped leaves no model
            with quiet():
                self.build(part, cache)
            if part.with_suffix(".keras").exists():
                part.with_suffix(".keras").replace(path.with_suffix(".keras"))
            part.replace(path)
        return path


def entries() -> list[Entry]:
    """The fixed suite, in the order in which it is measured."""
    return [
        *_assignment(),
        *_loops(),
        Entry("chain", "10,000 nodes", _chain(10_000), _floats),
        *_operators(),
        *_trees(),
        *_wheels(),
        *_light(),
        *(Entry("keras.applications", n, _application(n), _pixels) for n in APPLICATIONS),
        *_shipped(),
        *(Entry(group, name, build, _vectors) for group, name, build in transformers.forms()),
    ]


def _shipped() -> Iterator[Entry]:
    floats = {"cnn": (_cnn(head="flatten"), _pictures)}
    floats |= {name: (_application(name), _pixels) for name in ("MobileNetV2", "ResNet50")}
    for group, name, build, feeds, sizes in shipped(floats):
        yield Entry(group, name, build, feeds, sizes)


def growing() -> list[Entry]:
    """What shows how cost grows with the batch, the picture, the sequence and the graph."""
    batches = [4**i for i in range(6)]
    return [
        Entry("growth: batch", "cnn", _cnn(head="flatten"), _pictures, batches),
        Entry("growth: batch", "lstm", _recurrent("LSTM", mask_zero=True), _ids, batches),
        Entry(
            "growth: image side",
            "cnn",
            _cnn(shape=(None, None, 3)),
            lambda session, side: _random(session, (1, side, side, 3)),
            (32, 64, 128, 256, 512),
        ),
        *(
            Entry(
                "growth: sequence",
                kind.lower(),
                _recurrent(kind, length=None),
                lambda session, length: _ids(session, 1, length, full=True),
                (10, 32, 100, 320, 1000),
            )
            for kind in ("SimpleRNN", "LSTM", "GRU")
        ),
        *(
            Entry("growth: nodes", f"chain of {n}", _chain(n), lambda s, _: _floats(s, 1), (n,))
            for n in (10, 100, 1000, 10_000, 100_000)
        ),
    ]


def _assignment() -> Iterator[Entry]:
    """The families, with the final model of each first, then what else was trained of them."""
    final = "assignment"
    yield Entry(final, "cnn", _cnn(head="flatten"), _pictures, BATCHES)
    for kind in ("SimpleRNN", "LSTM", "GRU"):
        build = _recurrent(kind, bidirectional=True, mask_zero=kind == "LSTM")
        yield Entry(final, kind.lower(), build, _ids, BATCHES)
    more = "assignment, other settings"
    for name, settings in {
        "cnn 1 convolution": {"filters": (32,)},
        "cnn 3 average": {"filters": (32, 64, 128), "pooling": "average", "head": "flatten"},
        "cnn 64-128 7x7": {"filters": (64, 128), "kernels": 7},
        "cnn 32-64 15x15": {"kernels": 15},
    }.items():
        yield Entry(more, name, _cnn(**settings), _pictures, BATCHES)
    for kind in ("SimpleRNN", "LSTM", "GRU"):
        for layers, units, both in ((1, 32, False), (2, 64, False), (3, 128, True)):
            name = f"{kind.lower()} {layers}x{units}{' bidirectional' if both else ''}"
            settings = {"layers": layers, "units": units, "bidirectional": both}
            build = _recurrent(kind, mask_zero=kind != "SimpleRNN", **settings)
            yield Entry(more, name, build, _ids, BATCHES)


def _loops() -> Iterator[Entry]:
    """The recurrent families as Keras's own exporter writes them, and loops of small nodes."""
    for kind in ("SimpleRNN", "LSTM", "GRU"):
        for masked in (False, True):
            name = f"{kind.lower()}{' masked' if masked else ''}"
            build = _keras_loop(kind, bidirectional=True, mask_zero=masked)
            yield Entry("loops", name, build, _ids, BATCHES)
    for operator, count in itertools.product(("Loop", "Scan"), (5, 50)):
        yield Entry("loops", f"{operator} of {count} nodes", _repeated(operator, count), _floats)


def _keras_loop(kind: Any, **settings: Any) -> Callable[[Path, Path], None]:
    def build(path: Path, cache: Path) -> None:
        import keras

        from onnxwalk.export.coverage.random_weights import randomize
        from onnxwalk.export.study.assignment import LENGTH, recurrent

        ids = keras.Input((LENGTH,), dtype="int32", name="ids")
        model = keras.Model(ids, randomize(recurrent(kind, **settings))(ids))
        model.predict(np.zeros((1, LENGTH), np.int32), verbose=0)  # Keras exports what has run
        model.export(path, format="onnx", verbose=False)

    return build


def _repeated(operator: str, count: int) -> Callable[[Path, Path], None]:
    """A body of ``count`` cheap nodes, 100 times: (1, 64) -> (1, 64)."""

    def build(path: Path, cache: Path) -> None:
        make = onnx.helper.make_node
        info = functools.partial(onnx.helper.make_tensor_value_info, shape=(1, 64))
        kinds = [("Mul", ["half"]), ("Add", ["step"]), ("Tanh", [])]
        names = ["state", *(f"v{i}" for i in range(1, count)), "next"]
        nodes = [
            make(kinds[i % 3][0], [names[i], *kinds[i % 3][1]], [names[i + 1]])
            for i in range(count)
        ]
        state, result = (info(name, onnx.TensorProto.FLOAT) for name in ("state", "next"))
        constants = {"half": np.full(64, 0.5, np.float32)}
        if operator == "Scan":
            row = onnx.helper.make_tensor_value_info("step", onnx.TensorProto.FLOAT, (64,))
            body = onnx.helper.make_graph(nodes, "body", [state, row], [result])
            node = make("Scan", ["x", "rows"], ["y"], body=body, num_scan_inputs=1)
            constants["rows"] = np.random.default_rng(0).random((100, 64), np.float32)
        else:
            scalar = functools.partial(onnx.helper.make_tensor_value_info, shape=())
            number = scalar("i", onnx.TensorProto.INT64)
            on, still = (scalar(name, onnx.TensorProto.BOOL) for name in ("on", "still"))
            nodes.append(make("Identity", ["on"], ["still"]))
            body = onnx.helper.make_graph(nodes, "body", [number, on, state], [still, result])
            node = make("Loop", ["trips", "", "x"], ["y"], body=body)
            constants["step"] = np.full(64, 0.25, np.float32)
            constants["trips"] = np.array(100, np.int64)
        operators.save(path, [node], {"x": (onnx.TensorProto.FLOAT, (1, 64))}, constants, ["y"])

    return build


def _cnn(**settings: Any) -> Callable[[Path, Path], None]:
    def build(path: Path, cache: Path) -> None:
        from onnxwalk.export.coverage.random_weights import randomize
        from onnxwalk.export.study.assignment import cnn

        _export(randomize(cnn(**settings)), path)

    return build


def _recurrent(kind: Any, **settings: Any) -> Callable[[Path, Path], None]:
    def build(path: Path, cache: Path) -> None:
        from onnxwalk.export.coverage.random_weights import randomize
        from onnxwalk.export.study.assignment import recurrent

        _export(randomize(recurrent(kind, **settings)), path)

    return build


def _export(model: Any, path: Path) -> None:
    from onnxwalk import export

    model.save(path.with_suffix(".keras"))
    export.to_onnx(model, path)


def _application(name: str) -> Callable[[Path, Path], None]:
    def build(path: Path, cache: Path) -> None:
        from onnxwalk import export
        from onnxwalk.export.coverage.applications import build_application as application

        export.to_onnx(application(name), path, verify=False)

    return build


def _chain(count: int) -> Callable[[Path, Path], None]:
    """Cheap nodes one after the other, none of which can be left out: (1, 16) -> (1, 16)."""

    def build(path: Path, cache: Path) -> None:
        steps = [("Add", "a"), ("Mul", "b"), ("Relu", None), ("Sub", "a")]
        rng = np.random.default_rng(0)
        constants = {"a": rng.normal(0, 1, 16), "b": rng.uniform(0.5, 0.9, 16)}
        names = ["x", *(f"v{i}" for i in range(1, count)), "y"]
        nodes = []
        for i in range(count):
            operator, constant = steps[i % len(steps)]
            inputs = [names[i]] + ([constant] if constant else [])
            nodes.append(onnx.helper.make_node(operator, inputs, [names[i + 1]]))
        values = {name: value.astype(np.float32) for name, value in constants.items()}
        operators.save(path, nodes, {"x": (onnx.TensorProto.FLOAT, (1, 16))}, values, ["y"])

    return build


def _operators() -> Iterator[Entry]:
    for case in operators.CASES:
        yield Entry("operators", case.name, case.build, case.feeds)


def _trees() -> Iterator[Entry]:
    """Complete trees, whose paths are as long for every sample."""
    for count, depth in ((100, 6), (500, 8)):
        name = f"{count} of depth {depth}"
        yield Entry("trees", name, _forest(count, depth), _rows, (1, 8, 256, 10_000), _batches)


def _forest(count: int, depth: int, features: int = 30) -> Callable[[Path, Path], None]:
    def build(path: Path, cache: Path) -> None:
        rng = np.random.default_rng(0)
        size, inner = (2 << depth) - 1, (1 << depth) - 1
        node, tree = np.tile(np.arange(size), count), np.repeat(np.arange(count), size)
        leaf = node >= inner
        model = onnx.helper.make_node(
            "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1,
            nodes_treeids=tree, nodes_nodeids=node,
            nodes_featureids=np.where(leaf, 0, rng.integers(0, features, tree.size)),
            nodes_values=np.where(leaf, 0, rng.standard_normal(tree.size, np.float32)),
            nodes_modes=["LEAF" if end else "BRANCH_LEQ" for end in leaf],
            nodes_truenodeids=np.where(leaf, 0, 2 * node + 1),
            nodes_falsenodeids=np.where(leaf, 0, 2 * node + 2),
            target_treeids=tree[leaf], target_nodeids=node[leaf],
            target_ids=np.zeros(leaf.sum(), np.int64),
            target_weights=rng.standard_normal(leaf.sum(), np.float32),
        )  # fmt: skip
        value = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            [model], "trees", [value("x", onnx.TensorProto.FLOAT, [None, features])],
            [value("y", onnx.TensorProto.FLOAT, [None, 1])],
        )  # fmt: skip
        opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("ai.onnx.ml", 3)]
        onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), path)

    return build


def _batches(count: int) -> int:
    """How many different batches there are: with one only, the processor learns the paths."""
    return max(2, 4096 // count)


def _rows(session: Session, count: int) -> Feeds:
    shape = (count * _batches(count), _shape(session)[1])
    rows = np.random.default_rng(0).standard_normal(shape, np.float32)
    return {session.inputs[0].name: rows}


def _with_random_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A light network with weights of their own: as they ship, all of a layer are one constant,
    which an engine may take advantage of as no real model would let it."""
    rng = np.random.default_rng(0)
    shapes = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        shape = shapes.get(node.input[0]) if node.op_type == "ConstantOfShape" else None
        if shape is None or len(shape) < 2:
            kept.append(node)
            continue
        scale = np.sqrt(2 / np.prod(shape[1:]))
        weights = (rng.standard_normal(shape, np.float32) * scale).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(weights, node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


def _light() -> Iterator[Entry]:
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    for source in sorted(folder.glob("light_*.onnx")):

        def build(path: Path, cache: Path, source: Path = source) -> None:
            onnx.save(_with_random_weights(onnx.load(source)), path)

        yield Entry("light networks", source.stem.removeprefix("light_"), build, _floats)


#: (wheel, model) of ``real_models``; named here so that a list needs no download
_WHEELS = {
    "rapidocr-onnxruntime": [f"ch_{name}_infer" for name in ("PP-OCRv4_det", "PP-OCRv4_rec")]
    + ["ch_ppocr_mobile_v2.0_cls_infer"],
    "silero-vad": ["silero_vad", "silero_vad_16k_op15", "silero_vad_half"],
    "magika": ["model"],
}


def _wheels() -> Iterator[Entry]:
    for wheel, models in _WHEELS.items():
        for model in models:
            name = f"{wheel}/{model}.onnx"

            def build(path: Path, cache: Path, name: str = name) -> None:
                path.write_bytes(_from_wheels(cache, name).content)

            def feeds(session: Session, size: int, name: str = name) -> Feeds:
                # of the chunks of a sound one of the middle: the first are silence
                chunks = real_models._feeds(name)
                return chunks[len(chunks) * 3 // 4]

            short = wheel if len(models) == 1 else model.removesuffix("_infer")
            yield Entry("models of wheels", short, build, feeds)


def _from_wheels(cache: Path, name: str) -> real_models.Model:
    real_models.fetch(cache)
    found = {model.name: model for model in real_models.models(cache)}
    if name not in found:
        raise RuntimeError(f"no model {name} in the wheels; there are: {', '.join(found)}")
    return found[name]


def _pictures(session: Session, batch: int) -> Feeds:
    return _random(session, (batch, 32, 32, 3))


def _pixels(session: Session, batch: int) -> Feeds:
    """As ``keras.applications`` takes them: 0 to 255."""
    shape = [batch, *(size if isinstance(size, int) else 224 for size in _shape(session)[1:])]
    return {name: 255 * value for name, value in _random(session, shape).items()}


def _floats(session: Session, size: int) -> Feeds:
    return _random(session, _shape(session))


def _vectors(session: Session, batch: int) -> Feeds:
    """One sequence for an encoder."""
    return _random(session, (batch, *_shape(session)[1:]))


def _random(session: Session, shape: Sequence[Any]) -> Feeds:
    values = np.random.default_rng(0).random(tuple(shape), np.float32)
    return {session.inputs[0].name: values}


def _shape(session: Session) -> tuple[Any, ...]:
    return session.inputs[0].shape or ()


def _ids(session: Session, batch: int, length: int = 100, *, full: bool = False) -> Feeds:
    """Texts of 10 to 60 words, padded after them as TextVectorization does; or ``full`` ones."""
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 10_000, (batch, length)).astype(np.int32)
    if not full:
        ids[np.arange(length) >= rng.integers(10, 61, (batch, 1))] = 0
    return {session.inputs[0].name: ids}
