"""The models that the operators of text generation call: how tokens become inputs of the subgraphs,
and what is kept for the next call.

``logits = yield from model.begin()`` has the scores of what follows the prompts, (B, V);
``logits = yield from model.go_on(sequences, parents)`` those of what follows the sequences (n, S),
of which each is row ``parents[i]`` of the ones before, with a token more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from onnxwalk.ops.contract.graphs import Calls

INT = np.dtype(np.int32)


class Gpt:
    """A decoder of its own: input_ids, position_ids (B, S), attention_mask (B, P + S), past_0, …
    (2, B, H, P, D) to logits (B, S, V), present_0, … (2, B, H, P + S, D)."""

    def __init__(
        self, decoder: Any, init_decoder: Any, ids: np.ndarray, mask: np.ndarray | None, pad: int
    ) -> None:
        """``init_decoder``: takes the place of the decoder in the first call, if it isn't None.
        Positions count the tokens that aren't ``pad``, also where there is a mask."""
        self._decoder, self._first = decoder, init_decoder or decoder
        if mask is not None and mask.shape != ids.shape:
            raise ValueError(f"attention_mask {mask.shape} should be as input_ids {ids.shape}")
        self._ids, self._counted = ids, ids != pad
        self._mask = self._counted.astype(INT) if mask is None else mask
        for name, graph in (("decoder", decoder), ("init_decoder", init_decoder)):
            if graph is not None:
                _check_inputs(name, graph, ["input_ids", "position_ids", "attention_mask"])
                if len(graph.inputs) != len(graph.output_types) + 2:
                    raise ValueError(
                        f"{name} has {len(graph.inputs)} inputs and {len(graph.output_types)} "
                        "outputs: other inputs than pasts aren't supported"
                    )
        if len(self._first.inputs) != len(decoder.inputs):
            raise ValueError("decoder and init_decoder differ in their number of inputs")

    def begin(self) -> Calls[np.ndarray]:
        counted = self._counted
        positions = np.where(counted, counted.cumsum(1) - 1, 0).astype(INT)
        pasts = [_empty_past(graph_input, len(self._ids)) for graph_input in self._first.inputs[3:]]
        logits, *self._pasts = yield self._first, (self._ids, positions, self._mask, *pasts)
        self._positions = counted.sum(1, dtype=INT)[:, None]
        return _of_last_token(logits)

    def go_on(self, sequences: np.ndarray, parents: np.ndarray) -> Calls[np.ndarray]:
        tokens, one = sequences[:, -1:], np.ones((len(sequences), 1), INT)
        positions, mask = self._positions[parents], self._mask[parents]
        self._positions, self._mask = positions + INT.type(1), np.concatenate([mask, one], 1)
        pasts = _rows(self._pasts, parents, 1, self._decoder.reserve)
        self._pasts = []  # of two pasts of the same layer one is enough
        logits, *self._pasts = yield self._decoder, (tokens, positions, self._mask, *pasts)
        return _of_last_token(logits)


