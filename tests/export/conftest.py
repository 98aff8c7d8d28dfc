"""On one core TensorFlow leaves oneDNN off, and then Keras itself has no channels-first
convolutions to compare with. Has to be said before TensorFlow is imported."""

import os

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
