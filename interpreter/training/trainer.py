"""``Trainer``: a model that is trained step by step, or by ``fit``."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from onnxwalk.interpreter.errors import InvalidInputError, OperatorError
from onnxwalk.interpreter.files import as_path
from onnxwalk.interpreter.ir.model import Graph, Tensor, TensorType
from onnxwalk.interpreter.limits import Limits
from onnxwalk.interpreter.runtime.feeds import Inputs
from onnxwalk.interpreter.session import Session, compiled, load
from onnxwalk.interpreter.training.checkpoint import check_same, read_checkpoint, write_checkpoint
from onnxwalk.interpreter.training.checks import check_count, check_patterns
from onnxwalk.interpreter.training.data import (
    ArrayBatches,
    Batch,
    Batches,
    IteratedBatches,
    is_arrays,
    make_batch,
    split_pair,
)
from onnxwalk.interpreter.training.losses import add_loss
from onnxwalk.interpreter.training.metrics import Means, check_metrics
from onnxwalk.interpreter.training.network import Network
from onnxwalk.interpreter.training.optimizers import find_optimizer
from onnxwalk.interpreter.training.pieces import check_weights, find_pieces, frozen_names
from onnxwalk.interpreter.weights import read_training_nodes, write_weights
from onnxwalk.interpreter.weights.rewrite import raw_bytes
from onnxwalk.ops.shared.numpy_state import computing


class Trainer:
    """A model with a loss and an optimizer, whose weights are its own copy.

    ``weights``: by initializer, the arrays of what is trained and of the moving statistics;
    they may be changed in place between steps. ``steps``: how many steps were done.
    """

    def __init__(
        self,
        model: Any,
        *,
        loss: str,
        optimizer: Any = "Adam",
        output: str | None = None,
        from_logits: bool = False,
        metrics: Sequence[str] = (),
        frozen: Sequence[str] = (),
        seed: int | None = None,
        limits: Limits | None = None,
    ) -> None:
        """``model``: a Session, or what ``onnxwalk.load`` takes. The others: see ``train``.

        Raises InvalidInputError, and UnsupportedModelError naming every operator that has no rule
        of a gradient.
        """
        session = model if isinstance(model, Session) else load(model)
        self._session, self.source = session, session.model.source
        if seed is not None:
            seed = check_count("seed", seed, 0)
        if not isinstance(limits, Limits | None):
            raise InvalidInputError(f"limits must be Limits(…) or None, not {limits!r}")
        self.optimizer = find_optimizer(optimizer)
        program, options = compiled(session)
        shapes = {
            i.name: s for i, s in zip(session.outputs, session.infer_output_shapes(), strict=True)
        }
        losses = add_loss(
            program.graph, program.context, loss,
            output=output, from_logits=from_logits, shapes=shapes,
        )  # fmt: skip
        self.loss, self.metrics = loss, check_metrics(metrics, losses)
        frozen = check_patterns(frozen)
        pieces = find_pieces(session.model, losses.graph, losses.loss, frozen)
        check_weights(losses.graph, pieces)
        self._network = Network(
            program,
            losses,
            pieces,
            frozen=frozen_names(session.model, frozen),
            recorded=read_training_nodes(session.model),
            source=self.source,
            executor=options["executor"],
            limits=limits or options["limits"],
        )
        self.weights = self._network.weights
        self._parts = self._network.trained()
        self._states = [self.optimizer.state(part) for part in self._parts]
        self._inputs = Inputs(losses.graph, program.check_types)
        self.seed = int.from_bytes(os.urandom(8), "little") >> 1 if seed is None else seed
        self._network.rng.bit_generator.state = np.random.default_rng(self.seed).bit_generator.state
        self.steps = 0
        #: set it to end ``fit`` after this batch or epoch
        self.stop_training = False

    # ----------------------------------------------------------------------------- single steps

    def train_on_batch(self, x: Any, y: Any = None) -> dict[str, float]:
        """One step of the optimizer; returns the loss, before it, and the metrics of the batch.

        ``x``: an array, or a dict by the names of inputs; ``y``: the labels. Raises
        InvalidInputError, and NotFiniteError if the loss or a gradient is NaN or infinite: then
        the weights are those before the step.
        """
        means = self.means()
        self.step(self._batch(x, y), means)
        return means.results()

    def test_on_batch(self, x: Any, y: Any = None) -> dict[str, float]:
        """The loss and the metrics of a batch, as in inference."""
        means = self.means()
        self._test(self._batch(x, y), means)
        return means.results()

    def evaluate(self, data: Any, *, batch_size: int = 32) -> dict[str, float]:
        """The loss and the metrics of data, as ``train`` takes them."""
        batches = self.batches(data, batch_size)
        batches.check()
        return self.evaluate_batches(batches)

    def evaluate_batches(self, batches: Batches, prefix: str = "") -> dict[str, float]:
        """As ``evaluate``, of batches; the names begin with ``prefix``."""
        means, count = self.means(), 0
        for batch in batches.epoch(0, 0):
            self._test(batch, means)
            count += 1
        if not count:
            raise InvalidInputError("the data have no batches to evaluate")
        return means.results(prefix)

    def batches(
        self, data: Any, size: int, *, shuffle: bool = False, steps: int | None = None,
        what: str = "data",
    ) -> Batches:  # fmt: skip
        """The batches of data: arrays, or an iterable of batches. Raises InvalidInputError."""
        size = check_count("batch_size", size, 1)
        losses, names = self._network.losses, self._names
        if is_arrays(data, losses):
            x, y = split_pair(data, losses, what)
            batch = make_batch(names, losses, x, y, what)
            return ArrayBatches(
                batch.feeds, batch.labels, size,
                seed=self.seed if shuffle else None, fixed=self._fixed_sizes(),
            )  # fmt: skip
        if not isinstance(data, Iterable) or isinstance(data, str | bytes):
            raise InvalidInputError(
                f"{what} must be arrays (x, y) or an iterable of batches, not {type(data).__name__}"
            )
        return IteratedBatches(names, losses, data, steps)

    def check_finite(self) -> None:
        """Raise NotFiniteError if a weight holds NaN or infinities."""
        self._network.check_finite(self.steps)

    def means(self) -> Means:
        """New sums of loss and metrics, for an epoch."""
        return Means(self._network.losses, self.metrics)

    def step(self, batch: Batch, means: Means) -> None:
        """One step of the optimizer, of a batch, which is added to the means."""
        feeds = self._feeds(batch)
        with self._naming_labels(batch):
            loss, predictions, gradients = self._network.step(feeds, self.steps + 1)
        with computing():
            self.optimizer.update(self.steps, self._parts, gradients, self._states)
        self.steps += 1
        means.add(loss, batch.labels, predictions, batch.size)

    def _test(self, batch: Batch, means: Means) -> None:
        feeds = self._feeds(batch)
        with self._naming_labels(batch):
            loss, predictions = self._network.evaluate(feeds)
        means.add(loss, batch.labels, predictions, batch.size)

    @contextlib.contextmanager
    def _naming_labels(self, batch: Batch) -> Iterator[None]:
        """Have an error of a node of the loss name the labels, which are what doesn't fit it."""
        losses = self._network.losses
        try:
            yield
        except OperatorError as error:
            if losses.labels and error.node in losses.nodes:
                shape = batch.labels.shape
                raise InvalidInputError(
                    f"labels of shape {shape} don't fit output {losses.output!r}: {error}"
                ) from error
            raise

    @property
    def _names(self) -> list[str]:
        return [name for name in self._network.inputs if name != self._network.losses.labels]

    def _fixed_sizes(self) -> dict[str, int]:
        shapes = {
            info.name: info.type.shape
            for info in self._inputs.required
            if info.name in self._names and isinstance(info.type, TensorType)
        }
        return {n: s[0] for n, s in shapes.items() if s and isinstance(s[0], int)}

    @property
    def nbytes(self) -> int:
        """The memory of what is kept for further steps, beyond weights and optimizer."""
        return self._network.nbytes

    def _batch(self, x: Any, y: Any) -> Batch:
        return make_batch(self._names, self._network.losses, x, y)

    def _feeds(self, batch: Batch) -> dict[str, Any]:
        feeds = dict(batch.feeds)
        if self._network.losses.labels:
            feeds[self._network.losses.labels] = batch.labels
        return self._inputs.check(feeds)

    # ------------------------------------------------------------------------- what is kept

    def session(self) -> Session:
        """A session of the model with the weights as they are now."""
        return self._session.with_weights({n: w.copy() for n, w in self.weights.items()})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file that was loaded with the weights as they are now, whole or not at all.
        Raises InvalidInputError."""
        write_weights(self._session, path, self.weights)

    def save_checkpoint(
        self, path: str | os.PathLike[str], progress: Mapping[str, Any] | None = None,
        arrays: Mapping[str, np.ndarray] | None = None,
    ) -> None:  # fmt: skip
        """Write all that is needed to go on to the bit. ``progress`` and ``arrays``: what ``fit``
        adds. Raises InvalidInputError."""
        about = {
            **self._identity(),
            "steps": self.steps,
            "seed": self.seed,
            "random": _plain(self._network.rng.bit_generator.state),
            "progress": dict(progress or {}),
        }
        kept = {f"weight {name}": w for name, w in self.weights.items()}
        for i, state in enumerate(self._states):
            kept |= {f"state {i} {j}": x for j, x in enumerate(state)}
        write_checkpoint(as_path(path), about, {**kept, **(arrays or {})})

    def load_checkpoint(
        self, path: str | os.PathLike[str]
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Go on from a checkpoint; returns what ``fit`` added. Raises InvalidInputError if it is of
        another model or other settings: then nothing has changed."""
        path = as_path(path)
        about, arrays = read_checkpoint(path)
        check_same(path, about, self._identity())
        targets = {f"weight {name}": w for name, w in self.weights.items()}
        for i, state in enumerate(self._states):
            targets |= {f"state {i} {j}": x for j, x in enumerate(state)}
        for name, target in targets.items():
            if name not in arrays or arrays[name].nbytes != target.nbytes:
                raise InvalidInputError(f"{path}: the checkpoint is of another model")
        for name, target in targets.items():
            np.copyto(target, arrays.pop(name).view(target.dtype).reshape(target.shape))
        self._network.rng.bit_generator.state = about["random"]
        self.steps, self.seed = int(about["steps"]), int(about["seed"])
        return about["progress"], arrays

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must have in common with a training that goes on from it."""
        parts = [[p.initializer, repr(p.parts)] for p in self._network.pieces]
        return {
            "model": self._fingerprint(),
            "weights": [[n, list(w.shape), str(w.dtype)] for n, w in self.weights.items()],
            "parts": parts,
            "loss": self.loss,
            "metrics": list(self.metrics),
            "optimizer": self.optimizer.settings(),
        }

    def _fingerprint(self) -> int:
        """Of the nodes, and of the weights that aren't trained."""
        graph: Graph = self._network.losses.graph
        found = 0
        for node in graph.nodes:
            text = f"{node.domain} {node.op_type} {node.inputs} {node.outputs}"
            found = zlib.crc32(text.encode(), found)
        for name, tensor in graph.initializers.items():
            if (
                name not in self.weights
                and isinstance(tensor, Tensor)
                and not tensor.array.dtype.hasobject
            ):
                found = zlib.crc32(raw_bytes(tensor.array), found)
        return found


def _plain(state: Any) -> Any:
    """The state of a random generator in Python's own types."""
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    return state if isinstance(state, str) else int(state)
