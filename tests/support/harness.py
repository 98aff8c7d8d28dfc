"""One-node models: run by the operator's own function, by onnxwalk and by ONNX Runtime.

A family's test file lists ``CASES`` (see ``Case``) and calls ``check`` on each;
``tests/ops/contract/test_registry.py`` fails when a registered version has no case.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

import onnxwalk
from onnxwalk.interpreter.runtime import zero_copy as borrowed
from onnxwalk.ops import registry
from onnxwalk.ops.contract.dtypes import element_type
from onnxwalk.ops.contract.space import Space
from onnxwalk.ops.schema.types import Formal, formal_at, signature
from tests.support.generators import as_body
from tests.support.schemas import attribute_type, schema_of

onnxruntime.set_default_logger_severity(4)


@dataclass(frozen=True)
class Case:
    """One operator at one opset, with inputs and, when worked out by hand, what must come out.

    ``expected`` of ``None`` means: whatever ONNX Runtime answers, which then must be able to.
    """

    operator: str
    opset: int
    inputs: Sequence[Any] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    expected: Sequence[Any] | None = None
    outputs: int = 1  # how many outputs the node names
    domain: str = ""
    note: str = ""
    rtol: float = 1e-5
    atol: float = 1e-6

    def __str__(self) -> str:
        shapes = ",".join(
            # a sequence's tensors may differ in shape: only how many there are is shown
            f"[{len(x)}]"
            if isinstance(x, list)
            else "-"
            if x is None
            else "x".join(map(str, np.shape(x)))
            for x in self.inputs
        )
        return f"{self.operator}-{self.opset}({shapes}){' ' + self.note if self.note else ''}"

    @property
    def since(self) -> int:
        """The version of the operator that this opset means."""
        found = registry.lookup(self.domain, self.operator, self.opset)
        assert found is not None, f"{self.operator} at opset {self.opset} is not registered"
        return found.since


def run_directly(case: Case) -> list[Any]:
    """The operator's own function, without a graph around it."""
    operator = registry.lookup(case.domain, case.operator, case.opset)
    assert operator is not None, f"{case.operator} at opset {case.opset} is not registered"
    unknown = set(case.attributes) - set(operator.attributes)
    assert not unknown, f"{operator} has no attribute {unknown}"
    keywords = {name: as_body(value) for name, value in case.attributes.items()}
    if "n_outputs" in operator.reserved:
        keywords["n_outputs"] = case.outputs
    if "rng" in operator.reserved:
        keywords["rng"] = np.random.default_rng(0)
    result = operator.function(*case.inputs, **keywords)
    results = list(result) if isinstance(result, tuple) else [result]
    return results[: case.outputs]


def one_node_model(case: Case) -> onnx.ModelProto:
    """A model whose graph is this node; output types are left for the runtime to infer."""
    fed = feeds_of(case)
    names = [f"x{i}" if f"x{i}" in fed else "" for i in range(len(case.inputs))]
    outputs = [f"y{i}" for i in range(case.outputs)]
    node = helper.make_node(case.operator, names, outputs, domain=case.domain)
    schema = schema_of(case.domain, case.operator, case.opset)
    for name, value in case.attributes.items():
        kind = attribute_type(schema.attributes[name])
        if isinstance(value, np.ndarray):
            sparse = kind == onnx.AttributeProto.SPARSE_TENSOR
            value = _sparse(value) if sparse else numpy_helper.from_array(value)
        node.attribute.append(helper.make_attribute(name, value, attr_type=kind))
    formals = signature(case.domain, case.operator, case.opset).inputs
    inputs = [
        _value_info(name, x, formal_at(formals, int(name.removeprefix("x"))))
        for name, x in fed.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
    graph = helper.make_graph([node], "case", inputs, outputs)
    opsets = [helper.make_opsetid(case.domain, case.opset)]
    if case.domain:
        opsets.append(helper.make_opsetid("", 18))
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _sparse(array: np.ndarray) -> onnx.SparseTensorProto:
    places = np.flatnonzero(array)
    return helper.make_sparse_tensor(
        numpy_helper.from_array(array.ravel()[places]), numpy_helper.from_array(places), array.shape
    )


def _value_info(name: str, x: Any, formal: Formal | None) -> onnx.ValueInfoProto:
    if formal and x is not None and all(kind.startswith("optional(") for kind in formal.allowed):
        info = _value_info(name, x, None)
        return helper.make_value_info(name, helper.make_optional_type_proto(info.type))
    if x is None:
        tensor = helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None)
        return helper.make_value_info(name, helper.make_optional_type_proto(tensor))
    if isinstance(x, list):
        first = np.asarray(x[0]) if x else np.zeros(0, np.float32)
        tensor = helper.make_tensor_type_proto(element_type(first.dtype).code, None)
        return helper.make_value_info(name, helper.make_sequence_type_proto(tensor))
    if isinstance(x, dict):
        key, value = next(iter(x.items()))
        codes = [element_type(np.asarray(v).dtype).code for v in (key, value)]
        element = helper.make_tensor_type_proto(codes[1], [])
        return helper.make_value_info(name, helper.make_map_type_proto(codes[0], element))
    code = element_type(np.asarray(x).dtype).code
    return helper.make_tensor_value_info(name, code, np.shape(x))


