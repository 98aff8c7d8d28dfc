"""Runs plans: the walk, bound plans, threads."""
