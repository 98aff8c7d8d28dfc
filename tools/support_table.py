"""``SUPPORT.md``: every version of every operator, how it differs, and what it is tested against.

    python -m tools.support_table            # writes SUPPORT.md

``test_support.py`` fails when the file is not what this makes.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import helper

from onnxwalk.ops import registry
from tests.support.disagreements import DISAGREEMENTS
from tests.support.harness import all_cases

FILE = Path(__file__).parents[1] / "SUPPORT.md"

Key = tuple[str, str, int]  # domain, operator, version
Schema = onnx.defs.OpSchema

HEAD = """\
# What is supported

Made by `python -m tools.support_table`; a test keeps it true.

*Served by* is the version whose function computes this one: itself, or an earlier version that
means the same. *Differs* is what the signature and the types have that the version before has not
(+), or no longer (−); a type or attribute that a version hasn't got is refused when a file is
loaded. *Tested* counts ONNX's own backend cases (the ones whose operator it is, not
those expanded into others), and the cases in `tests/ops`: those with ONNX Runtime as the oracle,
and those worked out by hand from the spec. Beside these, each family is held against ONNX Runtime
on random inputs.
"""


def schemas() -> dict[tuple[str, str], dict[int, Schema]]:
    """All schemas by (domain, operator) and version."""
    found: dict[tuple[str, str], dict[int, Schema]] = defaultdict(dict)
    for schema in onnx.defs.get_all_schemas_with_history():
        found[schema.domain, schema.name][schema.since_version] = schema
    return {key: dict(sorted(found[key].items())) for key in sorted(found)}


def backend_cases() -> Counter[Key]:
    """How many of ONNX's node cases there are for each version."""
    from onnx.backend.test.case.node import collect_testcases

    counts: Counter[Key] = Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collected = collect_testcases(None)
    for case in collected:
        if "_expanded" in case.name:
            continue
        opsets = {o.domain: o.version for o in case.model.opset_import}
        nodes = [n for n in case.model.graph.node if n.op_type != "Constant"]
        for node in nodes[:1] or case.model.graph.node[:1]:
            if node.domain in opsets:
                counts[version_of(node.domain, node.op_type, opsets[node.domain])] += 1
    return counts


def version_of(domain: str, name: str, opset: int) -> Key:
    """The version of the spec that an opset means (a deprecated one is one, too)."""
    known = [v for v in schemas_by_name().get((domain, name), {}) if v <= opset]
    return domain, name, max(known, default=opset)


_schemas: dict[tuple[str, str], dict[int, Schema]] = {}


def schemas_by_name() -> dict[tuple[str, str], dict[int, Schema]]:
    """``schemas``, once."""
    if not _schemas:
        _schemas.update(schemas())
    return _schemas


def differences(before: Schema, after: Schema) -> Iterator[str]:
    """What a caller sees of a version: inputs, outputs, attributes and defaults, types."""
    for what in ("inputs", "outputs"):
        old = {p.name: p.option.name for p in getattr(before, what)}
        new = {p.name: p.option.name for p in getattr(after, what)}
        # a parameter at the same place under another name is the same
        if len(old) == len(new):
            old = dict(zip(new, old.values(), strict=True))
        yield from (f"+ {what[:-1]} {name}" for name in new if name not in old)
        yield from (f"− {what[:-1]} {name}" for name in old if name not in new)
        yield from (
            f"{what[:-1]} {name}: {new[name].lower()}"
            for name in new
            if name in old and new[name] != old[name]
        )
    old, new = ({n: default(a) for n, a in s.attributes.items()} for s in (before, after))
    yield from (f"+ attribute {name}" for name in sorted(new) if name not in old)
    yield from (f"− attribute {name}" for name in sorted(old) if name not in new)
    yield from (
        f"{name}: {new[name]} by default, not {old[name]}"
        for name in sorted(new)
        if name in old and new[name] != old[name]
    )
    old_types, new_types = types(before), types(after)
    if added := sorted(new_types - old_types):
        yield f"+ {', '.join(added)}"
    if removed := sorted(old_types - new_types):
        yield f"− {', '.join(removed)}"
    if after.deprecated and not before.deprecated:
        yield "deprecated"


def default(attribute: Schema.Attribute) -> str:
    """An attribute's default in words."""
    if attribute.required:
        return "required"
    if attribute.default_value.type == onnx.AttributeProto.UNDEFINED:
        return "none"
    value = helper.get_attribute_value(attribute.default_value)
    value = value.decode() if isinstance(value, bytes) else value
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def types(schema: Schema) -> set[str]:
    """All types of all inputs and outputs, tensors by their element."""
    found = {t for c in schema.type_constraints for t in c.allowed_type_strs}
    found |= {p.type_str for p in (*schema.inputs, *schema.outputs) if "(" in p.type_str}
    return {re.sub(r"^tensor\((\w+)\)$", r"\1", t) for t in found}


def rows(backend: Counter[Key]) -> Iterator[tuple[Key, str]]:
    """A line of the table for each version, and for what has no schema (com.microsoft)."""
    ort: Counter[Key] = Counter()
    by_hand: Counter[Key] = Counter()
    for case in all_cases():
        counter = ort if case.expected is None else by_hand
        counter[version_of(case.domain, case.operator, case.opset)] += 1
    without_schema: dict[tuple[str, str], dict[int, Schema | None]] = {}
    for operator in registry:
        if (operator.domain, operator.name) not in schemas_by_name():
            key = operator.domain, operator.name
            without_schema.setdefault(key, {})[operator.since] = None
    everything = {**schemas_by_name(), **without_schema}
    for (domain, name), versions in sorted(everything.items()):
        before: Schema | None = None
        for version, schema in versions.items():
            key = domain, name, version
            operator = registry.lookup(domain, name, version)
            differs = "; ".join(differences(before, schema)) if before and schema else ""
            if operator is None:
                served, tested = "**missing**", ""
            else:
                served = "itself" if operator.since == version else str(operator.since)
                counts = (("backend", backend), ("ONNX Runtime", ort), ("by hand", by_hand))
                tested = ", ".join(f"{c[key]} {what}" for what, c in counts if c[key])
            yield key, f"| {name} | {version} | {served} | {differs} | {tested} |"
            before = schema


def generate() -> str:
    """The text of SUPPORT.md."""
    lines = [HEAD, "## Where others leave the spec", ""]
    lines += ["The spec decides. Each line has a case in `tests/ops` that shows it.", ""]
    lines += ["| operator | opset | who | what |", "|---|---|---|---|"]
    lines += [
        f"| {d.operator} | {d.opset} | {d.who} | {d.what} |"
        for d in sorted(DISAGREEMENTS, key=lambda d: (d.domain, d.operator, d.opset, d.who))
    ]
    table = list(rows(backend_cases()))
    for domain in sorted({key[0] for key, _ in table}):
        of = [(key, line) for key, line in table if key[0] == domain]
        there = [line for _, line in of if "**missing**" not in line]
        names = {key[1] for key, line in of if "**missing**" not in line}
        lines += ["", f"## {domain or 'ai.onnx'}", ""]
        lines += [
            f"{len(names)} of {len({key[1] for key, _ in of})} operators, "
            f"{len(there)} of {len(of)} versions.",
            "",
        ]
        lines += ["| operator | version | served by | differs | tested |", "|---|---|---|---|---|"]
        lines += [line for _, line in of]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    FILE.write_text(generate(), encoding="utf-8")
