"""The contents of a file (``model``), and what is run in the end (``plan``)."""
