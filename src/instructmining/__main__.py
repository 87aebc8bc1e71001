"""``python -m instructmining`` is the command ``instructmining``."""

from __future__ import annotations

from instructmining.cli.main import main

if __name__ == "__main__":
    main()
