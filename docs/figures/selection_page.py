"""Draw docs/figures/selection_page.png: the page that `select --report` makes of the demonstration.

Usage: python docs/figures/selection_page.py

Needs the two small models (`instructmining download`), Chromium, playwright and pillow.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from browser import drawn, save

ROOT = Path(__file__).resolve().parents[2]
PICTURE = Path(__file__).with_suffix(".png")


def make_page(folder: Path) -> Path:
    """Select from the demonstration pool; return the page."""
    page = folder / "selection.html"
    command = [sys.executable, "-m", "instructmining", "select", "examples/demo_pool.jsonl"]
    options = ["--keep", "10%", "-o", str(folder / "best.jsonl"), "--report", str(page)]
    subprocess.run([*command, *options], cwd=ROOT, check=True)
    return page


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        made = make_page(Path(folder))
        with drawn(made, width=1100, height=860) as page:
            save([page.screenshot()], PICTURE)
