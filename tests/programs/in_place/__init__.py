"""``python -m tests.programs.in_place``: real programs that need onnxruntime, in two environments,
one with it and one that has never seen it; they are compared by their answers.

The programs of ``programs`` use published packages as their users do. What differs between the two
environments is one wheel.
"""
