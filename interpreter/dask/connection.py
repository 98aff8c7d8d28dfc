"""A Dask scheduler, by its address or in this process, and whether its workers are like us."""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
from collections.abc import Iterator
from typing import Any

from onnxwalk.interpreter.dask import probe
from onnxwalk.interpreter.dask.reference import differing, versions
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.optional import require

#: seconds until a scheduler counts as unreachable
_PATIENCE = 10


def current_client() -> Any:
    """The ``distributed.Client`` that this process uses; ``None`` if it has none."""
    if "distributed" not in sys.modules:
        return None
    try:
        return require("distributed").default_client()
    except ValueError:
        return None


@contextlib.contextmanager
def connect(scheduler: str, workers: int | None = None) -> Iterator[Any]:
    """A ``distributed.Client`` of a scheduler, by its address, or for "local" of a new one on this
    machine: with so many workers, processes of one thread; by default one for each core.

    Raises InvalidInputError if it isn't reached, or its workers aren't like this process.
    """
    distributed = require("distributed", "'onnxwalk[dask]'")
    cluster: Any = None
    try:
        if scheduler == "local":
            # no page of diagnostics: it would need a port
            cluster = distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address=":0",
                silence_logs=logging.CRITICAL,
            )
        with _quiet(), _reached(distributed, cluster or scheduler, scheduler) as client:
            check_workers(client)
            yield client
    finally:
        if cluster is not None:
            cluster.close()


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
