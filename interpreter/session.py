"""``load`` and ``Session``: the public face."""

from __future__ import annotations

import copy
import functools
import itertools
import os
import time
import warnings
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from onnxwalk.interpreter.analysis.trace import Trace
from onnxwalk.interpreter.budget import Budget, copied, owner, within
from onnxwalk.interpreter.compiler import (
    REWRITES,
    Context,
    build_plan,
    checked_graph,
    rewritten,
    wanted,
)
from onnxwalk.interpreter.compiler.types import type_problems
from onnxwalk.interpreter.errors import InvalidInputError, LimitError, OnnxWalkError, contained
from onnxwalk.interpreter.ir.model import (
    Graph,
    Model,
    Shape,
    Tensor,
    TensorType,
    ValueInfo,
    ValueType,
)
from onnxwalk.interpreter.ir.plan import Plan
from onnxwalk.interpreter.limits import Limits
from onnxwalk.interpreter.reader import read_model
from onnxwalk.interpreter.reader.source import let_go
from onnxwalk.interpreter.runtime.bound import Bound
from onnxwalk.interpreter.runtime.cache import BoundPlans, signature
from onnxwalk.interpreter.runtime.feeds import check_feed
from onnxwalk.interpreter.runtime.threads import blas_threads, check_threads
from onnxwalk.interpreter.runtime.walk import Hook, execute
from onnxwalk.ops import Registry
from onnxwalk.ops import registry as builtin_operators
from onnxwalk.ops.contract.dtypes import element_type
from onnxwalk.ops.contract.needs import arrays_in
from onnxwalk.ops.shared.numpy_state import computing

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from onnxwalk.interpreter.analysis.estimate import Prediction

_DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class TensorInfo:
    """An input or output: ``shape`` keeps symbols, as ("batch", 32, 32, 3); unknown: ``None``.

    ``dtype`` and ``shape`` are ``None`` where the file doesn't say, and for what is no tensor
    (sequences, optionals, maps); ``type`` then tells.
    """

    name: str
    dtype: np.dtype | None
    shape: Shape | None
    type: ValueType = None

    def __str__(self) -> str:
        return f"{self.name}: {self.type if self.type is not None else 'unknown'}"


class Takes(Protocol):
    """What is to be fed: a Session, or a model of another kind beside one."""

    inputs: list[TensorInfo]
    overridable_initializers: list[TensorInfo]


def load(
    model: Any,
    *,
    optimize: bool | Collection[str] = True,
    registry: Registry | None = None,
    seed: int | None = None,
    threads: int | None = None,
    limits: Limits | None = _DEFAULT_LIMITS,
) -> Session:
    """Read and prepare a model.

    ``model``: a path (str or Path), bytes, a binary file object, or an ``onnx.ModelProto``.
    ``optimize``: False runs the file node by node as written; a collection names the rewrites to
    apply, out of ``onnxwalk.REWRITES``.
    ``registry``: operators of your own, ``ops.Registry(parent=onnxwalk.ops.registry)``.
    ``seed``: of the generator that random operators draw from.
    ``threads``: how many a run may use (1). Parts of a batch are computed side by side where the
    graph treats samples one by one; otherwise BLAS has the threads. Needs threadpoolctl.
    ``limits``: what loading, and each run, may use at most; ``None`` for no limits.

    Raises InvalidModelError, UnsupportedModelError (with everything that isn't supported),
    InvalidInputError (``model`` is no model at all, or can't be read) or LimitError.
    """
    if not isinstance(limits, Limits | None):
        raise InvalidInputError(f"limits must be Limits(…) or None, not {limits!r}")
    if not isinstance(registry, Registry | None):
        raise InvalidInputError(f"registry must be an ops.Registry or None, not {registry!r}")
    if seed is not None and not (isinstance(seed, int | np.integer) and seed >= 0):
        raise InvalidInputError(f"seed must be a whole number from 0 on or None, not {seed!r}")
    rewrites = _rewrites(optimize)
    try:
        with within(None if limits is None else Budget(limits)), computing():
            operators = registry or builtin_operators
            read = read_model(model)
            try:
                return Session(read, rewrites, operators, seed, threads, limits)
            except LimitError as error:
                if error.is_located:
                    raise
                raise LimitError(f"{read.source}: {error}") from None
    except OnnxWalkError:
        raise
    except Exception as error:
        raise contained(error, "load") from error


