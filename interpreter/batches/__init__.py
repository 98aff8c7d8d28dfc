"""Data that outgrow a process or a machine, part by part.

``part`` runs a model on one part and writes its results, in a ``folder`` that knows what is done;
``sessions`` keeps the models of a process, ``steps`` goes through the rows. ``parts`` runs many, in
the processes of ``workers``; ``sizes`` says how many rows a part should have.
"""

from onnxwalk.interpreter.batches.part import Done, run_part
from onnxwalk.interpreter.batches.sessions import cached_session
from onnxwalk.interpreter.batches.sizes import rows_per_part

__all__ = ["Done", "cached_session", "rows_per_part", "run_part"]
