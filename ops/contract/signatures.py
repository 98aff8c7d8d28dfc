"""Operators that pass their attributes on to another function, and so have its attributes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def attributes_of(base: Callable[..., Any], *, without: Iterable[str] = ()) -> Callable[[F], F]:
    """Let ``**attributes`` of the decorated function stand for the attributes of ``base``, in its
    signature, and ``*inputs`` for the inputs of ``base`` after its own.

    Parameters that the function names itself replace those of ``base``; ``without`` lists
    attributes of ``base`` that it doesn't have.
    """

    def decorate(function: F) -> F:
        own = list(inspect.signature(function).parameters.values())
        named = {p.name: p for p in own if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
        others = [p for p in inspect.signature(base).parameters.values() if p.name not in without]
        inputs: list[inspect.Parameter] = []
        for i, parameter in enumerate(own):
            if parameter.kind is parameter.VAR_POSITIONAL:  # own[:i] are the inputs before it
                inputs = [p for p in others if p.kind is p.POSITIONAL_OR_KEYWORD][i:]
        keywords = [p for p in others if p.kind is p.KEYWORD_ONLY and p.name not in named]
        parameters = sorted([*named.values(), *inputs, *keywords], key=lambda p: p.kind)
        function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return function

    return decorate
