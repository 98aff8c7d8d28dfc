"""A convolution with the sum, the activation and the pooling after it; by ``fuse_conv``."""

from __future__ import annotations

from onnxwalk.ops.ai_onnx import conv, fusion
from onnxwalk.ops.contract.facts import declare
from onnxwalk.ops.contract.registry import FUSED_DOMAIN, fused
from onnxwalk.ops.contract.signatures import attributes_of
from onnxwalk.ops.shared import batch, flops

_ACTIVATIONS = (
    "Relu", "Tanh", "Sigmoid", "HardSwish", "Swish", "LeakyRelu", "HardSigmoid", "Clip",
    "Requantize",
)  # fmt: skip


@fused.op("FusedConv", since=1, domain=FUSED_DOMAIN)
@attributes_of(conv.conv)
def fused_conv(
    x, w, b=None, z=None, *, activation=None, activation_params=None, pool=0, **attributes
):
    """activation(Conv(x, w, b) + z), where z may broadcast; with ``pool`` the largest of 2 × 2

    activation: Relu, Tanh, Sigmoid, HardSwish, Swish, LeakyRelu (alpha), HardSigmoid (alpha, beta)
    or Clip (min, max), with its parameters in activation_params; none is the identity. Requantize
    (low, high, multipliers) is that of ``onnxwalk_fused.steps``.
    """
    attributes |= {"activation": activation, "activation_params": activation_params, "pool": pool}
    return prepare_fused_conv(w, b, **attributes)(x, z)


@fused_conv.prepare
def prepare_fused_conv(w, b=None, *, pool=0, **attributes):
    """FusedConv with known weights, which are laid out once."""
    return fusion.prepare_conv(
        w, b, allowed=_ACTIVATIONS, z_broadcasts=True, pool=bool(pool), **attributes
    )


@fused_conv.cost
def cost_of_fused_conv(x, w, b=None, z=None, *, pool=0, **attributes):
    return fusion.cost_of_conv(x, w, b, z, **attributes)


declare(fused_conv, flops=flops.convolution, batch_axis=batch.first_axis, lays_out="w")
