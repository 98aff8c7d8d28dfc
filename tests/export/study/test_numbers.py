"""What is trained on what, what the numbers are said to mean, and the chapters by hand."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="the study needs TensorFlow")
pytest.importorskip("sklearn", reason="the study needs scikit-learn")

import keras

from onnxwalk.export.errors import ExportError
from onnxwalk.export.study import by_hand_pictures, by_hand_texts, charts, findings
from onnxwalk.export.study.by_hand import SampleRun, n, total
from onnxwalk.export.study.data import Source
from onnxwalk.export.study.datasets import load_cifar10, read_images
from onnxwalk.export.study.docs import write_docs
from onnxwalk.export.study.evaluate import macro_f1
from onnxwalk.export.study.findings import (
    Result,
    describe_winner,
    group_results,
    is_clearly_ahead,
    read_results,
)
from onnxwalk.export.study.progress import show_progress
from onnxwalk.export.study.variants import (
    FAMILIES,
    GROUPS,
    PRESETS,
    VARIANTS,
    Variant,
    choose_variants,
)


def test_variants():
    usual = choose_variants()
    assert len(usual) == 22 and usual[-1].name == "kernel-15"
    families = [v.family for v in usual]
    assert families == ["SimpleRNN"] * 6 + ["LSTM"] * 6 + ["CNN"] * 10
    known = {(v.family, v.name) for v in VARIANTS}
    assert {(g.family, name) for g in GROUPS for name in g.members.values()} == known
    models = [(v.family, repr(sorted(v.settings.items()))) for v in VARIANTS]
    assert len(set(models)) == len(models), "the same model under two names"
    assert [v.name for v in choose_variants(["gru"], ["cells"])] == ["1x32", "1x64", "1x128"]
    assert [v.name for v in choose_variants(["cnn"], ["kernel-20", "final"])] == [
        "final",
        "kernel-20",
    ]
    masks = {v.family: v.settings["mask_zero"] for v in VARIANTS if v.family != "CNN"}
    assert masks == {"SimpleRNN": False, "LSTM": True, "GRU": True}


@pytest.mark.parametrize(
    ("family", "name", "parameters"),
    [
        # Conv2D (9·3 + 1)·32 and (9·32 + 1)·64, Dense 4096·64 + 64 and 64·10 + 10
        ("CNN", "final", 896 + 18496 + 262208 + 650),
        ("CNN", "average", 896 + 18496 + 64 * 64 + 64 + 650),
        ("CNN", "kernel-15", (225 * 3 + 1) * 32 + (225 * 32 + 1) * 64 + 4160 + 650),
        # Embedding, two directions, Dense
        ("SimpleRNN", "final", 1_280_000 + 2 * 64 * (128 + 64 + 1) + 128 * 3 + 3),
        ("LSTM", "3x64", 1_280_000 + 4 * 64 * (193 + 129 + 129) + 64 * 3 + 3),
    ],
)
def test_the_models_are_the_assignments(family, name, parameters):
    [variant] = choose_variants([family], [name])
    shape, classes = ((32, 32, 3), 10) if family == "CNN" else ((100,), 3)
    assert variant.build(shape, classes).count_params() == parameters


def test_presets():
    assert PRESETS["full"].per_class is None
    assert [PRESETS["full"].epochs[f] for f in FAMILIES] == [10, 15, 10, 10]


@pytest.fixture
def pictures(tmp_path):
    """Folders of pictures, 12 and 3 of each of two classes, each of one grey of its own."""
    for split, count in (("train", 12), ("test", 3)):
        for number, name in enumerate(("cat", "ant")):
            folder = tmp_path / "cifar10" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                grey = np.full((4, 4, 3), 100 * number + i, np.uint8)
                keras.utils.save_img(folder / f"{i:02}.png", grey, scale=False)
    return tmp_path


def test_folders_of_pictures_are_like_a_zip(pictures, tmp_path):
    import shutil

    folder = pictures / "cifar10"
    shutil.make_archive(str(folder / "train"), "zip", folder / "train")
    calls = []
    zipped, names = read_images(folder / "train.zip", progress=lambda *done: calls.append(done))
    plain, same = read_images(folder / "train")
    assert names == same == ["ant", "cat"] and calls == []
    np.testing.assert_array_equal(zipped.x, plain.x)
    np.testing.assert_array_equal(zipped.y, plain.y)
    np.testing.assert_array_equal(plain.x[:, 0, 0, 0] * 255 < 50, plain.y == 1)
    train, test, classes = load_cifar10(folder, per_class=2)
    assert (len(train), len(test), classes) == (4, 6, names)
    shutil.rmtree(folder / "test")
    with pytest.raises(ExportError, match=r"no data at .*test\.zip"):
        load_cifar10(folder)


def test_data_from_folders(pictures):
    source = Source(replace(PRESETS["full"], per_class=10, test_per_class=2), pictures)
    with show_progress() as progress:
        task = source.task("CNN", progress)
        assert source.task("CNN", progress) is task
    assert (len(task.train), len(task.valid), len(task.test)) == (16, 4, 4)
    assert task.shape == (4, 4, 3) and not task.stands_in and task.classes == ["ant", "cat"]
    greys = [set((s.x[:, 0, 0, 0] * 255).round()) for s in (task.train, task.valid)]
    assert len(greys[0]) == 16 and len(greys[1]) == 4 and not greys[0] & greys[1]


def test_texts_from_an_address(tmp_path, capsys):
    for name in ("train", "valid", "test"):
        rows = "id,text,label\n1,bagus sekali,positive\n2,buruk,negative\n"
        (tmp_path / f"{name}.csv").write_text(rows)
    source = Source(PRESETS["smoke"], nusax=tmp_path.as_uri() + "/")
    with show_progress() as progress:
        task = source.task("LSTM", progress)
    assert task.classes == ["negative", "positive"] and task.shape == (100,)
    assert "NusaX: 2 + 2 + 2 for training, validation, test" in capsys.readouterr().out


def result(right, *, loss=(1.0, 0.5), val_loss=(1.0, 0.6), f1=0.5, name="a", parameters=10):
    """A result with two classes, right for those samples."""
    truth = np.arange(len(right)) % 2
    said = np.where(right, truth, 1 - truth)
    history = {"loss": loss, "val_loss": val_loss, "accuracy": loss, "val_accuracy": loss}
    record = {"f1": {"onnxwalk": f1}}
    training = {"history": history, "parameters": parameters}
    variant = Variant("CNN", name, {})
    return Result(variant, training, record, {"onnxwalk": np.eye(2)[said]}, truth, truth, None)


def test_rules():
    some = np.arange(100) < 60
    assert not result(some).overfits and result(some).unfinished
    fitted = result(some, loss=(1, 0.5, 0.1), val_loss=(1.0, 0.6, 0.64))
    assert fitted.overfits and fitted.best_epoch == 2 and not fitted.unfinished
    assert not result(some, loss=(1, 0.5, 0.1), val_loss=(1.0, 0.6, 0.62)).overfits
    assert not result(some, loss=(1, 0.5, 0.7), val_loss=(1.0, 0.6, 0.9)).overfits
    # half is what guessing gives; 1.96 standard errors are 0.098
    assert result(np.arange(100) < 59).guesses and not result(some).guesses
    # 3 samples more are less than 1.96·√3, 4 are more than 1.96·√4
    assert not is_clearly_ahead(result(np.arange(100) < 63), result(np.arange(100) < 60))
    assert is_clearly_ahead(result(np.arange(100) < 64), result(np.arange(100) < 60))
    pair = [("a", result(some, f1=0.5)), ("b", result(np.arange(100) < 80, f1=0.7))]
    assert describe_winner(pair) == "highest F1 for b, 0.7000 (a 0.5000). Clearly ahead of a."
    said = findings.family_findings("CNN", [r for _, r in pair])
    assert "Could have been trained longer: all variants." in said


def test_macro_f1():
    truth, said = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 1])
    assert macro_f1(truth, said) == pytest.approx((2 / 3 + 4 / 6 + 0) / 3)


def test_groups_share_what_is_trained_once(trained):
    found = read_results(trained)
    shared = [
        g for g in GROUPS if any(r.variant.name == "final" for _, r in group_results(g, found))
    ]
    assert [(g.family, g.name) for g in shared] == [
        ("CNN", "head"), ("SimpleRNN", "directions"), ("LSTM", "directions"),
    ]  # fmt: skip
    charted = [(group.family, group.name) for group, _ in findings.group_findings(found)]
    assert charted == []  # no group has two of the few that the tests train


@pytest.mark.parametrize("family", ["SimpleRNN", "LSTM"])
@pytest.mark.parametrize("name", ["1x32", "2x64", "final"])
def test_states_by_hand_are_the_interpreters(trained, family, name):
    [chosen] = [
        r for r in read_results(trained) if (r.variant.family, r.variant.name) == (family, name)
    ]
    run = SampleRun(chosen)
    layer = by_hand_texts.RecurrentLayer(run, run.node("RNN", "LSTM"))
    words = len(chosen.record["sample"]["words"])
    assert layer.n_steps == (words if family == "LSTM" else len(layer.x)) and layer.masked == (
        family == "LSTM"
    )
    ours, theirs = layer.h[:, 1:], layer.interpreter_states()
    assert np.abs(theirs).max() > 0.01
    np.testing.assert_allclose(
        ours[:, : layer.n_steps], theirs[:, : layer.n_steps], rtol=0, atol=1e-6
    )
    last = run.value(layer.node.outputs[1])[:, 0]
    np.testing.assert_allclose(layer.h[:, layer.n_steps], last, rtol=0, atol=1e-6)
    if family == "LSTM":
        last = run.value(layer.node.outputs[2])[:, 0]
        np.testing.assert_allclose(layer.c[:, layer.n_steps], last, rtol=0, atol=1e-6)
        assert (
            words < len(layer.x)
            and not layer.run.value(layer.node.outputs[0])[layer.n_steps :].any()
        )
    assert "differs from the interpreter" in by_hand_texts.chapter(chosen)


@pytest.mark.parametrize("name", ["conv-32", "average", "final"])
def test_a_convolution_by_hand(trained, name):
    import re

    [chosen] = [
        r for r in read_results(trained) if (r.variant.family, r.variant.name) == ("CNN", name)
    ]
    text = by_hand_pictures.chapter(chosen)
    differences = [float(d) for d in re.findall(r"\(difference ([\d.e+-]+)\)", text)]
    assert len(differences) == 2 and max(differences) < 1e-6
    terms = re.search(r"grey: (.*?) = <b>(.*?)</b>", text)
    products = re.findall(r"(\d\.\d+) × \(?(−?\d\.\d+)\)?", terms[1])
    assert len(products) == 9
    value = sum(float(a) * float(b.replace("−", "-")) for a, b in products)
    assert value == pytest.approx(float(terms[2].replace("−", "-")), abs=0.01)


def test_numbers_in_words():
    assert n(-0.00001) == "0.0000" and n(-1.5, 1) == "−1.5"
    assert total(1, -2, 3, digits=0) == "1 − 2 + 3"


def test_docs(copy, tmp_path):
    found = read_results(copy)
    write_docs(found, tmp_path / "docs")
    names = sorted(file.name for file in (tmp_path / "docs").iterdir())
    assert names == ["RESULTS.md", "f1.svg", "time.svg"]
    text = (tmp_path / "docs" / "RESULTS.md").read_text()
    assert "digits" in text.splitlines()[0] and "seed 42" in text
    table = [line for line in text.splitlines() if line.startswith("| ")]
    csv = (copy / "results.csv").read_text().splitlines()
    assert [line.strip("| ").split(" | ") for line in table[1:]] == [
        line.split(",") for line in csv[1:]
    ]


def test_pictures():
    from xml.etree import ElementTree

    rows = ["<a> & b", "zero"]
    drawn = [
        (charts.draw_lines, [charts.Line("l", [1.0, None, 2.0])], {"xs": ["1", "2", "3"]}),
        (charts.draw_lines, [charts.Line("l", [1.0])], {"xs": ["1"], "shaded": (0, 0, "nothing")}),
        (charts.draw_bars, rows, {"a": [0.5, 0.0], "b": [0.1, 0.2]}, {"x_label": "F1"}),
        (charts.draw_dots, rows, {"a": [1e-7, 0.0]}, {"x_label": "s", "limit": (1e-5, "allowed")}),
        (charts.draw_heatmap, np.ones((4, 2)), {"xs": ["a", "b", "∅"], "marked": 3}),
        (charts.draw_images, {"one": np.zeros((2, 2, 3), np.uint8)}, {"columns": 2}),
    ]
    tips = []
    for draw, *content, options in drawn:
        chart = charts.svg_chart(draw, "<title> & more", *content, **options)
        root = ElementTree.fromstring(chart)
        assert root.get("aria-label") == "<title> & more"
        names = {"path", "use", "text", "image", "title", "g", "defs", "style", "svg", "rect"}
        assert {element.tag.split("}")[1] for element in root.iter()} <= names
        assert "nan" not in chart and "var(--ground,#ffffff)" in chart
        tips.append([element.text for element in root.iter("{http://www.w3.org/2000/svg}title")])
    assert tips[0] == ["l, epoch 1: 1", "l, epoch 3: 2"]
    assert tips[2][:2] == ["<a> & b, a: 0.5000", "zero, a: 0.0000"]
    assert tips[3] == ["<a> & b, a: 1e-07"] and tips[5] == ["one"]
    colours = charts.colorize(np.array([[-1.0, 0, 2]]), signed=True)
    assert colours.shape == (1, 3, 3) and (colours[0, 1] > 240).all()
    assert colours[0, 0, 2] > colours[0, 0, 0] and colours[0, 2, 0] > colours[0, 2, 2]
