"""Headless Chromium, driven by its DevTools protocol over a pipe: no package is needed for it."""

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOW = "no Chromium here; on Debian: apt-get install chromium; elsewhere: CHROMIUM=/path/to/chrome"
QUIET = (
    *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--use-angle=swiftshader", "--enable-unsafe-swiftshader"),  # WebGL without a graphics card
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--disable-extensions",
    ),
)


def find():
    """Path of a Chromium, None where there is none; the environment's CHROMIUM goes first."""
    found = [os.environ.get("CHROMIUM", ""), *(shutil.which(name) or "" for name in NAMES)]
    return next((path for path in found if path and Path(path).exists()), None)


class Browser:
    """One page of a browser; `requests`, `problems` and `answers` are what it did since `open`."""

    def __init__(self, path, profile, timeout=120):
        ours, theirs = os.pipe(), os.pipe()  # the browser reads descriptor 3 and writes descriptor 4
        command = [path, *QUIET, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
        script = 'exec 3<&"$1" 4>&"$2"; shift 2; exec "$@"'
        self.process = subprocess.Popen(
            ["bash", "-c", script, "browser", str(ours[0]), str(theirs[1]), *command],
            pass_fds=(ours[0], theirs[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self._to, self._from = os.fdopen(ours[1], "wb"), os.fdopen(theirs[0], "rb")
        self._number, self._rest, self.timeout, self.session = 0, b"", timeout, None
        self.requests, self.problems, self._loaded = [], [], False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """Sends a command and waits for its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _read(self):
        while b"\0" not in self._rest:
            part = os.read(self._from.fileno(), 1 << 20)
            assert part, "the browser ended"
            self._rest += part
        raw, self._rest = self._rest.split(b"\0", 1)
        message = json.loads(raw)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, event, said):
        if event == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])
        elif event in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            self.problems.append(said)
        elif event == "Page.loadEventFired":
            self._loaded = True

    def open(self, where, width, height=900, phone=False):
        """Opens a file or an address at a window's size; waits until it is loaded and every picture is decoded."""
        self.requests, self.problems, self._loaded = [], [], False
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        url = where if "://" in str(where) else Path(where).resolve().as_uri()
        self.call("Page.navigate", url=url)
        until = time.monotonic() + self.timeout
        while not self._loaded:
            assert time.monotonic() < until, "the page did not load"
            self.run("1")
            time.sleep(0.02)
        self.run("Promise.all([...document.images].map(image => image.decode()))")

    def run(self, script):
        """The value of a JavaScript expression."""
        told = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def wait(self, script, seconds=60):
        """Waits until a JavaScript expression is true; returns its value."""
        until = time.monotonic() + seconds
        while not (found := self.run(script)):
            assert time.monotonic() < until, f"never true: {script}; {self.problems}"
            time.sleep(0.05)
        return found

    def choose(self, selector, path):
        """Chooses a file in a file input, as a person does."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        field = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=field, files=[str(path)])

    def names(self):
        """(role, name) of everything that a screen reader is told."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        said = [
            (n.get("role", {}).get("value"), n.get("name", {}).get("value"))
            for n in nodes
            if not n["ignored"]
        ]
        return [(role, name or "") for role, name in said]

    def key(self, name, code, text=None):
        """Presses a key."""
        one = {"key": name, "code": name, "windowsVirtualKeyCode": code} | ({"text": text} if text else {})
        self.call("Input.dispatchKeyEvent", type="keyDown", **one)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=name, code=name)

    def pdf(self):
        """The page as it is printed, in the paper size that its style asks for."""
        return base64.b64decode(
            self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"]
        )

    def screenshot(self):
        """The whole page as PNG bytes."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def close(self):
        """Ends the browser."""
        try:
            self._to.close()
            self._from.close()
        finally:
            self.process.kill()
            self.process.wait()
