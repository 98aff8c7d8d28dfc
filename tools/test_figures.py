"""Run the tests of the operators and count them by kind.

    python -m tools.test_figures

Runs the tests of the operators, the interpreter, ONNX's own suite, scikit-learn's models and the
models of wheels (about ten minutes on one core), and prints a table of the results. Exit status 1
if any failed.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from onnxwalk.ops import registry
from onnxwalk.ops.schema.types import signature
from tests.support.disagreements import all_disagreements
from tests.support.every_type import demands
from tests.support.harness import all_cases
from tools.support_table import schemas_by_name

ROOT = Path(__file__).parents[1]
PARTS = (
    "tests/conformance",
    "tests/ops",
    "tests/interpreter",
    "tests/programs/test_real_models.py",
)

#: the rows of the table, with a pattern for the names of their tests; a test counts in the first
ROWS = (
    ("ONNX's suite: node cases", r"test_backend.*NodeModelTest.*_cpu$"),
    ("ONNX's suite: simple cases", r"test_backend.*SimpleModelTest.*_cpu$"),
    ("ONNX's suite: converted from PyTorch", r"test_backend.*PyTorch\w+ModelTest.*_cpu$"),
    ("ONNX's suite: the light_* networks", r"test_backend.*RealModelTest.*_cpu$"),
    ("ONNX's suite: on CUDA, which is no device here", r"test_backend.*_cuda$"),
    ("old versions shown to differ from the next", r"test_old_versions"),
    ("cases before opset 7", r"test_before_opset_7.*::test_case"),
    ("function bodies of the spec", r"test_function_bodies"),
    ("versions with every type computed or refused", r"test_types.py::test_every_type_(is|goes)"),
    ("operators with every type as ONNX Runtime", r"test_types.py::test_every_type_as"),
    ("disagreements of others, shown", r"test_disagreements|test_special_values.*::test_onnx"),
    ("models of scikit-learn", r"test_sklearn"),
    ("real files, out of 3 wheels", r"test_real_models.*::test_as"),
    ("signatures equal to the schemas", r"test_registry.*test_signature"),
    ("single cases", r"tests/ops/.*::test_case"),
    ("single cases in other memory layouts", r"test_layouts"),
    ("the rest of tests/ops", r"tests/ops/|test_real_models"),
    ("the rest of tests/conformance", r"tests/conformance/"),
    ("tests/interpreter", r"tests/interpreter/"),
)


class Recorder:
    """A pytest plugin that records the outcome of each test, and which are property tests."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        self.properties: set[str] = set()

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        self.properties = {
            item.nodeid
            for item in items
            if getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
        }

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":
            expected = hasattr(report, "wasxfail")
            self.outcomes[report.nodeid] = "xfailed" if expected else report.outcome

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.outcomes[report.nodeid] = "failed"


def row_of(name: str, properties: set[str]) -> str:
    """The row in which to count a test."""
    if name in properties:
        family = name.partition("::")[0].removeprefix("tests/").removesuffix(".py")
        return f"properties: {family.replace('test_', '')}"
    return next((row for row, pattern in ROWS if re.search(pattern, name)), "other")


def print_table(recorder: Recorder) -> None:
    """How many tests of each row passed, failed, …"""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for name, outcome in recorder.outcomes.items():
        counts[row_of(name, recorder.properties)][outcome] += 1
    kinds = ("passed", "failed", "skipped", "xfailed")
    print(f"\n{'from this run':56}" + "".join(f"{kind:>9}" for kind in kinds))
    rows = [row for row, _ in ROWS if row in counts]
    for row in [*rows, *sorted(set(counts) - set(rows))]:
        print(f"{row:56}" + "".join(f"{counts[row][kind] or '-':>9}" for kind in kinds))
    total = sum(counts.values(), Counter())
    print(f"{'all':56}" + "".join(f"{total[kind]:>9}" for kind in kinds))


def print_registered() -> None:
    """Print the numbers of operators, cases and combinations of types."""
    print(f"\n{'registered':40}{'operators':>12}{'of':>6}{'versions':>12}{'of':>6}")
    domains: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for (domain, name), versions in schemas_by_name().items():
        domains[domain] += [(name, version) for version in versions]
    for domain, versions in sorted(domains.items()):
        present = [(n, v) for n, v in versions if registry.lookup(domain, n, v)]
        names, all_names = ({n for n, _ in pairs} for pairs in (present, versions))
        print(
            f"{domain or 'ai.onnx':40}{len(names):>12}{len(all_names):>6}"
            f"{len(present):>12}{len(versions):>6}"
        )
    others = [(o.domain, o.name) for o in registry if (o.domain, o.name) not in schemas_by_name()]
    for domain, count in sorted(Counter(domain for domain, _ in others).items()):
        print(f"{domain or 'ai.onnx, by ONNX Runtime':40}{count:>12}")
    cases = all_cases()
    by_hand = sum(case.expected is not None for case in cases)
    print(f"\n{'cases by hand':40}{by_hand:>12}")
    print(f"{'cases against ONNX Runtime':40}{len(cases) - by_hand:>12}")
    combinations = sum(
        len(list(demands(spec)))
        for domain, versions in domains.items()
        for name, version in versions
        if (spec := signature(domain, name, version))
    )
    print(f"{'types of inputs, over all versions':40}{combinations:>12}")
    for who, count in Counter(d.who for d in all_disagreements()).items():
        print(f"{f'disagreements of {who}':40}{count:>12}")


def main() -> int:
    recorder = Recorder()
    options = ["-q", "--tb=line", "--no-header", "-W", "ignore"]
    status = pytest.main([*options, *(str(ROOT / part) for part in PARTS)], plugins=[recorder])
    print_registered()
    print_table(recorder)
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
