"""``load`` and ``Session``: the public face."""

from __future__ import annotations

import copy
import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias, overload

import numpy as np

from onnxwalk.interpreter.budget import Budget, use_budget
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
from onnxwalk.interpreter.ir.model import Graph, Model, TensorInfo
from onnxwalk.interpreter.limits import Limits
from onnxwalk.interpreter.reader import read_model
from onnxwalk.interpreter.reader.source import release_pages
from onnxwalk.interpreter.runtime.estimate import Estimate, estimate
from onnxwalk.interpreter.runtime.feeds import Inputs, split_arguments
from onnxwalk.interpreter.runtime.runner import Runner
from onnxwalk.interpreter.runtime.threads import check_threads
from onnxwalk.interpreter.runtime.trace import Trace
from onnxwalk.ops import Registry
from onnxwalk.ops import registry as builtin_operators
from onnxwalk.ops.shared.numpy_state import computing

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
) -> Session:
    """Read and prepare a model.

    ``model``: a path (str or Path), bytes, a binary file object, or an ``onnx.ModelProto``.

    ``rewrites``: which nodes are replaced by fewer or faster ones: all that the rewrites find
    (True, the default), none (False), or what some of them find, named out of
    ``onnxwalk.REWRITES``.

    ``executor``: how nodes are run. "bound", the default: the first run with inputs of new shapes
    plans memory and calls for these shapes, and later runs only make the calls. "walk": each run
    calls the plain function of one node after the other, in less memory.

    ``optimize``: False is short for ``rewrites=False, executor="walk"``, which runs the file as it
    is written; True for the defaults.

    ``registry``: operators of your own, ``onnxwalk.Registry(parent=onnxwalk.registry)``.

    ``seed``: of the generator that random operators draw from.

    ``threads``: how many a run may use (1). Parts of a batch are computed side by side where the
    graph treats samples one by one; otherwise BLAS has the threads. Needs threadpoolctl, and the
    executor "bound".

    ``limits``: what loading, and each run, may use at most; ``None`` for no limits.

    Raises InvalidModelError, UnsupportedModelError (with everything that isn't supported),
    InvalidInputError (``model`` is no model at all, or can't be read; arguments that don't fit) or
    LimitError.
    """
    if not isinstance(limits, Limits | None):
        raise InvalidInputError(f"limits must be Limits(…) or None, not {limits!r}")
    if not isinstance(registry, Registry | None):
        raise InvalidInputError(f"registry must be an onnxwalk.Registry or None, not {registry!r}")
    if seed is not None and not (isinstance(seed, int | np.integer) and seed >= 0):
        raise InvalidInputError(f"seed must be a whole number from 0 on or None, not {seed!r}")
    names, executor = _how(optimize, rewrites, executor)
    try:
        threads = check_threads(threads)
        if threads > 1 and executor == "walk":
            raise InvalidInputError(f"threads={threads} needs the executor 'bound', not 'walk'")
        with use_budget(None if limits is None else Budget(limits)), computing():
            read = read_model(model)
            try:
                return Session(
                    read,
                    rewrites=names,
                    executor=executor,
                    registry=registry or builtin_operators,
                    seed=seed,
                    threads=threads,
                    limits=limits,
                )
            except LimitError as error:
                if error.is_located:
                    raise
                raise LimitError(f"{read.source}: {error}") from None
    except OnnxWalkError:
        raise
    except Exception as error:
        raise wrap_error(error, "load") from error


def _how(optimize: Any, rewrites: Any, executor: Any) -> tuple[tuple[str, ...], Executor]:
    """The rewrites and the executor that ``load`` was asked for. Raises InvalidInputError."""
    if optimize is not None:
        if not isinstance(optimize, bool):
            raise InvalidInputError(
                f"optimize must be True or False, not {optimize!r}; names of rewrites are given as "
                "rewrites=[…]"
            )
        if rewrites is not None or executor is not None:
            raise InvalidInputError(
                f"optimize={optimize} is short for both rewrites= and executor=: give either it or "
                "these"
            )
        rewrites, executor = optimize, "bound" if optimize else "walk"
    if executor not in ("bound", "walk", None):
        raise InvalidInputError(f"executor must be 'bound' or 'walk', not {executor!r}")
    if isinstance(rewrites, bool | None):
        names = () if rewrites is False else REWRITES
    elif isinstance(rewrites, str) or not isinstance(rewrites, Collection):
        raise InvalidInputError(f"rewrites must be True, False or a list, not {rewrites!r}")
    elif unknown := [name for name in rewrites if name not in REWRITES]:
        known = suggest(str(unknown[0]), REWRITES)
        raise InvalidInputError(f"no such rewrite: {unknown[0]!r}{known}")
    else:
        names = tuple(rewrites)
    return names, executor or "bound"


