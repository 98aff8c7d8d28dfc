"""ONNX files as scikit-learn estimators: what ``onnxwalk.sklearn`` offers."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
from sklearn.utils.validation import validate_data

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.ir.model import MapType, SequenceType, TensorInfo
from onnxwalk.interpreter.session import Session, load
from onnxwalk.interpreter.tables.convert import convert, declared_dtype, declared_shape
from onnxwalk.interpreter.tables.frames import is_frame
from onnxwalk.interpreter.tables.maps import as_columns
from onnxwalk.interpreter.text import class_names

#: attributes of operators of ai.onnx.ml that list the classes
_CLASS_LISTS = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")


class _OnnxEstimator(BaseEstimator):
    """A fitted model in a file. ``fit`` learns nothing: it says whether data fit the model."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        output: str | None = None,
        batch_size: int | None = None,
    ) -> None:
        self.path, self.output, self.batch_size = path, output, batch_size

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # What the model makes of NaN, and of numbers that are no floats, is its own.
        tags.input_tags.allow_nan = True
        tags.requires_fit = False
        return tags

    def __getattr__(self, name: str) -> Any:
        """``n_features_in_``, as far as the file says it, before ``fit`` has seen data."""
        if name == "n_features_in_" and "path" in self.__dict__:
            width = self._width()
            if width is not None:
                return width
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def session(self) -> Session:
        """The model. Raises OnnxWalkError if the file can't be loaded."""
        path = Path(self.path)
        try:
            state = path.stat()
        except OSError:
            raise InvalidInputError(f"{path}: no such file") from None
        return _load(str(path), state.st_mtime_ns, state.st_size)

    def fit(self, X: Any, y: Any = None) -> Any:
        """Check that the data fit the model, which stays as it is; returns ``self``.

        Raises ValueError if they don't.
        """
        width = self._width()
        if is_frame(X) and len(self.session.inputs) > 1:
            self.n_features_in_ = len(X.columns)
            return self
        arguments = (
            {"y": y} if y is not None or self.__sklearn_tags__().target_tags.required else {}
        )
        validate_data(self, X, dtype=self._kind(), ensure_all_finite=False, **arguments)
        if width is not None and width != self.n_features_in_:
            found = self.n_features_in_
            del self.n_features_in_
            raise InvalidInputError(
                f"X has {found} features, but {type(self).__name__} is expecting {width} features "
                "as input: they are those of the file"
            )
        return self

    def _width(self) -> int | None:
        """The number of columns that all inputs take together; ``None`` if the file is open."""
        total = 0
        for info in self.session.inputs:
            shape = declared_shape(info)
            sizes = [size for size in (shape or ())[1:] if isinstance(size, int)]
            if not shape or len(shape) < 2 or len(sizes) < len(shape) - 1:
                return None
            total += math.prod(sizes)
        return total

    def _kind(self) -> str | None:
        """What ``validate_data`` makes of X: numbers, unless an input takes strings."""
        dtypes = [declared_dtype(info) for info in self.session.inputs]
        return None if any(dtype is None or dtype.kind == "O" for dtype in dtypes) else "numeric"

    def _run(self, X: Any, names: list[str]) -> dict[str, Any]:
        """The named outputs for the rows of X, maps as arrays."""
        session = self.session
        feeds = X if is_frame(X) and len(session.inputs) > 1 else self._feeds(X)
        if not isinstance(feeds, Mapping):
            return _as_arrays(dict(zip(names, session.run(names, feeds), strict=True)))
        rows = len(next(iter(feeds.values())))
        size = self.batch_size or max(rows, 1)
        parts = []
        for start in range(0, max(rows, 1), size):
            piece = {name: value[start : start + size] for name, value in feeds.items()}
            results = session.run(names, piece)
            parts.append(_as_arrays(dict(zip(names, results, strict=True))))
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def _feeds(self, X: Any) -> dict[str, np.ndarray]:
        """The columns of X for each input, in the order of the inputs."""
        array = validate_data(self, X, reset=False, dtype=self._kind(), ensure_all_finite=False)
        feeds, start = {}, 0
        for info in self.session.inputs:
            shape = declared_shape(info) or (None, None)
            last = len(self.session.inputs) == 1
            width = (
                array.shape[1] if last else math.prod(s for s in shape[1:] if isinstance(s, int))
            )
            columns = array[:, start : start + width]
            start += width
            if len(shape) > 2 and all(isinstance(size, int) for size in shape[1:]):
                columns = columns.reshape(len(array), *shape[1:])
            feeds[info.name] = _typed(columns, info)
        return feeds

    def _choose(self, infos: list[TensorInfo]) -> str:
        """``output``, or the only candidate."""
        if self.output is not None:
            return self.output
        if len(infos) == 1:
            return infos[0].name
        listed = ", ".join(info.name for info in self.session.outputs)
        raise InvalidInputError(f"{self.path}: pass output=…, one of: {listed}")


