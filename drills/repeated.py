"""``python -m drills.repeated``: runs the commands it reads, one JSON list of arguments a line."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import traceback


def call(arguments: list[str]) -> dict[str, object]:
    """Run one command as the shell would; return exit code, output and talk."""
    from instructmining.cli.main import main

    sys.argv = ["instructmining", *arguments]
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ending:
            code = ending.code if isinstance(ending.code, int) else 0
        except BaseException:  # noqa: BLE001 - what the interpreter itself would print
            code = 1
            traceback.print_exc()
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def serve() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(call(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
