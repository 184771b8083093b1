"""What holds for every model: tiny random weights, all dimensions different, fewer key/value heads than heads."""

from dataclasses import replace

import pytest
import torch

from lib.models.hybrid import MIXERS, Hybrid, HybridConfig
from lib.models.llama import Llama, LlamaConfig
from lib.models.openelm import OpenElm, OpenElmConfig
from lib.models.rwkv import Rwkv, RwkvConfig
from lib.run.optimizer import parameter_groups
from lib.run.train import Recipe

GROUPED = LlamaConfig(
    vocab_size=61, n_layers=3, d_model=40, n_heads=6, n_kv_heads=2, d_head=8, d_ff=52, context_length=37, norm_eps=1e-6
)
UNEVEN = OpenElmConfig(61, 40, 8, n_heads=(3, 4, 6), n_kv_heads=(1, 4, 2), d_ff=(20, 60, 44), context_length=37)
MIXED = HybridConfig(61, ("rwkv5", "attention", "rwkv7"), 48, 52, 8, n_kv_heads=3, context_length=37, rank=5)
RANKS = {4: (), 5: (), 6: (3, 7), 7: (3, 7, 5, 9)}


def rwkv(generation):
    return Rwkv(
        RwkvConfig(generation, vocab_size=61, n_layers=3, d_model=48, d_ff=52, d_head=8, ranks=RANKS[generation])
    )


CASES = {
    "llama": lambda: Llama(GROUPED),
    "llama, tied, one key head": lambda: Llama(replace(GROUPED, tied=True, n_kv_heads=1)),
    "llama, window": lambda: Llama(replace(GROUPED, window=5)),
    "openelm": lambda: OpenElm(UNEVEN),
    "hybrid": lambda: Hybrid(MIXED),
    "hybrid of all mixers, tied": lambda: Hybrid(replace(MIXED, mixers=MIXERS[::-1], tied=True)),
    **{f"rwkv-{generation}": lambda generation=generation: rwkv(generation) for generation in RANKS},
}


