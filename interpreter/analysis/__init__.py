"""Look inside a model and its runs: profile, compare, diff, explore."""
