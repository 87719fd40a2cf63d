"""A headless Chromium for tests, driven over WebDriver; no traffic but to the loopback port of its driver.

Chromium or its driver missing: the test is skipped and says so, unless RAFTMEM_TEST_BROWSER is `required`.
"""

import base64
import contextlib
import os
import shutil
import signal
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest

CHROMIUM: Final = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS: Final = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
PIXEL_BYTES: Final = {2: 3, 6: 4}  # by PNG colour type: RGB, RGBA
Colour = tuple[int, int, int]


class Browser:
    """One page at a time."""

    def __init__(self, client: httpx.Client, session: str) -> None:
        self._client = client
        self._session = session

    def _ask(self, path: str, body: object) -> object:
        answer = self._client.post(f"/session/{self._session}/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["value"]

    def open(self, page: Path, *, width: int, height: int = 900, dark: bool = False) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", {"features": [scheme]})
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._devtools("Emulation.setDeviceMetricsOverride", size)
        self._ask("url", {"url": page.as_uri()})

    def run(self, script: str) -> object:
        """What the script returns."""
        return self._ask("execute/sync", {"script": script, "args": []})

    def colour(self, x: float, y: float) -> Colour:
        """What is really painted there; the place is on the page, not in the window."""
        clip = {"x": round(x), "y": round(y), "width": 1, "height": 1, "scale": 1}
        shot = self._devtools("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
        assert isinstance(shot, dict)
        return first_pixel(base64.b64decode(shot["data"]))

    def _devtools(self, command: str, parameters: object) -> object:
        return self._ask("goog/cdp/execute", {"cmd": command, "params": parameters})


def first_pixel(png: bytes) -> Colour:
    """The filter of a first pixel changes nothing, so no filter is undone here."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    place, packed, kind = 8, b"", 0
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        name, content = png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        if name == b"IHDR":
            assert content[8] == 8, "eight bits a channel"
            kind = content[9]
        packed += content if name == b"IDAT" else b""
        place += 12 + length
    raw = zlib.decompress(packed)
    assert len(raw) > PIXEL_BYTES[kind]
    return raw[1], raw[2], raw[3]


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """`folder`: for its profile. Ended with all that it started when this ends."""
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        missing = "no Chromium" if program is None else "no chromedriver"
        if os.environ.get("RAFTMEM_TEST_BROWSER") == "required":
            pytest.fail(f"{missing} is on PATH, and RAFTMEM_TEST_BROWSER says that it is required")
        pytest.skip(f"{missing} is on PATH: the page was not looked at in a browser")
    process = subprocess.Popen(
        [driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        said = next(line for line in process.stdout if "started successfully on port" in line)
        port = int(said.rstrip(".\n").rpartition(" ")[2])
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            options = {"binary": program, "args": [*ARGUMENTS, f"--user-data-dir={folder}"]}
            wanted = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}}
            answer = client.post("/session", json=wanted)
            assert answer.status_code == 200, answer.text
            session = answer.json()["value"]["sessionId"]
            yield Browser(client, session)
            client.delete(f"/session/{session}")
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the driver's own session: what it started is gone with it
        process.wait()
