"""Read inputs from files: arrays, tables, JSON, images and folders of images; and from literals."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from onnxwalk.interpreter.display import count
from onnxwalk.interpreter.errors import InvalidInputError, UnsupportedModelError
from onnxwalk.interpreter.ir.model import SequenceType, TensorInfo, TensorType
from onnxwalk.interpreter.rows import images
from onnxwalk.interpreter.rows.archives import Archive, is_archive
from onnxwalk.interpreter.rows.arrays import (
    ArrayRows,
    ConstantRows,
    JoinedRows,
    ListRows,
    MemberRows,
    Rows,
    npz_members,
    open_npy,
)
from onnxwalk.interpreter.rows.feed import Feed
from onnxwalk.interpreter.rows.literals import load_json, parse_array, parse_literal
from onnxwalk.interpreter.rows.pixels import Pixels, complete
from onnxwalk.interpreter.rows.sources import Source, list_inputs, parse_source, spool_stdin
from onnxwalk.interpreter.rows.zarrs import ZarrRows, is_zarr, open_zarr
from onnxwalk.interpreter.runtime.feeds import HasInputs
from onnxwalk.interpreter.tables.assign import (
    TableRows,
    all_columns,
    assign,
    assign_named,
    select,
)
from onnxwalk.interpreter.tables.convert import (
    convert,
    declared_dtype,
    declared_shape,
    lacks_batch,
    tensor_type,
)
from onnxwalk.interpreter.tables.files import SUFFIXES, open_table, table_suffix
from onnxwalk.interpreter.tables.options import Options
from onnxwalk.interpreter.tables.records import RecordTable
from onnxwalk.interpreter.tables.table import Table
from onnxwalk.interpreter.tables.tolerant import read_tolerantly


class Reader:
    """Reads the files of one command line."""

    def __init__(
        self,
        session: HasInputs,
        pixels: Pixels,
        options: Options | None,
        *,
        skips_damaged: bool = False,
        is_tolerant: bool = False,
    ) -> None:
        """``skips_damaged``: leave out images that can't be read, unless none of several can.
        ``is_tolerant``: have rows note which of them can't be read, in their ``damaged``."""
        self._session, self._pixels, self._options = session, pixels, options
        self._skips_damaged, self._is_tolerant = skips_damaged, is_tolerant
        self._feedable = {i.name: i for i in (*session.inputs, *session.overridable_initializers)}
        self._tables: dict[Path, Table] = {}
        self._read_already: set[tuple[str, Path, tuple[str, ...] | None]] = set()

    def read(self, texts: Sequence[str]) -> dict[str, Feed]:
        """The feeds of ``--input`` by name. Raises InvalidInputError."""
        stdin = functools.cache(spool_stdin)
        return self.read_sources([parse_source(text, self._feedable, stdin) for text in texts])

    def read_sources(
        self, sources: Sequence[Source], values: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, Feed]:
        """The feeds by name; ``values``: of further inputs, as those of literals. Raises
        InvalidInputError."""
        parts: dict[str, list[Feed]] = {}
        for source in _join_images(sources):
            if source.literal is None:
                for feed in self._read_files(source):
                    parts.setdefault(feed.info.name, []).append(feed)
        feeds = {name: _join(found) for name, found in parts.items()}
        given = [
            (s.name or "", read_literal(self._feedable[s.name or ""], s))
            for s in sources
            if s.literal is not None
        ]
        for name, value in [*given, *(values or {}).items()]:
            if name in feeds:
                raise InvalidInputError(f"input '{name}' was given twice")
            feeds[name] = self._from_value(self._feedable[name], value, feeds)
        return feeds

    def _from_value(self, info: TensorInfo, value: np.ndarray, feeds: Mapping[str, Feed]) -> Feed:
        """A feed of one value, for each row that the other inputs of the same length have."""
        origin = "the command line"
        lengths = {feed.rows.length for feed in feeds.values() if _same_rows(info, feed.info)}
        length = lengths.pop() if len(lengths) == 1 else None
        if length is not None and value.ndim and len(value) == 1:
            return Feed(info, ConstantRows(value, length), origin, ["for each row"])
        return _from_array(info, value, origin)

    def _read_files(self, source: Source) -> list[Feed]:
        feeds: dict[str, list[Feed]] = {}
        if all(_is_image(path) for path in source.paths):
            info = self._single(source) or self._fail_unnamed(source)
            return [self._from_images(info, source)]
        for path in source.paths:
            origin = source.origin if len(source.paths) == 1 else str(path)
            for feed in self._read_file(source, path, origin):
                key = (feed.info.name, path.resolve(), source.columns and tuple(source.columns))
                if key in self._read_already:
                    raise InvalidInputError(f"input '{feed.info.name}' was given twice: {origin}")
                self._read_already.add(key)  # type: ignore[arg-type]
                feeds.setdefault(feed.info.name, []).append(feed)
        return [_join(found) for found in feeds.values()]

    def _single(self, source: Source) -> TensorInfo | None:
        """The input that is meant, if there is no doubt."""
        if source.name is not None:
            return self._feedable[source.name]
        return self._session.inputs[0] if len(self._session.inputs) == 1 else None

    def _fail_unnamed(self, source: Source) -> NoReturn:
        hint = f"pass --input NAME={source.origin}; " if self._session.inputs else ""
        raise InvalidInputError(
            f"{source.origin}: can't tell which input it is for; {hint}"
            f"{list_inputs(self._session.inputs)}"
        )

    def _read_file(self, source: Source, path: Path, origin: str) -> list[Feed]:
        single, suffix = self._single(source), path.suffix.lower()
        if table_suffix(path) is not None:
            if path not in self._tables:
                self._tables[path] = open_table(
                    path, self._options, origin, is_tolerant=self._is_tolerant
                )
            return self._from_table(self._tables[path], source)
        if source.columns is not None and suffix != ".json":
            raise InvalidInputError(f"{origin}: columns can be chosen of {_listed(SUFFIXES)} only")
        if suffix == ".npz":
            return self._from_members(npz_members(path), source, origin)
        if is_zarr(path):
            found = open_zarr(path)
            if not isinstance(found, dict):
                found = {source.name or (single or self._fail_unnamed(source)).name: found}
            return self._from_members(found, source, origin)
        if suffix == ".json":
            return self._from_json(load_json(path, origin), source, origin)
        if suffix == ".npy":
            info = single or self._fail_unnamed(source)
            return [_from_array(info, open_npy(path), origin, self._is_tolerant)]
        raise InvalidInputError(
            f"{origin}: unknown file type; use .npy, .npz, .json, {_listed(SUFFIXES)}, an image "
            f"({' '.join(sorted(images.SUFFIXES))}), a folder or .tar of images, or a Zarr array"
        )

    def _from_members(
        self, members: Mapping[str, MemberRows | ZarrRows], source: Source, origin: str
    ) -> list[Feed]:
        """Feeds from the arrays in a file."""
        selected = self._select(members, source, origin)
        return [
            _from_member(self._feedable[name], member, self._is_tolerant)
            for name, member in selected.items()
        ]

    def _from_images(self, info: TensorInfo, source: Source) -> Feed:
        if source.columns is not None:
            raise InvalidInputError(f"{source.origin}: an image has no columns")
        archives = {p: Archive(p, images.SUFFIXES) for p in source.paths if is_archive(p)}
        paths = [found for path in source.paths for found in _images_in(path, archives)]
        dtype = declared_dtype(info) or np.dtype(np.float32)
        pixels = complete(self._pixels, self._session, info, dtype)
        rows = images.ImageRows(
            paths,
            info,
            pixels,
            archives,
            skips_damaged=self._skips_damaged,
            is_tolerant=self._is_tolerant,
        )
        is_file = len(paths) == 1 and paths == source.paths
        found = count(len(rows.files), "image")
        origin = source.origin if is_file else f"{found} in {source.origin}"
        return Feed(info, rows, origin, [pixels.describe()], damaged=rows.left_out)

    def _from_table(self, table: Table, source: Source) -> list[Feed]:
        single = self._single(source)
        if source.columns is not None and single is not None:
            chosen = {single.name: select(table, source.columns, single)}
        elif source.columns is not None:
            chosen = assign_named(table, source.columns, self._feedable)
        elif source.name is not None:
            chosen = {source.name: all_columns(table, self._feedable[source.name])}
        else:
            chosen = assign(table, self._feedable, self._session.inputs)
        feeds: list[Feed] = []
        for name, columns in chosen.items():
            info = self._feedable[name]
            _check_tensor(info, table.origin)
            notes = list(table.notes) if not feeds else []
            feeds.append(Feed(info, TableRows(table, columns, info), table.origin, notes))
        used = {i for columns in chosen.values() for i in columns}
        unused = [
            c or "the one without a name" for i, c in enumerate(table.columns) if i not in used
        ]
        if unused and source.columns is None:
            more = f" and {len(unused) - 8} more" if len(unused) > 8 else ""
            feeds[0].notes.append(f"not fed: {', '.join(unused[:8])}{more}")
        return feeds

    def _from_json(self, value: Any, source: Source, origin: str) -> list[Feed]:
        is_records = isinstance(value, list) and value and all(isinstance(x, dict) for x in value)
        if is_records:
            return self._from_table(RecordTable(value, origin), source)
        if source.columns is not None:
            raise InvalidInputError(f"{origin}: columns can be chosen of a list of objects only")
        if isinstance(value, dict):
            selected = self._select(value, source, origin)
            return [_from_json(self._feedable[k], item, origin) for k, item in selected.items()]
        return [_from_json(self._single(source) or self._fail_unnamed(source), value, origin)]

    def _select(self, contents: Mapping[str, Any], source: Source, origin: str) -> dict[str, Any]:
        """The contents of an .npz or .json file by their inputs; none is ignored."""
        name, single = source.name, self._single(source)
        if not contents:
            raise InvalidInputError(f"{origin}: the file is empty")
        if name is not None and name in contents:
            return {name: contents[name]}
        is_unnamed = name is not None or not set(contents) & {*self._feedable}
        if single is not None and len(contents) == 1 and is_unnamed:
            return {single.name: next(iter(contents.values()))}
        if name is not None:
            raise InvalidInputError(
                f"{origin}: '{name}' not found; it contains {', '.join(contents)}"
            )
        if unknown := [key for key in contents if key not in self._feedable]:
            raise InvalidInputError(
                f"{origin}: '{unknown[0]}' is not an input; {list_inputs(self._feedable.values())}"
            )
        return dict(contents)


