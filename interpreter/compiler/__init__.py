"""A Model becomes a Plan. Everything that can be decided before the first input is decided here.

check    every value is defined once, before it is used
inline   calls of model-local functions become the functions' nodes
resolve  every node has an operator, and fits its schema
passes   Graph -> Graph, each rewrite in a file of its own, each can be switched off by name
lower    names become slots, attributes are bound, lifetimes are decided

``program`` does them in turn.
"""
