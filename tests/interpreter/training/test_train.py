"""``train``: history, order, what is trained and what isn't, files on the way, and how it ends."""

import os
import signal

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxwalk
from onnxwalk import InvalidInputError, NotFiniteError, UnsupportedModelError, training
from onnxwalk.interpreter.training import Checkpoint, EarlyStopping, ModelCheckpoint
from tests.interpreter.training.small import WEIGHTS, X, Y, network, session

LOSS = {"loss": "sparse_categorical_crossentropy"}
DROPOUT = [helper.make_node("Dropout", ["a", "ratio"], ["h"])]
NORMALIZATION = [
    helper.make_node("BatchNormalization", ["a", "scale", "b", "mean", "var"], ["h"], momentum=0.9)
]


def dropping():
    return session(between=DROPOUT, weights={"ratio": np.array(0.5, np.float32)})


def normalizing():
    zeros, ones = np.zeros(5, np.float32), np.ones(5, np.float32)
    return session(
        between=NORMALIZATION, weights={"scale": ones, "b": zeros, "mean": zeros, "var": ones}
    )


def train(model=None, data=(X, Y), **options):
    return onnxwalk.train(model or session(), data, **{**LOSS, "seed": 0, **options})


def weights_of(trained):
    return {name: trained.trainer.weights[name].copy() for name in trained.trainer.weights}


def assert_same(one, other):
    assert one.history == other.history
    for name, weight in weights_of(one).items():
        np.testing.assert_array_equal(weight, other.trainer.weights[name], err_msg=name)


def test_history_and_session():
    model = session()
    found = train(
        model, epochs=20, batch_size=8, optimizer=training.SGD(0.5), validation_split=0.2,
        metrics=["accuracy", "macro_f1"],
    )  # fmt: skip
    names = ["loss", "accuracy", "macro_f1"]
    assert list(found.history) == [*names, *(f"val_{name}" for name in names)]
    assert all(len(values) == 20 for values in found.history.values())
    assert found.history["loss"][-1] < found.history["loss"][0] / 2
    right = (found.session(X)[:40].argmax(1) == Y[:40]).mean()
    evaluated = found.trainer.evaluate((X[:40], Y[:40]))
    assert evaluated["accuracy"] == pytest.approx(right) and right > 0.85
    validated = found.trainer.evaluate((X[40:], Y[40:]), batch_size=8)
    assert found.history["val_loss"][-1] == validated["loss"]
    np.testing.assert_array_equal(model(X), session()(X))  # it is as before
    before = found.session(X)
    found.trainer.train_on_batch(X, Y)  # doesn't reach the session
    np.testing.assert_array_equal(found.session(X), before)


def test_metrics_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    trainer = training.Trainer(session(), **LOSS, metrics=["accuracy", "macro_f1"])
    found = trainer.evaluate((X, Y), batch_size=7)
    guess = session()(X).argmax(1)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(Y, guess))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(Y, guess, average="macro"))


def test_the_last_batch_is_smaller_and_counts_by_its_samples():
    zero = training.SGD(0.0)
    assert train(optimizer=zero, batch_size=32).history["loss"] == pytest.approx(
        train(optimizer=zero, batch_size=50).history["loss"], rel=1e-6
    )


def test_executors_agree():
    walked = onnxwalk.load(network(), optimize=False)
    bound = train(epochs=2, batch_size=16)
    found = train(walked, epochs=2, batch_size=16)
    for name, weight in weights_of(bound).items():
        np.testing.assert_allclose(weight, found.trainer.weights[name], atol=1e-6)


def test_seed_and_order():
    assert_same(train(epochs=2, batch_size=8), train(epochs=2, batch_size=8))
    other = train(epochs=2, batch_size=8, seed=1)
    assert other.history != train(epochs=2, batch_size=8).history
    in_order = train(batch_size=8, shuffle=False)
    batches = [(X[i : i + 8], Y[i : i + 8]) for i in range(0, 50, 8)]
    assert_same(in_order, train(data=batches))
    named = [({"x": x}, y) for x, y in batches]
    assert_same(in_order, train(data=iter(named)))
    with_steps = train(data=iter(batches), steps_per_epoch=7)
    assert_same(in_order, with_steps)


