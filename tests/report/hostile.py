"""A pool whose rows would do harm in a careless page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from texts import sentence

HOSTILE = [
    "<script>window.hurt = 1</script>",
    "</script><script>window.hurt = 2</script>",
    '<img src=x onerror="window.hurt = 3">',
    "<!-- <script>",
    "{{ 7 * 7 }} {% raw %} ${window.hurt = 4}",
    "line\u2028separator \u2029 and \x00 and \x1b[31m",
    "quotes \" ' ` and & ampersands &amp; &lt;b&gt;",
    "https://example.com/picture.png ![x](https://example.com/y.png)",
]


def write_hostile_pool(path: Path, n: int) -> str:
    """Write `n` rows of made-up words; every seventh holds something hostile, in both fields."""
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as lines:
        for row in range(n):
            prompt, response = sentence(rng, 6), sentence(rng, int(rng.integers(1, 60)))
            if row % 7 == 0:
                hostile = HOSTILE[(row // 7) % len(HOSTILE)]
                prompt, response = f"{hostile} {prompt}", f"{hostile} {response}"
            if row == 13:
                response += " \ud800"
            if row % 50 == 49:
                response = ""
            lines.write(json.dumps({"instruction": prompt, "output": response}) + "\n")
    return str(path)
