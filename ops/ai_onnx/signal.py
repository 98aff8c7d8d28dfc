"""Signal processing: DFT, STFT, the window functions and the mel scale.

A complex number is a last axis of length 2, (real, imaginary); a real one has length 1 there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.cost import size as size_of
from onnxwalk.ops.contract.dtypes import numpy_dtype
from onnxwalk.ops.contract.facts import declare, no_gradient
from onnxwalk.ops.contract.registry import op
from onnxwalk.ops.shared import types
from onnxwalk.ops.shared.axes import normalize_axis
from onnxwalk.ops.shared.cost import line_count, wide_copies, wide_itemsize
from onnxwalk.ops.shared.numeric import wide
from onnxwalk.ops.shared.values import as_int, as_scalar


@op("DFT", since=20)
def dft(input, dft_length=None, axis=None, *, inverse=0, onesided=0):
    """y[k] = sum_n exp(-2πi·kn/N)·x[n] along one axis; inverse: exp(2πi·kn/N), divided by N

    x (…, 1) real or (…, 2) complex; N is dft_length, to which x is cut or filled up with zeros.
    y (…, 2). ``onesided``: of a real x, the first N//2 + 1 of y; inverse, y (…, 1) is real, N is
    2·(D - 1) by default, and x is the first half of its spectrum.

    Spec: DFT-20.
    """
    return _dft(input, dft_length, -2 if axis is None else as_int(axis, "axis"), inverse, onesided)


@op("DFT", since=17)
def dft_17(input, dft_length=None, *, axis=1, inverse=0, onesided=0):
    """DFT with the axis as an attribute, 1 by default. Spec: DFT-17."""
    return _dft(input, dft_length, axis, inverse, onesided)


def _dft(
    x: np.ndarray, dft_length: np.ndarray | None, axis: int, inverse: int, onesided: int
) -> np.ndarray:
    axis = normalize_axis(axis, x.ndim)
    if axis == x.ndim - 1:
        raise ValueError(f"axis {axis} holds real and imaginary parts: DFT needs another axis")
    length = None if dft_length is None else as_int(dft_length, "dft_length")
    if length is not None and length < 1:
        raise ValueError(f"dft_length {length} should be positive")
    signal = _to_complex(x)
    if not signal.shape[axis] and length is not None:
        # NumPy's irfft of nothing reads memory that nobody wrote to.
        signal = np.zeros((*signal.shape[:axis], 1, *signal.shape[axis + 1 :]), signal.dtype)
    if onesided and inverse:
        if x.shape[-1] != 2:
            raise ValueError("the inverse of a one-sided DFT needs complex input")
        return np.fft.irfft(signal, length, axis)[..., None].astype(x.dtype, copy=False)
    if onesided:
        if np.iscomplexobj(signal):
            raise ValueError("a one-sided DFT needs real input")
        y = np.fft.rfft(signal, length, axis)
    else:
        y = (np.fft.ifft if inverse else np.fft.fft)(signal, length, axis)
    return _from_complex(y, x.dtype)


@dft.vjp
@dft_17.vjp
def vjp_of_dft(dy, *, input_shape, dft_length, axis, inverse, onesided):
    """The transform that takes exp(2πi·kn/N) for exp(-2πi·kn/N), and the other way round."""
    axis = -2 if axis is None else as_int(np.asarray(axis), "axis")
    along = normalize_axis(axis, len(input_shape))
    size = input_shape[along]
    if onesided and inverse:  # all but the ends of the half spectrum stand for two
        g = dy[..., 0]
        length = g.shape[along]
        dx = np.moveaxis(np.fft.rfft(g, axis=along) / length, along, -1)
        dx[..., 1 : (length + 1) // 2] *= 2
        dx = np.moveaxis(dx, -1, along)
    else:
        g = _to_complex(dy)
        length = g.shape[along]
        if onesided:
            length = size if dft_length is None else as_int(dft_length, "dft_length")
        dx = np.fft.fft(g, length, along) / length if inverse else _adjoint_of_fft(g, length, along)
    # what was cut off has no gradient, nor has what was filled up
    kept = np.moveaxis(dx, along, 0)[:size]
    whole = np.zeros((size, *kept.shape[1:]), dx.dtype)
    whole[: len(kept)] = kept
    parts = _from_complex(np.moveaxis(whole, 0, along), dy.dtype)
    return parts[..., : input_shape[-1]]


def _adjoint_of_fft(g: np.ndarray, length: int, axis: int) -> np.ndarray:
    return np.fft.ifft(g, length, axis) * length


@vjp_of_dft.cost
def cost_of_vjp_of_dft(dy: np.ndarray, *, input_shape: Sequence[int], **_: Any) -> Cost:
    count = max(dy.size, size_of(input_shape))
    return Cost(14 * 2 * wide_itemsize(dy.dtype) * count, 200 * count)


def _to_complex(x: np.ndarray) -> np.ndarray:
    """(…, 1) as real and (…, 2) as complex numbers (…)."""
    if x.ndim < 2 or x.shape[-1] not in (1, 2):
        raise ValueError(f"shape {x.shape} should be (…, 1) or (…, 2)")
    x = wide(x)
    return x[..., 0] if x.shape[-1] == 1 else x[..., 0] + 1j * x[..., 1]


def _from_complex(y: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return np.stack([y.real, y.imag], -1).astype(dtype, copy=False)


@dft.cost
def cost_of_dft(
    input: np.ndarray,
    dft_length: np.ndarray | None = None,
    axis: np.ndarray | None = None,
    **attributes: Any,
) -> Cost:
    along_axis = -2 if axis is None else as_int(axis, "axis")
    return cost_of_dft_17(input, dft_length, axis=along_axis, **attributes)


@dft_17.cost
def cost_of_dft_17(
    input: np.ndarray,
    dft_length: np.ndarray | None = None,
    *,
    axis: int = 1,
    inverse: int = 0,
    onesided: int = 0,
    **_: Any,
) -> Cost:
    """The complex numbers before and after, laid out for the transform, and their parts."""
    axis = normalize_axis(axis, input.ndim)
    n = input.shape[axis]
    length = 2 * n if dft_length is None and onesided and inverse else n
    length = length if dft_length is None else max(as_int(dft_length, "dft_length"), 1)
    numbers = input.size // input.shape[-1]
    results = line_count(input, axis) // input.shape[-1] * length
    return _cost_of_transform(input, numbers, results, length)


def _cost_of_transform(x: np.ndarray, numbers: int, results: int, length: int) -> Cost:
    item = 2 * wide_itemsize(x.dtype)
    rounded = 2 * x.itemsize * results if wide_copies(x) else 0
    memory = wide_copies(x) + 2 * item * numbers + 3 * item * results + rounded
    return Cost(memory, 30 * numbers + results * (30 + 10 * length.bit_length()))


@op("STFT", since=17)
def stft(signal, frame_step, window=None, frame_length=None, *, onesided=1):
    """The DFT of windowed frames: y[b, f, k] = sum_n exp(-2πi·kn/L)·window[n]·x[b, f·step + n]

    x (B, N, 1) or (B, N, 2), window (L) of ones by default; y (B, (N - L)//step + 1, K, 2) with
    K = L, or L//2 + 1 if ``onesided``, for which x must be real. L is frame_length, or that of the
    window, or N. x (B, N) is real, too: ONNX Runtime takes it, and so exporters write it.

    Spec: STFT-17.
    """
    if signal.ndim not in (2, 3):
        raise ValueError(f"signal {signal.shape} should be (B, N, 1), (B, N, 2) or (B, N)")
    x = wide(signal) if signal.ndim == 2 else _to_complex(signal)
    step = as_int(frame_step, "frame_step")
    if frame_length is not None:
        length = as_int(frame_length, "frame_length")
    else:
        length = x.shape[1] if window is None else window.size
    if window is not None and window.shape != (length,):
        raise ValueError(f"window {window.shape} should be ({length},), the frame_length")
    if step < 1 or not 1 <= length <= x.shape[1]:
        raise ValueError(
            f"frame_length {length} should be from 1 to {x.shape[1]}, the length of the signal, "
            f"and frame_step {step} positive"
        )
    frames = np.lib.stride_tricks.sliding_window_view(x, length, 1)[:, ::step]
    if window is not None:
        frames = frames * wide(window)
    if onesided and np.iscomplexobj(x):
        raise ValueError("a one-sided STFT needs a real signal")
    return _from_complex((np.fft.rfft if onesided else np.fft.fft)(frames), signal.dtype)


@stft.vjp
def vjp_of_stft(dy, signal, frame_step, window, frame_length, *, onesided, wanted):
    x = signal if signal.ndim == 2 else _to_complex(signal)
    step = as_int(frame_step, "frame_step")
    if frame_length is not None:
        length = as_int(frame_length, "frame_length")
    else:
        length = x.shape[1] if window is None else window.size
    d_frames = _adjoint_of_fft(_to_complex(dy), length, -1)
    d_window = None
    if window is not None and wanted[2]:
        frames = np.lib.stride_tricks.sliding_window_view(x, length, 1)[:, ::step]
        d_window = (np.conj(frames) * d_frames).sum((0, 1)).real.astype(window.dtype)
    if window is not None:
        d_frames = d_frames * window
    dx = np.zeros(x.shape, d_frames.dtype)
    for i in range(d_frames.shape[1]):
        dx[:, i * step : i * step + length] += d_frames[:, i]
    parts = _from_complex(dx, dy.dtype)
    return parts[..., : signal.shape[-1]] if signal.ndim == 3 else parts[..., 0], None, d_window


@vjp_of_stft.cost
def cost_of_vjp_of_stft(dy: np.ndarray, signal: np.ndarray, *_: Any, **__: Any) -> Cost:
    item = 2 * wide_itemsize(dy.dtype)
    return Cost(item * (10 * dy.size + 6 * signal.size), 200 * dy.size + 60 * signal.size)


@stft.cost
def cost_of_stft(
    signal: np.ndarray,
    frame_step: np.ndarray,
    window: np.ndarray | None = None,
    frame_length: np.ndarray | None = None,
    *,
    onesided: int = 1,
) -> Cost:
    if frame_length is not None:
        length = as_int(frame_length, "frame_length")
    else:
        length = signal.shape[1] if window is None else window.size
    frames = len(signal) * max(0, (signal.shape[1] - length) // as_int(frame_step, "") + 1)
    item = 2 * wide_itemsize(signal.dtype)
    windowed = item * frames * length // (3 - signal.shape[-1] if signal.ndim == 3 else 2)
    results = frames * (length // 2 + 1 if onesided else length)
    cost = _cost_of_transform(signal, frames * length, results, length)
    return Cost(cost.memory + windowed, cost.work + 60 * frames * length)


# ------------------------------------------------------------------------------------ windows


@op("HannWindow", since=17)
def hann_window(size, *, output_datatype=1, periodic=1):
    """0.5 - 0.5·cos(2πn/N), N = size, or size - 1 unless ``periodic``. Spec: HannWindow-17."""
    return _cosine_window(size, (0.5, -0.5), output_datatype, periodic)


@op("HammingWindow", since=17)
def hamming_window(size, *, output_datatype=1, periodic=1):
    """25/46 - 21/46·cos(2πn/N), N as in HannWindow

    Spec: HammingWindow-17, whose function body has these coefficients.
    """
    return _cosine_window(size, (25 / 46, -21 / 46), output_datatype, periodic)


@op("BlackmanWindow", since=17)
def blackman_window(size, *, output_datatype=1, periodic=1):
    """0.42 - 0.5·cos(2πn/N) + 0.08·cos(4πn/N), N as in HannWindow. Spec: BlackmanWindow-17."""
    return _cosine_window(size, (0.42, -0.5, 0.08), output_datatype, periodic)


def _cosine_window(
    size: np.ndarray, amounts: Sequence[float], output_datatype: int, periodic: int
) -> np.ndarray:
    """sum_i amounts[i]·cos(2πin/N)."""
    length = as_int(size, "size")
    if length < 0:
        raise ValueError(f"size {length} of a window should not be negative")
    n = np.arange(length, dtype=np.float64)
    # one symmetric point divides 0 by 0: NaN in the spec's function body and ONNX Runtime too
    angle = 2 * np.pi * n / np.float64(len(n) if periodic else len(n) - 1)
    window = sum(amount * np.cos(i * angle) for i, amount in enumerate(amounts))
    return np.asarray(window).astype(numpy_dtype(output_datatype))


@hann_window.cost
@hamming_window.cost
@blackman_window.cost
def cost_of_window(size: np.ndarray, **_: Any) -> Cost:
    """Indices, angles and cosines in double, and their sum."""
    count = max(as_int(size, "size"), 0)
    return Cost(64 * count, 200 * count)


# -------------------------------------------------------------------------------- mel weights


@op("MelWeightMatrix", since=17)
def mel_weight_matrix(
    num_mel_bins,
    dft_length,
    sample_rate,
    lower_edge_hertz,
    upper_edge_hertz,
    *,
    output_datatype=1,
):
    """(dft_length//2 + 1, num_mel_bins) weights: triangles evenly spread over the mel scale

    mel(f) = 2595·log10(1 + f/700). Triangle i rises from edge i to 1 at edge i + 1 and falls to 0
    at edge i + 2; edges are indices in the spectrum, rounded down, in num_mel_bins + 2 steps up
    from the lower edge: as in ONNX's case and ONNX Runtime; the spec doesn't say.

    Spec: MelWeightMatrix-17.
    """
    bands, length = as_int(num_mel_bins, "num_mel_bins"), as_int(dft_length, "dft_length")
    rate = as_int(sample_rate, "sample_rate")
    if bands < 0 or length < 1 or rate < 1:
        raise ValueError(
            f"num_mel_bins {bands} should be at least 0, dft_length {length} and sample_rate "
            f"{rate} at least 1"
        )
    low, high = (
        2595 * np.log10(1 + float(as_scalar(hertz, name)) / 700)
        for hertz, name in (
            (lower_edge_hertz, "lower_edge_hertz"),
            (upper_edge_hertz, "upper_edge_hertz"),
        )
    )
    mels = low + np.arange(bands + 2) * ((high - low) / (bands + 2))
    edges = np.floor((length + 1) * (700 * (10 ** (mels / 2595) - 1)) / rate)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    place = np.arange(length // 2 + 1)[:, None]
    rising = (place >= left) & (place <= centre)
    falling = (place >= centre) & (place < right)
    rise = np.where(centre > left, (place - left) / (centre - left), 1)
    weights = np.where(falling, (right - place) / (right - centre), np.where(rising, rise, 0))
    return weights.astype(numpy_dtype(output_datatype))


@mel_weight_matrix.cost
def cost_of_mel_weight_matrix(
    num_mel_bins: np.ndarray, dft_length: np.ndarray, *_: Any, **__: Any
) -> Cost:
    """Both sides of the triangles in double, the choice of them, and the result."""
    bands, length = as_int(num_mel_bins, "num_mel_bins"), as_int(dft_length, "dft_length")
    places = max(length // 2 + 1, 0)
    return Cost(
        48 * places * max(bands, 0) + 8 * places + 64 * max(bands, 0), 60 * places * max(bands, 0)
    )


declare(
    blackman_window, hamming_window, hann_window, mel_weight_matrix,
    output_type=types.from_attribute("output_datatype"),
)  # fmt: skip
declare(hann_window, hamming_window, blackman_window, mel_weight_matrix, vjp=no_gradient)
