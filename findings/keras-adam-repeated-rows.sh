#!/usr/bin/env bash
# Keras's Adam squares the gradient of each occurrence of a word, not of the word: repeated words learn otherwise.
#
# Packages: keras 3.15.1, tensorflow 2.21.0, numpy 2.4.6.
# Expected: an Embedding's row that a batch reads twice has the sum of both gradients, and Adam's second
#   moment gets the square of that sum, as for every other weight (and as in PyTorch and JAX).
# Seen: TensorFlow hands the gradient over as IndexedSlices; Keras squares its values and then adds up
#   those of one row: the sum of squares. Momentum is right. A word that occurs n times in a batch gets steps
#   up to √n times as large. The same model with a dense gradient (an Embedding as one_hot @ table), or any
#   layer but Embedding, follows the formula.
# Output (one row read twice, gradient 1 each; beta_2 = 0.999):
#   Embedding: momentum 0.2, velocity 0.002; one_hot @ table: momentum 0.2, velocity 0.004
# Who is hurt: who compares training between frameworks, or ports a training script: losses part from the
#   first epoch, though every gradient agrees.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check keras==3.15.1 tensorflow==2.21.0 numpy==2.4.6
TF_CPP_MIN_LOG_LEVEL=3 venv/bin/python - <<'PY' 2>/dev/null
import keras
import numpy as np


class Product(keras.layers.Layer):
    """What Embedding computes, as a product."""

    def build(self, shape):
        self.table = self.add_weight(shape=(3, 1), initializer="zeros", name="embeddings")

    def call(self, ids):
        return keras.ops.matmul(keras.ops.one_hot(ids, 3), self.table)


def moments(layer):
    last = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", trainable=False)
    inputs = keras.Input((2,), dtype="int32")
    model = keras.Model(inputs, last(keras.layers.Flatten()(layer(inputs))))
    adam = keras.optimizers.Adam(beta_1=0.9, beta_2=0.999)
    model.compile(adam, "mse", jit_compile=False)
    model.train_on_batch(np.array([[1, 1]]), np.array([[-0.5]]))  # both occurrences: gradient 1
    found = {v.path.rpartition("_")[2]: float(np.asarray(v)[1, 0]) for v in adam.variables[2:]}
    return tuple(round(found[name], 6) for name in ("momentum", "velocity"))


embedding = moments(keras.layers.Embedding(3, 1, embeddings_initializer="zeros"))
product = moments(Product())
print(
    f"Embedding: momentum {embedding[0]}, velocity {embedding[1]}; "
    f"one_hot @ table: momentum {product[0]}, velocity {product[1]}"
)
assert embedding == (0.2, 0.002) and product == (0.2, 0.004)
PY
