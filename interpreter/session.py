"""``load`` and ``Session``: the public face."""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np

from onnxwalk.interpreter.budget import Budget, use_budget
from onnxwalk.interpreter.compiler.assume import assume
from onnxwalk.interpreter.compiler.context import Context
from onnxwalk.interpreter.compiler.passes import REWRITES
from onnxwalk.interpreter.compiler.program import Program
from onnxwalk.interpreter.display import as_html, as_text
from onnxwalk.interpreter.errors import (
    InvalidInputError,
    LimitError,
    OnnxWalkError,
    suggest,
    wrap_error,
)
from onnxwalk.interpreter.ir.model import Graph, Model, Shape, Tensor, TensorInfo, ValueInfo
from onnxwalk.interpreter.limits import Limits
from onnxwalk.interpreter.reader import read_model
from onnxwalk.interpreter.reader.source import release_pages
from onnxwalk.interpreter.runtime.feeds import Inputs, split_arguments
from onnxwalk.interpreter.runtime.runner import Runner
from onnxwalk.interpreter.runtime.threads import check_threads
from onnxwalk.ops import Registry
from onnxwalk.ops import registry as builtin_operators
from onnxwalk.ops.shared.numpy_state import computing

if TYPE_CHECKING:
    import onnxwalk
    from onnxwalk.interpreter.gradients import Gradients
    from onnxwalk.interpreter.runtime.estimate import Estimate
    from onnxwalk.interpreter.runtime.trace import Trace

_DEFAULT_LIMITS = Limits()

Executor: TypeAlias = Literal["bound", "walk"]


def load(
    model: Any,
    *,
    optimize: bool | None = None,
    rewrites: bool | Collection[str] | None = None,
    executor: Executor | None = None,
    registry: Registry | None = None,
    seed: int | None = None,
    threads: int | None = None,
    limits: Limits | None = _DEFAULT_LIMITS,
    strict: bool = False,
) -> Session:
    """Read and prepare a model.

    ``model``: a path (str or Path), bytes, a binary file object, or an ``onnx.ModelProto``.

    ``rewrites``: which rewrites are applied, each of which replaces nodes by fewer or faster ones:
    all (True, the default), none (False), or a list of names from ``onnxwalk.REWRITES``.

    ``executor``: how nodes are run. "bound", the default: the first run with inputs of new shapes
    plans memory and calls for these shapes, and later runs only make the calls. "walk": each run
    calls the plain function of one node after the other, which uses less memory.

    ``optimize``: False is short for ``rewrites=False, executor="walk"``, to run the file's nodes
    one by one; True is short for the defaults.

    ``registry``: operators of your own, ``onnxwalk.Registry(parent=onnxwalk.registry)``.

    ``seed``: the seed of the random operators.

    ``threads``: how many threads a run may use. Parts of a batch run in parallel if the graph
    treats samples independently; otherwise BLAS uses the threads. More than one need threadpoolctl
    and the executor "bound". ``None``, the default: BLAS has its own for large products, but, where
    threadpoolctl is installed, no more than there are free cores.

    ``limits``: what loading, and each run, may use at most; ``None`` for no limits.

    ``strict``: refuse files that break ONNX's rules where they have one reading all the same: nodes
    out of order, and operators of a domain that isn't imported. By default there is one warning
    that says what was assumed.

    Raises InvalidModelError, UnsupportedModelError (listing everything that isn't supported),
    InvalidInputError (a model of the wrong type or that can't be read, or invalid arguments) or
    LimitError.
    """
    if not isinstance(limits, Limits | None):
        raise InvalidInputError(f"limits must be Limits(…) or None, not {limits!r}")
    if not isinstance(registry, Registry | None):
        raise InvalidInputError(f"registry must be an onnxwalk.Registry or None, not {registry!r}")
    if seed is not None and not (isinstance(seed, int | np.integer) and seed >= 0):
        raise InvalidInputError(f"seed must be a non-negative integer or None, not {seed!r}")
    names, executor = _resolve_options(optimize, rewrites, executor)
    try:
        threads = check_threads(threads)
        if threads > 1 and executor == "walk":
            raise InvalidInputError(f"threads={threads} requires executor='bound', not 'walk'")
        with use_budget(None if limits is None else Budget(limits)), computing():
            model = read_model(model)
            try:
                return Session(
                    model,
                    rewrites=names,
                    executor=executor,
                    registry=registry or builtin_operators,
                    seed=seed,
                    threads=threads,
                    limits=limits,
                    strict=strict,
                )
            except LimitError as error:
                if error.is_located:
                    raise
                raise LimitError(f"{model.source}: {error}") from None
    except OnnxWalkError:
        raise
    except Exception as error:
        raise wrap_error(error, "load") from error