def read_literal(info: TensorInfo, source: Source) -> np.ndarray:
    """The value of a literal, for an input. Raises InvalidInputError."""
    value = parse_literal(info, source.literal or "")
    if value is None:
        raise InvalidInputError(
            f"{source.name}={source.origin}: no such file, and no value such as 3, [1, 2] or "
            "'\"text\"'"
        )
    return value


def _same_rows(info: TensorInfo, other: TensorInfo) -> bool:
    """Whether two inputs may have a row for each sample: open first dimensions, of one name."""
    shapes = declared_shape(info), declared_shape(other)
    if not all(shapes):
        return False
    a, b = (shape[0] for shape in shapes if shape)
    return not isinstance(a, int) and not isinstance(b, int) and (a is None or b is None or a == b)


def _is_image(path: Path) -> bool:
    if is_archive(path):
        return True
    return not is_zarr(path) and (path.is_dir() or path.suffix.lower() in images.SUFFIXES)


def _images_in(path: Path, archives: Mapping[Path, Archive]) -> list[Path]:
    """The images that a path stands for."""
    if path in archives:
        return archives[path].paths
    return images.find_images(path) if path.is_dir() else [path]


def _listed(suffixes: Iterable[str]) -> str:
    return ", ".join(sorted(suffixes))


def _join_images(sources: Sequence[Source]) -> list[Source]:
    """The sources, where several of images for the same input are one."""
    joined: list[Source] = []
    for source in sources:
        same = [s for s in joined if s.name == source.name and s.paths and s.literal is None]
        if same and all(map(_is_image, [*same[-1].paths, *source.paths])) and source.paths:
            last = same[-1]
            if set(last.paths) & set(source.paths):
                raise InvalidInputError(f"{source.origin}: the same image was given twice")
            last.paths += source.paths
            last.origin += f", {source.origin}"
        else:
            joined.append(source)
    return joined


