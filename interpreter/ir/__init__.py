"""What a file says (``model``), and what is run in the end (``plan``)."""
