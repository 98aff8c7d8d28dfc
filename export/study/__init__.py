"""``python -m export study``: the assignment's experiments, trained, exported, compared, reported.

variants.py  what is trained, and how large a study is
data.py      what it is trained on
train.py     Keras; one folder per variant, which a later run continues
store.py     what is in those folders, and how files get there whole
"""

from export.study.cli import main

__all__ = ["main"]
