"""The fast step of one token: it gives what the model gives, for each kind of LLaMA, and steps aside for all others."""

from dataclasses import replace

import pytest
import torch

from lib.layers.attention import GroupedAttention
from lib.models.llama import Llama
from lib.models.openelm import OpenElm, OpenElmConfig
from lib.models.presets import preset
from lib.models.rwkv import Rwkv
from lib.models.skeleton import State
from lib.run.decode import Decoder, can_decode
from lib.run.sample import sample
from tests.run.tiny import CONFIG

ELM = OpenElmConfig(64, 32, 8, (2, 4), (1, 2), (48, 80), 64)
MODELS = {
    "mha": lambda: Llama(replace(CONFIG, n_kv_heads=CONFIG.n_heads)),
    "mqa": lambda: Llama(replace(CONFIG, n_kv_heads=1)),
    "window": lambda: Llama(replace(CONFIG, window=4)),
    "openelm": lambda: OpenElm(ELM),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_each_step_is_the_models(name, dtype):
    torch.manual_seed(1)
    model = MODELS[name]().to(dtype).eval()
    for weight in model.parameters():  # norms that are no longer one
        torch.nn.init.normal_(weight, mean=float(weight.dim() == 1), std=0.3)
    tokens = torch.randint(29, (3, 14))
    with torch.inference_mode():
        whole, _ = model.hidden(tokens)
        _, state = model.hidden(tokens[:, :5])
        assert can_decode(model)
        decoder = Decoder(model, state, 9)
        steps = torch.stack([decoder(tokens[:, t]) for t in range(5, 14)], 1)
    assert steps.dtype == dtype
    accuracy = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 0.1}[dtype]
    torch.testing.assert_close(steps, whole[:, 5:], rtol=accuracy, atol=accuracy)


def test_it_leaves_the_state_of_the_text_as_it_was():
    model = MODELS["mqa"]().eval()
    with torch.inference_mode():
        _, state = model.hidden(torch.tensor([[1, 2, 3]]))
        before = [cache.keys.clone() for cache, _ in state.layers]
        decoder = Decoder(model, state, 5)
        for token in range(5):
            decoder(torch.tensor([token]))
    assert all(torch.equal(old, cache.keys) for old, (cache, _) in zip(before, state.layers, strict=True))
    assert isinstance(state, State) and state.position == 3 and decoder.position == 8


class Louder(GroupedAttention):
    """Somebody's own attention."""

    def forward(self, x, state, shared):
        y, state = super().forward(x, state, shared)
        return 3 * y, state


def test_what_it_does_not_know_goes_the_models_own_way():
    other = MODELS["mha"]()
    other.blocks[1].mix_time = Louder(CONFIG.d_model, CONFIG.n_heads, CONFIG.n_heads, CONFIG.d_head)
    assert not can_decode(other)
    tokens = torch.randint(29, (2, 4))
    with_cache, without = (torch.stack(list(sample(other, tokens, 9, 0, cache=cache)), 1) for cache in (True, False))
    assert torch.equal(with_cache, without)
    assert not can_decode(Rwkv(preset("tiny-rwkv-4").config))


def test_a_hook_is_called_for_every_token():
    model, seen = MODELS["mha"](), []
    model.blocks[0].mix_channels.register_forward_hook(lambda *_: seen.append(1))
    assert not can_decode(model)
    list(sample(model, torch.tensor([[1, 2]]), 6, temperature=0))
    assert len(seen) == 6


def test_autocast_has_the_models_own_way():
    model = MODELS["mha"]().eval()
    with torch.autocast("cpu", torch.bfloat16):
        assert not can_decode(model)
        list(sample(model, torch.tensor([[1, 2]]), 6, temperature=0))
    assert can_decode(model)
