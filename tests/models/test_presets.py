"""Every preset has the published number of parameters, counted on torch's meta device and by transformers."""

import pytest
import torch
import transformers

from lib.models.hybrid import Hybrid
from lib.models.llama import Llama
from lib.models.presets import PRESETS, TINY_RWKV, preset
from lib.models.rwkv import Rwkv
from lib.models.skeleton import count_on_meta
from lib.weights.convert import to_hugging_face

LLAMAS = [name for name, entry in PRESETS.items() if type(entry.config).__name__ == "LlamaConfig"]


@pytest.mark.parametrize("name", LLAMAS)
def test_the_published_integer(name):
    entry = preset(name)
    assert entry.n_params is None or count_on_meta(lambda: Llama(entry.config)) == entry.n_params


@pytest.mark.parametrize("name", ["llama-7b", "tinyllama-1.1b", "litellama-460m", "llama-2-70b"])
def test_transformers_counts_the_same(name):
    with torch.device("meta"):
        config, _ = to_hugging_face(Llama(preset(name).config))
        theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config))
    assert sum(weight.numel() for weight in theirs.parameters()) == preset(name).n_params


@pytest.mark.parametrize("name", TINY_RWKV)
def test_the_tiny_rwkvs_are_as_large_as_the_tiny_llama(name):
    llama, entry = preset("tiny-llama").config, TINY_RWKV[name]
    ours, theirs = count_on_meta(lambda: Rwkv(entry.config)), count_on_meta(lambda: Llama(llama))
    assert abs(ours / theirs - 1) < 0.01
    assert name == f"tiny-rwkv-{entry.config.generation}"
    same = ("vocab_size", "n_layers", "d_model", "d_head", "tied")
    assert all(getattr(entry.config, field) == getattr(llama, field) for field in same)


def test_the_tiny_hybrid_is_as_large_as_the_tiny_llama():
    hybrid, llama = preset("tiny-hybrid").config, preset("tiny-llama").config
    ours, theirs = count_on_meta(lambda: Hybrid(hybrid)), count_on_meta(lambda: Llama(llama))
    assert abs(ours / theirs - 1) < 0.01 and hybrid.mixers.count("attention") == 1


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(ValueError, match="'lama'.*llama-7b"):
        preset("lama")
