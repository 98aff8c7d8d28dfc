"""Preprocessing of numbers, categories and sound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import layers

from onnxwalk.export.coverage.layer_cases import Case, Inputs, grid, model, uniform

_WORDS = ["red", "green", "blue", "straße", "日本"]
_ASKED = [["red", "blue", "nothing"], ["日本", "", "[UNK]"], ["straße", "red", "red"]]
_NUMBERS = [12, 36, 1138, 42]
_NUMBERS_ASKED = [[12, 1138, 7], [36, -1, 42], [0, 12, 12]]


def cases() -> list[Case]:
    return [*_numbers(), *_categories(), *_lookups(), *_sound()]


def _numbers() -> list[Case]:
    rng = np.random.default_rng(0)
    mean, variance = [1.0, -2.0, 3.0, 0.5], [1.0, 4.0, 0.25, 0.0]
    statistics: dict[str, Any] = {"mean": mean, "variance": variance}

    def adapted(**arguments: Any) -> Callable[[], Any]:
        def build() -> Any:
            layer = layers.Normalization(**arguments)
            layer.adapt(rng.normal(3, 2, (40, 5, 4)))
            return model((5, 4), layer, dtype="float32")

        return build

    return [
        *grid("Rescaling", (3, 4), {"scale": 1 / 255}, {"scale": 2.0, "offset": -1.0}),
        *grid("Rescaling", (3, 4), {"scale": 1 / 255}, dtype="uint8", note="uint8"),
        *grid("Rescaling", (3, 4), {"scale": [1, 2, 3, 4], "offset": [0, 1, 0, 2]}),
        *grid("Normalization", (3, 4), {}, {"invert": True}, **statistics),
        *grid("Normalization", (3, 4), {"axis": None, "mean": 2.0, "variance": 9.0}),
        *grid("Normalization", (4, 3), {"axis": 1}, {"axis": 1, "invert": True}, **statistics),
        *grid("Normalization", (4,), {}, dtype="int32", note="int32", **statistics),
        *(
            Case("Normalization", f"adapted, axis={axis}", adapted(axis=axis))
            for axis in (-1, None, 1, (1, 2))
        ),
        Case("Normalization", "adapted, invert", adapted(invert=True)),
    ]


def _categories() -> list[Case]:
    bins: dict[str, Any] = {"bin_boundaries": [-1.0, 0.0, 0.5, 2.0]}
    modes = [{"output_mode": m} for m in ("int", "one_hot", "multi_hot", "count")]

    def edges(*shape: int) -> Inputs:
        return lambda rng: [rng.choice([-9, -1, -0.5, 0, 0.25, 0.5, 2, 9], shape).astype("float32")]

    def counted(given: Any) -> Any:
        categories, weights = given
        layer = layers.CategoryEncoding(num_tokens=10, output_mode="count")
        return layer(layers.Lambda(lambda x: x % 10)(categories), count_weights=weights)

    def adapted() -> Any:
        layer = layers.Discretization(num_bins=4)
        layer.adapt(np.random.default_rng(0).normal(0, 1, 200))
        return model((3,), layer)

    return [
        *grid("Discretization", (3,), *modes, inputs=edges(5, 3), **bins),
        *grid("Discretization", (1,), *modes, inputs=edges(5, 1), note="one", **bins),
        *grid("Discretization", (3, 4), {"output_mode": "int"}, inputs=edges(5, 3, 4),
              note="2-D", **bins),
        *grid("Discretization", (3,), {}, dtype="int32", note="int32", **bins),
        Case("Discretization", "adapted", adapted),
        *grid("CategoryEncoding", (3,), *modes[1:], num_tokens=10, dtype="int32"),
        *grid("CategoryEncoding", (1,), *modes[1:], num_tokens=10, dtype="int64", note="one"),
        *grid("CategoryEncoding", (2, 3), *modes[1:], num_tokens=10, dtype="int32", note="2-D"),
        Case("CategoryEncoding", "count_weights", lambda: model([(3,), (3,)], counted)),
        *grid("CategoryEncoding", (3,), {"sparse": True}, num_tokens=10, dtype="int32",
              refused="sparse"),
        *grid("Hashing", (3,), {}, {"output_mode": "one_hot"}, {"mask_value": 2}, num_bins=5,
              dtype="int64", refused="data pipeline"),
        *grid("Hashing", (3,), {"salt": 3}, num_bins=5, dtype="string", refused="data pipeline"),
        *grid("HashedCrossing", [(1,), (1,)], {}, num_bins=5, dtype="int64",
              refused="data pipeline"),
    ]  # fmt: skip


def _lookups() -> list[Case]:
    words: dict[str, Any] = {"vocabulary": _WORDS}
    numbers: dict[str, Any] = {"vocabulary": _NUMBERS}
    modes = [{"output_mode": m} for m in ("one_hot", "multi_hot", "count")]

    def text(values: Any = _ASKED) -> Inputs:
        return lambda rng: [np.array(values, dtype=object)]

    def ints(values: Any = _NUMBERS_ASKED) -> Inputs:
        return lambda rng: [np.array(values, dtype="int64")]

    def known(values: list[Any], dtype: Any) -> Inputs:
        return lambda rng: [np.array([values[:3], values[:3][::-1]], dtype=dtype)]

    idf = {"output_mode": "tf_idf", "idf_weights": [0.5, 1.0, 2.0, 0.25, 3.0]}
    masked = {"mask_token": "", "num_oov_indices": 1}
    backwards = {"invert": True}
    return [
        *grid("StringLookup", (3,), {}, masked, {"oov_token": "red"}, *modes, idf,
              {**modes[1], "max_tokens": 9, "pad_to_max_tokens": True},
              {**modes[2], "mask_token": ""}, dtype="string", inputs=text(), **words),
        *grid("StringLookup", (2, 2), {}, dtype="string", note="2-D",
              inputs=text([[["red", "x"], ["blue", "y"]]]), **words),
        *grid("StringLookup", (1,), *modes, dtype="string", note="one",
              inputs=text([["red"], ["odd"], ["blue"]]), **words),
        *grid("StringLookup", (3,), {"num_oov_indices": 0},
              {"num_oov_indices": 0, "output_mode": "multi_hot"}, dtype="string",
              inputs=known(_WORDS, object), **words),
        *grid("StringLookup", (3,), backwards, {**backwards, **masked},
              {**backwards, "num_oov_indices": 0}, dtype="int64",
              inputs=ints([[0, 1, 2], [3, 4, 99], [-1, 5, 6]]), **words),
        *grid("StringLookup", (3,), {"num_oov_indices": 2}, dtype="string",
              refused="num_oov_indices", **words),
        *grid("IntegerLookup", (3,), {}, {"mask_token": 0}, {"num_oov_indices": 3},
              {"num_oov_indices": 2, "mask_token": 0}, *modes, idf | {
                  "idf_weights": [0.5, 1.0, 2.0, 0.25]},
              {**modes[1], "max_tokens": 9, "pad_to_max_tokens": True},
              dtype="int64", inputs=ints(), **numbers),
        *grid("IntegerLookup", (3,), {}, {"output_mode": "multi_hot"}, dtype="int32",
              inputs=lambda rng: [np.array(_NUMBERS_ASKED, "int32")], note="int32", **numbers),
        *grid("IntegerLookup", (3,), {"num_oov_indices": 0}, dtype="int64",
              inputs=known(_NUMBERS, "int64"), **numbers),
        *grid("IntegerLookup", (3,), backwards, {**backwards, "mask_token": 0}, dtype="int64",
              inputs=ints([[0, 1, 2], [3, 4, 99], [-1, 5, 6]]), **numbers),
        *grid("IntegerLookup", (3,), {"num_oov_indices": 2, "oov_method": "farmhash"},
              dtype="int64", refused="num_oov_indices", **numbers),
    ]  # fmt: skip


def _sound() -> list[Case]:
    frames: dict[str, Any] = {"frame_length": 32, "frame_step": 8}
    modes = ("log", "magnitude", "psd", "real", "imag", "angle", "stft")
    wave = uniform(3, 3000, low=-1, high=1)
    return [
        *grid("STFTSpectrogram", (120, 2), *({"mode": m} for m in modes), **frames),
        *grid("STFTSpectrogram", (120, 1), {"padding": "same"}, {"expand_dims": True},
              {"fft_length": 64}, {"window": "hamming"}, {"window": None},
              {"periodic": True}, {"scaling": "spectrum"}, {"scaling": None}, **frames),
        *grid("STFTSpectrogram", (None, 2), {}, note="open sizes",
              inputs=uniform(3, 150, 2, low=-1, high=1),
              **frames),
        *grid("STFTSpectrogram", (2, 120), {}, {"expand_dims": True},
              data_format="channels_first", note="channels_first", **frames),
        *grid("MelSpectrogram", (3000,), {}, {"fft_length": 128}, {"window": "hamming"},
              {"power_to_db": False}, {"mag_exp": 1.0}, {"sequence_length": 48},
              {"sampling_rate": 8000, "min_freq": 50.0, "max_freq": 3000.0},
              inputs=wave, sequence_stride=160, num_mel_bins=12, min_power=1e-10),
        *grid("MelSpectrogram", (None,), {}, inputs=wave, fft_length=64, sequence_stride=16,
              num_mel_bins=12, note="open sizes"),
    ]  # fmt: skip
