"""A plan computes arrays: the walk, bound plans, threads."""