class OnnxClassifier(ClassifierMixin, _OnnxEstimator):
    """A classifier in an ONNX file: of scikit-learn's exporters, or any model with scores (rows,
    classes).

    ``output``: the scores, if the model has several outputs of that shape. ``classes``: the names
    of the classes, if the file has none. ``batch_size``: rows that are run at once; by default all.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        output: str | None = None,
        classes: Any = None,
        batch_size: int | None = None,
    ) -> None:
        super().__init__(path, output=output, batch_size=batch_size)
        self.classes = classes

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # A fitted model knows what it knows: scikit-learn doesn't ask it to learn its test data.
        tags.classifier_tags.poor_score = True
        return tags

    @property
    def classes_(self) -> np.ndarray:
        """The classes, in the order of the scores. Raises InvalidInputError if neither the file nor
        ``classes`` says them."""
        if self.classes is not None:
            return np.asarray(self.classes)
        scores = self._scores()
        if (names := class_names(self.session.model.metadata).get(scores.name)) is not None:
            return np.array(names)
        for node in reversed(self.session.model.graph.nodes):
            for attribute in _CLASS_LISTS:
                if found := node.attributes.get(attribute):
                    return np.array([_text(item) for item in found])
        shape = declared_shape(scores)
        if shape and len(shape) == 2 and isinstance(shape[1], int):
            return np.arange(max(shape[1], 2))
        raise InvalidInputError(f"{self.path}: the file doesn't name its classes; pass classes=[…]")

    def fit(self, X: Any, y: Any = None) -> OnnxClassifier:
        """Check that the data fit the model, and that it knows all classes of y; learn nothing.

        Raises ValueError if they don't.
        """
        super().fit(X, y)
        if y is not None:
            from sklearn.utils.multiclass import check_classification_targets

            check_classification_targets(y)
            known = self.classes_.tolist()
            if unknown := [name for name in np.unique(np.asarray(y)).tolist() if name not in known]:
                raise InvalidInputError(
                    f"y has the class {unknown[0]!r}, which the model doesn't know; it has "
                    f"{', '.join(map(repr, known[:10]))}"
                )
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """The scores (rows, classes), in the order of ``classes_``."""
        name = self._scores().name
        scores = self._run(X, [name])[name]
        scores = scores[:, None] if scores.ndim == 1 else scores
        if scores.shape[1] == 1:
            if not ((scores >= 0) & (scores <= 1)).all():
                raise InvalidInputError(f"output '{name}' isn't a probability: it exceeds 0 to 1")
            scores = np.concatenate([1 - scores, scores], axis=1)
        if scores.shape[1] != len(self.classes_):
            raise InvalidInputError(
                f"output '{name}' has {scores.shape[1]} scores for {len(self.classes_)} classes"
            )
        return scores

    def predict(self, X: Any) -> np.ndarray:
        """The class of each row: the model's own label if it has one, otherwise the class of the
        largest score."""
        labels = [info for info in self.session.outputs if _is_label(info)]
        if self.output is None and len(labels) == 1:
            found = self._run(X, [labels[0].name])[labels[0].name]
            return np.array(found.tolist(), self.classes_.dtype).reshape(-1)
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def _scores(self) -> TensorInfo:
        name = self._choose([info for info in self.session.outputs if not _is_label(info)])
        return next(
            (i for i in self.session.outputs if i.name == name), TensorInfo(name, None, None)
        )


class OnnxRegressor(RegressorMixin, _OnnxEstimator):
    """A regressor in an ONNX file. ``output``: if the model has several. ``batch_size``: rows that
    are run at once; by default all."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags

    def predict(self, X: Any) -> np.ndarray:
        """The value of each row: (rows,), or (rows, targets) if there are several."""
        name = self._choose(self.session.outputs)
        values = self._run(X, [name])[name]
        return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


class OnnxTransformer(TransformerMixin, _OnnxEstimator):
    """A transformer in an ONNX file: scaling, encoding, the features of a network (``output`` may
    be any value of its graph). ``batch_size``: rows that are run at once; by default all."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # the dtype is the model's
        return tags

    def transform(self, X: Any) -> np.ndarray:
        """The output, (rows, features); further axes become features."""
        name = self._choose(self.session.outputs)
        values = self._run(X, [name])[name]
        return values.reshape(len(values), -1)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the features: those of the output, numbered.

        Raises InvalidInputError if the file doesn't say how many there are.
        """
        name = self._choose(self.session.outputs)
        info = next((info for info in self.session.outputs if info.name == name), None)
        shape = None if info is None else declared_shape(info)
        if not shape or not all(isinstance(size, int) for size in shape[1:]):
            raise InvalidInputError(f"{self.path}: the file doesn't say how wide '{name}' is")
        return np.array([f"{name}{i}" for i in range(math.prod(shape[1:]))], dtype=object)  # type: ignore[arg-type]


@functools.lru_cache(maxsize=8)
def _load(path: str, changed: int, size: int) -> Session:
    """A session of a file in this state: estimators of the same file share it."""
    return load(path)


def _typed(columns: np.ndarray, info: TensorInfo) -> np.ndarray:
    dtype = declared_dtype(info)
    where = f"input '{info.name}'"
    if columns.dtype == object and dtype is not None and dtype.kind != "O":
        try:
            columns = columns.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise InvalidInputError(f"{where}: expected {dtype}: {error}") from None
    return convert(columns, dtype, where)


def _as_arrays(values: dict[str, Any]) -> dict[str, np.ndarray]:
    found = {}
    for name, value in values.items():
        columns = None if isinstance(value, np.ndarray) else as_columns(value)
        if columns is None and not isinstance(value, np.ndarray):
            raise InvalidInputError(f"output '{name}' is neither a tensor nor maps of classes")
        found[name] = value if columns is None else columns[0]
    return found


def _is_label(info: TensorInfo) -> bool:
    """Whether an output is the label of a classifier: integers or strings, one for each row."""
    kind = info.type.element if isinstance(info.type, SequenceType) else info.type
    if isinstance(kind, MapType):
        return False
    dtype = declared_dtype(info)
    return dtype is not None and dtype.kind in "iuO"


def _text(item: Any) -> Any:
    return item.decode() if isinstance(item, bytes) else item
