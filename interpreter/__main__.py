"""``python -m interpreter COMMAND``, installed as ``onnxwalk``."""

import sys

from onnxwalk.interpreter.cli import main

if __name__ == "__main__":
    sys.exit(main())
