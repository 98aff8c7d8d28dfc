"""The messages of onnx.proto: field numbers, names and kinds. Source: onnx.proto, IR version 14."""

import functools

from onnxwalk.interpreter.reader.wire import Field

Message = dict[int, Field]


_one = Field.of
_many = functools.partial(Field.of, repeated=True)


ENTRY: Message = {1: _one("key", "string"), 2: _one("value", "string")}

OPSET: Message = {1: _one("domain", "string"), 2: _one("version", "int")}

SEGMENT: Message = {1: _one("begin", "int"), 2: _one("end", "int")}

TENSOR: Message = {
    1: _many("dims", "int"),
    2: _one("data_type", "int"),
    3: _one("segment", SEGMENT),
    4: _many("float_data", "float"),
    5: _many("int32_data", "int"),
    6: _many("string_data", "bytes"),
    7: _many("int64_data", "int"),
    8: _one("name", "string"),
    9: _one("raw_data", "bytes"),
    10: _many("double_data", "double"),
    11: _many("uint64_data", "uint"),
    13: _many("external_data", ENTRY),
    14: _one("data_location", "int"),
}

SPARSE_TENSOR: Message = {
    1: _one("values", TENSOR),
    2: _one("indices", TENSOR),
    3: _many("dims", "int"),
}

DIMENSION: Message = {
    1: _one("dim_value", "int"),
    2: _one("dim_param", "string"),
    3: _one("denotation", "string"),
}

SHAPE: Message = {1: _many("dim", DIMENSION)}

TENSOR_TYPE: Message = {1: _one("elem_type", "int"), 2: _one("shape", SHAPE)}

OPAQUE_TYPE: Message = {1: _one("domain", "string"), 2: _one("name", "string")}

TYPE: Message = {}  # refers to itself
SEQUENCE_TYPE: Message = {1: _one("elem_type", TYPE)}
MAP_TYPE: Message = {1: _one("key_type", "int"), 2: _one("value_type", TYPE)}
TYPE |= {
    1: _one("tensor_type", TENSOR_TYPE),
    4: _one("sequence_type", SEQUENCE_TYPE),
    5: _one("map_type", MAP_TYPE),
    7: _one("opaque_type", OPAQUE_TYPE),
    8: _one("sparse_tensor_type", TENSOR_TYPE),
    9: _one("optional_type", SEQUENCE_TYPE),
}

VALUE_INFO: Message = {
    1: _one("name", "string"),
    2: _one("type", TYPE, shared=True),
    3: _one("doc_string", "string"),
}

GRAPH: Message = {}  # contains nodes, whose attributes contain graphs

ATTRIBUTE: Message = {
    1: _one("name", "string"),
    2: _one("f", "float"),
    3: _one("i", "int"),
    4: _one("s", "bytes"),
    5: _one("t", TENSOR),
    6: _one("g", GRAPH),
    7: _many("floats", "float"),
    8: _many("ints", "int"),
    9: _many("strings", "bytes"),
    10: _many("tensors", TENSOR),
    11: _many("graphs", GRAPH),
    14: _one("tp", TYPE),
    15: _many("type_protos", TYPE),
    20: _one("type", "int"),
    21: _one("ref_attr_name", "string"),
    22: _one("sparse_tensor", SPARSE_TENSOR),
    23: _many("sparse_tensors", SPARSE_TENSOR),
}

NODE: Message = {
    1: _many("input", "string"),
    2: _many("output", "string"),
    3: _one("name", "string"),
    4: _one("op_type", "string"),
    5: _many("attribute", ATTRIBUTE, shared=True),
    6: _one("doc_string", "string"),
    7: _one("domain", "string"),
    8: _one("overload", "string"),
    9: _many("metadata_props", ENTRY),
}

GRAPH |= {
    1: _many("node", NODE),
    2: _one("name", "string"),
    5: _many("initializer", TENSOR),
    10: _one("doc_string", "string"),
    11: _many("input", VALUE_INFO),
    12: _many("output", VALUE_INFO),
    13: _many("value_info", VALUE_INFO),
    15: _many("sparse_initializer", SPARSE_TENSOR),
    16: _many("metadata_props", ENTRY),
}

FUNCTION: Message = {
    1: _one("name", "string"),
    4: _many("input", "string"),
    5: _many("output", "string"),
    6: _many("attribute", "string"),
    7: _many("node", NODE),
    8: _one("doc_string", "string"),
    9: _many("opset_import", OPSET),
    10: _one("domain", "string"),
    11: _many("attribute_proto", ATTRIBUTE),
    12: _many("value_info", VALUE_INFO),
    13: _one("overload", "string"),
}

TRAINING: Message = {1: _one("initialization", GRAPH), 2: _one("algorithm", GRAPH)}

MODEL: Message = {
    1: _one("ir_version", "int"),
    2: _one("producer_name", "string"),
    3: _one("producer_version", "string"),
    4: _one("domain", "string"),
    5: _one("model_version", "int"),
    6: _one("doc_string", "string"),
    7: _one("graph", GRAPH),
    8: _many("opset_import", OPSET),
    14: _many("metadata_props", ENTRY),
    20: _many("training_info", TRAINING),
    25: _many("functions", FUNCTION),
}
