"""Small random models, as ``python -m tests.programs.properties`` makes them by the thousand."""

import json
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="the exporter needs TensorFlow")

from tests.programs.properties.__main__ import judge_many, main
from tests.programs.properties.judging import Predicted, judge, shrink, summarize
from tests.programs.properties.operations import OPERATIONS
from tests.programs.properties.recipes import Input, Recipe, Step, build


def test_files_are_what_predict_gives():
    results = list(judge_many(200, seed=0))
    assert [(r["why"], r["recipe"]) for r in results if r["kind"] == "wrong"] == []
    counts = Counter(r["kind"] for r in results)
    assert counts.total() == 200 and counts["right"] > 170


def a_recipe(*steps, dtype="float32"):
    made = tuple(Step(name, (number,), arguments) for number, (name, arguments) in enumerate(steps))
    return Recipe((Input((3,), dtype),), made, (len(made),))


RELU = a_recipe(("negative", {}), ("relu", {}), ("tanh", {}))


def test_a_wrong_file_is_found_and_cut_short(monkeypatch, tmp_path, capsys):
    """A file that is right for random numbers but not for infinity."""
    assert judge(RELU).kind == "right"
    right = Predicted.run_file

    def wrong(sides, feed):
        found = right(sides, feed)
        if any(node.op == "Relu" for node in sides.trace.graph.node):
            found = [values + 0 * sum(feed.values.values()) for values in found]
        return found

    monkeypatch.setattr(Predicted, "run_file", wrong)
    verdict = judge(RELU)
    assert verdict.kind == "wrong" and "x0 with infinity" in verdict.why
    shorter, why = shrink(RELU)
    assert shorter == a_recipe(("relu", {})) and why.kind == "wrong"
    saved = tmp_path / "wrong.json"
    saved.write_text(json.dumps({"recipe": shorter.as_data()}), encoding="utf-8")
    assert main(["--replay", str(saved)]) == 1
    monkeypatch.undo()
    assert main(["--replay", str(saved)]) == 0
    assert capsys.readouterr().out.split()[-1] == "right"


def test_recipes_are_plain_data():
    layer = Step("Dense", (0,), {"units": 3})
    again = Step("Dense", (1,), {}, shared=1)
    recipe = Recipe((Input((3,), "float32"),), (layer, again), (2, 1))
    assert Recipe.from_data(json.loads(json.dumps(recipe.as_data()))) == recipe
    model = build(recipe)
    assert len(model.outputs) == 2 and len(model.weights) == 2


def test_a_model_that_is_refused():
    verdict = judge(a_recipe(("cast", {"dtype": "bool"}), ("cast", {"dtype": "float32"})))
    assert verdict.kind == "right"
    assert summarize("layer dense_3: 1.5 of 7 in net/x") == "layer dense: # of # in net"


def test_command(tmp_path, capsys):
    assert main(["--count", "3", "--seed", "5", "--output", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("3 models: ")
    assert not list(Path(tmp_path).iterdir())


def test_operations_are_many():
    assert len(OPERATIONS) > 150
