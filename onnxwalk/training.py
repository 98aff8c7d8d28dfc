"""Training: optimizers, callbacks, and a ``Trainer`` for loops of one's own.

>>> from onnxwalk import training
>>> optimizer = training.Adam(learning_rate=0.002)

``onnxwalk.train`` is the short way.
"""

from onnxwalk.interpreter.training import (
    SGD,
    Adagrad,
    Adam,
    Callback,
    Checkpoint,
    EarlyStopping,
    Fit,
    ModelCheckpoint,
    Momentum,
    Optimizer,
    Trained,
    Trainer,
    train,
)

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "Fit",
    "ModelCheckpoint",
    "Momentum",
    "Optimizer",
    "Trained",
    "Trainer",
    "train",
]
