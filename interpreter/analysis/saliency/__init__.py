"""Saliency: which pixels, words or steps moved a score.

``find`` looks for the scores and for the values to attribute to, ``classes`` for the score,
``methods`` computes, ``result`` is what comes out.
"""

from onnxwalk.interpreter.analysis.saliency.methods import METHODS, Explainer, saliency
from onnxwalk.interpreter.analysis.saliency.result import Attribution, Saliency, resized

__all__ = ["METHODS", "Attribution", "Explainer", "Saliency", "resized", "saliency"]
