"""The list of what ONNX Runtime has and this package hasn't, where both are known."""

from types import SimpleNamespace

from tools import kernel_gaps
from tools.kernel_gaps import Gap, gaps, gaps_of


def kernel(name, versions, domain="", **constraints):
    types = {
        variable: [f"tensor({kind})" for kind in kinds] for variable, kinds in constraints.items()
    }
    return SimpleNamespace(
        domain=domain, op_name=name, version_range=versions, type_constraints=types
    )


def test_what_is_taken_is_no_gap():
    assert not list(gaps_of(kernel("Add", (7, 13), T=["float", "int64"])))


def test_types_beyond_the_schema_are_no_gap():
    """Reshape-1 has floats only: ONNX Runtime's kernel takes integers, its checks don't."""
    assert not list(gaps_of(kernel("Reshape", (1, 4), T=["float", "int64"])))


def test_an_operator_that_is_not_there():
    assert list(gaps_of(kernel("Mystery", (1, 2**31 - 1), "com.microsoft"))) == [
        Gap("com.microsoft", "Mystery", 1, "missing")
    ]


def test_types_that_are_not_computed():
    made = kernel("GridSample", (1, 9), "com.microsoft", T1=["float", "int8"], T2=["float"])
    assert list(gaps_of(made)) == [Gap("com.microsoft", "GridSample", 1, "T1 of int8")]


def test_onnx_itself_is_taken_whole():
    assert len(kernel_gaps.kernels()) > 1000
    assert not [gap for gap in gaps() if not gap.domain.startswith("com.microsoft")]
