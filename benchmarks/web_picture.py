"""Draws the README's picture of the web page: python benchmarks/web_picture.py MODELS SCAN docs/web.png.

A real server, a real upload and a real Chromium, those of the tests.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.browser import HOW, Browser, find
from tests.serving.server import Gateway

WIDTH, WAIT = 1280, 600  # pixels of the window, seconds for the scan


def draw(models: Path, scan: Path, out: Path) -> None:
    """Uploads a scan and takes a picture of the whole page with its result."""
    chromium = find()
    if not chromium:
        sys.exit(HOW)
    gateway = Gateway(models=models)
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(chromium, profile)
        try:
            browser.open(gateway.url, WIDTH)
            browser.choose("#file", scan.resolve())
            browser.run("document.querySelector('#submit').click()")
            browser.wait("document.body.dataset.state === 'shown'", WAIT)
            browser.run("document.querySelector('#jump').click()")
            browser.run("new Promise(done => setTimeout(done, 500))")
            picture = Image.open(io.BytesIO(browser.screenshot())).convert("RGB")
        finally:
            browser.close()
            gateway.stop()
    picture.quantize(128).save(out, optimize=True)
    print(f"{out}: {picture.width} x {picture.height}, {out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    draw(*map(Path, sys.argv[1:4]))
