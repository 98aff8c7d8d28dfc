"""Loads a model and runs it: reader, compiler, runtime, analysis, command line.

``onnxwalk`` is the public face of what is in here.
"""
