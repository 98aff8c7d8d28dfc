"""Turns bytes into a ``Model``: ``source`` opens the caller's file, ``wire`` splits protobuf
messages into fields by the tables of ``messages``, ``build`` turns the fields into the dataclasses
of ``interpreter.ir.model``, ``tensors`` reads weights as views of the file.

Format: the Protocol Buffers encoding of onnx.proto (IR version 14).
"""

from onnxwalk.interpreter.reader.build import read_model

__all__ = ["read_model"]