def _resolve_options(
    optimize: Any, rewrites: Any, executor: Any
) -> tuple[tuple[str, ...], Executor]:
    """The rewrites and the executor from the arguments of ``load``. Raises InvalidInputError."""
    if optimize is not None:
        if not isinstance(optimize, bool):
            raise InvalidInputError(
                f"optimize must be True or False, not {optimize!r}; to choose rewrites pass "
                "rewrites=[…]"
            )
        if rewrites is not None or executor is not None:
            raise InvalidInputError(
                f"optimize={optimize} is short for both rewrites= and executor=: pass either "
                "optimize or these"
            )
        rewrites, executor = optimize, "bound" if optimize else "walk"
    if executor not in ("bound", "walk", None):
        raise InvalidInputError(f"executor must be 'bound' or 'walk', not {executor!r}")
    if isinstance(rewrites, bool | None):
        names = () if rewrites is False else REWRITES
    elif isinstance(rewrites, str) or not isinstance(rewrites, Collection):
        raise InvalidInputError(f"rewrites must be True, False or a list, not {rewrites!r}")
    elif unknown := [name for name in rewrites if name not in REWRITES]:
        hint = suggest(str(unknown[0]), REWRITES)
        raise InvalidInputError(f"unknown rewrite: {unknown[0]!r}{hint}")
    else:
        names = tuple(rewrites)
    return names, executor or "bound"


