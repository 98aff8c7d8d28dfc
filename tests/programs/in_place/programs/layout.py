"""Titles, text and pictures on a drawn page."""

import json

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rapid_layout import RapidLayout

page = Image.new("RGB", (600, 800), "white")
draw = ImageDraw.Draw(page)
draw.text((150, 40), "A title of a page", "black", ImageFont.load_default(40))
for row in range(8):
    draw.text(
        (60, 130 + 30 * row), "words in a paragraph " * 2, "black", ImageFont.load_default(20)
    )
draw.rectangle((100, 420, 500, 700), fill=(90, 120, 160))
found = RapidLayout(model_type="pp_layout_cdla")(np.asarray(page))
print(json.dumps([sorted(found.class_names), sorted(map(float, found.scores))]))
