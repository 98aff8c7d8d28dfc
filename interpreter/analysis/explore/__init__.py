"""The page of ``onnxwalk explore``: the graph, and the values of one run.

``collect`` runs the model and collects the data, ``views`` reduces large values to small pictures,
``recurrent`` recomputes the gates of RNN, LSTM and GRU, ``groups`` decides what can be folded, and
``page`` writes the file. Nothing here is imported unless a page is requested.
"""

from onnxwalk.interpreter.analysis.explore.page import Page, explore

__all__ = ["Page", "explore"]
