"""Fast forms: binders and kernels for operators whose input shapes are known.

They compute the same results as the plain operators, which define the meaning and are the oracle,
with few passes over memory, in blocks that fit the second-level cache, and with all preparation
done before the run. See ``ops.contract.space``.
"""
