"""A generated corpus of short reviews in Indonesian, used when there is no data set.

Sentences say something good, bad or neither about a subject. The order of words matters: "tidak"
(not) and "kurang" (hardly) invert a word, and the part after "tapi" (but) decides.
"""

from __future__ import annotations

import numpy as np

CLASSES = ("negative", "neutral", "positive")

_OPENINGS = ("", "", "", "menurut saya", "jujur", "ternyata", "kemarin", "sejauh ini", "kata teman")
_SUBJECTS = (
    "makanan kopi kamar pelayanan hotel film aplikasi harga lokasi kasir sambal restoran "
    "sotonya pemandangan suasana parkiran menu pengiriman barangnya penjualnya"
).split()
_GOOD = (
    "enak bersih ramah cepat murah nyaman bagus segar lezat memuaskan rapi indah lengkap "
    "menyenangkan terjangkau hebat"
).split()
_BAD = (
    "hambar kotor kasar lambat mahal berisik buruk basi jelek mengecewakan berantakan rusak "
    "sempit membosankan lengket parah"
).split()
_NEGATIONS = ("tidak", "kurang", "sama sekali tidak")
_DEGREES = ("", "", "sangat", "cukup", "agak", "benar benar")
_PLAIN = (
    "{s} buka jam sembilan pagi",
    "kami memesan {s} untuk dua orang",
    "{s} ada di lantai dua",
    "saya datang ke sini hari senin",
    "{s} bisa dipesan lewat telepon",
    "apakah {s} tersedia hari ini",
    "{s} terdiri dari tiga bagian",
    "jadwal {s} diumumkan minggu depan",
    "dia bertanya tentang {s} kepada saya",
)


def generate(count: int, *, seed: int = 0) -> tuple[list[str], list[str]]:
    """(texts, labels): ``count`` sentences of up to 16 words, labels out of ``CLASSES``."""
    rng = np.random.default_rng(seed)
    labels = [CLASSES[i] for i in rng.integers(len(CLASSES), size=count)]
    return [_sentence(label, rng) for label in labels], labels


def _sentence(label: str, rng: np.random.Generator) -> str:
    subject = _pick(rng, _SUBJECTS)
    if label == "neutral":
        body = _pick(rng, _PLAIN).format(s=subject)
    else:
        good = label == "positive"
        body = _judgement(subject, good, rng)
        if rng.random() < 0.35:
            before = _judgement(_pick(rng, _SUBJECTS), not good, rng)
            body = f"{before} tapi {body}"
    return " ".join(f"{_pick(rng, _OPENINGS)} {body}".split())


def _judgement(subject: str, good: bool, rng: np.random.Generator) -> str:
    if rng.random() < 0.35:
        return f"{subject} {_pick(rng, _NEGATIONS)} {_pick(rng, _BAD if good else _GOOD)}"
    word = _pick(rng, _GOOD if good else _BAD)
    return f"{subject} {_pick(rng, _DEGREES)} {word}"


def _pick(rng: np.random.Generator, words: list[str] | tuple[str, ...]) -> str:
    return words[rng.integers(len(words))]
