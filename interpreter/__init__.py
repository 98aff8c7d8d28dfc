"""Loads a model and runs it: reader, compiler, runtime, analysis, command line.

``onnxwalk`` is the public face of what is in here.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def _show_error(kind: Any, error: Any, trace: Any) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)


# This is what a command imports first: Ctrl-C shows no traceback while NumPy and the rest follow.
_program = "".join(getattr(sys, "argv", [])[:1])  # "-m" while python -m looks for its module
if os.path.basename(_program).startswith("onnxwalk") or (
    _program == "-m" and not {"onnxwalk", "onnxwalk.export"}.isdisjoint(sys.orig_argv)
):
    sys.excepthook = _show_error
