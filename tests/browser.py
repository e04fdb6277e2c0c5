"""A Chromium without a window, driven over its own debugging protocol: pages as readers meet them.

Only websocket-client is needed, which JupyterLab brings. `Browser` starts one Chromium; `Browser.page` opens
a page in it and notes every error in its console, every exception and every request that failed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import websocket

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0"),
    *("--hide-scrollbars", "--disable-dev-shm-usage", "--force-color-profile=srgb"),
)
_PATIENCE = 120.0  # seconds for one answer: the machine may be busy


class Browser:
    """One Chromium with a profile of its own; use it in a ``with``."""

    def __enter__(self) -> Browser:
        self._profile = tempfile.mkdtemp(prefix="dhida-browser-")
        command = [str(CHROMIUM), *_FLAGS, f"--user-data-dir={self._profile}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port_file, end = Path(self._profile) / "DevToolsActivePort", time.monotonic() + _PATIENCE
        lines: list[str] = []
        while len(lines) < 2:
            if time.monotonic() > end or self._process.poll() is not None:
                self.__exit__()
                raise RuntimeError("Chromium did not start.")
            time.sleep(0.1)
            with contextlib.suppress(OSError):
                lines = port_file.read_text(encoding="utf-8").splitlines()
        self._socket = websocket.create_connection(
            f"ws://127.0.0.1:{lines[0]}{lines[1]}", timeout=_PATIENCE, suppress_origin=True
        )
        self._number, self._waiting = 0, []
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(AttributeError, OSError):
            self._socket.close()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send one command and return its result; events that come meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message | ({"sessionId": session} if session else {})))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            if "method" in answer:
                self._waiting.append(answer)

    def events(self, session: str) -> list[dict[str, Any]]:
        """What happened in a page since the last call."""
        mine = [event for event in self._waiting if event.get("sessionId") == session]
        self._waiting = [event for event in self._waiting if event.get("sessionId") != session]
        return mine

    def page(self, address: str, width: int = 1280, height: int = 900, dark: bool = False) -> Page:
        """Open a page and wait until it is loaded and its formulas are set."""
        return Page(self, address, width, height, dark)


class Page:
    """One open page."""

    def __init__(self, browser: Browser, address: str, width: int, height: int, dark: bool) -> None:
        self.browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.target = target
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.resize(width, height)
        mode = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=mode)
        self._seen: list[dict[str, Any]] = []
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")
        self.run("window.MathJax && MathJax.startup && MathJax.startup.promise")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command to this page."""
        return self.browser.call(method, self.session, **parameters)

    def resize(self, width: int, height: int) -> None:
        """Give the window another size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is awaited."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = _PATIENCE) -> None:
        """Wait until an expression is true.

        Raises:
            TimeoutError: if it does not become so.
        """
        end = time.monotonic() + seconds
        while not self.run(script):
            if time.monotonic() > end:
                raise TimeoutError(script)
            time.sleep(0.1)

    def press(self, key: str, shift: bool = False) -> None:
        """Press and release a key: ``"Tab"``, ``"ArrowRight"``, ``" "``, ``"Enter"``…"""
        codes = {"Tab": 9, "Enter": 13, " ": 32, "End": 35, "Home": 36}
        codes |= {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Escape": 27}
        text = {" ": " ", "Enter": "\r"}.get(key, key if len(key) == 1 else "")
        event = {"key": key, "code": "Space" if key == " " else key, "modifiers": 8 if shift else 0}
        event |= {"windowsVirtualKeyCode": codes.get(key, ord(key[0].upper()))}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **event)
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def click(self, element: str) -> None:
        """Press the mouse on an element, as a hand does: at its middle, after it was scrolled into view.

        Args:
            element: an expression whose value is the element.

        Raises:
            RuntimeError: if there is none.
        """
        middle = f"""(() => {{
            const element = {element};
            if (!element) throw new Error("nothing to click on");
            element.scrollIntoView({{block: "center"}});
            const box = element.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()"""
        x, y = self.run(middle)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self, path: Path) -> None:
        """Save what the window shows as a PNG file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def faults(self) -> list[str]:
        """Errors and warnings in the console, exceptions, requests that failed or went to another host."""
        self.run("1")  # what has happened by now has arrived
        self._seen += self.browser.events(self.session)
        found = []
        for event in self._seen:
            method, what = event["method"], event["params"]
            if method == "Runtime.exceptionThrown":
                details = what["exceptionDetails"]
                found.append(details.get("exception", {}).get("description") or details["text"])
            elif method == "Runtime.consoleAPICalled" and what["type"] in ("error", "warning", "assert"):
                found.append(" ".join(str(a.get("value", a.get("description"))) for a in what["args"]))
            elif method == "Log.entryAdded" and what["entry"]["level"] in ("error", "warning"):
                found.append(f"{what['entry']['text']} {what['entry'].get('url', '')}".strip())
            elif method == "Network.loadingFailed" and not what.get("canceled"):
                found.append(f"a request failed: {what['errorText']}")
            elif method == "Network.requestWillBeSent":
                address = what["request"]["url"]
                if re.match(r"(?:https?|wss?):", address) and not re.match(r"https?://127\.0\.0\.1", address):
                    found.append(f"a request to another host: {address}")
        return found

    def close(self) -> None:
        """Close it."""
        self.browser.call("Target.closeTarget", targetId=self.target)
