"""A model over the rows of Dask arrays, bags and data frames; nothing is computed until asked."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from onnxwalk.interpreter.batches.sizes import SECONDS_PER_DISPATCH, rows_per_part
from onnxwalk.interpreter.batches.steps import fixed_rows
from onnxwalk.interpreter.dask.connection import check_workers, current_client
from onnxwalk.interpreter.dask.reference import Reference, refer
from onnxwalk.interpreter.errors import InvalidInputError, suggest
from onnxwalk.interpreter.ir.model import TensorInfo
from onnxwalk.interpreter.optional import require
from onnxwalk.interpreter.session import Session
from onnxwalk.interpreter.tables.convert import declared_dtype, declared_shape
from onnxwalk.interpreter.tables.frames import rows_of
from onnxwalk.interpreter.tables.maps import as_columns
from onnxwalk.interpreter.tables.writing import Rows


def run(
    model: Any,
    data: Any,
    *,
    outputs: str | Sequence[str] | None = None,
    batch: int = 256,
    **options: Any,
) -> Any:
    """Run a model over the rows of a Dask collection, lazily; returns a collection of results.

    ``model``: a path that every worker can read; or bytes, a ModelProto, a ``Session``, which are
    sent to each worker once. No task has the weights in it, and a worker loads a model once.

    ``data``, and what is returned:

    * a Dask array (rows, …), or a dict of one for each input: an array (rows, …) with the same
      chunks of rows, or a dict of them by name if there are several outputs;
    * a NumPy array (rows, …), also one that is mapped: the same, in chunks of the size that
      ``rows_per_part`` says, after two batches have been timed;
    * a Dask data frame, whose columns are assigned to inputs by name: a data frame with the same
      partitions and index, and a column for each element of the outputs;
    * a Dask bag of rows, each an array, a number, or a dict of one for each input: a bag with the
      output of each row, or a dict of them by name if there are several.

    ``outputs``: a name (the result is that one alone), or names; ``None``: all. ``batch``: rows
    that are run at once, if the model doesn't require a number itself. ``options``: of ``load``;
    ``threads=1`` unless given.

    Raises InvalidInputError if Dask isn't installed, for other data, unknown names, a model that
    can't be read, and workers that have other versions; and what ``load`` raises. Computing raises
    InvalidInputError for outputs that don't have a row for each row of the inputs, or whose shape
    depends on the values.
    """
    if not isinstance(batch, int) or batch < 1:
        raise InvalidInputError(f"batch must be a positive integer, not {batch!r}")
    arrays = require("dask.array", "'onnxwalk[dask]'")
    if (client := current_client()) is not None:
        check_workers(client)
    if not isinstance(model, Session):
        options = {"threads": 1, **options}
    reference, content = refer(model, options)
    session = reference.session(content)
    batch = fixed_rows(session) or batch
    rows = RowsOf(reference, tuple(_names(session, outputs)), batch, isinstance(outputs, str))
    if isinstance(data, np.ndarray):
        data = _split(session, data, batch, client)
    if isinstance(data, arrays.Array):
        if len(session.inputs) != 1:
            raise InvalidInputError(_dict_expected(session))
        data = {session.inputs[0].name: data}
    if isinstance(data, Mapping):
        if odd := [name for name, value in data.items() if not isinstance(value, arrays.Array)]:
            kind = type(data[odd[0]]).__name__
            raise InvalidInputError(f"input '{odd[0]}' must be a Dask array, not a {kind}")
        return _over_arrays(session, rows, dict(data), _payload(content))
    # A Delayed has every attribute that it is asked for; its class hasn't.
    if hasattr(type(data), "_meta_nonempty"):
        return _over_frame(session, rows, data, _payload(content))
    if hasattr(type(data), "map_partitions"):
        return _over_bag(rows, data, _payload(content))
    raise InvalidInputError(
        f"data must be a Dask array, bag or data frame, a dict of arrays, or a NumPy array, not a "
        f"{type(data).__name__}"
    )


def _split(session: Session, data: np.ndarray, batch: int, client: Any) -> Any:
    """An array in memory, or a mapped one, as a Dask array whose chunks are of a good size.

    Raises InvalidInputError if it has no rows, and what ``Session.run`` raises.
    """
    from dask import array, system

    if not data.ndim or not len(data):
        raise InvalidInputError(f"data has no rows: its shape is {data.shape}")
    if len(session.inputs) != 1:
        raise InvalidInputError(_dict_expected(session))
    unit = fixed_rows(session) or 1
    feeds = {session.inputs[0].name: data[:batch]}
    session.run(None, feeds)  # binds the plan
    begun = time.perf_counter()
    session.run(None, feeds)
    seconds = max(time.perf_counter() - begun, 1e-9) / len(feeds[session.inputs[0].name])
    if client is None:
        size = rows_per_part(len(data), system.CPU_COUNT, seconds)
    else:
        workers = max(1, sum(client.nthreads().values()))
        dispatch = SECONDS_PER_DISPATCH
        size = rows_per_part(len(data), workers, seconds, seconds_per_dispatch=dispatch)
    size = math.ceil(size / unit) * unit
    return array.from_array(data, chunks=(size, *data.shape[1:]))


class RowsOf:
    """What a task does: rows in, rows out. It travels with each task and is small."""

    def __init__(
        self, reference: Reference, names: tuple[str, ...], batch: int, is_single: bool
    ) -> None:
        self.reference, self.names, self.batch = reference, names, batch
        self.is_single = is_single or len(names) == 1

    def __dask_tokenize__(self) -> Any:
        return type(self).__name__, self.reference, self.names, self.batch, self.is_single

    def blocks(
        self,
        *blocks: np.ndarray,
        inputs: tuple[str, ...],
        empty: Mapping[str, np.ndarray],
        payload: Any,
    ) -> Any:
        """The output (or a tuple of all) for blocks of the inputs. ``empty``: of each, without
        rows."""
        found = tuple(empty.values())
        if any(map(len, blocks)):
            feeds = dict(zip(inputs, blocks, strict=True))
            values = run_rows(self.reference.session(payload), self.names, feeds, self.batch)
            found = tuple(value for value, _ in values.values())
            for name, value in zip(values, found, strict=True):
                _check_same(name, value, empty[name])
        return found[0] if self.is_single else found

    def frame(self, frame: Any, payload: Any, empty: Any) -> Any:
        """A data frame with the outputs for those of a partition. ``empty``: one without rows."""
        if not len(frame):
            return _indexed(empty, frame.index)
        session = self.reference.session(payload)
        rows = rows_of(frame, {info.name: info for info in session.inputs}, session.inputs)
        found = self.as_frame(session, {name: part.read() for name, part in rows.items()})
        if [*found.columns] != [*empty.columns]:
            raise InvalidInputError(
                f"the outputs of a partition have {len(found.columns)} columns, not the "
                f"{len(empty.columns)} that there are for zeros: {_DEPENDS}"
            )
        return _indexed(found, frame.index)

    def as_frame(self, session: Session, feeds: Mapping[str, np.ndarray]) -> Any:
        """A data frame of the outputs."""
        values = run_rows(session, self.names, feeds, self.batch)
        keys = {name: parts for name, (_, parts) in values.items() if parts}
        flat = Rows({name: value for name, (value, _) in values.items()}, keys).flat()
        return require("pandas").DataFrame(flat)

    def bag(self, rows: Iterable[Any], payload: Any) -> list[Any]:
        """The output of each row of a partition, or a dict of them."""
        return list(self._each(rows, payload))

    def _each(self, rows: Iterable[Any], payload: Any) -> Iterator[Any]:
        session = self.reference.session(payload)
        source = iter(rows)
        while piece := list(islice(source, self.batch)):
            values = run_rows(session, self.names, _stacked(session, piece), self.batch)
            if self.is_single:
                yield from values[self.names[0]][0]
            else:
                lists = [value for value, _ in values.values()]
                yield from (dict(zip(values, row, strict=True)) for row in zip(*lists, strict=True))


def run_rows(
    session: Session, names: Sequence[str], feeds: Mapping[str, np.ndarray], batch: int
) -> dict[str, tuple[np.ndarray, list[str]]]:
    """Outputs (rows, …) by name, each with the classes of its columns if it consists of maps; so
    many rows are run at once.

    Raises InvalidInputError unless each output has a row for each row of the inputs.
    """
    lengths = {name: len(value) for name, value in feeds.items()}
    if len(set(lengths.values())) > 1:
        raise InvalidInputError(f"the inputs have different numbers of rows: {lengths}")
    total = next(iter(lengths.values()))
    pieces: dict[str, list[np.ndarray]] = {name: [] for name in names}
    keys: dict[str, list[str]] = {name: [] for name in names}
    for start in range(0, max(total, 1), batch):
        piece = {name: value[start : start + batch] for name, value in feeds.items()}
        rows = min(batch, total - start)
        for name, value in zip(names, session.run(list(names), piece), strict=True):
            if not isinstance(value, np.ndarray) and (columns := as_columns(value)):
                value, keys[name] = columns
            if not isinstance(value, np.ndarray) or value.shape[:1] != (rows,):
                what = f"shape {value.shape}" if isinstance(value, np.ndarray) else "no tensor"
                raise InvalidInputError(
                    f"output '{name}' doesn't have one row for each row of the inputs ({what} for "
                    f"{rows} rows); choose other outputs"
                )
            pieces[name].append(value)
            _check_same(name, value, pieces[name][0])
    return {
        name: (found[0] if len(found) == 1 else np.concatenate(found), keys[name])
        for name, found in pieces.items()
    }


#: what is said of outputs that have several shapes
_DEPENDS = "it depends on the values; choose other outputs"


def _check_same(name: str, value: np.ndarray, other: np.ndarray) -> None:
    if value.shape[1:] != other.shape[1:]:
        raise InvalidInputError(
            f"output '{name}' has rows of shape {value.shape[1:]} here and {other.shape[1:]} "
            f"elsewhere: {_DEPENDS}"
        )


def _over_arrays(session: Session, rows: RowsOf, data: dict[str, Any], payload: Any) -> Any:
    from dask import array

    inputs = [info.name for info in session.inputs]
    if missing := [name for name in inputs if name not in data]:
        raise InvalidInputError(f"{_dict_expected(session)}; there is none for '{missing[0]}'")
    if unknown := [name for name in data if name not in inputs]:
        raise InvalidInputError(f"no input is named {unknown[0]!r}{suggest(unknown[0], inputs)}")
    _check_rows(data)
    metas = _output_metas(session, rows.names, data)
    arguments: list[Any] = []
    for number, name in enumerate(inputs):
        # The first axis is shared; the others are this input's own, and come in one piece.
        arguments += [data[name], _axes(number + 1, data[name].ndim)]
    empty = {name: meta[:0] for name, meta in metas.items()}
    fixed = {"inputs": tuple(inputs), "empty": empty, "payload": payload, "concatenate": True}
    if rows.is_single:
        (meta,) = metas.values()
        return _blockwise(rows.blocks, meta, *arguments, **fixed)
    together = array.blockwise(
        rows.blocks, (_ROWS,), *arguments, dtype=object, meta=np.empty(0, object), **fixed
    )
    return {
        name: _blockwise(_pick, meta, together, (_ROWS,), which=number)
        for number, (name, meta) in enumerate(metas.items())
    }


def _check_rows(data: Mapping[str, Any]) -> None:
    """Raise InvalidInputError for arrays whose rows can't belong together."""
    for name, given in data.items():
        if not given.ndim:
            raise InvalidInputError(f"input '{name}': a Dask array without axes has no rows")
    lengths = {name: given.shape[0] for name, given in data.items()}
    unknown = [name for name, length in lengths.items() if math.isnan(length)]
    known = {length for length in lengths.values() if not math.isnan(length)}
    if len(known) > 1:
        raise InvalidInputError(f"the inputs have different numbers of rows: {lengths}")
    chunks = {given.numblocks[0] for given in data.values()}
    if unknown and (len(unknown) < len(data) or len(chunks) > 1):
        raise InvalidInputError(
            f"input '{unknown[0]}': its number of rows isn't known, so that it can't be split as "
            "the others are; call the array's compute_chunk_sizes() first"
        )


