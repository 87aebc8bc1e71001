import pytest
import torch
from transformers import AutoModelForCausalLM, T5Config, T5ForConditionalGeneration

from instructmining.models.sizes import ModelSize, size_of
from instructmining.models.sources import DEFAULT_ENCODER, DEFAULT_LM
from models.tiny import save_causal_lm


def parameters(model):
    return sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize("tied", [True, False])
def test_a_folder_is_measured_from_the_headers_of_its_files(tmp_path, tied):
    folder = save_causal_lm(tmp_path / "lm", tie_word_embeddings=tied)
    model = AutoModelForCausalLM.from_pretrained(folder)
    layers = sum(w.numel() for w in model.model.layers.parameters() if w.ndim == 2)

    size = size_of(str(folder))

    assert size == ModelSize(parameters(model), layers, 400 * 32, 32)


def test_of_an_encoder_decoder_the_encoder_runs_over_every_token(tmp_path):
    torch.manual_seed(0)
    model = T5ForConditionalGeneration(
        T5Config(vocab_size=90, d_model=16, d_kv=4, d_ff=24, num_layers=2, num_heads=4)
    )
    model.save_pretrained(tmp_path)
    blocks = model.encoder.block.parameters()
    # One table per head of how far apart two tokens stand is among them, and is small.
    encoder = sum(w.numel() for w in blocks if w.ndim == 2)

    size = size_of(str(tmp_path))

    assert size.parameters == parameters(model)
    assert size.active == pytest.approx(encoder, rel=0.05)
    assert size.width == 16


def test_the_models_of_the_presets_are_known_without_being_here(tmp_path, monkeypatch):
    monkeypatch.setenv("INSTRUCTMINING_CACHE", str(tmp_path))

    size = size_of("MingZhong/unieval-dialog@main")

    assert size is not None
    assert not size.here
    assert size.active < size.parameters


def test_a_model_nobody_knows_has_no_size(tmp_path):
    assert size_of("nobody/nothing") is None
    assert size_of(str(tmp_path)) is None


@pytest.mark.models
@pytest.mark.parametrize("name", [DEFAULT_LM, DEFAULT_ENCODER])
def test_what_is_known_of_the_packaged_models_is_true(name, tmp_path, monkeypatch):
    measured = size_of(name)
    monkeypatch.setenv("INSTRUCTMINING_CACHE", str(tmp_path))
    known = size_of(name)

    assert measured.here
    assert not known.here
    assert (known.parameters, known.active) == (measured.parameters, measured.active)
    assert known.width == measured.width
