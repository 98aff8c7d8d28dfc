"""The characters of a picture of text."""

import io
import json

import ddddocr
from PIL import Image, ImageDraw, ImageFont

answers = []
ocr = ddddocr.DdddOcr(show_ad=False)
for text in ("7K3d", "hello", "92846"):
    picture = Image.new("RGB", (160, 60), "white")
    ImageDraw.Draw(picture).text((15, 10), text, fill="black", font=ImageFont.load_default(36))
    file = io.BytesIO()
    picture.save(file, "PNG")
    answers.append(ocr.classification(file.getvalue()))
detector = ddddocr.DdddOcr(det=True, ocr=False, show_ad=False)
answers.append(detector.detection(file.getvalue()))
print(json.dumps(answers))
