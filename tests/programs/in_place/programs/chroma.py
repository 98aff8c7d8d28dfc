"""What a database of texts finds, by its default function with a small model in its place."""

import json
from pathlib import Path

import chromadb
import numpy as np
from chromadb.utils.embedding_functions import DefaultEmbeddingFunction
from chromadb.utils.embedding_functions.onnx_mini_lm_l6_v2 import ONNXMiniLM_L6_V2
from onnx import TensorProto, helper, numpy_helper, save
from tokenizers import Tokenizer, models, pre_tokenizers

words = "[PAD] [UNK] the a cat dog sat ran on mat good bad film was very".split()
ONNXMiniLM_L6_V2.DOWNLOAD_PATH = Path("models")
folder = Path("models") / ONNXMiniLM_L6_V2.EXTRACTED_FOLDER_NAME
folder.mkdir(parents=True)
for name in ("config.json", "special_tokens_map.json", "tokenizer_config.json", "vocab.txt"):
    (folder / name).write_text("{}")
tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer.save(str(folder / "tokenizer.json"))

random = np.random.default_rng(0)
constants = [
    numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)
    for name, shape in {"table": (len(words), 16), "types": (2, 16), "w": (16, 16)}.items()
]
ids = [
    helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "sequence"])
    for name in ("input_ids", "attention_mask", "token_type_ids")
]
y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "sequence", 16])
nodes = [
    helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
    helper.make_node("Gather", ["types", "token_type_ids"], ["kinds"]),
    helper.make_node("Add", ["rows", "kinds"], ["sum"]),
    helper.make_node("MatMul", ["sum", "w"], ["product"]),
    helper.make_node("Tanh", ["product"], ["y"]),
]
graph = helper.make_graph(nodes, "encoder", ids, [y], constants)
opset = helper.make_opsetid("", 17)
save(helper.make_model(graph, opset_imports=[opset], ir_version=8), folder / "model.onnx")

texts = chromadb.EphemeralClient().create_collection(
    "texts", embedding_function=DefaultEmbeddingFunction()
)
texts.add(ids=["a", "b", "c"], documents=["the film was very good", "a bad dog ran", "cat"])
found = texts.query(query_texts=["good film", "the dog sat"], n_results=3)
print(json.dumps([found["ids"], found["distances"]]))