def _rewrites(optimize: Any) -> tuple[str, ...]:
    if isinstance(optimize, bool | None):
        return tuple(REWRITES) if optimize else ()
    if isinstance(optimize, str) or not isinstance(optimize, Collection):
        raise InvalidInputError(f"optimize must be True, False or a list, not {optimize!r}")
    if unknown := [name for name in optimize if name not in tuple(REWRITES)]:
        raise InvalidInputError(f"no such rewrites: {unknown}; there are: {', '.join(REWRITES)}")
    return tuple(optimize)


class Session:
    """A prepared model. Several threads may run it at once; what it returns is the caller's."""

    def __init__(
        self,
        model: Model,
        rewrites: Collection[str],
        registry: Registry,
        seed: int | np.random.Generator | None,
        threads: int | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.model = model
        #: what each run may use
        self.limits = limits
        self._threads = check_threads(threads)
        # Before IR version 3 a file could leave the operator set out; it then meant the first.
        opsets = model.opsets or {"": 1}
        self._context = Context(registry, opsets, np.random.default_rng(seed))
        self._rewrites = rewrites
        #: the model's graph, free of function calls
        self.graph = checked_graph(model, self._context)
        initialized = set(self.graph.initializers)
        self.inputs = [_info(v) for v in self.graph.inputs if v.name not in initialized]
        #: initializers that a run may override by feeding them
        self.overridable_initializers = [
            _info(v) for v in self.graph.inputs if v.name in initialized
        ]
        self.outputs = [_info(value) for value in self.graph.outputs]
        self._feedable = {i.name: i for i in (*self.inputs, *self.overridable_initializers)}
        self._plans: dict[tuple[tuple[str, ...], ...], Plan] = {}
        self._bound = BoundPlans(limits)
        self._untyped = [
            name
            for name, info in self._feedable.items()
            if info.type is None or (isinstance(info.type, TensorType) and not info.type.element)
        ]
        self._checked: set[tuple[tuple[str, TensorType], ...]] = set()
        self._pools: dict[int, Executor] = {}
        self._plan_for([i.name for i in self.inputs], [o.name for o in self.outputs])
        let_go(model.maps)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled and copied as what it was made of, and the state of its random numbers; plans are
        made anew. A registry of your own is pickled by its name, so it has to be a variable of the
        module that registers its operators."""
        model = replace(self.model, maps=())
        registry, rng = self._context.registry, self._context.rng
        return _made_again, (model, self._rewrites, registry, rng, self._threads, self.limits)

    def __deepcopy__(self, memo: dict[int, Any]) -> Session:
        return copy.copy(self)  # nothing that they share is ever changed

    def run(
        self,
        output_names: Sequence[str] | None,
        feeds: Mapping[str, Any],
        *,
        hook: Hook | None = None,
    ) -> list[Any]:
        """The named values, or all outputs for ``None``, given a value for each input.

        Any value of the graph can be asked for by its name. Tensors are arrays (strings: object
        arrays of ``str``), sequences are lists, empty optionals are ``None``, maps are dicts.
        Other than arrays of the right dtype, lists and Python numbers are accepted if they
        convert without loss of kind.

        Raises InvalidInputError for feeds and names that don't fit, OperatorError when an operator
        refuses its inputs, LimitError when it would need more than the session's limits.
        """
        try:
            if hook is not None or not self._rewrites:
                with within(self._budget(feeds)), computing():
                    plan, arguments = self._arguments(output_names, feeds)
                    return self._walk(plan, arguments, hook)
            if self._threads == 1:
                return self._run_bound(output_names, feeds)
            return self._run_in_threads(output_names, feeds)
        except OnnxWalkError:
            raise
        except Exception as error:
            if hook is not None:  # it may be the hook's own
                raise
            raise contained(error, self.model.source) from error

    def trace(
        self, feeds: Mapping[str, Any], *, optimized: bool = False, iterations: float = 0
    ) -> Trace:
        """The values in between, node by node: an iterable of ``Event(node, inputs, outputs,
        seconds, operator, path, runs)``, which computes as it is read, and keeps only what later
        nodes need.

        The nodes are those of the file; with ``optimized`` those that the rewrites made of them.
        ``iterations``: how many of each If, Loop or Scan are walked through too (``math.inf``:
        all). What is inside comes before the node that it is inside of; ``path`` tells where.

        Raises InvalidInputError for feeds that don't fit; its iteration raises OperatorError when
        an operator refuses its inputs.
        """
        rewrites = self._rewrites if optimized else ()
        plan, arguments = self._arguments(None, feeds, rewrites)
        return Trace(plan, arguments, self.limits, iterations)

    def predict(self, shapes: Mapping[str, Sequence[int]]) -> Prediction:
        """What a run on inputs of these shapes will take at most, as ``memory`` in bytes, beyond
        the weights and the inputs, and ``seconds`` of one slow core. Inputs whose shape is fixed
        may be left out. The model is run at small sizes of what is open: see ``predict.py``.

        Raises InvalidInputError for shapes that don't fit, and where that can't be told.
        """
        from onnxwalk.interpreter.analysis.estimate import predict  # it is asked for seldom

        return predict(self, shapes)

    def prepared(self, feeds: Mapping[str, Any]) -> tuple[Plan, list[Any]]:
        """The plan that computes the outputs, and its arguments. Raises InvalidInputError."""
        return self._arguments(None, feeds)

    def rewritten(self) -> list[tuple[str, Graph]]:
        """The graph that a run of all outputs begins with (under ""), and what each rewrite makes
        of it, under its name; all rewrites, where the session itself has none."""
        inputs, outputs = ([info.name for info in infos] for infos in (self.inputs, self.outputs))
        graph = wanted(self.graph, inputs, outputs)
        rewrites = self._rewrites or tuple(REWRITES)
        with computing():
            return [("", graph), *rewritten(graph, self._context, rewrites)]

    def bound(self, feeds: Mapping[str, Any]) -> tuple[Bound, list[Any]] | None:
        """A plan of its own that is bound to the shapes of these feeds, and the arguments to run it
        with; ``None`` where runs are walks: for values that are no arrays of numbers, without
        rewrites, and where something fails.

        Raises InvalidInputError for feeds that don't fit.
        """
        plan, arguments = self._arguments(None, feeds)
        names = [name for name in self._feedable if name in feeds]
        given = dict(zip(names, arguments, strict=True))
        if not self._rewrites or signature(None, given) is None:
            return None
        try:
            with computing():
                bound = Bound(plan, arguments, frozenset())
        except Exception:  # a walk tells what it is, or succeeds
            return None
        bound.outputs()
        return bound, arguments

    def _budget(self, feeds: Any, parts: int = 1, begun: float | None = None) -> Budget | None:
        """What a run may use, of which the plans that are kept use some already."""
        if self.limits is None:
            return None
        foreign = feeds.values() if isinstance(feeds, Mapping) else ()
        held = self._bound.nbytes
        return Budget(self.limits, foreign=foreign, held=held, parts=parts, begun=begun)

    def _walk(self, plan: Plan, arguments: list[Any], hook: Hook | None = None) -> list[Any]:
        results = execute(plan, arguments, hook)
        return _owned(results, [*arguments, *plan.template])

    def _run_bound(
        self, output_names: Sequence[str] | None, feeds: Mapping[str, Any], parts: int = 1
    ) -> list[Any]:
        """By a plan that is bound to these shapes; it is made if there is none. ``parts``: of how
        many this is one."""
        key, begun = signature(output_names, feeds), time.monotonic()
        if key is not None:
            results = self._bound.run(key, feeds)
            if results is not None:
                return results
        with within(self._budget(feeds, parts, begun)), computing():
            return self._run_unbound(output_names, feeds, key)

    def _run_unbound(
        self, output_names: Sequence[str] | None, feeds: Mapping[str, Any], key: Hashable | None
    ) -> list[Any]:
        plan, arguments = self._arguments(output_names, feeds)
        names = [name for name in self._feedable if name in feeds]
        if key is None:  # lists, Python's numbers, strings …
            given = dict(zip(names, arguments, strict=True))
            key = signature(output_names, given)
            if key is None:
                return self._walk(plan, arguments)
            results = self._bound.run(key, given)
            if results is not None:
                return results
        try:
            return self._bound.bind(key, plan, names, arguments)
        except Exception as error:  # which would keep the memory of the plan, were it kept
            kind, reason = type(error), str(error)
        results = self._walk(plan, arguments)  # says in which step it was
        if kind is not LimitError:  # a walk takes less memory
            warnings.warn(
                f"{self.model.source}: {kind.__name__} in the bound plan, though the plain walk "
                f"succeeds: {reason}; please report it",
                RuntimeWarning,
                stacklevel=1,
            )
        return results

    def _run_in_threads(
        self, output_names: Sequence[str] | None, feeds: Mapping[str, Any]
    ) -> list[Any]:
        """Parts of the batch side by side where the graph keeps samples apart; else BLAS has the
        threads."""
        key = signature(output_names, feeds)
        axes = self._bound.sample_axes(key) if key is not None and self._is_open else None
        if not axes:
            with blas_threads(self._threads if self._is_large else 1):
                return self._run_bound(output_names, feeds)
        size = len(next(iter(feeds.values())))
        edges = [size * i // self._threads for i in range(self._threads + 1)]
        parts = [
            {name: value[start:stop] for name, value in feeds.items()}
            for start, stop in itertools.pairwise(edges)
        ]
        with blas_threads(1):
            first, *rest = [(output_names, part, self._threads) for part in parts]
            others = [self._pool.submit(self._run_bound, *part) for part in rest]
            try:
                results = [self._run_bound(*first), *(o.result() for o in others)]
            except OnnxWalkError:  # the whole says what is wrong, or that nothing is
                return self._run_bound(output_names, feeds)
        return [
            np.concatenate(pieces, axis)
            for pieces, axis in zip(zip(*results, strict=True), axes, strict=True)
        ]

    @functools.cached_property
    def _is_open(self) -> bool:
        """Whether no input fixes the size of its first axis, the batch."""
        return not any(i.shape and isinstance(i.shape[0], int) for i in self.inputs)

    @functools.cached_property
    def _is_large(self) -> bool:
        """Whether products are large enough for BLAS to share them among threads."""
        tensors = self.graph.initializers.values()
        return sum(t.array.nbytes for t in tensors if isinstance(t, Tensor)) >= 1 << 23

    @property
    def _pool(self) -> Executor:
        from concurrent.futures import ThreadPoolExecutor  # it brings logging along

        process = os.getpid()  # a forked one has none of the threads
        if process not in self._pools:
            self._pools = {process: ThreadPoolExecutor(self._threads - 1, "onnxwalk")}
        return self._pools[process]

    def __call__(self, *values: Any) -> Any:
        """The outputs for the inputs in order: the array if there is one output, else a dict."""
        if len(values) != len(self.inputs):
            names = ", ".join(i.name for i in self.inputs)
            raise InvalidInputError(
                f"{len(values)} values for {len(self.inputs)} inputs ({names or 'none'})"
            )
        feeds = {info.name: value for info, value in zip(self.inputs, values, strict=True)}
        results = self.run(None, feeds)
        if len(results) == 1:
            return results[0]
        return {info.name: value for info, value in zip(self.outputs, results, strict=True)}

    def _repr_html_(self) -> str:
        from onnxwalk.interpreter.analysis.notebook import of_session  # of use in notebooks only

        return of_session(self)

    def _arguments(
        self,
        output_names: Sequence[str] | None,
        feeds: Mapping[str, Any],
        rewrites: Collection[str] | None = None,
    ) -> tuple[Plan, list[Any]]:
        if not isinstance(feeds, Mapping):
            raise InvalidInputError(
                f"feeds must be a dict of input names to arrays, not {type(feeds).__name__}"
            )
        if unknown := [name for name in feeds if name not in self._feedable]:
            raise InvalidInputError(
                f"no input is named {unknown[0]!r}{_suggestion(str(unknown[0]), self._feedable)}"
            )
        missing = [i for i in self.inputs if i.name not in feeds]
        if missing:
            raise InvalidInputError("missing: " + "; ".join(f"input {info}" for info in missing))
        if isinstance(output_names, str) or not isinstance(output_names, Iterable | None):
            raise InvalidInputError(f"output_names must be a list of names, not {output_names!r}")
        names = [o.name for o in self.outputs] if output_names is None else list(output_names)
        if others := [name for name in names if not isinstance(name, str)]:
            raise InvalidInputError(f"output_names must be a list of names, not of {others[0]!r}")
        symbols: dict[str, tuple[int, str]] = {}
        inputs = [name for name in self._feedable if name in feeds]
        arguments = [
            check_feed(name, self._feedable[name].type, feeds[name], symbols) for name in inputs
        ]
        if self._untyped:
            self._check_types(dict(zip(inputs, arguments, strict=True)))
        return self._plan_for(inputs, names, rewrites), arguments

    def _check_types(self, values: Mapping[str, Any]) -> None:
        """Inputs whose type the file leaves out are of the type that is fed; whether operators take
        that is looked at now. Raises InvalidInputError."""
        fed = {
            name: TensorType(_code(name, values[name].dtype))
            for name in self._untyped
            if isinstance(values.get(name), np.ndarray)
        }
        key = tuple(fed.items())
        if key in self._checked:
            return
        inputs = tuple(replace(v, type=fed.get(v.name, v.type)) for v in self.graph.inputs)
        problems = type_problems(replace(self.graph, inputs=inputs), self._context)
        if problem := next(problems, None):
            raise InvalidInputError(problem.text)
        self._checked.add(key)

    def _plan_for(
        self,
        inputs: Sequence[str],
        outputs: Sequence[str],
        rewrites: Collection[str] | None = None,
    ) -> Plan:
        """The plan of these inputs and outputs: made once, used by every run that asks the same."""
        rewrites = self._rewrites if rewrites is None else rewrites
        key = (tuple(inputs), tuple(outputs), tuple(rewrites))
        plan = self._plans.get(key)
        if plan is None:
            self._check_outputs(outputs)
            plan = build_plan(
                self.graph,
                self._context,
                inputs=inputs,
                outputs=outputs,
                rewrites=rewrites,
            )
            self._plans[key] = plan
        return plan

    def _check_outputs(self, names: Iterable[str]) -> None:
        known = {name for node in self.graph.nodes for name in node.outputs if name}
        known |= set(self._feedable) | set(self.graph.initializers)
        for name in names:
            if name not in known:
                raise InvalidInputError(
                    f"no value is named {name!r}{_suggestion(str(name), known)}"
                )


def _made_again(
    model: Model,
    rewrites: Collection[str],
    registry: Registry,
    rng: np.random.Generator,
    threads: int,
    limits: Limits | None,
) -> Session:
    return Session(model, rewrites, registry, copy.deepcopy(rng), threads, limits)


def _code(name: str, dtype: np.dtype) -> int:
    try:
        return element_type(dtype).code
    except ValueError:
        raise InvalidInputError(f"input '{name}' is {dtype}, which ONNX hasn't got") from None


def _info(value: ValueInfo) -> TensorInfo:
    kind = value.type
    if not isinstance(kind, TensorType):
        return TensorInfo(value.name, None, None, kind)
    try:
        return TensorInfo(value.name, kind.dtype, kind.shape, kind)
    except NotImplementedError:  # a type that needs ml_dtypes: reported where it is needed
        return TensorInfo(value.name, None, kind.shape, kind)


def _suggestion(name: str, known: Iterable[str]) -> str:
    import difflib  # for messages only

    names = sorted(known)
    if close := difflib.get_close_matches(name, names, 1):
        return f"; did you mean {close[0]!r}?"
    return f"; there are: {', '.join(names[:10])}{', …' if len(names) > 10 else ''}"


def _owned(results: list[Any], foreign: Sequence[Any]) -> list[Any]:
    """The results as the caller's own: what shares memory with feeds, constants or another result
    is copied, and NumPy scalars become arrays of rank 0."""
    taken = {id(owner(array)) for array in arrays_in(foreign)}

    def own(value: Any) -> Any:
        if isinstance(value, list):
            return [own(item) for item in value]
        if isinstance(value, dict):
            return dict(value)
        if not isinstance(value, np.ndarray):
            return value if value is None else np.asarray(value)
        base = owner(value)
        if id(base) in taken or not value.flags.writeable or not base.flags.owndata:
            return copied(value)
        taken.add(id(base))
        return value

    return [own(value) for value in results]
