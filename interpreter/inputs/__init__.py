"""What models are fed: files of arrays, tables, pictures and lists, random numbers.

``reader`` finds out what a file is and which input it is for, ``feed`` is what comes of it, and
``rows`` are its values, read in pieces. Nothing here knows of command lines but for the names of
options in messages.
"""
