"""``python -m tests.exporters``: files of the world's exporters, and what they answer.

Each program of ``programs`` uses one exporter as its users do, in an environment of its own with
pinned packages from PyPI, and writes files, inputs, and what the framework itself answers. Here the
files are run by onnxwalk and by ONNX Runtime, and all three answers are compared. An exporter is
one file in ``programs``: ``exporter.py`` says what it states at its top.
"""
