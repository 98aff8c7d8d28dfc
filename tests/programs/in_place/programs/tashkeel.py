"""Vowel marks of Arabic sentences, by three models."""

import json

from text2tashkeel import Diacritizer

texts = ["بسم الله الرحمن الرحيم", "ذهب الولد إلى المدرسة"]
models = ["rawi-ensemble", "rawi-v2-int8", "bilstm-int8"]
print(json.dumps([[Diacritizer(model).diacritize(text) for text in texts] for model in models]))