class EncoderDecoder:
    """An encoder, and a decoder that reads what it returned.

    encoder: encoder_input_ids, encoder_attention_mask (but for sounds) to the keys and values of
    each layer's cross attention (B, H, E, D). With a further input, decoder_input_ids, it also
    makes the decoder's first step: logits (B, S, V), encoder_hidden_states and the keys and values
    of self attention come before. decoder: input_ids, encoder_attention_mask (but for sounds),
    perhaps encoder_hidden_states, keys and values of self attention, those of cross attention, to
    logits and the new ones of self attention.
    """

    def __init__(
        self,
        encoder: Any,
        decoder: Any,
        given: Sequence[np.ndarray],
        start: np.ndarray,
    ) -> None:
        """``given``: the encoder's inputs, ids and mask or sounds; ``start``: the first tokens."""
        if encoder is None:
            raise ValueError("the attribute encoder is missing")
        names = ["encoder_input_ids", "encoder_attention_mask"][: len(given)]
        _check_inputs("encoder", encoder, names)
        _check_inputs("decoder", decoder, ["input_ids", *names[1:]])
        self._encoder, self._decoder = encoder, decoder
        self._given, self._start = given, start
        self._starts = len(encoder.inputs) == len(given) + 1
        shape = getattr(decoder.inputs[0].type, "shape", None)
        self._reads_all = not (shape and len(shape) == 2 and shape[1] == 1)
        reads_hidden = any(
            x.name == "encoder_hidden_states" for x in decoder.inputs[len(given) :][:1]
        )
        if reads_hidden and not self._starts:
            raise ValueError(
                "decoder reads encoder_hidden_states, which the encoder doesn't return"
            )
        self._first_past = len(given) + reads_hidden
        if (len(decoder.inputs) - self._first_past) % 4:
            raise ValueError(
                f"decoder has {len(decoder.inputs)} inputs: after {self._first_past} of them, 4 of "
                "each layer are expected, and others aren't supported"
            )
        self._layers = (len(decoder.inputs) - self._first_past) // 4
        expected = 2 + 4 * self._layers if self._starts else 2 * self._layers
        if len(encoder.output_types) != expected or len(decoder.output_types) != (
            1 + 2 * self._layers
        ):
            raise ValueError(
                f"encoder and decoder of {self._layers} layers should have {expected} and "
                f"{1 + 2 * self._layers} outputs, not {len(encoder.output_types)} and "
                f"{len(decoder.output_types)}"
            )

    def begin(self) -> Calls[np.ndarray]:
        if self._starts:
            found = yield self._encoder, (*self._given, self._start)
            logits, hidden, *caches = found
            self._pasts, cross = caches[: 2 * self._layers], caches[2 * self._layers :]
            self._fixed = [*self._given[1:], hidden][: self._first_past - 1]
            self._cross = cross
            return _of_last_token(logits)
        self._cross = list((yield self._encoder, tuple(self._given)))
        self._fixed = list(self._given[1:])
        self._pasts = [x[:, :, :0] for x in self._cross]
        return (yield from self._decode(self._start))

    def go_on(self, sequences: np.ndarray, parents: np.ndarray) -> Calls[np.ndarray]:
        if len(sequences) != len(self._cross[0]):
            beams = len(sequences) // len(self._cross[0])
            self._decoder.reserve(beams * sum(x.nbytes for x in (*self._fixed, *self._cross)))
            self._fixed = [x.repeat(beams, 0) for x in self._fixed]
            self._cross = [x.repeat(beams, 0) for x in self._cross]
        self._pasts = _rows(self._pasts, parents, 0, self._decoder.reserve)
        return (yield from self._decode(sequences if self._reads_all else sequences[:, -1:]))

    def _decode(self, tokens: np.ndarray) -> Calls[np.ndarray]:
        inputs = (tokens, *self._fixed, *self._pasts, *self._cross)
        logits, *self._pasts = yield self._decoder, inputs
        return _of_last_token(logits)


def _check_inputs(name: str, graph: Any, expected: Sequence[str]) -> None:
    names = [value.name for value in graph.inputs[: len(expected)]]
    if names != list(expected):
        raise ValueError(f"the first inputs of {name} should be {', '.join(expected)}, not {names}")


def _empty_past(declared: Any, batch: int) -> np.ndarray:
    """A past without tokens, of the heads and their size that the file declares."""
    kind = declared.type
    shape, dtype = getattr(kind, "shape", None), getattr(kind, "dtype", None)
    if dtype is None or not shape or len(shape) != 5:
        raise ValueError(f"'{declared.name}' should be declared as a tensor (2, B, H, P, D)")
    if not all(isinstance(shape[i], int) for i in (2, 4)):
        raise ValueError(f"the heads and their size, axes 2 and 4 of '{declared.name}', are open")
    return np.zeros((2, batch, shape[2], 0, shape[4]), dtype)


def _of_last_token(logits: np.ndarray) -> np.ndarray:
    if logits.ndim != 3 or not logits.size:
        raise ValueError(f"logits {logits.shape} should be (B, S, V)")
    return logits[:, -1].astype(np.float32, copy=False)


def _rows(
    pasts: Sequence[np.ndarray], places: np.ndarray, axis: int, reserve: Callable[[int], None]
) -> list[np.ndarray]:
    """The rows at these places; the pasts themselves if that is each row once, in order."""
    counts = {past.shape[axis] for past in pasts}
    if all(np.array_equal(places, np.arange(count)) for count in counts):
        return list(pasts)
    reserve(sum(past.nbytes // max(past.shape[axis], 1) * places.size for past in pasts))
    return [past.take(places, axis) for past in pasts]
