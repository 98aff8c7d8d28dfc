"""Tables: files of rows and data frames as the inputs of a model, outputs as rows of a file.

``text`` (.csv, .tsv), ``parquet``, ``records`` (.jsonl) and ``frames`` (pandas, Polars …) are the
sources; each is a ``Table``. ``assign`` says which column is for which input, ``cells`` makes
arrays of columns, ``writing`` writes rows.
"""
