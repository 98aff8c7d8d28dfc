"""Keras 3's own export, model.export(format="onnx"), on TensorFlow, PyTorch and JAX"""

import os
import subprocess
import sys

REQUIREMENTS = [
    "keras==3.15.1",
    "tensorflow-cpu==2.21.0",
    "tf2onnx==1.17.0",
    "jax==0.10.2",
    "jax2onnx==0.17.1",
    "flax==0.12.8",
    "equinox==0.13.8",
    "torch==2.13.0",
    "onnx==1.23.2",
    "onnxscript==0.7.2",
    "numpy==2.4.6",
]
REFUSED = 11
KNOWN = {
    "tensorflow-activation-celu": "TensorFlow's operators are left in the file",
    "tensorflow-activation-gelu": "TensorFlow's operators are left in the file",
    "tensorflow-conv-groups": "TensorFlow's operators are left in the file",
    "tensorflow-dense": "TensorFlow's operators are left in the file",
    "tensorflow-one-hot": "TensorFlow's operators are left in the file",
    "torch-floor-divide": "Div, and a Cast to int64, which cuts off: -0.3 becomes 0, not -1",
    "jax-one-hot": "BitCast at opset 23; ONNX has it from 26 on",
    "jax-relu": "Clip of float32 with bounds of float64, which no runtime loads",
    "tensorflow-nan-to-num": "tf2onnx: findings/keras-export-infinity.sh",
}

if "KERAS_BACKEND" not in os.environ:  # a backend can't be changed in a process
    for name in ("tensorflow", "torch", "jax"):
        subprocess.run(
            [sys.executable, __file__], env={**os.environ, "KERAS_BACKEND": name}, check=True
        )
    sys.exit()

import keras
import numpy as np
from keras import layers as L
from keras import ops
from writing import write

keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
backend = os.environ["KERAS_BACKEND"]
shapes = {"image": (8, 9, 3), "sequence": (6, 4), "row": (5,), "volume": (4, 5, 6, 2)}
data = {kind: rng.normal(size=(2, *shape)).astype(np.float32) for kind, shape in shapes.items()}


class Of(L.Layer):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)


