"""The page docs/GRADIENTS.md, from its rows."""

from __future__ import annotations

from collections.abc import Mapping

from tests.programs.gradients import applications, table

_HEAD = """# Gradients beside TensorFlow's

Written by `python -m tests.programs.gradients -o docs/GRADIENTS.md` and the same command with
`--applications`, with Keras {keras} and TensorFlow {tensorflow}.

## Layers

Each configuration of `export/coverage/layer_cases` that exports is built in float64 and exported
with `trainable=True`; its outputs are multiplied by random numbers and added up. The gradients of
that sum with respect to all floating-point inputs and all trainable variables, by
`session.gradients` on the file, are held against `tf.GradientTape` on the Keras model, with the
same numbers. *Equal*: no further apart than 1e-12 of the largest gradient, or, where the file or
Keras has constants in float32 (an attribute of ONNX is one) and the outputs differ by them, 10
times that difference, at most 1e-6. A layer that has no float64 is compared in float32: no further
from TensorFlow's gradient in float64 than 2 times TensorFlow's own in float32, or 3e-6.
*No gradient*: nothing goes in that has one, or comes out. *Refused*: by one line that names the
operator. *TensorFlow*: finite differences say that TensorFlow is wrong and the file isn't.

Where TensorFlow is wrong: MaxPool3D gives its gradient, on the CPU, to every input within 1e-5 of
the maximum; DenseBincount (CategoryEncoding with weights) and ResizeArea have none. Of functions,
beside layers: the gradient of `cumprod` behind a 0 and of `x ** 0` at 0.

"""

_APPLICATIONS = """
## keras.applications

The gradient of random logits' sum with respect to two random pictures, with random weights whose
BatchNormalization fits them, in float32: how far TensorFlow and the file are from TensorFlow in
float64, relative to the largest gradient. The file may be 4 times as far as TensorFlow.

"""


def format_page(layers: Mapping[str, str], models: Mapping[str, str]) -> str:
    """The whole page: rows of layers and of applications, by name."""
    import keras
    import tensorflow as tf

    head = _HEAD.format(keras=keras.__version__, tensorflow=tf.__version__)
    end = _APPLICATIONS + applications.format_models(models) if models else ""
    return head + table.format_layers(dict(layers)) + end
