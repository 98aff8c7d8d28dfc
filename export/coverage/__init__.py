"""What can be exported, layer by layer: the cases, and the tables of their results."""
