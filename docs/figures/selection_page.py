"""Draw docs/figures/selection_page.png: the page that `select --report` makes of the demonstration.

Usage: python docs/figures/selection_page.py

Needs the two small models (`instructmining download`), Chromium, playwright and pillow.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
PICTURE = Path(__file__).with_suffix(".png")
#: What is photographed, in CSS pixels; two pixels of the screen make one of them.
VIEW = {"width": 1100, "height": 860}
#: A page of few colours: a palette holds them all, at a fraction of the size.
COLOURS = 64


def make_page(folder: Path) -> Path:
    """Select from the demonstration pool; return the page."""
    page = folder / "selection.html"
    command = [sys.executable, "-m", "instructmining", "select", "examples/demo_pool.jsonl"]
    options = ["--keep", "10%", "-o", str(folder / "best.jsonl"), "--report", str(page)]
    subprocess.run([*command, *options], cwd=ROOT, check=True)
    return page


def photograph(page: Path) -> Image.Image:
    """Return the top of a page, as Chromium draws it."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("no Chromium is installed; install one, such as Debian's chromium")
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        opened = browser.new_page(viewport=VIEW, device_scale_factor=2, color_scheme="light")
        opened.goto(page.as_uri())
        opened.wait_for_selector("html[data-drawn]")
        drawn = opened.screenshot()
        browser.close()
    return Image.open(io.BytesIO(drawn)).convert("RGB")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        drawn = photograph(make_page(Path(folder)))
    drawn.quantize(COLOURS, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
