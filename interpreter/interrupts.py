"""The first Ctrl-C ends a command, whatever it is doing.

Python raises KeyboardInterrupt wherever the main thread happens to be, and not from everywhere does
it arrive: in a ``__del__``, a weak reference's callback or a callback of C++ it is printed and
forgotten, an ``except:`` of a library swallows it, and an import makes it another error. So the
handler here notes the signal, and raises again whenever the exception was lost, until ``run`` has
it. A process in which it doesn't arrive within ``SECONDS`` is ended; files are written under
another name and renamed, so that those which are there are whole.

``onnxwalk`` imports this module first. It imports only what a new process has, or nearly so: until
it is there, Ctrl-C ends Python with a traceback.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from _weakref import ref

TYPE_CHECKING = False  # as in typing, whose import takes as long as all else here
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

#: the exit status after Ctrl-C, as shells have it
STATUS = 130

#: how long a process may take to end after Ctrl-C. A call into C comes to its end first: Python
#: learns of the signal after it.
SECONDS = 10.0

_EVERY = 0.05  # seconds between looks at whether the exception was lost

_PACKAGE = "onnxwalk"


def is_command() -> bool:
    """Whether this process was started as ``python -m onnxwalk…`` (in a checkout also ``python -m
    interpreter`` or ``export``) or by an installed script."""
    here = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    mains = [os.path.join(here, part, "__main__.py") for part in ("interpreter", "export")]
    if os.path.realpath(sys.argv[0]) in mains:
        return True
    place = len(sys.orig_argv) - len(sys.argv)
    if place < 1:
        return False
    started, before = sys.orig_argv[place], sys.orig_argv[place - 1]
    if before == "-m":
        return started.partition(".")[0] == _PACKAGE
    script = os.path.basename(started).removesuffix(".exe")
    return script in (_PACKAGE, f"{_PACKAGE}-export")


def _end_at_once(number: int, frame: object) -> None:
    os._exit(STATUS)


# Until ``run`` begins, Ctrl-C ends a command at once and in silence: nothing has been begun then.
if is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _end_at_once)


def run(command: Callable[[], int], stopped: str = "") -> int:
    """Run a command and return its exit status: 130, after the line ``stopped`` on stderr, if
    Ctrl-C was pressed before it was done, even if that was in its last moment.

    Commands may call others by ``run``. In another thread than the main one, and where someone else
    handles the signal or it is ignored, Ctrl-C counts if KeyboardInterrupt arrives.
    """
    if _watches:
        return _run(command, _watches[-1], stopped)
    watch = Watch()
    with watch:
        try:
            status = _run(command, watch, stopped)
            watch.arrived = True
        except KeyboardInterrupt:  # between there and here
            watch.arrived = True
        if watch.noted and status != STATUS:
            watch.say()
        return STATUS if watch.noted else status


def _run(command: Callable[[], int], watch: Watch, stopped: str) -> int:
    before, watch.stopped = watch.stopped, stopped
    status = None
    try:
        try:
            status = command()
        except BaseException as error:
            if not (watch.noted or isinstance(error, KeyboardInterrupt)):
                raise
    except KeyboardInterrupt:  # while the error was looked at
        status = None
    if status is None or watch.noted:
        watch.arrived = True
        if status != STATUS:  # a command that was interrupted and has said so
            watch.say()
        return STATUS
    watch.stopped = before
    return status


def was_pressed() -> bool:
    """Whether Ctrl-C was pressed while the command ran that ``run`` runs: what looks like an error
    then may be what became of KeyboardInterrupt."""
    return any(watch.noted for watch in _watches)


def raises(handler: Any) -> bool:
    """Whether a handler of SIGINT is Python's own, or that of ``run``: both raise
    KeyboardInterrupt."""
    return handler is signal.default_int_handler or any(w.handle == handler for w in _watches)


class _Token:
    """What lives as long as an exception does: exceptions can't be referred to weakly."""


class Watch:
    """What is known of Ctrl-C while a command runs."""

    def __init__(self) -> None:
        self.stopped = ""  # the line to print
        self.noted = False  # the signal came
        self.arrived = False  # nothing is to be raised any more
        self._said = False
        self._over = False  # the process goes on without this
        self._before: Any = None  # the handler and the hooks that are replaced
        self._flying: ref[_Token] | None = None

    def __enter__(self) -> None:
        """Handle the signal, if this is the main thread and nobody else does."""
        before = signal.getsignal(signal.SIGINT)
        if before is not signal.default_int_handler and before is not _end_at_once:
            return
        try:
            signal.signal(signal.SIGINT, self.handle)
        except ValueError:  # another thread
            return
        self._thread = _thread.get_ident()
        self._before = before, sys.unraisablehook, sys.excepthook
        sys.unraisablehook = self._quiet(sys.unraisablehook)
        sys.excepthook = self._quiet(sys.excepthook)
        _watches.append(self)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Give it back; a process that is a command ignores it from now on."""
        self.arrived = True
        if self._before is None:
            return
        # Python ends ``python -m`` by the signal, whatever the exit status, if KeyboardInterrupt
        # left the execution of a string (dataclasses execute some), until the next one is
        # executed.
        exec("")
        if is_command():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is ending
            return
        self._over = True
        handler, sys.unraisablehook, sys.excepthook = self._before
        signal.signal(signal.SIGINT, handler)
        _watches.remove(self)

    def handle(self, number: int, frame: object) -> None:
        """The signal's handler. Raises KeyboardInterrupt, unless one is on its way."""
        if not self.noted:
            self.noted = True
            self._begin_to_insist()
        if not self.arrived and not self._is_flying():
            raise self._new_error()  # which is in no local variable here: a circle would keep it

    def _begin_to_insist(self) -> None:
        # not threading.Thread, which takes locks that the main thread may hold just now
        try:
            _thread.start_new_thread(self._insist, ())
        except RuntimeError:  # no thread can be started: the signal counts once
            return

    def _new_error(self) -> KeyboardInterrupt:
        error, token = KeyboardInterrupt(), _Token()
        error.onnxwalk_token = token  # type: ignore[attr-defined]
        self._flying = ref(token)
        return error

    def _is_flying(self) -> bool:
        return self._flying is not None and self._flying() is not None

    def _insist(self) -> None:
        """Have the handler called again when its exception was lost; end the process in the end."""
        end = time.monotonic() + SECONDS
        while not self._over:
            time.sleep(_EVERY)
            if time.monotonic() > end:
                if not self.arrived:
                    self.say()
                os._exit(STATUS)
            if not self.arrived and not self._is_flying():
                self._signal_again()

    def _signal_again(self) -> None:
        if sys.platform == "win32":
            _thread.interrupt_main()
        else:  # to that thread, so that it doesn't go on sleeping, or waiting for a process
            signal.pthread_kill(self._thread, signal.SIGINT)

    def say(self) -> None:
        """Print the line, once."""
        if self.stopped and not self._said:
            self._said = True
            print(self.stopped, file=sys.stderr, flush=True)

    def _quiet(self, hook: Callable[..., object]) -> Callable[..., object]:
        """A hook of ``sys`` that doesn't print a KeyboardInterrupt which was lost."""

        def quiet(*what: Any) -> object:
            kind = what[0] if isinstance(what[0], type) else what[0].exc_type
            return None if issubclass(kind, KeyboardInterrupt) else hook(*what)

        return quiet


#: the one that is installed, if any
_watches: list[Watch] = []
