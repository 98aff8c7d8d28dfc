"""The recipes of docs/CLUSTERS.md, each run as it stands there in an environment of its own."""
