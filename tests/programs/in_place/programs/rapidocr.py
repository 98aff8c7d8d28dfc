"""Lines of text in a picture: detection, direction, recognition."""

import json

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rapidocr_onnxruntime import RapidOCR

picture = Image.new("RGB", (420, 160), "white")
draw = ImageDraw.Draw(picture)
draw.text((20, 15), "Hello world 2026", fill="black", font=ImageFont.load_default(32))
draw.text((20, 85), "second line: 3.14", fill="black", font=ImageFont.load_default(32))
result, _ = RapidOCR()(np.asarray(picture))
print(json.dumps([[text, float(score)] for _, text, score in result]))
