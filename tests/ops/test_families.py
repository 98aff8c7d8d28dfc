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


def test_a_run_imports_nothing_of_gradients_and_random_numbers():
    """Each of these takes longer to import than a small model to load."""
    code = (
        "import sys, numpy as np, onnxwalk\n"
        "from onnxwalk.interpreter import cli\n"
        "from pathlib import Path\n"
        "digits = Path(cli.__file__).parent / '_demo' / 'digits.onnx'\n"
        "session = onnxwalk.load(digits)\n"
        "session.run(None, {'image': np.zeros((1, 8, 8, 1), np.float32)})\n"
        "assert onnxwalk.registry.lookup('', 'LSTM', 14) is not None\n"
        "late = [m for m in sys.modules if m.startswith('onnxwalk.ops.') and m.endswith(\n"
        "    ('conv_gradients', 'pool_gradients', 'recurrent_gradients', 'recurrent_training'))]\n"
        "late += {'numpy.random', 'numpy.ma'} & sys.modules.keys()\n"
        "assert not late, late\n"
        "for name in ('Conv', 'MaxPool', 'LSTM'):\n"
        "    assert onnxwalk.registry.lookup('', name, 14).vjp is not None, name\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
