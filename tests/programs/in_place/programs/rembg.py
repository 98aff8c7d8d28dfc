"""The mask of a picture, and the picture without its background, by a small model."""

import json
import os

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save
from PIL import Image
from rembg import new_session, remove

os.environ["U2NET_HOME"] = os.getcwd()  # from where models may be loaded
random = np.random.default_rng(0)
constants = [
    numpy_helper.from_array((0.1 * random.standard_normal(shape)).astype(np.float32), name)
    for name, shape in {"w": (8, 3, 7, 7), "v": (1, 8, 7, 7)}.items()
]
nodes = [
    helper.make_node("Conv", ["x", "w"], ["a"], pads=[3, 3, 3, 3]),
    helper.make_node("Relu", ["a"], ["b"]),
    helper.make_node("Conv", ["b", "v"], ["c"], pads=[3, 3, 3, 3]),
    helper.make_node("Sigmoid", ["c"], ["y"]),
]
x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 320, 320])
y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 320, 320])
graph = helper.make_graph(nodes, "mask", [x], [y], constants)
opset = helper.make_opsetid("", 17)
save(helper.make_model(graph, opset_imports=[opset], ir_version=8), "mask.onnx")

pixels = random.integers(0, 256, (20, 30, 3), np.uint8).repeat(8, 0).repeat(8, 1)
picture = Image.fromarray(pixels)
session = new_session("u2net_custom", model_path=os.path.abspath("mask.onnx"))
mask = np.asarray(remove(picture, session=session, only_mask=True), float)
cut = np.asarray(remove(picture, session=session), float)
print(json.dumps([(x.ravel()[::101] / 255).tolist() for x in (mask, cut)]))
