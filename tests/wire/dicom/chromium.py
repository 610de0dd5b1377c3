"""A headless Chromium, driven by the DevTools protocol over a pipe: one page, its requests and its errors."""

import base64
import json
import os
import subprocess
import threading
import time
from io import BytesIO
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Self

import numpy as np
from PIL import Image as Pillow

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-extensions",
    "--disable-domain-reliability", "--no-proxy-server", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--enable-unsafe-swiftshader", "--remote-debugging-pipe", "--window-size=1000,700",
)  # fmt: skip


PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


class Browser:
    """A browser with one page; use as a context."""

    def __init__(self, program: str, folder: Path, language: str = "en") -> None:
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()

        def connect() -> None:
            os.dup2(to_read, 3)
            os.dup2(to_write, 4)

        self._process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={folder}", f"--lang={language}", f"--accept-lang={language}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=True,
            preexec_fn=connect, pass_fds=(3, 4, to_read, to_write), start_new_session=True,
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        self._messages: Queue[dict[str, Any]] = Queue()
        self._next = 0
        self._session = ""
        self.requests: list[str] = []
        self.problems: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._write)
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._next += 1
        number = self._next
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        content = json.dumps(message).encode() + b"\0"
        while content:
            content = content[os.write(self._write, content) :]
        deadline = time.monotonic() + 60
        while True:
            answer = self._take(deadline - time.monotonic(), method)
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, address: str) -> None:
        """Go to a page."""
        self.call("Page.navigate", url=address)

    def run(self, script: str) -> Any:
        """Evaluate JavaScript in the page and return its value."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, script: str, seconds: float = 30) -> Any:
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + seconds
        while True:
            value = self.run(f"(() => {{ try {{ return {script} }} catch {{ return null }} }})()")
            if value:
                return value
            assert time.monotonic() < deadline, f"waited {seconds} s for {script}; problems: {self.problems[:5]}"
            time.sleep(0.05)

    def picture(self, selector: str) -> np.ndarray:
        """Return what is on the screen where an element is: rows x columns x RGB."""
        clip = dict(zip(("x", "y", "width", "height"), self._box(selector), strict=True)) | {"scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", clip=clip)["data"]
        return np.asarray(Pillow.open(BytesIO(base64.b64decode(shot))).convert("RGB"))

    def drag(self, selector: str, x: int, y: int) -> None:
        """Press in the middle of an element, move and let go."""
        left, top, width, height = self._box(selector)
        for kind, part in (("mousePressed", 0.0), ("mouseMoved", 0.5), ("mouseMoved", 1.0), ("mouseReleased", 1.0)):
            place = {"x": left + width / 2 + x * part, "y": top + height / 2 + y * part}
            self.call("Input.dispatchMouseEvent", type=kind, button="left", buttons=1, clickCount=1, **place)

    def _box(self, selector: str) -> list[float]:
        rectangle = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        box: list[float] = self.run(f"(() => {{ const r = {rectangle}; return [r.x, r.y, r.width, r.height] }})()")
        return box

    def press(self, key: str) -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key)

    def _take(self, seconds: float, what: str) -> dict[str, Any]:
        try:
            message = self._messages.get(timeout=max(seconds, 0.01))
        except Empty:
            raise AssertionError(f"the browser does not answer to {what}") from None
        parameters = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            case "Runtime.exceptionThrown":
                self.problems.append(
                    parameters["exceptionDetails"].get("exception", {}).get("description", "exception")
                )
            case "Log.entryAdded" if parameters["entry"]["level"] == "error":
                self.problems.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
        return message

    def _listen(self) -> None:
        rest = b""
        while True:
            try:
                chunk = os.read(self._read, 1 << 20)
            except OSError:
                return
            if not chunk:
                os.close(self._read)
                return
            *whole, rest = (rest + chunk).split(b"\0")
            for message in whole:
                self._messages.put(json.loads(message))
