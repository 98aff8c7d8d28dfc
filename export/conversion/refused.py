"""TensorFlow operations that are refused, and what to do instead.

Some have no ONNX form. For others tf2onnx has a form that computes something else, if only for NaN:
the handlers of those leave the operation as it is, and what is left is refused.
"""

from __future__ import annotations

_COLOURS = "convert colours in the data pipeline"
_RANDOM = "it draws random numbers: give them to the model as an input"
_OUTSIDE = "ONNX has no operator for it: compute it outside of the model, and give it the result"
_TEXTS = "change texts in the data pipeline"
_LOOP = "a loop that collects tensors: use keras.ops.scan, or operations on the whole tensor"

#: operations that tf2onnx maps to something else -> advice
INEXACT = {
    "AdjustHue": _COLOURS,
    "AdjustSaturation": _COLOURS,
    "AsString": "ONNX writes numbers in another way: make texts of numbers outside of the model",
    "CropAndResize": "a NaN would get into other pixels: cut with slices, and use tf.image.resize",
    "ExtractImagePatches": "use keras.ops.image.extract_patches",
    "MaxPoolWithArgmax": "use tf.nn.max_pool2d",
    "Multinomial": _RANDOM,
    "RandomStandardNormal": _RANDOM,
    "RandomUniform": _RANDOM,
    "RandomUniformInt": _RANDOM,
    "SegmentMax": "use tf.math.unsorted_segment_max",
    "SegmentMin": "use tf.math.unsorted_segment_min",
    "SegmentProd": "use tf.math.unsorted_segment_prod",
    "StringLower": _TEXTS,
    "StringUpper": _TEXTS,
}

#: operations that nothing is known for -> advice
UNMAPPED = {
    **dict.fromkeys(
        "CumulativeLogsumexp Digamma Dilation2D Erfinv Igamma Igammac Lgamma Ndtri Polygamma Zeta "
        "BesselI0e BesselI1 BesselI1e".split(),
        _OUTSIDE,
    ),
    **dict.fromkeys(
        "RegexReplace StaticRegexReplace StringJoin StringLength StringSplitV2 StringStrip "
        "StringToHashBucketFast StringToNumber Substr".split(),
        _TEXTS,
    ),
    **dict.fromkeys("StatelessRandomNormalV2 StatelessRandomUniformV2 TruncatedNormal".split(),
                    _RANDOM),
    **dict.fromkeys("TensorListReserve TensorListSetItem".split(), _LOOP),
    "PyFunc": "it calls Python, which no file can hold: write it with keras.ops",
    "RGBToHSV": _COLOURS,
}  # fmt: skip