def test_data_that_end():
    batches = [(X[:8], Y[:8])] * 5
    with pytest.warns(UserWarning, match="the data ended after 1 of 3 epochs, and so does"):
        found = train(data=iter(batches), epochs=3)
    assert len(found.history["loss"]) == 1
    with pytest.warns(UserWarning, match="ended in epoch 2 of 2, after 2 of 3 batches"):
        found = train(data=batches, epochs=2, steps_per_epoch=3)
    assert len(found.history["loss"]) == 2 and found.trainer.steps == 5
    with pytest.raises(InvalidInputError, match="the data have no batches to train on"):
        train(data=[])
    with pytest.raises(InvalidInputError, match=r"batch 1: expected \(x, y\), inputs and labels"):
        train(data=[X])


def test_frozen():
    found = train(optimizer="SGD", frozen=["hidden"])
    assert list(found.trainer.weights) == ["last/kernel", "last/bias"]
    found = train(optimizer="SGD", frozen=["*bias", "hidden/kernel"])
    for name, weight in WEIGHTS.items():
        now = found.session.model.graph.initializers[name].array
        assert (now != weight).any() == (name == "last/kernel")


def test_dropout_in_training_only():
    trainer = training.Trainer(dropping(), **LOSS, optimizer=training.SGD(0.0), seed=0)
    losses = {trainer.train_on_batch(X, Y)["loss"] for _ in range(3)}
    assert len(losses) == 3
    assert trainer.test_on_batch(X, Y) == trainer.test_on_batch(X, Y)
    assert_same(train(dropping(), epochs=2), train(dropping(), epochs=2))


@pytest.mark.parametrize("opset", [14, 11])
def test_moving_statistics(opset):
    zeros, ones = np.zeros(5, np.float32), np.ones(5, np.float32)
    model = session(
        between=NORMALIZATION, opset=opset,
        weights={"scale": ones, "b": zeros, "mean": zeros, "var": ones},
    )  # fmt: skip
    trainer = training.Trainer(model, **LOSS)
    trainer.train_on_batch(X, Y)
    (a,) = model.run("a", {"x": X})
    np.testing.assert_allclose(trainer.weights["mean"], 0.1 * a.mean(0), atol=1e-6)
    np.testing.assert_allclose(trainer.weights["var"], 0.9 + 0.1 * a.var(0), atol=1e-6)
    assert trainer.session()(X).shape == (50, 3)


def test_frozen_normalization_is_as_in_inference():
    trainer = training.Trainer(
        normalizing(), **LOSS, frozen=["scale", "b", "mean", "var"], optimizer="SGD"
    )
    assert set(trainer.weights) == set(WEIGHTS)
    assert trainer.train_on_batch(X, Y) == pytest.approx(
        training.Trainer(session(), **LOSS).train_on_batch(X, Y), rel=1e-4
    )


def test_a_loss_that_the_file_has():
    text = b"""<ir_version: 8, opset_import: ["" : 17]>
    g (float[n, 4] x, float[n, 3] t) => (float loss) <float[4, 3] w = {%s}>
    { y = MatMul(x, w)  d = Sub(y, t)  s = Mul(d, d)  loss = ReduceMean <keepdims = 0> (s) }"""
    model = onnx.parser.parse_model((text % b", ".join([b"0.5"] * 12)).decode())
    targets = (X @ np.ones((4, 3))).astype(np.float32)
    found = onnxwalk.train(
        model, {"x": X, "t": targets}, loss="loss", optimizer=training.SGD(0.5), epochs=60, seed=0
    )
    assert found.history["loss"][-1] < 1e-4
    with pytest.raises(InvalidInputError, match="metric 'accuracy' needs a loss over classes"):
        training.Trainer(model, loss="loss", metrics=["accuracy"])


def test_files(tmp_path):
    found = train(epochs=3)
    found.save(tmp_path / "trained.onnx")
    expected = found.session(X)
    engine = onnxruntime.InferenceSession(tmp_path / "trained.onnx")
    np.testing.assert_allclose(engine.run(None, {"x": X})[0], expected, atol=1e-6)
    np.testing.assert_array_equal(onnxwalk.load(tmp_path / "trained.onnx")(X), expected)
    # a path, trained onto itself
    path = tmp_path / "small.onnx"
    path.write_bytes(network())
    train(path, epochs=3).save(path)
    np.testing.assert_array_equal(onnxwalk.load(path)(X), expected)


# ------------------------------------------------------------------------------- callbacks