def randomise(model, seed=0):
    """Give every tensor random values: fresh norms are the identity, and would hide a mistake.

    RWKV-6 takes its chunks as long as the strongest decay of the text allows. Decays on both sides of such a limit
    would change the rounding of what came before, so here they stay below it.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            spread = 0.03 if "decay.up" in name else 0.3
            weight += spread * torch.randn(weight.shape, generator=generator)
    return model


@pytest.fixture(params=CASES)
def model(request):
    torch.manual_seed(0)  # the random values are added to those that the model draws for itself
    return randomise(CASES[request.param]())


@pytest.fixture
def tokens():
    return torch.randint(0, 61, (4, 29), generator=torch.Generator().manual_seed(1))


def in_parts(model, tokens, splits):
    state, logits = None, []
    for part in tokens.split(splits, 1):
        y, state = model(part, state)
        logits.append(y)
    return torch.cat(logits, 1), state


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize("splits", [[1] * 29, [28, 1], [1, 28], [13, 16]])
def test_whole_is_step_by_step(model, tokens, dtype, tolerance, splits):
    model = model.to(dtype)
    whole, state = model(tokens)
    with torch.no_grad():
        parts, last = in_parts(model, tokens, splits)
    assert state.position == last.position == 29
    assert (whole - parts).abs().max() < tolerance * whole.std()


@pytest.mark.parametrize("t", [0, 1, 15, 28])
def test_causal_to_the_bit(model, tokens, t):
    changed = tokens.clone()
    changed[:, t] = (changed[:, t] + 1) % 61
    before, after = model(tokens)[0], model(changed)[0]
    assert torch.equal(before[:, :t], after[:, :t])
    assert not torch.equal(before[:, t], after[:, t])


def test_a_batch_is_its_sequences_alone(model, tokens):
    model = model.double()
    together = model(tokens)[0]
    alone = torch.cat([model(row[None])[0] for row in tokens])
    assert torch.allclose(together, alone, atol=1e-10)


def test_a_state_can_be_used_twice(model, tokens):
    """Two continuations of one beginning do not disturb each other."""
    with torch.no_grad():
        _, state = model(tokens[:, :9])
        first, _ = model(tokens[:, 9:14], state)
        model(tokens[:, 14:20], state)
        again, _ = model(tokens[:, 9:14], state)
    assert torch.equal(first, again)


def test_hidden_then_head_is_forward(model, tokens):
    x, _ = model.hidden(tokens)
    assert torch.equal(model.head(x), model(tokens)[0])


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (torch.zeros(38, dtype=torch.long)[None], "38 tokens, but the model was built for 37"),
        (torch.zeros(5, dtype=torch.long), r"shape \(5,\), expected \(B, T\)"),
        (torch.zeros(1, 0, dtype=torch.long), "expected"),
        (torch.tensor([[3, 61]]), "token 61, but the vocabulary has 61"),
        (torch.tensor([[3, -1]]), "token -1, but the vocabulary has 61"),
    ],
)
def test_bad_tokens_are_refused_in_words(tokens, words):
    with pytest.raises(ValueError, match=words):
        Llama(GROUPED)(tokens)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_kv_heads": 4}, "6 heads can't share 4"),
        ({"d_head": 7}, "d_head is 7"),
        ({"n_layers": 0}, "n_layers is 0"),
        ({"vocab_size": -3}, "vocab_size is -3"),
        ({"d_ff": 2.5}, "d_ff is 2.5"),
        ({"window": 0}, "window is 0"),
    ],
)
def test_configs_that_can_not_work_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        replace(GROUPED, **change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mixers": ("rwkv5", "mamba")}, "mamba.*give a list, one of attention, linear"),
        ({"mixers": ()}, "give a list"),
        ({"d_head": 7}, "d_model 48 is no multiple of d_head 7"),
        ({"d_head": 3}, "d_head is 3"),
        ({"n_kv_heads": 4}, "6 heads can't share 4"),
        ({"rank": 0}, "rank is 0"),
    ],
)
def test_hybrids_that_can_not_work_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        replace(MIXED, **change)


def test_in_a_hybrid_each_layer_learns_as_in_its_own_family():
    model = Hybrid(replace(MIXED, mixers=("rwkv5", "attention", "rwkv7")))
    names = {id(weight): name for name, weight in model.named_parameters()}
    groups = parameter_groups(model, Recipe(steps=1, learning_rate=1.0, weight_decay=0.5))
    told = {names[id(w)]: (group["lr"], group["weight_decay"]) for group in groups for w in group["params"]}
    assert told.keys() == set(names.values())
    doubled = {"blocks.0.mix_time.decay", "blocks.2.mix_time.decay.bias"}
    assert {name for name, (rate, _) in told.items() if rate == 2.0} == doubled
    for name, weight in model.named_parameters():
        assert (told[name][1] > 0) == (weight.ndim == 2 and name.endswith(".weight")), name
    assert not model.blocks[1].mix_time.output.weight.any() and model.blocks[1].mix_time.query.weight.any()


def test_a_hybrid_keeps_a_cache_for_attention_alone():
    _, state = Hybrid(MIXED)(torch.zeros(2, 11, dtype=torch.long))
    (_, memory), cache, (_, delta) = (layer[0] for layer in state.layers)
    assert cache.keys.shape == (2, 3, 11, 8) and memory.shape == delta.shape == (2, 6, 8, 8)


def test_a_hybrid_of_one_kind_of_rwkv_is_that_rwkv():
    """Same weights, same logits: what the list of mixers builds is what lib.models.rwkv builds."""
    pure, mixed = rwkv(5), Hybrid(replace(MIXED, mixers=("rwkv5",) * 3))
    mixed.load_state_dict(randomise(pure).state_dict())
    tokens = torch.randint(0, 61, (2, 20), generator=torch.Generator().manual_seed(3))
    assert torch.equal(pure(tokens)[0], mixed(tokens)[0])
