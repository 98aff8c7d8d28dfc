"""What is said to be wrong elsewhere is wrong there, in the versions that were looked at."""

import functools

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from tests.support.disagreements import DISAGREEMENTS, ORT
from tests.support.harness import (
    Case,
    all_cases,
    assert_same,
    feeds_of,
    one_node_model,
    run_onnxruntime,
)

cases = functools.cache(all_cases)


def answer(who: str, case: Case):
    model, feeds = one_node_model(case), feeds_of(case)
    try:
        if who == ORT:
            return run_onnxruntime(model, feeds)
        return ReferenceEvaluator(model).run(None, feeds)
    except Exception:  # whatever it raises, it has no answer
        return None


def agrees(case: Case, found, expected) -> bool:
    pairs = list(zip(found, expected, strict=False))
    try:
        for one, other in pairs:
            other = np.asarray(other)
            assert_same(np.asarray(one).astype(other.dtype), other, rtol=1e-3, atol=1e-3)
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize("said", DISAGREEMENTS, ids=lambda d: f"{d.who}: {d.operator}-{d.opset}")
@pytest.mark.filterwarnings("ignore")
def test_it_differs(said):
    versions = onnxruntime.__version__.split(".")[:2], onnx.__version__.split(".")[:2]
    if versions != (["1", "32"], ["1", "23"]):
        pytest.skip("looked at in ONNX Runtime 1.32 and onnx 1.23")
    for case in cases():
        if (case.domain, case.operator, case.opset) != (said.domain, said.operator, said.opset):
            continue
        expected = case.expected or (None if said.who == ORT else answer(ORT, case))
        found = answer(said.who, case) if expected else None
        if expected and found and not agrees(case, found, expected):
            return
    pytest.fail(f"no case of {said.operator}-{said.opset} shows it")