def _blockwise(
    function: Callable[..., Any], meta: np.ndarray, *arguments: Any, **fixed: Any
) -> Any:
    """An array of blocks (rows, …), all axes but the first in one piece and as long as meta's."""
    from dask import array

    axes = _axes(0, meta.ndim)
    own = dict(zip(axes[1:], meta.shape[1:], strict=True))
    empty = np.empty((0,) * meta.ndim, meta.dtype)
    return array.blockwise(
        function, axes, *arguments, new_axes=own, dtype=meta.dtype, meta=empty, **fixed
    )


#: Dask's name of the axis that all inputs and outputs share
_ROWS = 0


def _axes(array: int, rank: int) -> tuple[int, ...]:
    """Dask's names of an array's axes, which have to be of one type: NumPy allows 64 axes."""
    return (_ROWS, *(1 + 64 * array + axis for axis in range(1, rank)))


def _pick(values: tuple[np.ndarray, ...], which: int) -> np.ndarray:
    return values[which]


def _output_metas(
    session: Session, names: Sequence[str], data: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Arrays (n, …) with the shapes and dtypes of the outputs: what comes out for as many rows as
    the model requires, or two, of zeros or of empty strings."""
    feeds = {}
    rows = fixed_rows(session) or 2
    for info in session.inputs:
        given = data[info.name]
        for axis, size in enumerate(given.shape[1:], 1):
            if math.isnan(size):
                raise InvalidInputError(
                    f"input {info}: the size of axis {axis} isn't known: {given.shape}; call the "
                    "array's compute_chunk_sizes() first"
                )
        shape = (rows, *(int(size) for size in given.shape[1:]))
        feeds[info.name] = _nothing(shape, given.dtype)
    return {name: value for name, (value, _) in run_rows(session, names, feeds, rows).items()}


def _over_frame(session: Session, rows: RowsOf, data: Any, payload: Any) -> Any:
    """Raises InvalidInputError for a single column, and for columns that fit no input."""
    typical = data._meta_nonempty  # two rows of any values
    if not hasattr(typical, "columns"):
        raise InvalidInputError("a single column is no data frame; pass series.to_frame()")
    size = fixed_rows(session) or 2
    infos = {info.name: info for info in session.inputs}
    feeds = {}
    for name, part in rows_of(typical, infos, session.inputs).items():
        shape, dtype = declared_shape(infos[name]) or (), declared_dtype(infos[name])
        sample = [length for length in shape[1:] if isinstance(length, int)]
        if shape and len(sample) == len(shape) - 1 and dtype is not None:
            feeds[name] = _nothing((size, *sample), dtype)  # also if the columns hold lists
        else:
            feeds[name] = part.read()[np.resize(np.arange(len(typical)), size)]
    meta = _indexed(rows.as_frame(session, feeds).iloc[:0], data._meta.index)
    return data.map_partitions(rows.frame, payload, meta, meta=meta)


def _indexed(frame: Any, index: Any) -> Any:
    frame = frame.copy()
    frame.index = index
    return frame


def _nothing(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    return np.full(shape, "" if dtype.kind in "OU" else 0, dtype)


def _over_bag(rows: RowsOf, data: Any, payload: Any) -> Any:
    return data.map_partitions(rows.bag, payload)


def _payload(content: bytes | None) -> Any:
    """The content as a value of the graph that each worker gets once; ``None`` if there is none."""
    if content is None:
        return None
    from dask import delayed

    if (client := current_client()) is not None:
        content = client.scatter(content, hash=True, broadcast=False)
        return delayed(content)
    return delayed(content, pure=True, traverse=False)


def _names(session: Session, outputs: str | Sequence[str] | None) -> list[str]:
    if outputs is None:
        return [info.name for info in session.outputs]
    return [outputs] if isinstance(outputs, str) else list(outputs)


def _dict_expected(session: Session) -> str:
    listed = "; ".join(map(str, session.inputs))
    return f"pass a dict with a Dask array for each input: {listed}"


def _stacked(session: Session, rows: Sequence[Any]) -> dict[str, Any]:
    """Rows as the inputs' arrays. Raises InvalidInputError for rows that don't fit together."""
    infos = session.inputs
    if not isinstance(rows[0], Mapping):
        if len(infos) != 1:
            listed = "; ".join(map(str, infos))
            raise InvalidInputError(
                f"each row must be a dict with a value for each input: {listed}"
            )
        return {infos[0].name: _stack(infos[0], rows)}
    for info in infos:
        if not all(isinstance(row, Mapping) and info.name in row for row in rows):
            raise InvalidInputError(f"a row has no value for input {info}")
    return {info.name: _stack(info, [row[info.name] for row in rows]) for info in infos}


def _stack(info: TensorInfo, values: Sequence[Any]) -> Any:
    dtype = declared_dtype(info)
    try:
        if dtype is not None and dtype.kind == "O":
            return np.array(values, object)
        if not any(isinstance(value, np.ndarray | np.generic) for value in values):
            return list(values)  # ``Session.run`` casts what isn't NumPy's
        return np.stack([np.asarray(value) for value in values])
    except ValueError as error:
        raise InvalidInputError(f"input {info}: the rows differ in shape: {error}") from None
