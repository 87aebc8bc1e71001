"""Which device and which number format a model runs in here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from instructmining.errors import ModelError
from instructmining.models.base import Item

if TYPE_CHECKING:
    import torch

OutputT = TypeVar("OutputT")

#: Tokens (padding included) of one batch. On a processor larger batches are a tenth slower:
#: what one layer hands to the next no longer stays in the cache.
CPU_TOKEN_BUDGET = 2_048
GPU_TOKEN_BUDGET = 65_536
#: Tokens whose activations exist at one time while gradients are wanted. On a processor as for
#: batches; an accelerator gives this share of its memory, at so many bytes per token, layer and
#: unit of width (measured with adapters in bfloat16, states in float32).
CPU_TRAINING_TOKENS = 1_024
_TRAINING_SHARE, _TRAINING_BYTES = 0.2, 80
# Time given to measuring how fast matrices are multiplied.
_MEASURED_S = 0.3
# On a processor torch has no exception of its own for this, only these words.
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "std::bad_alloc")


def pick_device() -> torch.device:
    """Return a CUDA device if there is one, else the processor.

    Of several devices the one a launcher gave this process (``LOCAL_RANK``), else the first.
    """
    import os

    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    local = os.environ.get("LOCAL_RANK", "")
    number = int(local) % torch.cuda.device_count() if local.isdecimal() else 0
    return torch.device("cuda", number) if number else torch.device("cuda")


def pick_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the device multiplies it in hardware, else float32.

    Emulated bfloat16 is hundreds of times slower than float32, so support is asked for,
    not assumed. float16 is never used: several of the models here overflow in it.
    """
    import torch

    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    has_bf16 = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return torch.bfloat16 if has_bf16 else torch.float32


def token_budget(device: torch.device) -> int:
    """Return the number of tokens, padding included, of one batch on `device`."""
    return GPU_TOKEN_BUDGET if device.type == "cuda" else CPU_TOKEN_BUDGET


def training_budget(model: Any) -> int:
    """Return the number of tokens whose activations may exist at one time in training."""
    import torch

    if model.device.type != "cuda":
        return CPU_TRAINING_TOKENS
    _, memory = torch.cuda.mem_get_info(model.device)
    config = model.config
    per_token: int = _TRAINING_BYTES * config.num_hidden_layers * config.hidden_size
    return max(CPU_TRAINING_TOKENS, int(memory * _TRAINING_SHARE) // per_token)


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Measure the speed of large matrix products, in operations per second, in under a second."""
    import time

    import torch

    size = 8_192 if device.type == "cuda" else 1_024
    a, b = torch.rand(2, size, size, device=device).to(dtype)
    best, start = 0.0, time.perf_counter()
    while time.perf_counter() - start < _MEASURED_S:
        before = time.perf_counter()
        torch.mm(a, b)
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = max(best, 2 * size**3 / (time.perf_counter() - before))
    return best


def run_or_halve(
    run: Callable[[Sequence[Item]], OutputT],
    items: Sequence[Item],
    join: Callable[[Sequence[OutputT]], OutputT],
) -> OutputT:
    """Run a batch, or its halves for as long as the device's memory runs out.

    Halves are other batches than the planned one, so their values are the same only within
    rounding (1e-5 nats in float32).

    Parameters
    ----------
    run : callable
        Runs a batch.
    items : sequence of Item
        The batch.
    join : callable
        Puts the outputs of two halves together.

    Raises
    ------
    ModelError
        If a single item is too much.
    """
    try:
        return run(items)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if len(items) == 1:
            # Not `from error`: its traceback would keep the failed tensors alive.
            raise ModelError(
                f"one example of {items[0].cost} tokens (row {items[0].row}) does not "
                "fit into memory; free some, or choose a smaller model"
            ) from None
    # Not inside the handler: the exception there keeps the failed batch's tensors alive.
    release_memory()
    half = len(items) // 2
    return join([run_or_halve(run, part, join) for part in (items[:half], items[half:])])


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an exception means that a device, or this machine, has no memory left."""
    import torch

    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def release_memory() -> None:
    """Give memory that an accelerator's allocator keeps back to the device."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def quiet_loading() -> None:
    """Keep transformers from drawing its own progress bars between ours."""
    from transformers.utils import logging

    logging.disable_progress_bar()
