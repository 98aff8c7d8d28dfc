"""Where someone speaks in generated sound."""

import json

import numpy as np
from faster_whisper.vad import get_speech_timestamps, get_vad_model

t = np.arange(4 * 16000) / 16000
voice = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 12))
voice *= (np.sin(2 * np.pi * 3 * t) > 0) * np.where((t > 1) & (t < 3), 0.3, 0.0)
audio = (voice + 0.002 * np.random.default_rng(0).standard_normal(t.size)).astype(np.float32)
scores = get_vad_model()(audio[: 512 * 120])
print(json.dumps([get_speech_timestamps(audio), np.ravel(scores).tolist()]))
