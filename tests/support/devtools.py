"""A browser driven as by hand: headless Chromium, over the pipe of its DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support.browser import CHROMIUM

#: of keys with names: their number, and the text that they write
_KEYS = {
    "Tab": (9, ""), "Enter": (13, "\r"), "Escape": (27, ""), "Space": (32, " "), "End": (35, ""),
    "Home": (36, ""), "ArrowLeft": (37, ""), "ArrowUp": (38, ""), "ArrowRight": (39, ""),
    "ArrowDown": (40, ""),
}  # fmt: skip
_HELD = {"Alt": 1, "Control": 2, "Shift": 8}


class Browser:
    """One page. ``console``: every line that it, its frames and its workers wrote there; of these
    ``errors`` are errors. ``requests``: the addresses of all that it asked for."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write, self._rest, self._number = read, write, b"", 0
        self.console: list[str] = []
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._answers: dict[int, dict[str, Any]] = {}
        self.session = ""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.ask(f"{domain}.enable")
        self.ask(
            "Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=False, flatten=True
        )

    def ask(self, method: str, *, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = session or self.session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + 60
        while number not in self._answers:
            self._hear(end)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _hear(self, end: float) -> None:
        """Read what has come, or wait for it."""
        if not select.select([self._read], [], [], max(end - time.monotonic(), 0))[0]:
            raise AssertionError("the browser doesn't answer")
        self._rest += os.read(self._read, 1 << 20)
        *messages, self._rest = self._rest.split(b"\0")
        for text in messages:
            message = json.loads(text)
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self._note(message["method"], message["params"])

    def _note(self, event: str, found: dict[str, Any]) -> None:
        if event == "Runtime.consoleAPICalled":
            text = " ".join(str(a.get("value", a)) for a in found["args"])
            self._write_console(text, found["type"] in ("error", "assert"))
        elif event == "Runtime.exceptionThrown":
            details = found["exceptionDetails"]
            text = details.get("exception", {}).get("description", details["text"])
            self._write_console(text, True)
        elif event == "Log.entryAdded":
            entry = found["entry"]
            self._write_console(
                f"{entry['text']} {entry.get('url', '')}", entry["level"] == "error"
            )
        elif event == "Network.requestWillBeSent":
            self.requests.append(found["request"]["url"])
        elif event == "Target.attachedToTarget":  # a worker
            session = found["sessionId"]
            for domain in ("Runtime", "Log", "Network"):
                self._number += 1
                message = {"id": self._number, "method": f"{domain}.enable", "sessionId": session}
                os.write(self._write, json.dumps(message).encode() + b"\0")

    def _write_console(self, text: str, is_error: bool) -> None:
        self.console.append(text)
        if is_error:
            self.errors.append(text)

    def open(self, address: str) -> None:
        self.ask("Page.navigate", url=address)

    def run(self, script: str) -> Any:
        """What an expression, or the promise that it is, comes to."""
        found = self.ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in found:
            details = found["exceptionDetails"]
            raise AssertionError(details.get("exception", {}).get("description", details["text"]))
        return found["result"].get("value")

    def wait(self, condition: str, seconds: float = 30) -> Any:
        """The first true value of an expression."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(AssertionError):  # a document that is just replaced
                if value := self.run(condition):
                    return value
            time.sleep(0.03)
        text = self.run("document.body.innerText")
        raise AssertionError(f"not within {seconds} s: {condition}; {text[:1500]}; {self.console}")

    def press(self, *keys: str) -> None:
        """Press keys and let them go: "Tab", "Shift+Tab", "Enter", "ArrowRight", "a"."""
        for key in keys:
            *held, name = key.split("+") if len(key) > 1 else [key]
            code, text = _KEYS.get(name, (ord(name[-1].upper()), name if len(name) == 1 else ""))
            stroke = {
                "key": " " if name == "Space" else name, "code": name if len(name) > 1 else "",
                "windowsVirtualKeyCode": code, "modifiers": sum(_HELD[one] for one in held),
            }  # fmt: skip
            kind = "keyDown" if text else "rawKeyDown"
            self.ask("Input.dispatchKeyEvent", type=kind, text=text, **stroke)
            self.ask("Input.dispatchKeyEvent", type="keyUp", **stroke)

    def click(self, element: str) -> None:
        """Click an element, which an expression gives, with the mouse, once it is there."""
        self.wait(f"{element} && true")
        x, y = self.run(
            f"(box => [box.x + box.width / 2, box.y + box.height / 2])({element}"
            ".getBoundingClientRect())"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def choose(self, selector: str, *paths: Path) -> None:
        """Choose files in a file input."""
        found = self.ask("Runtime.evaluate", expression=f"document.querySelector({selector!r})")
        node = found["result"]["objectId"]
        self.ask("DOM.setFileInputFiles", files=[str(p) for p in paths], objectId=node)

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone,
        )  # fmt: skip

    def dark(self, on: bool) -> None:
        value = "dark" if on else "light"
        features = [{"name": "prefers-color-scheme", "value": value}]
        self.ask("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))


@contextlib.contextmanager
def browser(profile: Path, options: Sequence[str] = ()) -> Iterator[Browser]:
    """A browser with a profile of its own, a picture for a camera and a beep for a microphone."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()

    def place() -> None:  # the protocol's pipes are the descriptors 3 and 4
        kept = [os.dup(theirs_in), os.dup(theirs_out)]
        os.dup2(kept[0], 3)
        os.dup2(kept[1], 4)

    command = [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic",
        "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", "--remote-debugging-pipe", f"--user-data-dir={profile}",
        "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", *options,
        "about:blank",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, preexec_fn=place, close_fds=False, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(ours_in, ours_out)
    finally:
        process.kill()
        process.wait()
        os.close(ours_in)
        os.close(ours_out)