class Session:
    """A prepared model, as ``load`` returns it.

    Several threads may run it at once, and the arrays that it returns belong to the caller. It can
    be copied and pickled; a registry of your own must then be a variable of the module that
    registers its operators.
    """

    #: the model as stored in the file
    model: Model
    #: the model's graph, with calls of its functions expanded
    graph: Graph
    #: the inputs that a run needs
    inputs: list[TensorInfo]
    #: initializers that a run may override by feeding them
    overridable_initializers: list[TensorInfo]
    outputs: list[TensorInfo]
    #: the limits of each run
    limits: Limits | None

    def __init__(
        self,
        model: Model,
        *,
        rewrites: Collection[str] = REWRITES,
        executor: Executor = "bound",
        registry: Registry = builtin_operators,
        seed: int | np.random.Generator | None = None,
        threads: int = 0,
        limits: Limits | None = None,
        strict: bool = False,
    ) -> None:
        self.model, self.limits = model, limits
        self._options: dict[str, Any] = {
            "rewrites": rewrites,
            "executor": executor,
            "registry": registry,
            "threads": threads,
            "limits": limits,
            "strict": strict,
        }
        if not strict:
            model, assumptions = assume(model)
            if assumptions:
                text = "; ".join(assumptions)
                warnings.warn(f"{model.source}: {text} (strict=True refuses that)", stacklevel=3)
        # Before IR version 3 a file could omit the operator set, which meant the first one.
        release = functools.partial(release_pages, model.maps)
        context = Context(registry, model.opsets or {"": 1}, seed, release)
        self._program = Program(model, context, rewrites, bind=executor == "bound")
        self.graph = self._program.graph
        self._inputs = Inputs(self.graph, self._program.check_types)
        self.inputs, self.overridable_initializers = self._inputs.required, self._inputs.overridable
        self.outputs = [TensorInfo.of(value) for value in self.graph.outputs]
        self._runner = Runner(
            self._program,
            self._inputs,
            source=model.source,
            executor=executor,
            threads=threads,
            limits=limits,
        )
        self._run = self._runner.choose_method()
        self._program.plan([info.name for info in self.inputs], None)
        release()

    def __reduce__(self) -> tuple[Any, ...]:
        """The model, the options and the state of the random generator; plans are built again."""
        seed = copy.deepcopy(self._program.context.rng)
        model = replace(self.model, maps=(), files=())
        return functools.partial(Session, model, seed=seed, **self._options), ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Session:
        return copy.copy(self)  # what they share is never changed

    def with_weights(self, arrays: Mapping[str, np.ndarray]) -> Session:
        """A session of the same model with other values of some initializers, by their names: of
        the same shapes and dtypes. The arrays are used as they are, not copied."""
        graph = self.model.graph
        changed = {
            name: replace(tensor, array=arrays[name])
            for name, tensor in graph.initializers.items()
            if name in arrays and isinstance(tensor, Tensor)
        }
        graph = replace(graph, initializers={**graph.initializers, **changed})
        model = replace(self.model, graph=graph)
        return Session(model, seed=copy.deepcopy(self._program.context.rng), **self._options)

    @overload
    def run(self, feeds: Mapping[str, Any], /) -> list[Any]: ...

    @overload
    def run(
        self, output_names: str | Sequence[str] | None, feeds: Mapping[str, Any]
    ) -> list[Any]: ...

    def run(self, output_names: Any, feeds: Any = None) -> list[Any]:
        """Run the model and return a list of the named values; ``None``: of all outputs.

        ``feeds``: a value for each input, by name. ``run(feeds)`` returns all outputs,
        ``run("y", feeds)`` a list of one. Any value of the graph can be requested by its name.
        Tensors are arrays (strings: object arrays of ``str``), sequences are lists, empty optionals
        are ``None``, maps are dicts. In place of arrays of the declared dtype, lists and Python
        numbers are accepted if NumPy can cast them ("same_kind").

        Raises InvalidInputError for invalid feeds and names, OperatorError if an operator rejects
        its inputs, LimitError if the run would exceed the session's limits.
        """
        try:
            if feeds is None or type(output_names) is str:
                output_names, feeds = split_arguments(output_names, feeds)
            return self._run(output_names, feeds)
        except OnnxWalkError:
            raise
        except Exception as error:
            raise wrap_error(error, self.model.source) from error

    def __call__(self, /, *values: Any, **named: Any) -> Any:
        """Run on inputs passed by position or by name, as arguments of a Python function. Returns
        the value if there is one output, else a dict of all by name. Raises as ``run``."""
        results = self.run(None, self._inputs.by_name(values, named))
        if len(results) == 1:
            return results[0]
        return {info.name: value for info, value in zip(self.outputs, results, strict=True)}

    def infer_output_shapes(self, inputs: Sequence[ValueInfo] | None = None) -> list[Shape | None]:
        """The shape of each output as far as it follows from those of the inputs, without a run:
        numbers, symbols of the inputs, ``None`` for other sizes; ``None`` as a whole if not even
        the rank is known. ``inputs``: the graph's, with other shapes than the file declares."""
        return self._program.output_shapes(self.graph.inputs if inputs is None else inputs)

    def gradients(
        self,
        of: str,
        with_respect_to: Sequence[str],
        feeds: Mapping[str, Any],
        *,
        seed: Any = None,
    ) -> list[np.ndarray]:
        """The gradient of one value with respect to others: arrays of their shapes and dtypes, in
        the order of ``with_respect_to``.

        ``of`` and ``with_respect_to`` are names of inputs, initializers, outputs or any values in
        between, of floating-point numbers. ``feeds``: as for ``run``. ``of`` is a scalar, or
        ``seed`` is an array of its shape and dtype: then the gradient is that of the sum of their
        product.

        Raises InvalidInputError for unknown names, values of other types, or values that ``of``
        doesn't depend on; UnsupportedModelError naming each operator in between that has no rule;
        and what ``run`` raises.
        """
        try:
            if (
                isinstance(with_respect_to, str)
                or not isinstance(with_respect_to, Iterable)
                or not all(isinstance(name, str) for name in (of, *with_respect_to))
            ):
                raise InvalidInputError(
                    "gradients(of, with_respect_to, feeds) takes the name of a value and a list of "
                    f"names, not {of!r} and {with_respect_to!r}"
                )
            return self._gradients.run(of, tuple(with_respect_to), feeds, seed)
        except OnnxWalkError:
            raise
        except Exception as error:
            raise wrap_error(error, self.model.source) from error

    @functools.cached_property
    def _gradients(self) -> Gradients:
        from onnxwalk.interpreter.gradients import Gradients  # where it is needed

        options = {name: self._options[name] for name in ("executor", "threads", "limits")}
        return Gradients(self._program, source=self.model.source, **options)

    def trace(
        self, feeds: Mapping[str, Any], *, optimized: bool = False, iterations: float = 0
    ) -> Trace:
        """The intermediate values, node by node: an iterable of ``Event(node, inputs, outputs,
        seconds, operator, path, runs)``. It computes while it is read, and keeps only the values
        that later nodes use.

        The nodes are those of the file; with ``optimized`` those after the rewrites.
        ``iterations``: of each If, Loop or Scan, the number of iterations to trace as well
        (``math.inf``: all). Nodes of a subgraph come before the node that runs it; their ``path``
        says where they are.

        Raises InvalidInputError for invalid feeds; the iteration raises OperatorError if an
        operator rejects its inputs.
        """
        from onnxwalk.interpreter.runtime.trace import Trace  # where it is needed

        values = self._inputs.check(feeds)
        plan = self._program.plan(tuple(values), None, as_written=not optimized)
        return Trace(plan, list(values.values()), self.limits, iterations)

    def explore(self, feeds: Mapping[str, Any], **options: Any) -> onnxwalk.Page:
        """A page that shows the model and its run on ``feeds``: ``onnxwalk.explore(session, feeds,
        …)``, which has the options. Notebooks show it; ``.save(path)`` writes it, ``.open()`` opens
        it in a browser."""
        import onnxwalk  # what the page is made of stands above sessions

        return onnxwalk.explore(self, feeds, **options)

    def estimate(self, shapes: Mapping[str, Sequence[int]]) -> Estimate:
        """What a run on inputs of these shapes will cost at most: ``memory`` in bytes, beyond the
        weights and the inputs, and ``seconds`` on one slow core. Inputs of a fixed shape may be
        omitted. To estimate, the model is run with small sizes of the open dimensions.

        Raises InvalidInputError for invalid shapes, and where no estimate is possible.
        """
        from onnxwalk.interpreter.runtime.estimate import estimate  # where it is needed

        return estimate(self.inputs, functools.partial(self._runner.prepare, None), shapes)

    def sample_axes(self, feeds: Mapping[str, Any]) -> list[int] | None:
        """The axis of each output along which the samples lie, if the model keeps samples apart;
        else, or if that can't be told, ``None``. Then rows that came apart can be run together, and
        each row's results are what it would have had alone, within rounding.

        ``feeds``: at least two rows, as for ``run``, of the shapes that are meant; it is run once.

        Raises InvalidInputError for invalid feeds.
        """
        return self._runner.sample_axes(feeds)

    def __repr__(self) -> str:
        return as_text(f"Session: {self.model.source}", self.model.graph.summary())

    def _repr_html_(self) -> str:
        return as_html(f"Session: {self.model.source}", (), self.model.graph.summary())


def compiled(session: Session) -> tuple[Program, dict[str, Any]]:
    """The checked model that a session's plans are made of, and the options of ``load``: for what
    is built on sessions, such as training."""
    return session._program, dict(session._options)
