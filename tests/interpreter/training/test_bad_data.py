"""What ``train`` says of labels, data and settings that don't fit, and what it then keeps."""

import warnings

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxwalk
from onnxwalk import InvalidInputError, NotFiniteError, training
from onnxwalk.interpreter.training import Checkpoint
from tests.interpreter.training.small import X, Y, network, session

RNG = np.random.default_rng(1)
LOSS = {"loss": "sparse_categorical_crossentropy"}


def linear(outputs, x_shape, y_shape, squeezes=False):
    """y = x·w; with ``squeezes`` without its last axis."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z" if squeezes else "y"])]
    if squeezes:
        nodes.append(helper.make_node("Squeeze", ["z", "last"], ["y"]))
    weights = {"w": RNG.normal(size=(4, outputs)).astype(np.float32), "last": np.array([-1])}
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y_shape)],
        [numpy_helper.from_array(w, n) for n, w in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return onnxwalk.load(model.SerializeToString())


SEQUENCES = RNG.normal(size=(8, 5, 4)).astype(np.float32)
ROWS = ["n", 4], ["n", 3]
STEPS = ["n", "t", 4], ["n", "t", 1]
CLASSES = ["n", "t", 4], ["n", "t", 3]


@pytest.mark.parametrize(
    ("shape", "outputs", "shapes", "squeezes"),
    [
        ((8, 1), 1, (["n", 4], ["n"]), True),
        ((8,), 1, (["n", 4], ["n", 1]), False),
        ((8, 5), 1, STEPS, False),
        ((8, 5, 1), 1, STEPS, False),
    ],
)
@pytest.mark.parametrize("loss", ["mse", "mae", "binary_crossentropy"])
def test_labels_with_and_without_a_last_axis(shape, outputs, shapes, squeezes, loss):
    """They aren't broadcast: (8, 1) beside (8,) would be the loss of 64 pairs."""
    model = linear(outputs, *shapes, squeezes)
    x = SEQUENCES if len(shapes[0]) == 3 else SEQUENCES[:, 0]
    labels = RNG.uniform(size=shape).astype(np.float32)
    options = {"from_logits": True} if loss == "binary_crossentropy" else {}
    trainer = training.Trainer(model, loss=loss, **options)
    y = model(x).reshape(-1)
    flat = labels.reshape(-1)
    expected = {
        "mse": np.mean((y - flat) ** 2),
        "mae": np.mean(abs(y - flat)),
        "binary_crossentropy": np.mean(np.logaddexp(0, y) - flat * y),
    }[loss]
    assert trainer.train_on_batch(x, labels)["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "outputs", "shapes", "labels", "message"),
    [
        ("mse", 1, STEPS, (8, 1), "labels have shape (8, 1, 1), but for output 'y', which has"),
        ("mse", 3, CLASSES, (8, 1, 3), "(8, 5, 3), they must have shape (8, 5, 3)"),
        ("categorical_crossentropy", 3, ROWS, (8, 1, 3), "(n, 3), they must have shape (n, 3)"),
        ("categorical_crossentropy", 3, CLASSES, (8, 1, 3), "they must have shape (8, 5, 3)"),
        (LOSS["loss"], 3, CLASSES, (8,), "which has shape (n, t, 3), they must have shape (n, t)"),
        (LOSS["loss"], 3, CLASSES, (8, 4), "labels of shape (8, 4) don't fit output 'y'"),
        (LOSS["loss"], 3, ROWS, (8, 2), "which has shape (n, 3), they must have shape (n,)"),
    ],
)
def test_labels_of_another_shape(loss, outputs, shapes, labels, message):
    trainer = training.Trainer(linear(outputs, *shapes), loss=loss)
    before = {name: weight.copy() for name, weight in trainer.weights.items()}
    x = SEQUENCES if len(shapes[0]) == 3 else SEQUENCES[:, 0]
    with pytest.raises(InvalidInputError) as error:
        trainer.train_on_batch(x, np.zeros(labels, np.int64))
    assert message in str(error.value)
    np.testing.assert_array_equal(trainer.weights["w"], before["w"])


def test_classes_need_an_axis():
    model = linear(1, ["n", 4], ["n"], squeezes=True)
    for loss in (LOSS["loss"], "categorical_crossentropy"):
        with pytest.raises(InvalidInputError, match=r"needs an output \(N, …, C\)"):
            training.Trainer(model, loss=loss)


