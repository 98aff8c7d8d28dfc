"""Vectors of sentences, by a small model of the program's own."""

import json
from pathlib import Path

import numpy as np
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
from onnx import TensorProto, helper, numpy_helper, save
from tokenizers import Tokenizer, models, pre_tokenizers

words = "[PAD] [UNK] the a cat dog sat ran on mat good bad film was very".split()
folder = Path("model")
folder.mkdir()
tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer.save(str(folder / "tokenizer.json"))
(folder / "config.json").write_text('{"pad_token_id": 0}')
(folder / "tokenizer_config.json").write_text('{"model_max_length": 32, "pad_token": "[PAD]"}')
(folder / "special_tokens_map.json").write_text('{"pad_token": "[PAD]"}')

random = np.random.default_rng(0)
weights = {"table": random.standard_normal((len(words), 16)), "w": random.standard_normal((16, 16))}
ids = [
    helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
    for name in ("input_ids", "attention_mask")
]
y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "sequence", 16])
nodes = [
    helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
    helper.make_node("MatMul", ["rows", "w"], ["product"]),
    helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
    helper.make_node("Unsqueeze", ["mask", "last"], ["mask1"]),
    helper.make_node("Mul", ["product", "mask1"], ["masked"]),
    helper.make_node("Tanh", ["masked"], ["y"]),
]
constants = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()]
constants.append(numpy_helper.from_array(np.array([-1]), "last"))
graph = helper.make_graph(nodes, "encoder", ids, [y], constants)
opset = helper.make_opsetid("", 17)
save(helper.make_model(graph, opset_imports=[opset], ir_version=8), folder / "model.onnx")

TextEmbedding.add_custom_model(
    model="own/small",
    pooling=PoolingType.MEAN,
    normalization=True,
    sources=ModelSource(hf="own/small"),
    dim=16,
    model_file="model.onnx",
)
embedding = TextEmbedding("own/small", specific_model_path=str(folder))
texts = ["the film was very good", "a bad dog ran on the mat", "cat"]
print(json.dumps([vector.tolist() for vector in embedding.embed(texts)]))
