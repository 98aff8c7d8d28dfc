"""Trace a Keras model: a TensorFlow graph with markers for layers."""
