"""Training: ``train``, or a ``Trainer`` for loops of one's own; optimizers and callbacks."""

from onnxwalk.interpreter.training.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    ModelCheckpoint,
)
from onnxwalk.interpreter.training.fit import Fit, Trained, train
from onnxwalk.interpreter.training.optimizers import SGD, Adagrad, Adam, Momentum, Optimizer
from onnxwalk.interpreter.training.trainer import Trainer

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
