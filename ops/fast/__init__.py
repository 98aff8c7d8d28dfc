"""Bound formulations: how the operators are computed fast, once shapes are known.

What an operator *means* is said in its family's file; here stands how the same numbers come out
with few passes over memory, in blocks that stay in the second-level cache, and without any work
that could be done before the run. See ``ops.contract.space`` for how it works. The plain operator
is the oracle of each of these.
"""