def test_early_stopping():
    losses = []

    def rising(epoch, logs):
        losses.append(logs["loss"])

    stop = EarlyStopping("loss", patience=2, restore_best_weights=True)
    found = train(optimizer=training.SGD(30.0), epochs=30, callbacks=[stop, rising])
    best = int(np.argmin(losses))
    assert len(losses) == best + 3 < 30 and stop.best_epoch == best
    again = train(optimizer=training.SGD(30.0), epochs=best + 1)
    for name, weight in weights_of(again).items():
        np.testing.assert_array_equal(found.trainer.weights[name], weight)
    with pytest.raises(InvalidInputError, match="EarlyStopping: there is no 'val_loss'"):
        train(callbacks=[EarlyStopping()])
    with pytest.raises(InvalidInputError, match=r"callbacks must be .*, not 3"):
        train(callbacks=[3])


def test_the_best_model(tmp_path):
    path = tmp_path / "best.onnx"
    found = train(
        optimizer=training.SGD(30.0), epochs=8, validation=(X, Y),
        callbacks=[ModelCheckpoint(path, save_best_only=True)],
    )  # fmt: skip
    best = training.Trainer(path, **LOSS).evaluate((X, Y))["loss"]
    assert best == pytest.approx(min(found.history["val_loss"]), rel=1e-6)


