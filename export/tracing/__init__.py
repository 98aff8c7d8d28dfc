"""A Keras model becomes a TensorFlow graph that says what each layer was."""
