"""Files as the values of inputs, row by row, and outputs as files.

``sources`` says what a text names, ``reader`` makes a ``Feed`` of it: rows that are read in pieces
(``arrays``, ``images``, and the columns of ``tables``). ``outputs`` writes what a run returns;
``classes`` names what it found.
"""
