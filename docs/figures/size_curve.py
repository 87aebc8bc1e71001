"""Draw docs/figures/size_curve.png: loss against size, as the page of a search shows it.

Usage: python docs/figures/size_curve.py FOUND

FOUND is a search.json, or the folder `instructmining search` wrote it to. Needs Chromium,
playwright and pillow.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from browser import drawn, save

from instructmining import api

PICTURE = Path(__file__).with_suffix(".png")
#: The parts of the page that are shown: the prompts searched on, and those kept back.
PARTS = ("fit", "report")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        made = api.report(Path(sys.argv[1]), Path(folder) / "size.html")
        with drawn(made, width=900, height=900) as page:
            save([page.locator(f"#{part} figure").screenshot() for part in PARTS], PICTURE)
