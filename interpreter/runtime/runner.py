"""Runs a model: with bound plans, as a walk, or with parts of the batch on several threads.

A run with a plan that is bound already is ``run_bound`` -> ``BoundPlans.run`` -> ``Bound``. Only if
there is none for the shapes of the feeds, these are checked and a plan is bound.
"""

from __future__ import annotations

import contextvars
import functools
import itertools
import os
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from onnxwalk.interpreter.budget import Budget, copy_output, memory_owner, use_budget
from onnxwalk.interpreter.errors import OnnxWalkError, RunStopped
from onnxwalk.interpreter.ir.model import Graph, Tensor
from onnxwalk.interpreter.ir.plan import Plan
from onnxwalk.interpreter.limits import Limits
from onnxwalk.interpreter.runtime import fallback
from onnxwalk.interpreter.runtime.batch_axis import sample_axes
from onnxwalk.interpreter.runtime.bound import Bound
from onnxwalk.interpreter.runtime.cache import BoundPlans, signature
from onnxwalk.interpreter.runtime.feeds import Inputs, check_output_names
from onnxwalk.interpreter.runtime.threads import (
    blas_threads,
    can_set_threads,
    cores,
    free_cores,
    say_that_no_thread_starts,
)
from onnxwalk.interpreter.runtime.walk import execute
from onnxwalk.ops.contract.cost import arrays_in
from onnxwalk.ops.shared.numpy_state import computing

if TYPE_CHECKING:
    from concurrent.futures import Executor

Names: TypeAlias = Sequence[str] | None
Feeds: TypeAlias = Mapping[str, Any]


class Planner(Protocol):
    """The source of plans: the compiler's ``Program``."""

    graph: Graph

    def plan(self, inputs: Sequence[str], outputs: Sequence[str] | None) -> Plan: ...


