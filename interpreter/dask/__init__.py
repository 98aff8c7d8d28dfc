"""Models over Dask's collections, and over files by a Dask scheduler.

``reference`` says to workers which model it is, ``collections`` runs it over arrays, bags and data
frames, ``connection`` reaches a scheduler and checks that its workers are like this process.
"""
