"""Turns a Model into a Plan. All that can be decided before the first input is decided here.

check    every value is defined once, before it is used
inline   calls of model-local functions are replaced by the functions' nodes
resolve  every node has an operator, and matches its schema
passes   the rewrites, Graph -> Graph, one file each; each can be switched off by name
lower    names become slots, attributes are bound, lifetimes are determined

``program`` calls them in this order.
"""
