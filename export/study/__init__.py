"""``python -m export study``: the assignment's experiments, trained, exported, compared, reported.

    variants.py  the models, and the size of a study
    data.py      the data of the two tasks
    train.py     Keras, epoch by epoch; one folder per variant, in which a later run continues
    store.py     the files in those folders, each written completely or not at all
    evaluate.py  Keras, the interpreter and ONNX Runtime on the test set; the claims
    scratch.py   training here, from Keras's initial weights, beside Keras (--from-scratch)
    in_numpy.py  the process that does it, in which no framework can be imported
    findings.py  findings computed from the results, by rules
    report.py    the page: values and charts for its template in _templates
    scratch_report.py    its section about the training here
    page.py      templates, with Jinja
    charts.py    charts, with matplotlib
    by_hand*.py  the chapters that follow one sample through a graph, and its gradient back
    docs.py      the table and the figures as Markdown and SVG
    cli.py       the command

Training and evaluation write separate files: either can be repeated without the other.
"""

from onnxwalk.export.study.cli import main

__all__ = ["main"]
