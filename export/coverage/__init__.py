"""Cases of all Keras layers, and the tables of their results."""
