"""Rewrites meet nodes with fewer inputs and outputs than they look for, and constants of other
shapes: such a file loads, or the error says what is wrong in it."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxwalk
from onnxwalk import OnnxWalkError
from tests.programs.fuzz.seeds import structured

SEEDS = {case.origin: case for case in structured() if not case.files}


def damaged(model):
    """The model with one name, or one constant, other than it was."""
    for at, node in enumerate(model.graph.node):
        for side in ("input", "output"):
            for i in range(len(getattr(node, side))):
                for how in ("cut", "empty"):
                    copy = onnx.ModelProto()
                    copy.CopyFrom(model)
                    names = getattr(copy.graph.node[at], side)
                    if how == "cut":
                        del names[i:]
                    else:
                        names[i] = ""
                    yield f"{node.op_type} {side} {i} {how}", copy
    for at, tensor in enumerate(model.graph.initializer):
        values = numpy_helper.to_array(tensor)
        for how, changed in {
            "empty": values.reshape(-1)[:0],
            "flat": values.reshape(-1),
            "deep": values.reshape(*values.shape, 1),
            "twice": np.concatenate([values.reshape(-1)] * 2),
            "double": values.astype(np.float64),
        }.items():
            copy = onnx.ModelProto()
            copy.CopyFrom(model)
            copy.graph.initializer[at].CopyFrom(numpy_helper.from_array(changed, tensor.name))
            yield f"{tensor.name} {how}", copy


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("origin", SEEDS)
def test_it_loads_or_the_error_says_why(origin):
    errors = 0
    for what, model in damaged(onnx.load_from_string(SEEDS[origin].model)):
        try:
            onnxwalk.load(model)
        except OnnxWalkError as error:
            # A defect of ours comes out as the class itself, not as one of its kinds.
            assert type(error) is not OnnxWalkError, f"{what}: {error}"
            errors += 1
    assert errors
