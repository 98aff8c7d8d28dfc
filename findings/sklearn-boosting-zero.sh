#!/usr/bin/env bash
# skl2onnx writes one base value for GradientBoostingClassifier(init="zero"), however many classes it has.
#
# Packages: onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6, skl2onnx 1.20.0, scikit-learn 1.9.1.
# Expected: boosting that starts from zero converts like the one that starts from the prior, or is refused.
# Seen: three classes get base_values of one number. The conversion and ONNX's checker pass; ONNX Runtime can't
#   load the file. With two classes, or init=None, all is right. (An estimator as init is refused by name.)
# Output:
#   init=None, 2 classes: base values 1, probabilities agree: True
#   init='zero', 2 classes: base values 1, probabilities agree: True
#   init=None, 3 classes: base values 3, probabilities agree: True
#   init='zero', 3 classes: base values 1, doesn't load
# Who is hurt: whoever converts after training and loads on another machine.
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 skl2onnx==1.20.0 scikit-learn==1.9.1
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime as ort
from skl2onnx import to_onnx
from sklearn.datasets import make_classification
from sklearn.ensemble import GradientBoostingClassifier

seen = {}
for classes in (2, 3):
    x, y = make_classification(
        300, 5, n_informative=4, n_redundant=0, n_classes=classes, class_sep=0.5, random_state=0
    )
    x = x.astype(np.float32)
    for init in (None, "zero"):
        model = GradientBoostingClassifier(init=init, n_estimators=5, random_state=0).fit(x, y)
        onx = to_onnx(model, x[:1], options={"zipmap": False})
        onnx.checker.check_model(onx, full_check=True)
        trees = next(n for n in onx.graph.node if n.op_type.startswith("TreeEnsemble"))
        values = next((len(a.floats) for a in trees.attribute if a.name == "base_values"), 0)
        ort.set_default_logger_severity(4)
        try:
            session = ort.InferenceSession(onx.SerializeToString(), providers=["CPUExecutionProvider"])
        except Exception as error:
            assert "base_values.size()" in str(error), error
            state = "doesn't load"
        else:
            here = session.run(None, {"X": x})[1]
            state = f"probabilities agree: {np.allclose(here, model.predict_proba(x), atol=1e-5)}"
        print(f"init={init!r}, {classes} classes: base values {values}, {state}")
        seen[init, classes] = state
right = "probabilities agree: True"
assert seen == {(None, 2): right, ("zero", 2): right, (None, 3): right, ("zero", 3): "doesn't load"}
PY