class Runner:
    """Runs of one model; several threads may run it at once."""

    def __init__(
        self,
        program: Planner,
        inputs: Inputs,
        *,
        source: str,
        executor: str,
        threads: int,
        limits: Limits | None,
    ) -> None:
        """``source``: the model's name in messages. ``executor``: "bound" or "walk". ``limits``:
        of each run."""
        self._executor = executor
        self._program, self._inputs, self._source = program, inputs, source
        self._threads, self._limits = threads, limits
        self._bound = BoundPlans(limits)
        self._pools: dict[int, Executor] = {}

    def prepare(self, output_names: Names, feeds: Feeds) -> tuple[Plan, list[Any]]:
        """The plan that computes the outputs, and its arguments. Raises InvalidInputError."""
        plan, values = self._prepare(output_names, feeds)
        return plan, list(values.values())

    def bind(self, feeds: Feeds) -> tuple[Bound, list[Any]] | None:
        """A new plan that is bound to the shapes of these feeds, and its arguments. ``None`` if
        runs are walks: with the executor "walk", for values other than arrays of numbers, and if
        binding fails.

        Raises InvalidInputError for invalid feeds.
        """
        plan, values = self._prepare(None, feeds)
        if self._executor == "walk" or signature(None, values) is None:
            return None
        arguments = list(values.values())
        try:
            with computing():
                bound = Bound(plan, arguments)
        except Exception as error:  # a walk has the message, or succeeds
            fallback.note(error)
        else:
            bound.outputs()
            return bound, arguments
        if fallback.noted:
            self._compare_with_walk(plan, arguments)
        return None

    def _compare_with_walk(self, plan: Plan, arguments: list[Any]) -> None:
        """Report that binding failed if a walk doesn't."""
        try:
            with computing():
                execute(plan, arguments)
        except Exception:  # its message comes where it is run
            fallback.forget()
        else:
            fallback.report(self._source)

    def sample_axes(self, feeds: Feeds) -> list[int] | None:
        """The axis of each output along which the rows of the feeds lie, if each row's results
        depend on that row alone, for any number of rows; else ``None``. Raises InvalidInputError
        for invalid feeds."""
        with use_budget(self._budget(feeds)):
            bound = self.bind(feeds) if self._is_open else None
            return None if bound is None else sample_axes(bound[0])

    def choose_method(self) -> Callable[[Names, Feeds], list[Any]]:
        """The method below that runs are carried out by."""
        if self._executor == "walk":
            return self.run_walk
        return self.run_in_threads if self._threads > 1 else self.run_in_one_thread

    def run_walk(self, output_names: Names, feeds: Feeds) -> list[Any]:
        """Step by step."""
        with use_budget(self._budget(feeds)), computing():
            return _walk(*self.prepare(output_names, feeds))

    def run_bound(self, output_names: Names, feeds: Feeds, parts: int = 1) -> list[Any]:
        """With a plan for these shapes, which is bound now if there is none. ``parts``: the number
        of parts of the batch of which this is one."""
        key, begun = signature(output_names, feeds), time.monotonic()
        try:
            results = None if key is None else self._bound.run(key, feeds)
            if results is None:
                with use_budget(self._budget(feeds, parts, begun)), computing():
                    results = self._run_unbound(output_names, feeds, key)
        except BaseException:
            fallback.forget()
            raise
        if fallback.noted:
            fallback.report(self._source)
        return results

    def _run_unbound(self, output_names: Names, feeds: Feeds, key: Hashable | None) -> list[Any]:
        plan, values = self._prepare(output_names, feeds)
        arguments = list(values.values())
        if key is None:  # lists, Python's numbers, strings …
            key = signature(output_names, values)
            if key is None:
                return _walk(plan, arguments)
            results = self._bound.run(key, values)
            if results is not None:
                return results
        try:
            return self._bound.run_new(key, plan, tuple(values), arguments)
        except RunStopped:
            raise
        except Exception as error:
            fallback.note(error)
        return _walk(plan, arguments)  # whose error names the step

    def run_in_one_thread(self, output_names: Names, feeds: Feeds) -> list[Any]:
        """With a bound plan, while BLAS has one thread if the session is to have one, and else no
        more than there are free cores: it waits for all of its threads, and for one that another
        process keeps from its core as long as hundreds of products take."""
        most = self._threads or free_cores()
        if most >= cores() or not can_set_threads():
            return self.run_bound(output_names, feeds)
        with blas_threads(most):
            return self.run_bound(output_names, feeds)

    def run_in_threads(self, output_names: Names, feeds: Feeds) -> list[Any]:
        """With parts of the batch in parallel if the graph treats samples independently; else BLAS
        uses the threads."""
        key = signature(output_names, feeds)
        axes = self._bound.axes_to_split(key) if key is not None and self._is_open else None
        if not axes:
            with blas_threads(self._threads if self._is_large else 1):
                return self.run_bound(output_names, feeds)
        size = len(next(iter(feeds.values())))
        edges = [size * i // self._threads for i in range(self._threads + 1)]
        parts = [
            {name: value[start:stop] for name, value in feeds.items()}
            for start, stop in itertools.pairwise(edges)
        ]
        with blas_threads(1):
            first, *rest = [(output_names, part, self._threads) for part in parts]
            try:
                others = [
                    self._pool.submit(
                        contextvars.copy_context().run, functools.partial(self.run_bound, *part)
                    )
                    for part in rest
                ]
            except RuntimeError:  # the system has no more threads for this process
                self._pools.clear()
                say_that_no_thread_starts()
                return self.run_bound(output_names, feeds)
            try:
                results = [self.run_bound(*first), *(o.result() for o in others)]
            except RunStopped:
                raise
            except OnnxWalkError:  # a run of the entire batch has the message, or succeeds
                return self.run_bound(output_names, feeds)
        return [
            np.concatenate(pieces, axis)
            for pieces, axis in zip(zip(*results, strict=True), axes, strict=True)
        ]

    def _prepare(self, output_names: Names, feeds: Feeds) -> tuple[Plan, dict[str, Any]]:
        values = self._inputs.check(feeds)
        return self._program.plan(tuple(values), check_output_names(output_names)), values

    def _budget(self, feeds: Any, parts: int = 1, begun: float | None = None) -> Budget | None:
        """The budget of a run; the plans that are kept use some of it already."""
        if self._limits is None:
            return None
        foreign = feeds.values() if isinstance(feeds, Mapping) else ()
        held = self._bound.nbytes
        return Budget(self._limits, foreign=foreign, held=held, parts=parts, begun=begun)

    @functools.cached_property
    def _is_open(self) -> bool:
        """Whether the first axis, the batch, is open in all inputs."""
        return not any(i.shape and isinstance(i.shape[0], int) for i in self._inputs.required)

    @functools.cached_property
    def _is_large(self) -> bool:
        """Whether products are large enough for BLAS to use several threads."""
        tensors = self._program.graph.initializers.values()
        return sum(t.array.nbytes for t in tensors if isinstance(t, Tensor)) >= 1 << 23

    @property
    def _pool(self) -> Executor:
        from concurrent.futures import ThreadPoolExecutor  # it imports logging

        process = os.getpid()  # a forked process has no threads
        if process not in self._pools:
            self._pools = {process: ThreadPoolExecutor(self._threads - 1, "onnxwalk")}
        return self._pools[process]


def _walk(plan: Plan, arguments: list[Any]) -> list[Any]:
    """The outputs of a walk, owned by the caller: those that share memory with feeds, constants or
    another output are copied, and NumPy scalars become arrays of rank 0."""
    results = execute(plan, arguments)
    owners = {id(memory_owner(array)) for array in arrays_in([*arguments, *plan.template])}

    def own(value: Any) -> Any:
        if isinstance(value, list):
            return [own(item) for item in value]
        if isinstance(value, dict):
            return dict(value)
        if not isinstance(value, np.ndarray):
            return value if value is None else np.asarray(value)
        base = memory_owner(value)
        if id(base) in owners or not value.flags.writeable or not base.flags.owndata:
            return copy_output(value)
        owners.add(id(base))
        return value

    return [own(value) for value in results]
