"""The steps of RNN, LSTM and GRU in training, forwards and backwards: see ``recurrent_training``.

Of an array of gates, (gates, directions, rows, H), each call takes several gates at once, so they
are in an order of their own. Gates that go into a sigmoid are halved: see ``sigmoid_of_halved``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from onnxwalk.ops.fast.recurrent_steps import sigmoid_of_halved
from onnxwalk.ops.shared.products import matmul


class TrainingCell:
    """One kind of layer."""

    #: the operator's gates in the order in which they are stored here
    gates: ClassVar[Sequence[int]]
    #: of these, how many are halved, from the first on
    halved: ClassVar[int] = 0
    states: ClassVar[int] = 1
    #: whether products with R are kept, too
    products: ClassVar[bool] = False
    #: how many gradients ``back`` writes for a row: the first ones belong to the products with W,
    #: in the order of ``input_gates``; those from ``by_state`` on to those with R, as ``gates``
    columns: ClassVar[int]
    by_state: ClassVar[int] = 0
    #: whether the gate is the state itself, in the same memory
    gate_is_state: ClassVar[bool] = False
    #: how many arrays ``prepare_back`` writes
    factors: ClassVar[int]

    @property
    def input_gates(self) -> Sequence[int]:
        return self.gates

    def lay_out(
        self,
        weights: Sequence[np.ndarray | None],
        w: np.ndarray,
        r: np.ndarray,
        b: np.ndarray,
        b_apart: np.ndarray,
    ) -> None:
        """Write W' (gates, D, I, H), R' (gates, D, H, H) and the biases (gates, D, 1, H)."""
        given_w, given_r, given_b = weights
        assert given_w is not None and given_r is not None
        size = r.shape[-1]
        for place, gate in enumerate(self.gates):
            factor = 0.5 if place < self.halved else 1
            rows = slice(gate * size, (gate + 1) * size)
            np.multiply(given_w[:, rows].swapaxes(1, 2), factor, w[place])
            np.multiply(given_r[:, rows].swapaxes(1, 2), factor, r[place])
            if given_b is None:
                b[place] = 0
                continue
            wb, rb = np.split(given_b[:, None], 2, 2)
            np.add(wb[:, :, rows], rb[:, :, rows], b[place])
            np.multiply(b[place], factor, b[place])

    @staticmethod
    def order_rows(weights: np.ndarray, order: Sequence[int], result: np.ndarray) -> None:
        """Bring the gates of weights (D, gates * H, …) into this order."""
        given, found = (x.reshape(len(x), len(order), -1) for x in (weights, result))
        for place, gate in enumerate(order):
            found[:, place] = given[:, gate]

    def forward(
        self,
        before: Sequence[np.ndarray],
        after: Sequence[np.ndarray],
        gates: np.ndarray,
        recurrent: np.ndarray,
        spare: np.ndarray,
        products: np.ndarray | None,
        r: np.ndarray,
        b_apart: np.ndarray,
    ) -> None:
        """A step, from what the inputs contribute to the gates."""
        raise NotImplementedError

    def prepare_back(
        self,
        gates: np.ndarray,
        before: Sequence[np.ndarray],
        after: Sequence[np.ndarray],
        products: np.ndarray | None,
        factors: np.ndarray,
    ) -> None:
        """Write what ``back`` multiplies gradients by, for many steps at once."""
        raise NotImplementedError

    def back(
        self,
        dstates: Sequence[np.ndarray],
        dy: np.ndarray | None,
        dv: np.ndarray,
        dv_rows: np.ndarray,
        factors: np.ndarray,
        gates: np.ndarray,
        spare: np.ndarray,
        r: np.ndarray,
    ) -> None:
        """A step of the way back: from the gradients of the states after it to those of the states
        before it, in place. ``dv`` and ``dv_rows`` are the same memory, by gate and by row."""
        raise NotImplementedError


class RnnCell(TrainingCell):
    """h[t] = tanh(v), or max(0, v)"""

    gates = (0,)
    gate_is_state = True
    columns = 1
    factors = 1

    def __init__(self, relu: bool) -> None:
        self._relu = relu

    def forward(self, before, after, gates, recurrent, spare, products, r, b_apart):  # type: ignore[no-untyped-def]
        matmul(before[0], r, recurrent)
        np.add(gates, recurrent, gates)
        if self._relu:
            np.maximum(gates, 0, out=gates)
        else:
            np.tanh(gates, gates)

    def prepare_back(self, gates, before, after, products, factors):  # type: ignore[no-untyped-def]
        if self._relu:
            np.greater(gates, 0, factors)
            return
        np.multiply(gates, gates, factors)
        np.subtract(1, factors, factors)

    def back(self, dstates, dy, dv, dv_rows, factors, gates, spare, r):  # type: ignore[no-untyped-def]
        (dh,) = dstates
        if dy is not None:
            np.add(dh, dy, dh)
        np.multiply(dh, factors, dv)
        matmul(dv_rows, r, dh)


class LstmCell(TrainingCell):
    """Gates o, i, f (halved) and c. With t = tanh(C[t]), and dC beginning as what flows back from
    C[t] itself:

    dC += dh * o (1 - t²);  do = dh * t o (1 - o)
    di, df, dc = dC * (c i (1 - i), C[t-1] f (1 - f), i (1 - c²));  dC[t-1] = dC * f
    """

    gates = (1, 0, 2, 3)
    halved = 3
    states = 2
    columns = 4
    factors = 5

    def forward(self, before, after, gates, recurrent, spare, products, r, b_apart):  # type: ignore[no-untyped-def]
        (h, C), (h_after, C_after) = before, after
        matmul(h, r, recurrent)
        np.add(gates, recurrent, gates)
        o, i, f, c = gates
        sigmoid_of_halved(gates[:3], gates, c)()
        np.multiply(f, C, C_after)
        np.multiply(i, c, spare)
        np.add(C_after, spare, C_after)
        np.tanh(C_after, spare)
        np.multiply(o, spare, h_after)

    def prepare_back(self, gates, before, after, products, factors):  # type: ignore[no-untyped-def]
        o, i, _, c = gates
        by_o, by_i, by_f, by_c, shown = factors
        np.tanh(after[1], by_o)
        np.multiply(by_o, by_o, shown)
        np.subtract(1, shown, shown)
        np.multiply(shown, o, shown)
        np.subtract(1, gates[1:3], factors[1:3])
        np.multiply(factors[1:3], gates[1:3], factors[1:3])
        np.multiply(by_i, c, by_i)
        np.multiply(by_f, before[1], by_f)
        np.subtract(1, o, by_c)
        np.multiply(by_c, o, by_c)
        np.multiply(by_o, by_c, by_o)
        np.multiply(c, c, by_c)
        np.subtract(1, by_c, by_c)
        np.multiply(by_c, i, by_c)

    def back(self, dstates, dy, dv, dv_rows, factors, gates, spare, r):  # type: ignore[no-untyped-def]
        dh, dC = dstates
        if dy is not None:
            np.add(dh, dy, dh)
        np.multiply(dh, factors[4], spare)
        np.add(dC, spare, dC)
        np.multiply(dh, factors[0], dv[0])
        np.multiply(dC, factors[1:4], dv[1:])
        np.multiply(dC, gates[2], dC)
        matmul(dv_rows, r, dh)


class GruCell(TrainingCell):
    """Gates z, r (halved) and n, with linear_before_reset. With m = h[t-1] Rh' + Rbh:

    dn = dh * (1 - z)(1 - n²);  dz = dh * (h[t-1] - n) z (1 - z)
    dr = dn * m r (1 - r);  dm = dn * r

    Written in the order n, z, r, m: the products with W take the first three, those with R the
    last.
    """

    gates = (0, 1, 2)
    halved = 2
    products = True
    columns = 4
    by_state = 1
    factors = 4

    @property
    def input_gates(self) -> Sequence[int]:
        return (2, 0, 1)

    def lay_out(self, weights, w, r, b, b_apart):  # type: ignore[no-untyped-def]
        super().lay_out(weights, w, r, b, b_apart)
        if weights[2] is None:
            b_apart.fill(0)
            return
        size = r.shape[-1]
        b[2] = weights[2][:, None, 2 * size : 3 * size]
        np.copyto(b_apart, weights[2][:, None, 5 * size :])

    def forward(self, before, after, gates, recurrent, spare, products, r, b_apart):  # type: ignore[no-untyped-def]
        (h,), (h_after,) = before, after
        z, reset, n = gates
        matmul(h, r, recurrent)
        np.add(recurrent[2], b_apart, products)
        np.add(gates[:2], recurrent[:2], gates[:2])
        sigmoid_of_halved(gates[:2])()
        np.multiply(reset, products, spare)
        np.add(n, spare, n)
        np.tanh(n, n)
        np.subtract(h, n, spare)
        np.multiply(spare, z, spare)
        np.add(spare, n, h_after)

    def prepare_back(self, gates, before, after, products, factors):  # type: ignore[no-untyped-def]
        z, r, n = gates
        by_n, by_z, by_r, by_m = factors
        np.subtract(1, z, by_z)
        np.multiply(n, n, by_n)
        np.subtract(1, by_n, by_n)
        np.multiply(by_n, by_z, by_n)
        np.multiply(by_z, z, by_z)
        np.subtract(before[0], n, by_r)
        np.multiply(by_z, by_r, by_z)
        np.multiply(by_n, r, by_m)
        np.subtract(1, r, by_r)
        np.multiply(by_r, products, by_r)
        np.multiply(by_r, by_m, by_r)

    def back(self, dstates, dy, dv, dv_rows, factors, gates, spare, r):  # type: ignore[no-untyped-def]
        (dh,) = dstates
        if dy is not None:
            np.add(dh, dy, dh)
        np.multiply(dh, factors, dv)
        np.multiply(dh, gates[0], spare)
        matmul(dv_rows, r, dh)
        np.add(dh, spare, dh)
