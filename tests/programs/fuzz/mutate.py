"""Mutants of a case: of its bytes, of what its model says, of what it is fed."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import helper

from tests.programs.fuzz.case import LAYOUTS, Case
from tests.programs.fuzz.mutate_model import other_model
from tests.programs.fuzz.mutate_values import other_array, other_bytes


def mutant(case: Case, others: Sequence[Case], rng: random.Random) -> Case:
    """The case after one to four changes; ``others`` may lend parts."""
    how = rng.random()
    for _ in range(rng.choice((1, 1, 2, 4))):
        other = rng.choice(others)
        with contextlib.suppress(Exception):  # what was changed before needn't allow this change
            if how < 0.2:
                case = replace(case, model=other_bytes(case.model, other.model, rng))
            elif how < 0.85:
                case = other_model(case, other, rng)
            else:
                case = _other_feeds(case, rng)
    if case.files and rng.random() < 0.2:
        files = {n: other_bytes(data, b"", rng) for n, data in case.files.items()}
        case = replace(case, files=files)
    return case


def _other_feeds(case: Case, rng: random.Random) -> Case:
    if not case.feeds:
        return case
    name = rng.choice(list(case.feeds))
    value, change = case.feeds[name], rng.random()
    feeds, layouts, model = dict(case.feeds), dict(case.layouts), case.model
    if change < 0.35:
        layouts[name] = rng.choice(list(LAYOUTS))
    elif change < 0.9:
        feeds[name] = _other_value(value, rng)
        if rng.random() < 0.7:
            model = _open(model, name, feeds[name])
    elif change < 0.95:
        del feeds[name]
    else:
        feeds[rng.choice(("", "none such", "\n"))] = value
    return replace(case, feeds=feeds, layouts=layouts, model=model)


def _other_value(value: Any, rng: random.Random) -> Any:
    if rng.random() < 0.1:
        return rng.choice(
            (None, [], {}, "text", 1.5, 10**30, True, [1, [2]], b"x", {"a": 1}, [None])
        )
    if isinstance(value, list) and value:
        return [_other_value(item, rng) for item in value] if rng.random() < 0.7 else value[1:]
    if isinstance(value, dict) and value:
        return {key: _other_value(item, rng) for key, item in value.items()}
    if not isinstance(value, (np.ndarray, np.generic)):
        return value
    if rng.random() < 0.05:
        return np.full(np.shape(value), rng.choice(("a", b"\xff", "é")))
    return other_array(np.asarray(value), rng)


def _open(model: bytes, name: str, value: Any) -> bytes:
    """The model with the declared shape of an input taken away, and its type made to fit."""
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(model)
        code = helper.np_dtype_to_tensor_dtype(value.dtype)
    except Exception:  # changed bytes, or nothing with a type
        return model
    for info in proto.graph.input:
        if info.name == name:
            info.type.tensor_type.ClearField("shape")
            info.type.tensor_type.elem_type = code
    return proto.SerializeToString()
