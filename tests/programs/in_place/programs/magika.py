"""File types of six short files."""

import json

from magika import Magika

samples = [
    b"import os\n\ndef main():\n    return os.getcwd()\n" * 4,
    b'{"name": "value", "list": [1, 2, 3]}\n' * 5,
    b"<html><head><title>t</title></head><body><p>words</p></body></html>" * 3,
    b"# Title\n\nSome *words* of text.\n\n- a list\n- of items\n" * 3,
    b"name,count\nfirst,1\nsecond,2\nthird,3\n" * 5,
    b"#include <stdio.h>\nint main(void) { return 0; }\n" * 5,
]
magika = Magika()
results = [magika.identify_bytes(sample) for sample in samples]
print(json.dumps([[r.output.label, float(r.score)] for r in results]))
