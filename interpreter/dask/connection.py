"""A Dask scheduler, by its address or in this process, and whether its workers are like us."""

from __future__ import annotations

import contextlib
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
    distributed = require("distributed", "onnxwalk[dask]")
    cluster: Any = None
    try:
        if scheduler == "local":
            # no page of diagnostics: it would need a port
            cluster = distributed.LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address=None
            )
        with _reached(distributed, cluster or scheduler, scheduler) as client:
            check_workers(client)
            yield client
    finally:
        if cluster is not None:
            cluster.close()


@contextlib.contextmanager
def _reached(distributed: Any, where: Any, name: str) -> Iterator[Any]:
    try:
        client = distributed.Client(where, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InvalidInputError(
            f"--scheduler {name}: not reached ({reason}); is it running, and is the address that "
            "which it printed at its start, such as tcp://10.0.0.5:8786?"
        ) from None
    with client:
        yield client


def check_workers(client: Any) -> None:
    """Raise InvalidInputError if a worker has another version of a package, or none, than this
    process."""
    expected = versions()
    cloudpickle = require("cloudpickle")
    cloudpickle.register_pickle_by_value(probe)
    try:
        found = client.run(probe.installed, [*expected])
    finally:
        cloudpickle.unregister_pickle_by_value(probe)
    for address, has in found.items():
        for name, version in expected.items():
            if has[name] != version:
                raise InvalidInputError(differing(name, f"worker {address}", has[name], version))