def feeds_of(case: Case) -> dict[str, Any]:
    """The inputs by name. ``None`` is left out where the input may be missing; where it may not,
    it is the value of an empty optional."""
    operator = registry.lookup(case.domain, case.operator, case.opset)
    formal = operator.inputs if operator else ()
    return {
        f"x{i}": x
        for i, x in enumerate(case.inputs)
        if x is not None or (i < len(formal) and not formal[i].optional)
    }


def run_onnxruntime(model: onnx.ModelProto, feeds: dict[str, Any]) -> list[Any]:
    """ONNX Runtime's answer, without its graph rewrites. Raises its own errors."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)


@functools.cache
def cuts_off() -> bool:
    """Whether ONNX Runtime cuts sums of uint8·int8 products off at 16 bits on this machine.

    Its documentation says that it does where the processor has no VNNI: there it is an oracle for
    int8 weights of 7 bits only ("reduce_range").
    """
    inputs = [np.full((1, 4), 255, np.uint8), np.full((4, 1), 127, np.int8)]
    case = Case("MatMulInteger", 10, inputs)
    (found,) = run_onnxruntime(one_node_model(case), feeds_of(case))
    return found.item() != 4 * 255 * 127


def int8_weights(x: np.ndarray) -> np.ndarray:
    """The int8 values, halved where ONNX Runtime would be wrong for more than 7 bits."""
    return x >> np.int8(1) if cuts_off() else x


def assert_same(actual: Any, expected: Any, *, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Equal dtype and shape, and values within the tolerance (exactly for integers and strings)."""
    if isinstance(expected, (list, tuple)):
        assert isinstance(actual, (list, tuple)) and len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            assert_same(one, other, rtol=rtol, atol=atol)
        return
    if expected is None:
        assert actual is None
        return
    if isinstance(expected, dict):
        assert actual == expected  # a map has no order
        return
    actual, expected = np.asarray(actual), np.asarray(expected)
    dtypes = element_type(actual.dtype).name, element_type(expected.dtype).name
    assert dtypes[0] == dtypes[1], dtypes
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    if actual.dtype.kind in "fc":
        np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)
    elif actual.dtype.kind == "V":  # ml_dtypes
        np.testing.assert_allclose(
            actual.astype(np.float32), expected.astype(np.float32), rtol=rtol, atol=atol
        )
    else:
        np.testing.assert_array_equal(actual, expected)


def check(case: Case) -> None:
    """The operator gives what was worked out by hand, or else what ONNX Runtime gives: called
    directly, and by the walk with all inputs fed, or all but the first known at load, or with
    inputs and outputs where the caller has them, as large ones are."""
    expected = case.expected
    if expected is None:
        expected = run_onnxruntime(one_node_model(case), feeds_of(case))
    expected = list(expected)
    assert_same(run_directly(case), expected, rtol=case.rtol, atol=case.atol)
    if any(callable(value) for value in case.attributes.values()):
        return  # a body that is a Python function has no file; tests/interpreter runs graphs
    for constants_from in (None, 1):
        found = run_onnxwalk(case, constants_from=constants_from)
        assert_same(found, expected, rtol=case.rtol, atol=case.atol)
    with everything_borrowed():
        assert_same(run_onnxwalk(case), expected, rtol=case.rtol, atol=case.atol)


@contextlib.contextmanager
def everything_borrowed() -> Iterator[None]:
    """Plans that are bound meanwhile leave inputs and outputs of any size where the caller has
    them."""
    with (
        mock.patch.object(Space, "zero_copy_bytes", 1),
        mock.patch.object(borrowed, "BYTES_PER_VIEW", 0),
    ):
        yield


def all_cases() -> list[Case]:
    """The CASES of every file in tests/ops."""
    cases = []
    for path in sorted((Path(__file__).parents[1] / "ops").rglob("test_*.py")):
        if "CASES" not in path.read_text():
            continue
        spec = importlib.util.spec_from_file_location(f"cases_{path.stem}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        cases += list(getattr(module, "CASES", ()))
    return cases


def run_onnxwalk(case: Case, *, constants_from: int | None = None) -> list[Any]:
    """The one-node model through ``onnxwalk.load``; the tensors among the inputs from this
    position on become initializers, so that they are folded into the plan or prepared."""
    known = range(0 if constants_from is None else constants_from, len(case.inputs))
    session = onnxwalk.load(with_constants(case, () if constants_from is None else known), seed=0)
    feeds = {
        name: x
        for name, x in feeds_of(case).items()
        if name in {value.name for value in session.inputs}
    }
    # The first run binds the plan to these shapes; with other values, so that the second, which
    # only replays it, can't find its answer lying about.
    with contextlib.suppress(onnxwalk.OnnxWalkError):
        session.run(None, {name: _other_values(x) for name, x in feeds.items()})
    return session.run(None, feeds)


def with_constants(case: Case, positions: Container[int]) -> onnx.ModelProto:
    """The one-node model, in which the tensors among the inputs at these positions are
    initializers."""
    model = one_node_model(case)
    for position, x in enumerate(case.inputs):
        if position in positions and x is not None and not isinstance(x, list | dict):
            name = f"x{position}"
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(x), name))
    known = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in known]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return model


def _other_values(x: Any) -> Any:
    """The same numbers in another order."""
    if not isinstance(x, np.ndarray) or x.ndim == 0:
        return x
    return np.ascontiguousarray(x.reshape(-1)[::-1]).reshape(x.shape)
