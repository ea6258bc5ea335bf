"""A headless Chromium, driven over a pipe by the DevTools protocol: no package and no port is needed for it."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.conftest import REPOSITORY

# In the order of how light they are; .tools is where a browser can be put that the system has no package of.
_NAMES = (
    "chromium-headless-shell",
    "chrome-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
)
_FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-gpu",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--hide-scrollbars",
    "--mute-audio",
)
_ANSWER_SECONDS = 60.0


def find_chromium() -> str | None:
    """The path of a browser: $CATALOG_CHROMIUM, else one in `.tools/bin`, else one on the PATH; None without any."""
    named = os.environ.get("CATALOG_CHROMIUM")
    if named:
        return named
    places = os.pathsep.join((str(REPOSITORY / ".tools" / "bin"), os.environ.get("PATH", "")))
    return next((path for path in (shutil.which(name, path=places) for name in _NAMES) if path), None)


class Chromium:
    """A browser with one tab. A context manager: it is ended with it.

    Attributes:
        requests: every address that was asked for since `forget`, `data:` and `blob:` left out.
        complaints: errors and warnings of the console, uncaught exceptions and refused requests since `forget`.
    """

    def __init__(self, program: str, folder: Path) -> None:
        """
        Args:
            folder: for the profile and for downloads, which are in `downloads` below it.
        """
        self.downloads = folder / "downloads"
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._number = 0
        self._buffer = b""
        flags = [*_FLAGS, f"--user-data-dir={folder / 'profile'}"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")  # Chromium refuses root otherwise.
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        # The protocol is spoken over the browser's descriptors 3 and 4.
        script = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", program, *flags, "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(to_browser, from_browser),
            start_new_session=True,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)  # with its children; the profile is thrown away
        self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def call(self, method: str, **parameters: Any) -> Any:
        """The result of a method of the protocol. Raises AssertionError where the browser refuses it."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + _ANSWER_SECONDS
        while True:
            answer = self._next(deadline)
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def open(self, address: str, ready: str, seconds: float = 30.0) -> None:
        """Goes to a page, from an empty one, and waits until `ready`, an expression, is true there."""
        self.call("Page.navigate", url="about:blank")
        self.wait("location.href === 'about:blank'")
        self.call("Page.navigate", url=address)
        self.wait(f"location.href !== 'about:blank' && ({ready})", seconds)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; a promise is waited for. Raises AssertionError where it throws."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = 30.0) -> None:
        """Until an expression is true in the page, or in the one that it turns to meanwhile."""

        def is_true() -> bool:
            try:
                return bool(self.evaluate(f"Boolean({expression})"))
            except AssertionError as error:
                if "navigated or closed" not in str(error):
                    raise
                return False

        self.wait_for(is_true, expression, seconds)

    def wait_for(self, true: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
        """Until `true` says so."""
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
            time.sleep(0.02)

    def press(self, *keys: str) -> None:
        """Presses and releases keys, by their names in `KeyboardEvent.key`."""
        for key in keys:
            event: dict[str, Any] = {"key": key, "code": f"Key{key.upper()}" if len(key) == 1 else key}
            code = {"Tab": 9, "Enter": 13, "ArrowLeft": 37, "ArrowRight": 39, " ": 32}.get(key) or ord(key.upper()[0])
            typed = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
            self.call("Input.dispatchKeyEvent", type="keyDown", windowsVirtualKeyCode=code, text=typed, **event)
            self.call("Input.dispatchKeyEvent", type="keyUp", windowsVirtualKeyCode=code, **event)

    def resize(self, width: int, height: int = 800) -> None:
        """The size of the window, in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def forget(self) -> None:
        """Begins `requests` and `complaints` anew."""
        self.requests.clear()
        self.complaints.clear()

    def _next(self, deadline: float) -> Any:
        while b"\0" not in self._buffer:
            waiting, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            assert waiting, "the browser does not answer"
            data = os.read(self._read, 1 << 20)
            assert data, "the browser ended"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        event = json.loads(message)
        self._note(event.get("method"), event.get("params", {}))
        return event

    def _note(self, method: str | None, event: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            address = event["request"]["url"]
            if not address.startswith(("data:", "blob:")):
                self.requests.append(address)
        elif method == "Network.loadingFailed" and not event.get("canceled"):
            self.complaints.append(f"not loaded: {event['errorText']}")
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(event["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(event["args"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{event['entry']['text']} {event['entry'].get('url', '')}")
        elif method == "Page.javascriptDialogOpening":
            # Not waited for here: its answer comes among the others.
            self._number += 1
            message = {"id": self._number, "method": "Page.handleJavaScriptDialog", "params": {"accept": True}}
            os.write(self._write, json.dumps({**message, "sessionId": self._session}).encode() + b"\0")
