"""What a run returns, and what a session says of its model."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.support.onnxruntime_programs.models import (
    ADD,
    FLOAT,
    INT64,
    PROGRAMS,
    TWO,
    X,
    info,
    model,
    program,
    relu,
    sequence_model,
    session,
    unary,
)


@program
def outputs_in_order(ort):
    s = session(ort, TWO)
    feeds = {"x": X}
    asked = (["q", "p"], ("q",), [], "", (), None, ["p", "p"], np.array(["q"]))
    return [s.run(names, feeds) for names in asked]


@program
def outputs_as_str(ort):
    session(ort, TWO).run("p", {"x": X})


@program
def outputs_of_int(ort):
    session(ort, TWO).run([1], {"x": X})


@program
def input_is_no_output(ort):
    session(ort, TWO).run(["x"], {"x": X})


@program
def result_is_a_list_of_arrays(ort):
    results = relu(ort, X)
    y = results[0]
    return type(results), type(y), y.flags.c_contiguous, y.flags.writeable, y.dtype.isnative


@program
def scalar_is_an_array(ort):
    y = relu(ort, np.ones((2, 3), "f4"), op="ReduceSum", keepdims=0)[0]
    return type(y), y.shape, y


@program
def input_as_output_is_a_copy(ort):
    data = model([], [info("x", FLOAT, ["N"])], [info("x", FLOAT, ["N"])])
    x = np.ones(2, "f4")
    y = session(ort, data).run(None, {"x": x})[0]
    return np.shares_memory(x, y), y


@program
def results_outlive_the_session(ort):
    s = session(ort, TWO)
    results = s.run(None, {"x": X})
    del s
    return results


@program
def arguments(ort):
    s = session(ort, ADD)
    return [(a.name, a.type, a.shape, str(a)) for a in (*s.get_inputs(), *s.get_outputs())]


for _code in (
    FLOAT,
    TensorProto.DOUBLE,
    INT64,
    TensorProto.STRING,
    TensorProto.BOOL,
    TensorProto.FLOAT16,
):
    PROGRAMS[f"type_{_code}"] = lambda ort, code=_code: [
        a.type for a in session(ort, unary("Identity", code)).get_inputs()
    ]


@program
def shapes_of_arguments(ort):
    shapes = [(), None, (2, 3), ("N", None), (0,), ("", 2), (-1, 2)]
    return [session(ort, unary(shape=s)).get_inputs()[0].shape for s in shapes]


@program
def arguments_of_sequences(ort):
    s = session(ort, sequence_model())
    return [(a.name, a.type, a.shape) for a in (*s.get_inputs(), *s.get_outputs())]


@program
def argument_has_no_setter(ort):
    session(ort).get_inputs()[0].name = "z"


@program
def same_list_of_arguments(ort):
    s = session(ort)
    return s.get_inputs() is s.get_inputs(), s.get_modelmeta() is s.get_modelmeta()


@program
def constructor_of_node_arg(ort):
    ort.NodeArg()


def metadata_of(ort: Any, data: bytes) -> list[Any]:
    meta = session(ort, data).get_modelmeta()
    return [
        meta.custom_metadata_map,
        meta.description,
        meta.domain,
        meta.graph_description,
        meta.graph_name,
        meta.producer_name,
        meta.version,
    ]


@program
def metadata_of_minimal_model(ort):
    return metadata_of(ort, ADD)


@program
def metadata_of_full_model(ort):
    proto = onnx.load_from_string(ADD)
    proto.producer_name, proto.domain, proto.doc_string = "me", "dom", "doc"
    proto.model_version, proto.graph.doc_string = 7, "graph doc"
    helper.set_model_props(proto, {"k": "v", "straße": "ü"})
    return metadata_of(ort, proto.SerializeToString())


@program
def metadata_can_be_set(ort):
    meta = session(ort).get_modelmeta()
    meta.description = "new"
    meta.custom_metadata_map["k"] = "lost"
    return meta.description, meta.custom_metadata_map