CASES = {
    "image": {
        "conv": L.Conv2D(4, 3, 2, "same"),
        "conv-valid": L.Conv2D(4, (2, 3), dilation_rate=2),
        "depthwise": L.DepthwiseConv2D(3, 2, "same", depth_multiplier=2),
        "separable": L.SeparableConv2D(4, 3),
        "conv-groups": L.Conv2D(6, 3, groups=3),
        "conv-transpose": L.Conv2DTranspose(4, 3, 2, "same"),
        "batch-norm": L.BatchNormalization(),
        "group-norm": L.GroupNormalization(3),
        "max-pool": L.MaxPooling2D(3, 2, "same"),
        "avg-pool": L.AveragePooling2D(3, 2, "same"),
        "global-max": L.GlobalMaxPooling2D(),
        "up-nearest": L.UpSampling2D(2),
        "up-bilinear": L.UpSampling2D(2, interpolation="bilinear"),
        "resizing": L.Resizing(5, 12),
        "cropping": L.Cropping2D(1),
        "zero-padding": L.ZeroPadding2D(((1, 0), (2, 1))),
        "center-crop": L.CenterCrop(4, 4),
        "rescaling": L.Rescaling(0.5, 1),
        "softmax-axes": L.Softmax(axis=[1, 2]),
        "unit-norm": L.UnitNormalization(),
        "adaptive": L.AdaptiveAveragePooling2D((3, 4))
        if hasattr(L, "AdaptiveAveragePooling2D")
        else L.Flatten(),
    },
    "sequence": {
        "lstm": L.LSTM(3),
        "lstm-sequences": L.LSTM(3, return_sequences=True),
        "gru": L.GRU(3),
        "gru-before": L.GRU(3, reset_after=False),
        "rnn": L.SimpleRNN(3),
        "both": L.Bidirectional(L.LSTM(3, return_sequences=True)),
        "conv1d": L.Conv1D(4, 3, padding="causal"),
        "layer-norm": L.LayerNormalization(),
        "rms-norm": L.RMSNormalization(),
        "attention": Of(lambda x: L.Attention()([x, x])),
        "additive": Of(lambda x: L.AdditiveAttention(use_scale=False)([x, x])),
        "time-distributed": L.TimeDistributed(L.Dense(3)),
        "masked-lstm": keras.Sequential([L.Masking(), L.LSTM(3)]),
        "einsum-dense": L.EinsumDense("abc,cd->abd", (None, 3)),
        "permute": L.Permute((2, 1)),
        "max-pool-1d": L.MaxPooling1D(2),
        "conv-lstm-1d": keras.Sequential([L.Reshape((3, 4, 2)), L.ConvLSTM1D(3, 2)]),
        "cumsum": Of(lambda x: ops.cumsum(x, 1)),
        "top-k": Of(lambda x: ops.top_k(x, 2)[0]),
        "sort": Of(lambda x: ops.sort(x, 1)),
        "logsumexp": Of(lambda x: ops.logsumexp(x, 1)),
        "einsum": Of(lambda x: ops.einsum("abc,adc->abd", x, x)),
        "take": Of(lambda x: ops.take(x, [0, -1], 1)),
        "flip": Of(lambda x: ops.flip(x, 1)),
        "roll": Of(lambda x: ops.roll(x, 2, 1)),
        "std": Of(lambda x: ops.std(x, 1)),
        "norm": Of(lambda x: ops.norm(x, axis=-1)),
        "erf": Of(ops.erf),
        "round": Of(lambda x: ops.round(x * 3)),
        "floor-divide": Of(lambda x: ops.floor_divide(x * 5, 2)),
        "mod": Of(lambda x: ops.mod(x * 5, 2)),
        "nan-to-num": Of(lambda x: ops.nan_to_num(x / 0.0)),
        "one-hot": Of(lambda x: ops.one_hot(ops.argmax(x, -1), 4)),
        "where": Of(lambda x: ops.where(x > 0, x, -1.0)),
    },
    "row": {
        "dense": L.Dense(4, "gelu"),
        "relu": L.ReLU(6.0, 0.1, 0.5),
        "prelu": L.PReLU(),
        "elu": L.ELU(0.5),
        "leaky": L.LeakyReLU(0.2),
        "mlp": keras.Sequential([L.Dense(8, "silu"), L.Dropout(0.5), L.Dense(3, "softmax")]),
        "repeat": L.RepeatVector(3),
        **{
            f"activation-{name}": L.Activation(name)
            for name in (
                "celu elu exponential gelu glu hard_sigmoid hard_silu hard_tanh hard_shrink "
                "leaky_relu log_sigmoid log_softmax mish relu6 selu sigmoid silu softplus "
                "softsign soft_shrink sparse_plus sparsemax squareplus tanh tanh_shrink "
                "threshold"
            ).split()
            if name not in ("glu", "threshold")
        },
    },
    "volume": {
        "conv3d": L.Conv3D(3, 2),
        "pool3d": L.AveragePooling3D(2, padding="same"),
        "up3d": L.UpSampling3D(2),
        "conv3d-transpose": L.Conv3DTranspose(2, 2, 2),
    },
}
for kind, layers in CASES.items():
    for name, layer in layers.items():
        x = data[kind]
        try:
            inputs = keras.Input(shapes[kind])
            model = keras.Model(inputs, layer(inputs))
            model(x)
        except Exception as error:  # Keras itself can't run it on this backend: no file
            print(backend, name, error)
            continue
        write(
            f"{backend}-{name}",
            lambda path, model=model: model.export(path, format="onnx", verbose=False),
            [x],
            lambda x, model=model: keras.tree.map_structure(ops.convert_to_numpy, model(x)),
        )
rows = np.array([[1, 8, 3, 0, 0, 0], [2, 2, 5, 1, 7, 4]], np.int32)
ids = keras.Input((6,), dtype="int32")
model = keras.Model(ids, L.GRU(3)(L.Embedding(9, 4, mask_zero=True)(ids)))
model(rows)
write(
    f"{backend}-embedding-masked-gru",
    lambda path: model.export(path, format="onnx", verbose=False),
    [rows],
    lambda x: ops.convert_to_numpy(model(x)),
)