def _join(feeds: Sequence[Feed]) -> Feed:
    """One feed of several for the same input."""
    if len(feeds) == 1:
        return feeds[0]
    origins = [feed.origin for feed in feeds]
    rows = JoinedRows([feed.rows for feed in feeds], origins)
    origin = ", ".join(origins) if len(feeds) < 4 else f"{len(feeds)} files, {origins[0]} first"
    notes = list(dict.fromkeys(note for feed in feeds for note in feed.notes))
    damaged = {path: why for feed in feeds for path, why in feed.damaged.items()}
    return Feed(feeds[0].info, rows, origin, notes, damaged)


# --- one input each


class _ConvertedRows:
    """Rows converted to the dtype of the input as they are read; with ``is_tolerant`` those that
    can't be are noted in ``damaged``, and zeros."""

    def __init__(
        self, rows: Rows, dtype: np.dtype | None, where: str, is_tolerant: bool = False
    ) -> None:
        self.length, self.names = rows.length, rows.names
        self.damaged: dict[int, str] = {}
        self._rows, self._dtype, self._where = rows, dtype, where
        self._is_tolerant = is_tolerant

    def pieces(self, size: int) -> Iterator[Any]:
        first = 0
        for piece in self._rows.pieces(size):
            if not self._is_tolerant or not np.ndim(piece):
                yield convert(piece, self._dtype, self._where)
                continue

            def make(start: int, stop: int, piece: np.ndarray = piece) -> np.ndarray:
                return convert(piece[start:stop], self._dtype, self._where)

            def note(row: int, why: str, first: int = first) -> None:
                self.damaged[first + row] = why

            yield read_tolerantly(make, len(piece), self._dtype, note)
            first += len(piece)


