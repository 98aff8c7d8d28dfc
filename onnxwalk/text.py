"""Tokenizers and class names that a file keeps, for models that read text.

>>> onnxwalk.text.tokenizers(session.model.metadata)    # doctest: +SKIP
"""

from onnxwalk.interpreter.text import TextRows, Tokenizer, class_names, tokenizers

__all__ = ["TextRows", "Tokenizer", "class_names", "tokenizers"]
