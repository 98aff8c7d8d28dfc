"""Immutable records: dataclasses whose methods aren't generated.

``dataclasses.dataclass(frozen=True)`` writes and compiles six methods for each class, 0.4 ms: for
the classes that every process imports, a third of the time of ``import onnxwalk``.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar


class _Signature:
    """The signature of a record's class, found when it is asked for."""

    def __get__(self, instance: Any, owner: type) -> inspect.Signature:
        return inspect.Signature(
            [
                inspect.Parameter(
                    field.name,
                    inspect.Parameter.POSITIONAL_OR_KEYWORD,
                    default=_shown_default(field),
                    annotation=field.type,
                )
                for field in dataclasses.fields(owner)
            ]
        )


def _shown_default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default


def _init(self: Any, *values: Any, **named: Any) -> None:
    fields, (plain, factories) = self.__dataclass_fields__, self.__record_defaults__
    state = self.__dict__
    if len(values) == len(fields) and not named:  # as files are read, thousands of times
        state.update(zip(fields, values, strict=True))
        if hasattr(self, "__post_init__"):
            self.__post_init__()
        return
    state.update(plain)
    state.update(zip(fields, values, strict=False))
    state.update(named)
    for name, factory in factories:
        if name not in state:
            state[name] = factory()
    fits = len(values) <= len(fields) == len(state)
    if named:
        given = itertools.islice(fields, len(values))
        fits = fits and named.keys() <= fields.keys() and named.keys().isdisjoint(given)
    if not fits:
        inspect.signature(type(self)).bind(*values, **named)  # raises TypeError
    if hasattr(self, "__post_init__"):
        self.__post_init__()


T = TypeVar("T")


def replace(record: T, **changes: Any) -> T:
    """``dataclasses.replace`` of a record, in a fifth of the time: rewrites make thousands."""
    kind: Any = type(record)
    if not changes.keys() <= kind.__dataclass_fields__.keys():
        return dataclasses.replace(record, **changes)  # type: ignore[type-var]  # (raises TypeError)
    new: T = object.__new__(kind)
    old, state = record.__dict__, new.__dict__
    for name in kind.__dataclass_fields__:
        state[name] = changes[name] if name in changes else old[name]
    if hasattr(new, "__post_init__"):
        new.__post_init__()
    return new


def _refuse_setting(self: Any, name: str, value: Any) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_deleting(self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _values(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, name) for name in self.__dataclass_fields__)


def _repr(self: Any) -> str:
    shown = (field.name for field in dataclasses.fields(self) if field.repr)
    return f"{type(self).__qualname__}({', '.join(f'{n}={getattr(self, n)!r}' for n in shown)})"


def _eq(self: Any, other: Any) -> Any:
    return _values(self) == _values(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self))


_METHODS = {
    "__init__": _init,
    "__repr__": _repr,
    "__setattr__": _refuse_setting,
    "__delattr__": _refuse_deleting,
}

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:

    def record(*, frozen: bool, eq: bool = True) -> Callable[[type], type]:
        """``dataclasses.dataclass``, for records, which are frozen. ``replace``, ``fields`` and the
        like take them as any dataclass."""
        assert frozen, "records are immutable"

        def make(cls: type) -> type:
            made = dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
            methods = {**_METHODS, "__eq__": _eq, "__hash__": _hash} if eq else _METHODS
            for name, method in methods.items():
                if name not in vars(cls):
                    setattr(made, name, method)
            made.__signature__ = _Signature()
            fields = dataclasses.fields(made)
            made.__record_defaults__ = (
                {f.name: f.default for f in fields if f.default is not dataclasses.MISSING},
                [
                    (f.name, f.default_factory)
                    for f in fields
                    if f.default_factory is not dataclasses.MISSING
                ],
            )
            return made

        return make