def _from_array(
    info: TensorInfo, array: np.ndarray, origin: str, is_tolerant: bool = False
) -> Feed:
    """A feed from an array, which may be a memory map."""
    _check_tensor(info, origin)
    if lacks_batch(info, array.ndim):
        feed = _convert_rows(info, ArrayRows(array[None]), array.dtype, origin)
        feed.notes.append("batch dimension added")
        return feed
    return _convert_rows(info, ArrayRows(array), array.dtype, origin, is_tolerant)


def _from_member(
    info: TensorInfo, member: MemberRows | ZarrRows, is_tolerant: bool = False
) -> Feed:
    """A feed from an array in a file: one sample is read now, several as they are needed."""
    _check_tensor(info, member.where)
    if lacks_batch(info, len(member.shape)):
        (array,) = member.pieces(max(member.length or 0, 1))
        return _from_array(info, array, member.where)
    return _convert_rows(info, member, member.dtype, member.where, is_tolerant)


def _convert_rows(
    info: TensorInfo, rows: Rows, stored: np.dtype, origin: str, is_tolerant: bool = False
) -> Feed:
    dtype = declared_dtype(info)
    where = f"{origin} for input '{info.name}'"
    feed = Feed(info, _ConvertedRows(rows, dtype, where, is_tolerant), origin)
    if dtype is not None and dtype.kind != "O" and stored.newbyteorder("=") != dtype:
        feed.notes.append(f"converted from {stored}")
    return feed


def _check_tensor(info: TensorInfo, origin: str) -> None:
    if info.type is not None and tensor_type(info) is None:
        raise UnsupportedModelError(
            f"{origin}: input {info} is not a tensor, so it can't be read from a file"
        )


def _from_json(info: TensorInfo, value: Any, origin: str) -> Feed:
    if isinstance(info.type, SequenceType) and isinstance(info.type.element, TensorType):
        if not isinstance(value, list):
            raise InvalidInputError(f"{origin}: input {info} requires a list")
        item = TensorInfo(info.name, None, None, info.type.element)
        return Feed(info, ListRows([parse_array(item, v, origin) for v in value]), origin)
    return _from_array(info, parse_array(info, value, origin), origin)
