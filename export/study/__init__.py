"""``python -m export study``: the assignment's experiments, trained, exported, compared, reported.

    variants.py  what is trained, and how large a study is
    data.py      what it is trained on
    train.py     Keras, epoch by epoch; one folder per variant, which a later run continues
    store.py     what is in those folders, and how files get there whole
    evaluate.py  Keras, the interpreter and ONNX Runtime on the test set; the claims
    findings.py  what the numbers say, by rules
    report.py    the page: what its template in _templates is filled with
    page.py      templates, by Jinja
    charts.py    charts, by matplotlib
    by_hand*.py  the chapters that follow one sample through a graph
    docs.py      the table and the figures as Markdown and SVG
    cli.py       the command

What training leaves and what evaluation leaves are files of their own: either can be made anew.
"""

from onnxwalk.export.study.cli import main

__all__ = ["main"]
