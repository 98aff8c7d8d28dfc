"""A Dask scheduler, by its address or in this process, and whether its workers are like us."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from onnxwalk.interpreter.batches.workers import can_fork, without_main
from onnxwalk.interpreter.dask import probe
from onnxwalk.interpreter.dask.reference import differing, versions
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.optional import require
from onnxwalk.interpreter.runtime.threads import BLAS_VARIABLES

#: seconds until a scheduler counts as unreachable
_PATIENCE = 10

#: what a process imports of which workers of our own are forked
_IMPORTED = ("distributed.nanny", "onnxwalk.interpreter.cli", "onnxwalk.interpreter.dask.parts")
#: of Dask's settings for these workers: no samples of their stacks, which nobody sees, and fewer
#: looks at whether the event loop is late; together they take 8% of a worker's time
_SETTINGS = {"distributed.worker.profile.enabled": False, "distributed.admin.tick.interval": "1s"}


def current_client() -> Any:
    """The ``distributed.Client`` that this process uses; ``None`` if it has none."""
    if "distributed" not in sys.modules:
        return None
    try:
        return require("distributed").default_client()
    except ValueError:
        return None


def begin_workers() -> None:
    """Begin to import what workers on this machine need, in a process of its own, while this one
    does something else: ``connect("local")`` forks them from it."""
    if not can_fork():
        return
    from multiprocessing import forkserver, resource_tracker

    added = {name: "1" for name in BLAS_VARIABLES if name not in os.environ}
    os.environ.update(added)  # BLAS reads them when NumPy is imported; a worker has one thread
    resource_tracker.ensure_running()  # which would unblock the signal
    try:
        with _held_back():  # a process inherits that: this one alone gets Ctrl-C, and ends them
            forkserver.set_forkserver_preload([*_IMPORTED])
            forkserver.ensure_running()
    finally:
        for name in added:
            del os.environ[name]


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """Ctrl-C counts at the end of the block, where the system can do that."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def connect(
    scheduler: str, workers: int | None = None, timeout: float | None = None
) -> Iterator[Any]:
    """A ``distributed.Client`` of a scheduler, by its address, or for "local" of a new one on this
    machine: with so many workers, processes of one thread; by default one for each core. One that
    doesn't answer for ``timeout`` seconds is replaced.

    Raises InvalidInputError if it isn't reached, or its workers aren't like this process.
    """
    distributed = require("distributed", "'onnxwalk[dask]'")
    with contextlib.ExitStack() as exits:
        cluster = (
            exits.enter_context(_cluster(distributed, workers, timeout))
            if scheduler == "local"
            else None
        )
        exits.enter_context(_quiet())
        with warnings.catch_warnings(record=True) as warned:  # Dask shows versions, too
            client = exits.enter_context(_reached(distributed, cluster or scheduler, scheduler))
        check_workers(client)
        for warning in warned:
            lines = str(warning.message).splitlines()
            text = " ".join(line for line in lines if line and not line.startswith("+"))  # a table
            warnings.warn(text, warning.category, stacklevel=2)
        if not client.nthreads():
            text = f"{scheduler}: it has no workers yet; nothing is done until some come"
            warnings.warn(text, stacklevel=2)
        yield client


@contextlib.contextmanager
def _cluster(distributed: Any, workers: int | None, timeout: float | None) -> Iterator[Any]:
    """A scheduler in this process, and workers."""
    settings: dict[str, Any] = dict(_SETTINGS)
    if timeout is not None:
        settings["distributed.scheduler.worker-ttl"] = f"{timeout:g}s"
    if can_fork():
        begin_workers()
        settings["distributed.worker.multiprocessing-method"] = "forkserver"
    with require("dask").config.set(settings), without_main():
        with _held_back():  # one that has half begun can't be ended in silence
            cluster = distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address=":0",  # no page of diagnostics: it would need a port
                silence_logs=logging.CRITICAL,
                env={**os.environ},  # that which they are forked from has the one it began with
            )
        with cluster:
            yield cluster


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Dask's own reports of lost connections: what they mean is said in one line."""
    names = ["distributed", *logging.root.manager.loggerDict]  # Dask sets the levels of some apart
    logs = [logging.getLogger(n) for n in names if n.partition(".")[0] == "distributed"]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


@contextlib.contextmanager
def _reached(distributed: Any, where: Any, name: str) -> Iterator[Any]:
    try:
        if where is name:
            _knock(name)
        client = distributed.Client(where, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InvalidInputError(
            f"--scheduler {name}: not reached ({reason or type(error).__name__}); is it running, "
            "and is it the address that it printed when it started, such as tcp://10.0.0.5:8786?"
        ) from None
    with client:
        yield client


def _knock(address: str) -> None:
    """Raise OSError or ValueError if nobody listens at an address: a client would try for long."""
    host, port = require("distributed.comm").get_address_host_port(address)
    socket.create_connection((host, port), _PATIENCE).close()


def check_workers(client: Any) -> None:
    """Raise InvalidInputError if a worker has another version of a package, or none, than this
    process."""
    expected = versions()
    cloudpickle = require("cloudpickle")
    cloudpickle.register_pickle_by_value(probe)
    try:
        found = client.run(probe.installed, [*expected], on_error="return")
    finally:
        cloudpickle.unregister_pickle_by_value(probe)
    for address, has in found.items():
        if isinstance(has, OSError):  # it was lost meanwhile
            continue
        if isinstance(has, Exception):
            raise has
        for name, version in expected.items():
            if has[name] != version:
                raise InvalidInputError(differing(name, f"worker {address}", has[name], version))
