"""An operator is found without importing all of them."""

import subprocess
import sys
from pathlib import Path

from onnxwalk.ops.schema.families import INDEX
from tools.operator_index import generate


def test_the_index_is_what_the_command_writes():
    assert generate() == INDEX.read_text("utf-8"), "run python -m tools.operator_index"


def test_only_what_a_model_needs_is_imported():
    code = (
        "import sys, onnxwalk\n"
        "assert onnxwalk.ops.registry.lookup('', 'Conv', 11) is not None\n"
        "assert 'onnxwalk.ops.ai_onnx.conv' in sys.modules\n"
        "assert 'onnxwalk.ops.ai_onnx_ml.trees' not in sys.modules\n"
        "assert 'onnxwalk.ops.ai_onnx.text' not in sys.modules\n"
        "assert onnxwalk.ops.registry.lookup('', 'NoSuchOperator', 11) is None\n"
        "assert onnxwalk.ops.registry.lookup('my.domain', 'Swirl', 1) is None\n"
        "assert onnxwalk.ops.registry.lookup('ai.onnx.ml', 'TreeEnsemble', 5) is not None\n"
        "assert len(list(onnxwalk.ops.registry)) > 400\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
