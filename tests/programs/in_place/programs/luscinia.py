"""The stressed vowels of Ukrainian words."""

import json

from luscinia import LusciniaPredictor

words = ["університет", "мама", "тато", "виходити", "олівець", "бібліотека", "читання", "весна"]
print(json.dumps([int(i) for i in LusciniaPredictor().predict_batch(words)]))
