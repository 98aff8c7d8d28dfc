"""``ops`` lists the operators and explains one, straight from the registry."""

from __future__ import annotations

import json

import pytest

from onnxwalk import ops
from onnxwalk.interpreter.cli import ops as command


@pytest.fixture
def toys(monkeypatch):
    """A registry of its own in place of the built-in one."""
    registry = ops.Registry()

    @registry.op("Zonk", since=13)
    def zonk(x, w=None, *more, mode="linear", axis=-1, size, hint=None):
        """x + w, zonked.

        Shapes: [N, C] gives [N].
        """

    @registry.op("Zonk", since=1, until=11)
    def old_zonk(x):
        """x, zonked as of old."""

    @registry.op("Zonk", since=7, until=11)
    def less_old_zonk(x):
        """x, zonked."""

    @registry.op("Zonk", since=1, domain="my.own")
    def own_zonk():
        """Nothing."""

    monkeypatch.setattr(command, "registry", registry)


def test_the_list(cli, toys):
    out = cli("ops").out
    assert "ai.onnx: 1 operator\n" in out and "my.own: 1 operator\n" in out
    assert "  Zonk      1–6, 7–10, 13\n" in out


def test_every_built_in_operator_is_listed(cli):
    listed = json.loads(cli("ops", "--json").out)
    versions = {(o["domain"], o["name"], v["since"]) for o in listed for v in o["versions"]}
    assert versions == {(o.domain, o.name, o.since) for o in ops.registry}
    names = {line.split()[0] for line in cli("ops").out.splitlines() if line.startswith("  ")}
    assert names == {o.name for o in ops.registry} | {"operator"}


@pytest.mark.parametrize("name", ["Zonk", "zonk", "ZONK"])
def test_one_operator_in_all_its_versions(cli, toys, name):
    out = cli("ops", name).out
    for part in (
        "\nfrom opset 1 to 6\n",
        "\nfrom opset 7 to 10\n",
        "\nfrom opset 13 on\n",
        "x, w (optional), more, … (any number)",
        "mode = 'linear', axis = -1, size (required), hint (optional)",
        "  x + w, zonked.\n\n  Shapes: [N, C] gives [N].\n",
        "\nmy.own.Zonk\n",
    ):
        assert part in out, part


def test_each_version_says_how_it_differs_from_the_one_before(cli, toys):
    out = " ".join(cli("ops", "Zonk").out.split())
    assert "changes since 1 other formula, see below" in out
    assert (
        "changes since 7 new input w (optional); new input more, … (any number); new attribute"
        in out
    )


def test_a_domain_in_front_narrows_it_down(cli, toys):
    assert [o["domain"] for o in json.loads(cli("ops", "my.own.zonk", "--json").out)] == ["my.own"]
    assert [o["domain"] for o in json.loads(cli("ops", "ai.onnx.Zonk", "--json").out)] == [""]


def test_json_of_one(cli, toys):
    (zonk,) = json.loads(cli("ops", "ai.onnx.zonk", "--json").out)
    old, less_old, new = zonk["versions"]
    assert [(v["since"], v["last"]) for v in (old, less_old, new)] == [(1, 6), (7, 10), (13, None)]
    assert [(i["name"], i["optional"], i["variadic"]) for i in new["inputs"]] == [
        ("x", False, False),
        ("w", True, False),
        ("more", False, True),
    ]
    assert new["attributes"] == [
        {"name": "mode", "required": False, "default": "linear"},
        {"name": "axis", "required": False, "default": -1},
        {"name": "size", "required": True},
        {"name": "hint", "required": False, "default": None},
    ]
    assert new["documentation"].startswith("x + w")


def test_an_unknown_name_suggests_near_ones(cli):
    assert cli("ops", "Sofmax").error.startswith(
        "operator 'Sofmax' isn't supported; did you mean Softmax"
    )
    assert "'onnxwalk ops' lists all" in cli("ops", "qqqqqq").error


def test_types_and_words_are_those_of_each_version(cli):
    add = cli("ops", "ai.onnx.Add").out
    assert "a, b             double, float, float16, int32, int64, uint32, uint64\n" in add
    assert "a, b from 13 on  also bfloat16\n" in add
    assert "a, b from 14 on  also int16, int8, uint16, uint8\n" in add
    resize = " ".join(cli("ops", "Resize").out.split())
    assert (
        "changes since 18 coordinate_transformation_mode may be also half_pixel_symmetric" in resize
    )
    assert "changes since 11 " in resize and "may be no longer tf_half_pixel_for_nn" in resize
