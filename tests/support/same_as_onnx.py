"""Holds a Model against the ``onnx.ModelProto`` that onnx itself parsed from the same bytes."""

import numpy as np
import onnx
from onnx import numpy_helper

from onnxwalk.interpreter.ir.model import (
    Graph,
    MapType,
    Model,
    Node,
    OpaqueType,
    OptionalType,
    Reference,
    SequenceType,
    SparseTensor,
    SparseTensorType,
    Tensor,
    TensorType,
)


def domain(name):
    return "" if name == "ai.onnx" else name


def entries(props):
    return {p.key: p.value for p in props}


def assert_same_model(model: Model, proto: onnx.ModelProto, folder: str = ""):
    for field in ("ir_version", "producer_name", "producer_version", "domain"):
        assert getattr(model, field) == getattr(proto, field)
    version = proto.model_version if proto.HasField("model_version") else None
    assert model.model_version == version
    assert model.doc == proto.doc_string
    assert model.opsets == {domain(o.domain): o.version for o in proto.opset_import}
    assert model.metadata == entries(proto.metadata_props)
    assert_same_graph(model.graph, proto.graph, folder)
    assert len(model.functions) == len(proto.functions)
    for p in proto.functions:
        function = model.functions[domain(p.domain), p.name, p.overload]
        assert function.inputs == tuple(p.input)
        assert function.outputs == tuple(p.output)
        assert function.attributes == tuple(p.attribute)
        assert set(function.defaults) == {a.name for a in p.attribute_proto}
        assert function.opsets == {domain(o.domain): o.version for o in p.opset_import}
        for node, node_proto in zip(function.nodes, p.node, strict=True):
            assert_same_node(node, node_proto, folder)


def assert_same_graph(graph: Graph, proto: onnx.GraphProto, folder: str):
    assert graph.name == proto.name
    assert graph.doc == proto.doc_string
    for ours, theirs in (
        (graph.inputs, proto.input),
        (graph.outputs, proto.output),
        (list(graph.value_info.values()), proto.value_info),
    ):
        assert [v.name for v in ours] == [v.name for v in theirs]
        for value, value_proto in zip(ours, theirs, strict=True):
            assert_same_type(value.type, value_proto.type)
    dense = [i.name for i in proto.initializer]
    assert list(graph.initializers) == dense + [s.values.name for s in proto.sparse_initializer]
    for tensor in proto.initializer:
        assert_same_tensor(graph.initializers[tensor.name], tensor, folder)
    for sparse in proto.sparse_initializer:
        assert_same_sparse(graph.initializers[sparse.values.name], sparse, folder)
    for node, node_proto in zip(graph.nodes, proto.node, strict=True):
        assert_same_node(node, node_proto, folder)


def assert_same_node(node: Node, proto: onnx.NodeProto, folder: str):
    assert (node.op_type, node.name, node.overload) == (proto.op_type, proto.name, proto.overload)
    assert node.domain == domain(proto.domain)
    assert node.inputs == tuple(proto.input)
    assert node.outputs == tuple(proto.output)
    assert node.doc == proto.doc_string
    assert list(node.attributes) == [a.name for a in proto.attribute]
    for attribute in proto.attribute:
        assert_same_attribute(node.attributes[attribute.name], attribute, folder)


def assert_same_attribute(value, proto: onnx.AttributeProto, folder: str):
    if proto.ref_attr_name:
        assert value == Reference(proto.ref_attr_name)
        return
    expected = onnx.helper.get_attribute_value(proto)
    if isinstance(expected, (list, tuple)) or hasattr(expected, "append"):
        assert isinstance(value, list)
        for one, other in zip(value, expected, strict=True):
            assert_same_value(one, other, folder)
    else:
        assert_same_value(value, expected, folder)


def assert_same_value(value, expected, folder):
    if isinstance(expected, onnx.TensorProto):
        assert_same_tensor(value, expected, folder)
    elif isinstance(expected, onnx.SparseTensorProto):
        assert_same_sparse(value, expected, folder)
    elif isinstance(expected, onnx.GraphProto):
        assert_same_graph(value, expected, folder)
    elif isinstance(expected, onnx.TypeProto):
        assert_same_type(value, expected)
    elif isinstance(expected, bytes):
        assert value == expected or value == expected.decode()
    else:
        assert type(value) is type(expected)
        np.testing.assert_equal(value, expected)  # NaN equals NaN


def assert_same_tensor(tensor, proto: onnx.TensorProto, folder: str):
    assert isinstance(tensor, Tensor)
    assert tensor.name == proto.name
    assert tensor.element == proto.data_type
    expected = numpy_helper.to_array(proto, folder)
    assert tensor.array.shape == expected.shape
    if tensor.element == onnx.TensorProto.STRING:
        assert tensor.array.tolist() == [
            s.decode() if isinstance(s, bytes) else s for s in expected.ravel()
        ] or np.array_equal(tensor.array, expected.astype(str))
        return
    assert tensor.array.dtype == expected.dtype
    assert tensor.array.tobytes() == expected.tobytes()


def assert_same_sparse(sparse, proto: onnx.SparseTensorProto, folder: str):
    assert isinstance(sparse, SparseTensor)
    assert sparse.shape == tuple(proto.dims)
    assert_same_tensor(sparse.values, proto.values, folder)
    assert_same_tensor(sparse.indices, proto.indices, folder)


def assert_same_type(kind, proto: onnx.TypeProto):
    which = proto.WhichOneof("value")
    if which is None:
        assert kind is None
    elif which in ("tensor_type", "sparse_tensor_type"):
        assert type(kind) is (TensorType if which == "tensor_type" else SparseTensorType)
        tensor = getattr(proto, which)
        assert kind.element == tensor.elem_type
        if not tensor.HasField("shape"):
            assert kind.shape is None
        else:
            assert kind.shape == tuple(
                (d.dim_param.replace("?", "") or None)
                if d.WhichOneof("value") != "dim_value"
                else d.dim_value
                for d in tensor.shape.dim
            )
    elif which == "map_type":
        assert isinstance(kind, MapType) and kind.key == proto.map_type.key_type
        assert_same_type(kind.value, proto.map_type.value_type)
    elif which == "opaque_type":
        assert kind == OpaqueType(proto.opaque_type.domain, proto.opaque_type.name)
    else:
        assert type(kind) is (SequenceType if which == "sequence_type" else OptionalType)
        assert_same_type(kind.element, getattr(proto, which).elem_type)
