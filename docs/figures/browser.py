"""Pages drawn by Chromium, for the pictures of the documentation.

Needs Chromium, playwright and pillow.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

#: Two pixels of a picture make one CSS pixel.
SCALE = 2
#: A page of few colours: a palette holds them all, at a fraction of the size.
COLOURS = 64


@contextmanager
def drawn(page: Path, width: int, height: int) -> Iterator[Page]:
    """Open a page of this package, drawn, in a window of so many CSS pixels."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("no Chromium is installed; install one, such as Debian's chromium")
    view = {"width": width, "height": height}
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        opened = browser.new_page(viewport=view, device_scale_factor=SCALE, color_scheme="light")
        opened.goto(page.resolve().as_uri())
        opened.wait_for_selector("html[data-drawn]")
        yield opened
        browser.close()


def save(photographs: list[bytes], picture: Path) -> None:
    """Write photographs, one below the other, as one picture of few colours."""
    parts = [Image.open(io.BytesIO(photograph)).convert("RGB") for photograph in photographs]
    size = max(part.width for part in parts), sum(part.height for part in parts)
    whole = Image.new("RGB", size, "white")
    top = 0
    for part in parts:
        whole.paste(part, (0, top))
        top += part.height
    whole.quantize(COLOURS, dither=Image.Dither.NONE).save(picture, optimize=True)
