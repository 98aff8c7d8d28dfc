"""Seeing inside: trace, profile, estimate, compare, diff, explore."""