def test_a_fixed_number_of_samples():
    model, x, y = linear(3, [4, 4], [4, 3]), X[:10], Y[:10]
    options = {**LOSS, "from_logits": True}
    with pytest.raises(InvalidInputError, match=r"'x' takes batches of 4 .*: pass batch_size=4"):
        onnxwalk.train(model, (x, y), **options)
    options["batch_size"] = 4
    with pytest.raises(InvalidInputError, match="of 10 samples 2 are left over"):
        onnxwalk.train(model, (x, y), **options)
    with pytest.raises(InvalidInputError, match="of 10 samples 2 are left over"):
        onnxwalk.train(model, (x[:8], y[:8]), validation=(x, y), **options)
    found = onnxwalk.train(model, (X[:12], Y[:12]), validation_split=1 / 3, **options)
    assert found.trainer.steps == 2


def test_numbers_of_numpy_in_a_checkpoint(tmp_path):
    path = tmp_path / "c.npz"
    numbers = {"seed": np.int64(1), "batch_size": np.int32(7), "steps_per_epoch": np.int64(2)}
    optimizer = training.Adam(np.float32(0.1), beta_1=np.float64(0.5))
    options = {**LOSS, **numbers, "optimizer": optimizer}
    onnxwalk.train(session(), (X, Y), epochs=np.int64(2), callbacks=[Checkpoint(path)], **options)
    found = onnxwalk.train(session(), (X, Y), epochs=3, resume=path, **options)
    assert len(found.history["loss"]) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frozen": [1]}, "frozen must be a list of patterns"),
        ({"frozen": None}, "frozen must be a list of patterns"),
        ({"callbacks": None}, "callbacks must be a list, not None"),
        ({"callbacks": Checkpoint("c.npz")}, "callbacks must be a list"),
        ({"validation_split": "a"}, "validation_split must be a number"),
        ({"limits": "1GiB"}, "limits must be Limits"),
        ({"batch_size": True}, "batch_size must be an integer"),
        ({"validation": iter([(X, Y)]), "epochs": 2}, "validation is an iterator"),
        ({"data": ({}, Y)}, "there are no inputs; the model has x"),
        ({"data": (X, Y, Y)}, "expected .* not a tuple of 3"),
    ],
)
def test_refused_before_the_first_step(options, message):
    with pytest.raises(InvalidInputError, match=message):
        onnxwalk.train(session(), **{"data": (X, Y), **LOSS, **options})


@pytest.mark.parametrize(
    "make",
    [
        lambda: training.SGD(True),
        lambda: training.SGD(momentum=lambda step: 0.5),
        lambda: training.SGD(nesterov="yes"),
        lambda: training.EarlyStopping(patience="3"),
        lambda: training.EarlyStopping(min_delta=float("nan")),
    ],
)
def test_refused_settings(make):
    with pytest.raises(InvalidInputError, match="must be"):
        make()


def test_an_error_has_the_trainer():
    with pytest.raises(InvalidInputError, match="batch 2") as error:
        onnxwalk.train(session(), iter([(X, Y), (X, Y + 9)]), **LOSS)
    assert error.value.trainer.steps == 1

    def interrupt(epoch, logs):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        onnxwalk.train(session(), (X, Y), callbacks=[interrupt], **LOSS)
    assert stopped.value.trainer.steps == 2


def test_infinite_weights_are_named(tmp_path):
    """Also those that the last step makes; no checkpoint has them."""
    options = {**LOSS, "optimizer": training.SGD(1e300), "callbacks": [Checkpoint(tmp_path / "c")]}
    x = X * 100
    with (
        warnings.catch_warnings(),
        pytest.raises(NotFiniteError, match=r"after step 1: weight '.*' holds NaN or infinities"),
    ):
        warnings.simplefilter("error")
        onnxwalk.train(session(), (x, Y), batch_size=50, **options)
    assert not (tmp_path / "c").exists()
    trainer = training.Trainer(session(), **LOSS, optimizer=training.SGD(1e300))
    trainer.train_on_batch(x, Y)
    with pytest.raises(NotFiniteError, match=r"step 2: .* weight '.*' holds NaN or infinities"):
        trainer.train_on_batch(x, Y)


def test_nothing_left_to_do_is_said(tmp_path):
    path = tmp_path / "c.npz"
    onnxwalk.train(session(), (X, Y), epochs=2, callbacks=[Checkpoint(path)], **LOSS)
    with pytest.warns(UserWarning, match="nothing was trained: epochs done before: 2"):
        onnxwalk.train(session(), (X, Y), epochs=2, resume=path, **LOSS)


@pytest.mark.parametrize("path", [None, 3, ["a"]])
def test_what_is_no_path(path):
    trainer = training.Trainer(network(), **LOSS)
    model = onnxwalk.train(network(), (X, Y), **LOSS)
    calls = [trainer.save, trainer.save_checkpoint, trainer.load_checkpoint, model.save, Checkpoint]
    calls.append(lambda path: onnxwalk.write_weights(network(), path, {}))
    for call in calls:
        with pytest.raises(InvalidInputError, match="expected the path of a file, not"):
            call(path)
