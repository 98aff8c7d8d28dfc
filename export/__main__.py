"""``python -m export MODEL.keras``, also installed as ``onnxwalk-export``."""

import sys

from onnxwalk.export.cli import main

if __name__ == "__main__":
    sys.exit(main())
