"""Hashes of numbers and texts: MurmurHash3."""

from __future__ import annotations

import numpy as np

from onnxwalk.ops.com_microsoft import DOMAIN
from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared.cost import PER_ITEM, PER_STRING, strings_in
from onnxwalk.ops.shared.numeric import distinct


@op("MurmurHash3", since=1, domain=DOMAIN)
def murmur_hash3(X, *, positive=1, seed=0):
    """The 32-bit hash MurmurHash3_x86_32 of the bytes of each element; of a text, of its UTF-8

    uint32, or int32 if not ``positive``. Source: com.microsoft.MurmurHash3-1, ONNX Runtime 1.32.
    """
    if not 0 <= seed < 1 << 32:
        raise ValueError(f"seed {seed} should be from 0 to 2**32 - 1")
    if X.dtype.kind == "O":
        hashes = _hash_texts([text.encode() for text in strings_in(X)], seed)
    else:
        little = np.ascontiguousarray(X).reshape(-1, 1).astype(X.dtype.newbyteorder("<"))
        hashes = _murmur3(little.view(np.uint8), seed)
    return hashes.view(np.uint32 if positive else np.int32).reshape(X.shape)


def _hash_texts(texts: list[bytes], seed: int) -> np.ndarray:
    """The hashes of texts: those of equal length together."""
    hashes = np.empty(len(texts), np.uint32)
    lengths = np.array([len(text) for text in texts])
    for length in distinct(lengths):
        (where,) = np.nonzero(lengths == length)
        together = b"".join(texts[i] for i in where)
        keys = np.frombuffer(together, np.uint8).reshape(len(where), length)
        hashes[where] = _murmur3(keys, seed)
    return hashes


def _murmur3(keys: np.ndarray, seed: int) -> np.ndarray:
    """MurmurHash3_x86_32 of each row of bytes (uint8)."""
    count, length = keys.shape
    padded = np.zeros((count, -(-length // 4) * 4), np.uint8)
    padded[:, :length] = keys
    blocks = padded.view("<u4").astype(np.uint32)
    h = np.full(count, seed, np.uint32)
    for i in range(blocks.shape[1]):
        k = _rotate_left(blocks[:, i] * np.uint32(0xCC9E2D51), 15) * np.uint32(0x1B873593)
        h ^= k
        if i < length // 4:  # not the rest of less than four bytes
            h = _rotate_left(h, 13) * np.uint32(5) + np.uint32(0xE6546B64)
    h ^= np.uint32(length)
    h = (h ^ h >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    h = (h ^ h >> np.uint32(13)) * np.uint32(0xC2B2AE35)
    return h ^ h >> np.uint32(16)


def _rotate_left(x: np.ndarray, bits: int) -> np.ndarray:
    return x << np.uint32(bits) | x >> np.uint32(32 - bits)


@murmur_hash3.cost
def cost_of_murmur_hash3(X: np.ndarray, **_: int) -> Cost:
    """The bytes, padded, and as numbers; some hashes at once. Texts of each length are looked for
    among all."""
    if X.dtype.kind != "O":
        return Cost(4 * X.nbytes + 24 * X.size, 20 * X.nbytes + 60 * X.size)
    lengths = [4 * len(text) for text in strings_in(X)]
    work = (PER_ITEM + 20 * len(set(lengths))) * X.size + 20 * sum(lengths)
    longest = max(lengths, default=0)
    return Cost((PER_STRING + 64) * X.size + 4 * sum(lengths), work + 20000 * longest)


murmur_hash3.output_type(lambda first, *, positive, **_: "uint32" if positive else "int32")


# of whole numbers
declare(murmur_hash3, vjp=no_gradient)
