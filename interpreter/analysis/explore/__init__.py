"""What ``onnxwalk explore`` puts on its page: the graph, and the values of one run in it.

``collect`` walks and gathers, ``views`` makes small pictures of large values, ``recurrent`` looks
inside RNN, LSTM and GRU, ``groups`` says what can be folded, and ``page`` writes the file. Nothing
here is imported before a page is asked for.
"""
