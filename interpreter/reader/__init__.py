"""Bytes become a ``Model``: ``wire`` splits protobuf messages into fields by the tables of
``messages``, ``build`` turns the fields into the dataclasses of ``interpreter.ir.model``,
``tensors`` gives weights as views of the file, ``source`` opens what the caller hands in.

Format: the Protocol Buffers encoding of onnx.proto (IR version 14).
"""

from onnxwalk.interpreter.reader.build import read_model

__all__ = ["read_model"]
