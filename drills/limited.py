"""``python -m drills.limited MEGABYTES POOL score ARGUMENTS…``: scoring, short of memory.

A tiny pool is scored first, so that every library is loaded. Then the address space may grow
by so much and no further, and what runs out is the memory of batches. How often one did is
said at the end.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from drills.repeated import call


def limit(megabytes: int) -> None:
    """Let the address space grow by so much, and no further."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def main() -> None:
    """Score the tiny pool, take the memory away, run the command."""
    megabytes, tiny, *arguments = sys.argv[1:]
    warm = ["score", tiny, "-o", f"{tiny}.parquet", *arguments[4:]]
    warm[warm.index("--store") + 1] = f"{tiny}.store"
    answer = call(warm)
    assert answer["code"] == 0, answer["err"]

    # Libraries cannot be mapped any more once memory is short.
    import scipy.linalg  # noqa: F401

    from instructmining.cli.main import main as command
    from instructmining.models import runtime

    asked, halved = runtime.is_out_of_memory, 0

    def counting(error: Exception) -> bool:
        nonlocal halved
        found = asked(error)
        halved += found
        return found

    runtime.is_out_of_memory = counting
    sys.argv[1:] = arguments
    limit(int(megabytes))
    try:
        command()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
        sys.stderr.flush()
        sys.stdout.write(f"halved {halved} times\n")


if __name__ == "__main__":
    main()
