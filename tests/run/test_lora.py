"""LoRA and DoRA: equal to peft's on the same random weights; begin as nothing; merge into the weights."""

import copy

import pytest
import torch
from torch import nn

from lib.models.openelm import OpenElm, openelm_config
from lib.run.lora import METHODS, DirectedUpdate, LowRankUpdate, adapt, merge
from tests.run.tiny import tiny_llama, tiny_rwkv


def tiny_openelm():
    torch.manual_seed(3)
    return OpenElm(openelm_config(29, 2, 24, 6, context_length=48, group=2, multiple_of=4))


MODELS = {
    "llama": tiny_llama,
    "openelm": tiny_openelm,
    **{f"rwkv-{generation}": lambda generation=generation: tiny_rwkv(generation) for generation in (4, 5, 6, 7)},
}
each_model = pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
each_method = pytest.mark.parametrize("method", METHODS)


def stir(model):
    """Give every weight that learns a random value, so that no product of zeros hides a slip."""
    torch.manual_seed(5)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.2 * torch.randn_like(weight))
    return model


class Pair(nn.Module):
    """Two linear layers of different sizes, one with a bias."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleDict({"one": nn.Linear(5, 7), "two": nn.Linear(7, 4, bias=False)})

    def forward(self, x):
        return self.blocks["two"](self.blocks["one"](x).tanh())


@each_method
@pytest.mark.parametrize(("rank", "alpha"), [(2, 4), (3, 1)])
def test_equals_peft(method, rank, alpha):
    peft = pytest.importorskip("peft", reason="the outside truth is the package peft")
    torch.manual_seed(1)
    ours, x = Pair(), torch.randn(6, 5)
    config = peft.LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=["one", "two"], use_dora=method == "dora", init_lora_weights=False
    )
    theirs = peft.get_peft_model(copy.deepcopy(ours), config)
    stir(adapt(ours, method, rank, alpha))
    there = dict(theirs.named_parameters())
    sides = {"down": "lora_A.default.weight", "up": "lora_B.default.weight"}
    sides |= {"length": "lora_magnitude_vector.default.weight"} if method == "dora" else {}
    pairs = [
        (getattr(ours.blocks[layer], name), there[f"base_model.model.blocks.{layer}.{other}"])
        for layer in ("one", "two")
        for name, other in sides.items()
    ]
    with torch.no_grad():
        for mine, other in pairs:
            other.copy_(mine)
    out, expected = ours(x), theirs(x)
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)
    weight = torch.randn_like(out)
    mine = torch.autograd.grad((out * weight).sum(), [a for a, _ in pairs])
    other = torch.autograd.grad((expected * weight).sum(), [b for _, b in pairs])
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    merged = theirs.merge_and_unload()
    merge(ours)
    for layer in ("one", "two"):
        torch.testing.assert_close(ours.blocks[layer].weight, merged.blocks[layer].weight, rtol=1e-6, atol=1e-6)


@each_model
@each_method
def test_a_fresh_update_changes_nothing_and_a_merged_one_is_the_same_model(build, method):
    model, tokens = build().eval(), torch.randint(29, (2, 11))
    before, _ = model(tokens)
    names = list(model.state_dict())
    adapt(model, method, rank=3)
    torch.testing.assert_close(model(tokens)[0], before, rtol=0, atol=1e-5)
    tuned, _ = stir(model)(tokens)
    assert (tuned - before).abs().max() > 1e-2
    merge(model)
    torch.testing.assert_close(model(tokens)[0], tuned, rtol=0, atol=2e-5)
    assert list(model.state_dict()) == names, "a merged model is one as it was"
    assert not any(isinstance(part, LowRankUpdate) for part in model.modules())


@each_model
def test_only_updates_learn_and_each_matrix_of_a_block_has_one(build):
    model = build()
    matrices = sum(isinstance(part, nn.Linear) for part in model.blocks.modules())
    adapt(model, "lora", rank=3)
    learn = [name for name, weight in model.named_parameters() if weight.requires_grad]
    assert len(learn) == 2 * matrices and all(name.endswith((".down", ".up")) for name in learn)
    model(torch.randint(29, (1, 5)))[0].sum().backward()
    assert all(weight.grad is None for weight in model.parameters() if not weight.requires_grad)


def test_the_length_of_a_row_is_what_dora_says():
    linear = nn.Linear(6, 4, bias=False)
    update = DirectedUpdate(linear, 2)
    with torch.no_grad():
        update.up.normal_()
        update.length.copy_(torch.tensor([1.0, 2.0, 0.5, 3.0]))
    torch.testing.assert_close(update.weight().norm(dim=1), update.length)


def test_what_does_not_fit_is_said():
    with pytest.raises(ValueError, match=r"rank 5, but the matrix is \(4, 6\)"):
        LowRankUpdate(nn.Linear(6, 4), 5)
    with pytest.raises(ValueError, match="there is lora, dora"):
        adapt(tiny_llama(), "ia3")
