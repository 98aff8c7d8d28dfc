"""A user's script passes ``mypy --strict``, and the public face has all that it returns."""

import inspect
import subprocess
import sys
import typing
from pathlib import Path

import onnxwalk

ROOT = Path(__file__).parents[1]


def test_strict_types_for_a_user(tmp_path):
    """Errors within the package are not the user's: they aren't shown for what is installed."""
    command = [
        *(sys.executable, "-m", "mypy", "--strict", "--config-file", ""),
        *("--follow-imports", "silent", "--cache-dir", tmp_path, "tests/typed_user.py"),
    ]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


def test_everything_public_is_there():
    for name in onnxwalk.__all__:
        assert getattr(onnxwalk, name) is not None


#: what those who write operators or look them up find in ``onnxwalk.ops``
OPERATORS = {onnxwalk.Registry, onnxwalk.Operator}


def test_nothing_public_returns_a_type_that_is_not():
    public = {getattr(onnxwalk, name) for name in onnxwalk.__all__ if name not in ("ops",)}
    classes = {one for one in public if inspect.isclass(one)} - OPERATORS
    for one in (onnxwalk.load, onnxwalk.supported_ops, *classes):
        found = set(types_of(one))
        for name, member in inspect.getmembers(one) if inspect.isclass(one) else ():
            if not name.startswith("_"):
                found |= set(types_of(member))
        assert found <= public, one


def types_of(one):
    """Our own classes in the annotations of a function, a property or a class."""
    function = (
        one.fget if isinstance(one, property) else inspect.unwrap(one) if callable(one) else 0
    )
    if not function or not hasattr(function, "__annotations__"):
        return
    # Some are imported for type checkers only, so that loading a model doesn't wait for them.
    names = {"onnxwalk": onnxwalk} | {name: getattr(onnxwalk, name) for name in onnxwalk.__all__}
    pending = list(typing.get_type_hints(function, localns=names).values())
    while pending:
        hint = pending.pop()
        pending += typing.get_args(hint)
        if inspect.isclass(hint) and hint.__module__.startswith("onnxwalk."):
            yield hint
