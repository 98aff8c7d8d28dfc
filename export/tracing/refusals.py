"""Keras layers without an ONNX form, which are refused before the trace."""

from __future__ import annotations

from typing import Any

from onnxwalk.export.errors import ExportError

#: layer -> why, and what to do about it
NO_ONNX_FORM = {
    "Hashing": "ONNX has no FarmHash or SipHash: hash in the data pipeline, and export from the "
    "integer ids on",
    "HashedCrossing": "ONNX has no FarmHash: cross in the data pipeline, and export from the "
    "integer ids on",
    "TFSMLayer": "it holds a SavedModel, not Keras layers: convert that with tf2onnx",
    "JaxLayer": "it holds a JAX function: write it as a layer of keras.ops",
    "FlaxLayer": "it holds a Flax module: write it as a layer of keras.ops",
    "TorchModuleWrapper": "it holds a PyTorch module: export that with torch.onnx",
}

#: function of Keras's TensorFlow backend -> the version that introduced it, why it can't be
#: exported, and what to do about it
NO_ONNX_FORM_OF = {
    "image:elastic_transform": (
        "3.10", "it draws random numbers: apply it in the data pipeline"
    ),
    "linalg:jvp": ("3.12", "ONNX has no derivatives: write the derivative out as a formula"),
    "nn:ctc_decode": ("0", "ONNX can't search paths: decode outside of the model"),
    "nn:ctc_loss": ("0", "ONNX can't search paths: compute the loss outside of the model"),
}  # fmt: skip


def check_layers(model: Any) -> None:
    """Raise ExportError that names the layer if the model contains one that can't be exported."""
    from keras import layers

    from onnxwalk.export.tracing.lookups import check_hashing

    kinds = {getattr(layers, name): why for name, why in NO_ONNX_FORM.items()}
    kinds = {kind: why for kind, why in kinds.items() if isinstance(kind, type)}
    for layer in model._flatten_layers(include_self=False):
        for kind, why in kinds.items():
            if isinstance(layer, kind):
                raise ExportError(f"layer {layer.name} ({kind.__name__}): {why}")
        if getattr(layer, "sparse", False) is True and getattr(layer, "output_mode", "") != "int":
            raise ExportError(
                f"layer {layer.name}: ONNX has no sparse tensors: make the layer with sparse=False"
            )
        if isinstance(layer, (layers.StringLookup, layers.IntegerLookup)):
            check_hashing(layer)
