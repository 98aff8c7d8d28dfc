"""Differentiation: from a graph to one that also computes gradients (reverse mode).

``differentiate`` adds the nodes, ``splice`` puts them in the place of ``Gradient`` nodes.
"""
