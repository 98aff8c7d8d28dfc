"""Which of a file's initializers are weights, and files with others.

``record`` is what the exporter writes into a file that can be trained: where each variable of Keras
lies; ``layout`` moves values between the two; ``find`` lists the weights of any file, ``rewrite``
writes a file with new ones.
"""

from onnxwalk.interpreter.weights.find import trainable_weights
from onnxwalk.interpreter.weights.record import Weight, read_training_nodes, read_weights
from onnxwalk.interpreter.weights.rewrite import write_weights

__all__ = ["Weight", "read_training_nodes", "read_weights", "trainable_weights", "write_weights"]
