"""The rewrites: Graph -> Graph, one file for each name in ``REWRITES``."""
