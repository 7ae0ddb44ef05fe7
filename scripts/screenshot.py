"""A picture of an HTML page as a real browser shows it, and a few checks that only a browser can make.

    .venv/bin/python scripts/screenshot.py PAGE.html OUT.png --width 1400 --dark

Needs Chrome or Chromium; on Debian `apt-get install chromium-headless-shell`, elsewhere name it with --browser. Ends with 1
when the page asked for anything from outside, reported an error, or is wider than its window.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDE = """JSON.stringify({
  width: document.documentElement.scrollWidth, height: document.documentElement.scrollHeight, window: innerWidth,
})"""


class Browser:
    """Chrome's DevTools protocol over two pipes: JSON, each message ended by a zero byte."""

    def __init__(self, command: str) -> None:
        to_read, self._out = os.pipe()
        self._in, to_write = os.pipe()
        self._profile = tempfile.TemporaryDirectory()
        flags = [
            "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe",
            "--no-first-run", "--disable-background-networking", f"--user-data-dir={self._profile.name}",
        ]  # fmt: skip
        shell = f'exec "$0" "$@" 3<&{to_read} 4>&{to_write}'
        self._process = subprocess.Popen(
            ["sh", "-c", shell, command, *flags], pass_fds=(to_read, to_write), stderr=subprocess.DEVNULL
        )
        os.close(to_read)
        os.close(to_write)
        self._buffer = b""
        self._last = 0
        self._session: str | None = None
        self.events: list[dict] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def ask(self, method: str, **params) -> dict:
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def wait(self, event: str) -> None:
        while not any(seen.get("method") == event for seen in self.events):
            self.events.append(self._next())

    def _next(self) -> dict:
        while b"\0" not in self._buffer:
            data = os.read(self._in, 1 << 16)
            if not data:
                raise RuntimeError("the browser has gone")
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def close(self) -> None:
        self._session = None
        self.ask("Browser.close")
        self._process.wait(10)
        self._profile.cleanup()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path, help="a .png, or a .pdf as it would print")
    parser.add_argument("--width", type=int, default=1400)
    parser.add_argument("--height", type=int, help="cut off below this many pixels; default: the whole page")
    parser.add_argument("--top", type=int, default=0, help="begin this many pixels down")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--scale", type=float, default=1.0, help="pixels of the picture for one of the page")
    parser.add_argument("--hover", metavar="X,Y", help="put the pointer there first")
    parser.add_argument("--browser", help="the command of Chrome or Chromium")
    given = parser.parse_args()
    command = given.browser or next(filter(None, map(shutil.which, NAMES)), None)
    if command is None:
        parser.error("no Chrome or Chromium here; on Debian: apt-get install chromium-headless-shell")
    browser = Browser(command)
    try:
        return picture(browser, given)
    finally:
        browser.close()


def picture(browser: Browser, given: argparse.Namespace) -> int:
    for domain in ("Page", "Network", "Runtime", "Log"):
        browser.ask(f"{domain}.enable")
    scheme = {"name": "prefers-color-scheme", "value": "dark" if given.dark else "light"}
    browser.ask("Emulation.setEmulatedMedia", features=[scheme])
    size = {"width": given.width, "height": 900, "deviceScaleFactor": given.scale, "mobile": False}
    browser.ask("Emulation.setDeviceMetricsOverride", **size)
    address = given.page.resolve().as_uri()
    browser.ask("Page.navigate", url=address)
    browser.wait("Page.loadEventFired")
    extent = json.loads(browser.ask("Runtime.evaluate", expression=WIDE)["result"]["value"])
    if given.hover:
        x, y = map(float, given.hover.split(","))
        browser.ask("Emulation.setDeviceMetricsOverride", **{**size, "height": extent["height"]})
        browser.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    if given.picture.suffix == ".pdf":
        data = browser.ask("Page.printToPDF", printBackground=True)["data"]
    else:
        height = given.height or extent["height"] - given.top
        clip = {"x": 0, "y": given.top, "width": given.width, "height": height, "scale": 1}
        data = browser.ask("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"]
    given.picture.write_bytes(base64.b64decode(data))
    return judged(browser, extent, address)


def judged(browser: Browser, extent: dict, address: str) -> int:
    asked = [
        e["params"]["request"]["url"]
        for e in browser.events
        if e.get("method") == "Network.requestWillBeSent"
    ]
    outside = [url for url in asked if url != address and not url.startswith("data:")]
    failed = [
        e["params"]["exceptionDetails"]["text"]
        for e in browser.events
        if e.get("method") == "Runtime.exceptionThrown"
    ]
    failed += [
        e["params"]["entry"]["text"]
        for e in browser.events
        if e.get("method") == "Log.entryAdded" and e["params"]["entry"]["level"] in {"error", "warning"}
    ]
    wider = extent["width"] > extent["window"]
    print(json.dumps({**extent, "asked from outside": outside, "errors": failed}))
    return int(bool(outside or failed or wider))


if __name__ == "__main__":
    sys.exit(main())
