"""Faces in a picture of noise, the vectors of a face, and a copied session, by small models."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
from insightface.app import FaceAnalysis
from onnx import TensorProto, helper, numpy_helper, save

random = np.random.default_rng(0)


def write(name, nodes, shape, outputs, constants):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    ys = [helper.make_tensor_value_info(y, TensorProto.FLOAT, s) for y, s in outputs.items()]
    tensors = [numpy_helper.from_array(value, key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, name, [x], ys, tensors)
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    save(model, f"models/{name}.onnx")


def weights(*shape):
    return (0.1 * random.standard_normal(shape)).astype(np.float32)


Path("models").mkdir()
nodes = [
    helper.make_node("Conv", ["x", "w"], ["a"], strides=[8, 8]),
    helper.make_node("PRelu", ["a", "slope"], ["b"]),
    helper.make_node("Flatten", ["b"], ["c"]),
    helper.make_node("Gemm", ["c", "v"], ["y"]),
]
constants = {"w": weights(4, 3, 8, 8), "slope": weights(4, 1, 1), "v": weights(784, 64)}
write("recognition", nodes, ["N", 3, 112, 112], {"y": ["N", 64]}, constants)

nodes, outputs, constants = [], {}, {}
for kind, columns in (("score", 1), ("box", 4), ("points", 10)):
    for stride in (8, 16, 32):
        name = f"{kind}{stride}"
        constants[f"w_{name}"] = weights(2 * columns, 3, stride, stride) * np.float32(3 / stride)
        constants[f"shape_{name}"] = np.array([-1, columns])
        rows = f"rows_{name}" if kind == "score" else name
        nodes += [
            helper.make_node("Conv", ["x", f"w_{name}"], [f"c_{name}"], strides=[stride, stride]),
            helper.make_node("Transpose", [f"c_{name}"], [f"t_{name}"], perm=[2, 3, 0, 1]),
            helper.make_node("Reshape", [f"t_{name}", f"shape_{name}"], [rows]),
        ]
        if kind == "score":
            nodes.append(helper.make_node("Sigmoid", [rows], [name]))
        outputs[name] = ["rows", columns]
write("detection", nodes, [1, 3, "?", "?"], outputs, constants)

app = FaceAnalysis(os.path.abspath("models"), providers=["CPUExecutionProvider"])
app.prepare(ctx_id=-1, det_size=(160, 160), det_thresh=0.6)
faces = app.get(random.integers(0, 256, (160, 160, 3), np.uint8))
recognition = app.models["recognition"]
face = random.integers(0, 256, (112, 112, 3), np.uint8)
copy = pickle.loads(pickle.dumps(recognition.session))
again = copy.run(None, {recognition.input_name: np.ones((1, 3, 112, 112), np.float32)})[0]
boxes = [(float(f.det_score), (f.bbox / 160).tolist()) for f in faces[:20]]
vectors = [recognition.get_feat(face).ravel().tolist(), again.ravel().tolist()]
print(json.dumps([len(faces), boxes, vectors]))