class Session:
    """A prepared model, as ``load`` returns it.

    Several threads may run it at once; what it returns is the caller's. It can be copied and
    pickled; a registry of your own must then be a variable of the module that registers its
    operators.
    """

    #: the model as the file has it
    model: Model
    #: the model's graph, free of function calls
    graph: Graph
    #: what is to be fed
    inputs: list[TensorInfo]
    #: initializers that a run may override by feeding them
    overridable_initializers: list[TensorInfo]
    outputs: list[TensorInfo]
    #: what each run may use
    limits: Limits | None

    def __init__(
        self,
        model: Model,
        *,
        rewrites: Collection[str] = REWRITES,
        executor: Executor = "bound",
        registry: Registry = builtin_operators,
        seed: int | np.random.Generator | None = None,
        threads: int = 1,
        limits: Limits | None = None,
    ) -> None:
        self.model, self.limits = model, limits
        self._options: dict[str, Any] = {
            "rewrites": rewrites,
            "executor": executor,
            "registry": registry,
            "threads": threads,
            "limits": limits,
        }
        # Before IR version 3 a file could leave the operator set out; it then meant the first.
        context = Context(registry, model.opsets or {"": 1}, np.random.default_rng(seed))
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
        release_pages(model.maps)

    def __reduce__(self) -> tuple[Any, ...]:
        """As what it was made of, and the state of its random numbers: plans are made anew."""
        seed = copy.deepcopy(self._program.context.rng)
        model = replace(self.model, maps=())
        return functools.partial(Session, model, seed=seed, **self._options), ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Session:
        return copy.copy(self)  # nothing that they share is ever changed

    @overload
    def run(self, feeds: Mapping[str, Any], /) -> list[Any]: ...

    @overload
    def run(
        self, output_names: str | Sequence[str] | None, feeds: Mapping[str, Any]
    ) -> list[Any]: ...

    def run(self, output_names: Any, feeds: Any = None) -> list[Any]:
        """The named values, or all outputs for ``None``, given a value for each input.

        ``run(feeds)`` gives all outputs, ``run("y", feeds)`` a list of one. Any value of the graph
        can be asked for by its name. Tensors are arrays (strings: object arrays of ``str``),
        sequences are lists, empty optionals are ``None``, maps are dicts. Other than arrays of the
        right dtype, lists and Python numbers are accepted if they convert without loss of kind.

        Raises InvalidInputError for feeds and names that don't fit, OperatorError when an operator
        refuses its inputs, LimitError when it would need more than the session's limits.
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
        """The outputs for inputs in order or by name, as a Python function takes its arguments:
        the array if there is one output, else a dict. Raises as ``run``."""
        results = self.run(None, self._inputs.by_name(values, named))
        if len(results) == 1:
            return results[0]
        return {info.name: value for info, value in zip(self.outputs, results, strict=True)}

    def trace(
        self, feeds: Mapping[str, Any], *, optimized: bool = False, iterations: float = 0
    ) -> Trace:
        """The values in between, node by node: an iterable of ``Event(node, inputs, outputs,
        seconds, operator, path, runs)``, which computes as it is read, and keeps only what later
        nodes need.

        The nodes are those of the file; with ``optimized`` those that the rewrites made of them.
        ``iterations``: how many of each If, Loop or Scan are walked through too (``math.inf``:
        all). What is inside comes before the node that it is inside of; ``path`` says where.

        Raises InvalidInputError for feeds that don't fit; its iteration raises OperatorError when
        an operator refuses its inputs.
        """
        values = self._inputs.check(feeds)
        plan = self._program.plan(tuple(values), None, as_written=not optimized)
        return Trace(plan, list(values.values()), self.limits, iterations)

    def estimate(self, shapes: Mapping[str, Sequence[int]]) -> Estimate:
        """What a run on inputs of these shapes will cost at most: ``memory`` in bytes, beyond the
        weights and the inputs, and ``seconds`` of one slow core. Inputs whose shape is fixed may be
        left out. The model is run at small sizes of the open dimensions.

        Raises InvalidInputError for shapes that don't fit, and where no estimate is possible.
        """
        return estimate(self.inputs, functools.partial(self._runner.prepare, None), shapes)

    def __repr__(self) -> str:
        return as_text(f"Session: {self.model.source}", self.model.graph.summary())

    def _repr_html_(self) -> str:
        return as_html(f"Session: {self.model.source}", (), self.model.graph.summary())