class Stop(training.Callback):
    """Interrupts the training after some batches."""

    def __init__(self, after):
        self.left = after

    def on_train_batch_end(self, batch, logs):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def interruptible():
    """Ctrl-C counts also in a process that was started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_after_the_last_batch_counts(interruptible):
    class AtEnd(training.Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 1:
                os.kill(os.getpid(), signal.SIGINT)

    fit = training.Fit(training.Trainer(network(), **LOSS), (X, Y), epochs=2, callbacks=[AtEnd()])
    with pytest.raises(KeyboardInterrupt):
        fit.run()
    assert fit.epoch == 2


@pytest.mark.parametrize("optimizer", ["Adam", "Momentum"])
@pytest.mark.parametrize("after", [3, 7, 10])
def test_resumed_is_equal_to_the_bit(tmp_path, optimizer, after, interruptible):
    path = tmp_path / "checkpoint.npz"

    def fit(callbacks, **options):
        trainer = training.Trainer(
            dropping(), **LOSS, optimizer=optimizer, seed=5, metrics=["accuracy", "macro_f1"]
        )
        stop = EarlyStopping(patience=1, restore_best_weights=True)
        return training.Fit(
            trainer, (X, Y), epochs=4, batch_size=8, validation_split=0.2,
            callbacks=[*callbacks, stop], **options,
        )  # fmt: skip

    whole = fit([])
    whole.run()
    first = fit([Stop(after)])
    with pytest.raises(KeyboardInterrupt):
        first.run()
    assert first.interrupted and first.trainer.steps == after
    first.save(path)
    second = fit([])
    second.trainer.train_on_batch(X, Y)  # what a checkpoint replaces
    second.resume(path)
    assert second.run() == whole.history
    for name, weight in whole.trainer.weights.items():
        np.testing.assert_array_equal(second.trainer.weights[name], weight)
    first.run()  # and so can the one that was interrupted
    assert first.history == whole.history


def test_checkpoints_of_each_epoch(tmp_path):
    path = tmp_path / "checkpoint.npz"
    train(dropping(), epochs=2, batch_size=8, callbacks=[Checkpoint(path)])
    resumed = train(dropping(), epochs=4, batch_size=8, resume=path, seed=99)
    assert_same(resumed, train(dropping(), epochs=4, batch_size=8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "SGD"}, "has optimizer .*'class': 'Adam'.*, not .*'class': 'SGD'"),
        ({"batch_size": 16}, "the checkpoint has batch_size 8, not 16"),
        ({"data": (X[:40], Y[:40])}, "the checkpoint has samples 50, not 40"),
        ({"frozen": ["last"]}, "the checkpoint is of another model"),
        ({"model": dropping()}, "the checkpoint is of another model"),
        ({"metrics": ["accuracy"]}, r"has metrics \[\], not \['accuracy'\]"),
        ({"data": iter([(X, Y)])}, "only arrays, and iterables that begin anew"),
        ({"resume": __file__}, "not a checkpoint of a training, or damaged"),
        ({"resume": "nowhere"}, "nowhere: can't be read"),
    ],
)
def test_other_checkpoints(tmp_path, options, message):
    path = tmp_path / "checkpoint.npz"
    train(batch_size=8, callbacks=[Checkpoint(path)])
    with pytest.raises(InvalidInputError, match=message):
        train(**{"batch_size": 8, "epochs": 2, "resume": path, **options})


# --------------------------------------------------------------------------- what goes wrong


def test_not_finite():
    between = [helper.make_node("Log", ["a"], ["h"], name="the log")]
    trainer = training.Trainer(session(between=between), **LOSS)
    before = {name: w.copy() for name, w in trainer.weights.items()}
    begin = "step 1: the loss is nan; NaN first comes from node 'the log'"
    with pytest.raises(NotFiniteError, match=begin + r" \(Log\), of float32 \(50, 5\)"):
        trainer.train_on_batch(X, Y)
    assert all((before[name] == w).all() for name, w in trainer.weights.items())
    with pytest.raises(NotFiniteError, match="step 1: the loss is nan: input 'x' holds NaN"):
        training.Trainer(session(), **LOSS).train_on_batch(X * np.nan, Y)


def test_a_gradient_that_is_not_finite():
    between = [
        helper.make_node("Abs", ["a"], ["b"]),
        helper.make_node("Sqrt", ["b"], ["h"], name="root"),
    ]
    trainer = training.Trainer(session(between=between), **LOSS)
    with pytest.raises(NotFiniteError, match=r"a gradient is not finite.*gradient of root"):
        trainer.train_on_batch(X * 0, Y)


def test_what_train_has_done_until_then():
    data = [(X, Y), (X, Y), (X * np.nan, Y)]
    with pytest.raises(NotFiniteError, match="step 3") as caught:
        train(data=data)
    assert caught.value.trainer.steps == 2


def test_operators_without_a_rule():
    mine = onnxwalk.Registry(parent=onnxwalk.registry)

    @mine.op("Tanh", since=1)
    def tanh(x):
        return np.tanh(x)

    model = onnxwalk.load(network(), registry=mine)
    with pytest.raises(UnsupportedModelError, match="there is no rule for Tanh"):
        training.Trainer(model, **LOSS)


def test_nothing_to_train():
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Softmax", ["x"], ["y"])], "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        )
    )  # fmt: skip
    with pytest.raises(InvalidInputError, match="the graph has nothing to train: no floating"):
        train(model)
    broken = session(weights={"last/bias": np.full(3, np.nan, np.float32)})
    with pytest.raises(
        InvalidInputError, match="weight 'last/bias' holds NaN or infinities already"
    ):
        train(broken)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be an integer from 1 on, not 0"),
        ({"batch_size": 0}, "batch_size must be an integer from 1 on"),
        ({"steps_per_epoch": 0}, "steps_per_epoch must be"),
        ({"initial_epoch": -1}, "initial_epoch must be"),
        ({"validation_split": 1.5}, "validation_split must be between 0 and 1"),
        ({"validation_split": 0.999, "data": (X[:3], Y[:3])}, "leaves none for training"),
        ({"validation_split": 0.5, "validation": (X, Y)}, "excludes validation="),
        ({"validation": X}, r"validation: expected \(x, y\)"),
        ({"data": 3}, "data must be arrays .* not int"),
    ],
)
def test_refused(options, message):
    with pytest.raises(InvalidInputError, match=message):
        train(**options)


def test_one_bias_of_a_recurrent_layer():
    """Of Wb and Rb only one half is trained, where they are one bias."""
    rng = np.random.default_rng(0)
    tensors = {
        "W": rng.normal(size=(1, 3, 4)), "R": rng.normal(size=(1, 3, 3)),
        "B": np.array([[0.1, 0.1, 0.1, 0, 0, 0]]), "axis": np.array([1]),
    }  # fmt: skip
    made = [
        numpy_helper.from_array(t.astype(np.int64 if n == "axis" else np.float32), n)
        for n, t in tensors.items()
    ]
    nodes = [
        helper.make_node("RNN", ["x", "W", "R", "B"], ["", "h"], hidden_size=3, layout=1),
        helper.make_node("Squeeze", ["h", "axis"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 5, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])], made,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    trainer = training.Trainer(model, loss="mse", optimizer="SGD")
    x = rng.normal(size=(6, 5, 4)).astype(np.float32)
    (slopes,) = onnxwalk.load(model).gradients("y", ["B"], {"x": x}, seed=np.ones((6, 3), "f"))
    assert slopes[0, 3:].all()
    before = trainer.weights["B"].copy()
    trainer.train_on_batch(x, np.ones((6, 3), np.float32))
    assert ((trainer.weights["B"] != before) == [[True] * 3 + [False] * 3]).all()
