"""Our RWKV gives the logits of the `rwkv` package, generations 4 to 7, and RWKV-4 those of transformers too."""

import json
import math
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from lib.layers.shared import Shared
from lib.models.presets import RWKV_PRESETS, preset
from lib.models.rwkv import Rwkv, RwkvConfig, rwkv_d_ff
from lib.models.rwkv_start import learning_groups, vectors
from lib.models.skeleton import count_on_meta, n_params
from lib.weights.rwkv import from_rwkv, generation_of, to_rwkv

RANKS = {4: (), 5: (), 6: (8, 16), 7: (16, 24, 8, 32)}
TOKENS = [3, 77, 21, 5, 299, 0, 12, 77, 200, 41, 41]
GENERATIONS = pytest.mark.parametrize("generation", [4, 5, 6, 7])


def tiny(generation, n_layers=3, vocab_size=300, d_model=128, d_head=32):
    d_ff = rwkv_d_ff(generation, d_model)
    return RwkvConfig(generation, vocab_size, n_layers, d_model, d_ff, d_head, RANKS[generation])


def randomised(config, seed=0):
    """Give all tensors values far from those that they start at: a fresh block passes its input on."""
    model, generator = Rwkv(config), torch.Generator().manual_seed(seed)

    def randn(weight):
        return torch.randn(weight.shape, generator=generator)

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(".weight") and weight.dim() == 2:
                weight.copy_(randn(weight) / math.sqrt(weight.shape[1]))
            elif name.endswith((".down", ".up")):
                weight.copy_(0.1 * randn(weight))
            elif "mix_" in name.split(".")[-1] or "lean_" in name:
                weight.copy_(torch.rand(weight.shape, generator=generator))
            elif "norm" in name:
                weight.add_(0.1 * randn(weight))
            else:
                weight.copy_(0.5 * randn(weight) - (1.0 if "decay" in name else 0.0))
    return model


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """What the package gives for each generation: four processes side by side, since each imports torch."""
    folder, script, running = tmp_path_factory.mktemp("rwkv"), Path(__file__).with_name("rwkv_package.py"), {}
    for generation in (4, 5, 6, 7):
        path = folder / f"tiny-{generation}.pth"
        torch.save(to_rwkv(randomised(tiny(generation))), path)
        command = [sys.executable, str(script), str(generation), str(path), ",".join(map(str, TOKENS))]
        command.append(str(folder / f"{generation}.pt"))
        running[generation] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = {generation: process.communicate(timeout=200)[0] for generation, process in running.items()}

    def found(generation):
        assert running[generation].returncode == 0, said[generation][-2000:]
        return torch.load(folder / f"{generation}.pt", weights_only=True)

    return found


def ways(model):
    """Yield our logits by the three ways of handing over the tokens."""
    tokens = torch.tensor([TOKENS])
    for way, splits in (("whole", [11]), ("step by step", [1] * 11), ("in two parts", [4, 7])):
        state, rows = None, []
        for part in tokens.split(splits, 1):
            logits, state = model(part, state)
            rows.append(logits[0])
        yield way, torch.cat(rows)


@GENERATIONS
def test_equals_the_package(generation, package):
    truth = package(generation)
    with torch.no_grad():
        for way, ours in ways(randomised(tiny(generation))):
            assert (ours - truth[way]).abs().max() < 1e-4 * truth[way].std(), way


@GENERATIONS
def test_a_small_mistake_would_be_seen(generation, package):
    """Each tensor of the time mixer matters: a change of some percent in any of them shows in the logits."""
    truth, config = package(generation)["whole"], tiny(generation)
    names = [name for name, _ in randomised(config).named_parameters() if "blocks.1.mix_time" in name]
    for name in names:
        model = randomised(config)
        with torch.no_grad():
            weight = model.get_parameter(name)
            weight.mul_(1 + 0.1 * torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)))
            ours = model(torch.tensor([TOKENS]))[0][0]
        assert (ours - truth).abs().max() > 1e-4 * truth.std(), name


@GENERATIONS
def test_a_text_of_many_chunks_is_step_by_step_and_causal(generation):
    model = randomised(tiny(generation, n_layers=2, d_model=64)).double()
    tokens = torch.randint(0, 300, (2, 150), generator=torch.Generator().manual_seed(1))
    changed = tokens.clone()
    changed[:, 101] = (changed[:, 101] + 1) % 300
    with torch.no_grad():
        whole, other, state, rows = model(tokens)[0], model(changed)[0], None, []
        for part in tokens.split(1, 1):
            logits, state = model(part, state)
            rows.append(logits)
    assert (whole - torch.cat(rows, 1)).abs().max() < 1e-10
    assert torch.equal(whole[:, :101], other[:, :101]) and not torch.equal(whole[:, 101], other[:, 101])


@GENERATIONS
def test_the_package_generates_the_same_tokens(generation, package):
    model, ours = randomised(tiny(generation)), []
    with torch.no_grad():
        logits, state = model(torch.tensor([TOKENS]))
        for _ in range(10):
            ours.append(int(logits[0, -1].argmax()))
            logits, state = model(torch.tensor([ours[-1:]]), state)
    assert ours == package(generation)["greedy"].tolist()


HUGGING_FACE = {"emb": "rwkv.embeddings", "ln_out": "rwkv.ln_out", "att": "attention", "ffn": "feed_forward"}
HUGGING_FACE |= {"ln0": "pre_ln", "blocks": "rwkv.blocks", "time_mix_k": "time_mix_key", "time_mix_v": "time_mix_value"}
HUGGING_FACE |= {"time_mix_r": "time_mix_receptance"}


def transformers_of(model):
    """Return transformers' RwkvForCausalLM with our weights. rescale_every=0: it would change weights in place."""
    transformers = pytest.importorskip("transformers")
    if not hasattr(transformers, "RwkvForCausalLM"):
        pytest.skip("this transformers has no RWKV-4")
    config = model.config
    theirs = transformers.RwkvForCausalLM(
        transformers.RwkvConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.d_model,
            num_hidden_layers=config.n_layers,
            attention_hidden_size=config.d_model,
            intermediate_size=config.d_ff,
            rescale_every=0,
            tie_word_embeddings=False,
        )
    )
    tensors = {".".join(HUGGING_FACE.get(p, p) for p in name.split(".")): z for name, z in to_rwkv(model).items()}
    theirs.load_state_dict(tensors)
    return theirs.train()  # without dropout that changes nothing, and its backward pass fails otherwise


def test_rwkv4_equals_transformers():
    model = randomised(tiny(4))
    theirs = transformers_of(model)
    tokens = torch.tensor([TOKENS])
    for ours in (logits for _, logits in ways(model)):
        truth = theirs(tokens).logits[0]
        assert (ours - truth).abs().max() < 1e-4 * truth.std()


def test_rwkv4_gradients_equal_transformers():
    model, tokens = randomised(tiny(4)), torch.tensor([TOKENS])
    theirs = transformers_of(model)
    model(tokens)[0].square().mean().backward()
    theirs(tokens).logits.square().mean().backward()
    ours = {name: weight.grad.flatten() for name, weight in model.named_parameters()}
    truth = [weight.grad.flatten() for weight in theirs.parameters()]
    assert len(ours) == len(truth)
    for name, grad in ours.items():
        same = [z for z in truth if z.shape == grad.shape and torch.allclose(z, grad, atol=1e-4 * grad.abs().max())]
        assert same, name


@GENERATIONS
@pytest.mark.parametrize("n_layers", [1, 2])
def test_export_then_import_is_the_same_model(generation, n_layers):
    model = randomised(tiny(generation, n_layers))
    back = from_rwkv({name: tensor.clone() for name, tensor in to_rwkv(model).items()})
    expected = model.config
    if generation == 4:
        expected = replace(expected, d_head=64)  # it has no heads, so no file says their size
    if generation == 7 and n_layers == 1:
        expected = replace(expected, ranks=(16, 24, 1, 32))  # the one layer has no residual
    assert back.config == expected
    for name, tensor in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name
    assert torch.equal(back(torch.tensor([TOKENS]))[0], model(torch.tensor([TOKENS]))[0])


def test_files_in_half_precision_become_float32():
    tensors = {name: tensor.bfloat16() for name, tensor in to_rwkv(randomised(tiny(7))).items()}
    assert all(weight.dtype == torch.float32 for weight in from_rwkv(tensors).parameters())


def test_the_unused_tensors_of_rwkv7_are_dropped():
    tensors = to_rwkv(randomised(tiny(7)))
    unused = {f"blocks.0.att.{name}": tensors[f"blocks.1.att.{name}"] for name in ("v0", "v1", "v2")}
    assert n_params(from_rwkv(tensors | unused)) == n_params(from_rwkv(tensors))


@GENERATIONS
def test_what_is_missing_or_left_over_is_named(generation):
    tensors = to_rwkv(randomised(tiny(generation)))
    tensors["blocks.0.att.extra"] = tensors.pop("ln_out.weight")
    with pytest.raises(ValueError, match=r"ln_out\.weight.*blocks\.0\.att\.extra"):
        from_rwkv(tensors)


def test_a_tensor_of_a_wrong_shape_is_named():
    tensors = to_rwkv(randomised(tiny(6)))
    tensors["blocks.1.att.time_decay_w1"] = tensors["blocks.1.att.time_decay_w1"].T
    with pytest.raises(ValueError, match=r"blocks\.1\.att\.time_decay_w1 is \[16, 128\], expected \[128, 16\]"):
        from_rwkv(tensors)


def test_generations_that_are_not_read_are_refused():
    tensors = to_rwkv(randomised(tiny(5)))
    tensors["blocks.0.att.time_decay"] = tensors["blocks.0.att.time_decay"][:, 0]  # 5.1 has one decay a head
    with pytest.raises(ValueError, match=r"5\.0 and 5\.1 are not read"):
        generation_of(tensors)


@pytest.mark.parametrize("name", RWKV_PRESETS)
def test_the_published_integer(name):
    entry = preset(name)
    assert count_on_meta(lambda: Rwkv(entry.config)) == entry.n_params


def test_with_the_unused_tensors_rwkv7_counts_as_its_readme_says():
    entry = preset("rwkv-7-0.4b")
    C, rank = entry.config.d_model, entry.config.ranks[2]
    assert entry.n_params + C + 2 * C * rank == 450_834_432 and "450,834,432" in entry.source


@GENERATIONS
def test_a_fresh_model_starts_as_rwkv_lm_says(generation):
    model = Rwkv(tiny(generation))
    for block in model.blocks:
        for name, weight in block.named_parameters():
            zero = name.endswith((".down", "norm.bias", "norm_time.bias", "norm_channels.bias"))
            zero |= name in ("mix_time.output.weight", "mix_channels.value.weight", "mix_channels.receptance.weight")
            zero |= generation == 4 and name in ("mix_time.key.weight", "mix_time.receptance.weight")
            assert (weight == 0).all() == zero, name
        # A fresh block passes its input on.
        x = torch.randn(1, 5, 128)
        shared = Shared(first_values=torch.zeros(1, 5, 128))
        assert torch.equal(block(x, (None, None), shared)[0], x)
    assert model.embed.weight.abs().max() <= 1e-4
    tied = Rwkv(replace(tiny(generation), tied=True))
    assert 0.018 < tied.head.weight.std() < 0.022  # the head must pass gradients on
    singular = torch.linalg.svdvals(model.head.weight)
    assert torch.allclose(singular, torch.full_like(singular, 0.5 * math.sqrt(300 / 128)), atol=1e-5)


def test_the_first_values_are_those_that_the_first_layer_computes():
    """RWKV-7 with its values handed on from layer to layer, as its authors write it: the same logits and gradients."""
    torch.manual_seed(3)
    model, tokens = Rwkv(tiny(7)).double(), torch.randint(300, (2, 11))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    kept = []
    model.blocks[0].mix_time.value.register_forward_hook(lambda part, inputs, output: kept.append(output))

    def handed_on(tokens, layers):
        x, shared, new = model.norm_embed(model.embed(tokens)), Shared(), []
        for block, layer in zip(model.blocks, layers, strict=True):
            x, layer = block(x, layer, shared)
            shared = Shared(first_values=kept[-1])
            new.append(layer)
        return model.head(model.norm(x)), new

    start = [(None, None)] * len(model.blocks)
    first, layers = handed_on(tokens[:, :6], start)
    by_hand = torch.cat([first, handed_on(tokens[:, 6:], layers)[0]], 1)
    first, state = model(tokens[:, :6])
    ours = torch.cat([first, model(tokens[:, 6:], state)[0]], 1)
    assert len(kept) == 4  # once a call: the first layer does not compute them again
    grads = [torch.autograd.grad(y, list(model.parameters()), torch.ones_like(y)) for y in (by_hand, ours)]
    for a, b in zip((by_hand, *grads[0]), (ours, *grads[1]), strict=True):
        assert (a - b).abs().max() <= 1e-10 * max(1, a.abs().max())


def test_first_values_by_hand():
    """A few numbers of RWKV-LM's formulas, worked out: layer 1 of 3, 128 channels, heads of 32."""
    config = tiny(4)
    assert vectors(config, 1)["mix_time.decay"][[0, -1]].tolist() == [-5, 3]
    assert vectors(config, 1)["mix_time.decay"][64].item() == pytest.approx(-5 + 8 * (64 / 127) ** 1.35)
    assert vectors(config, 1)["mix_time.mix_value"][64].item() == pytest.approx(0.5 ** (2 / 3) + 0.15)
    assert vectors(config, 0)["mix_time.bonus"][:3].tolist() == pytest.approx(
        [math.log(0.3) + d for d in (0, 0.5, -0.5)]
    )
    assert vectors(tiny(5), 2)["mix_time.bonus"][[0, 1, -1]].tolist() == pytest.approx([1, 1 - 1 / 127 + 0.1, 0.1])
    assert vectors(tiny(5), 0)["mix_time.norm.weight"][0].item() == pytest.approx((1 / 3) ** 0.7)
    assert vectors(tiny(6), 1)["mix_channels.lean_key"][64].item() == pytest.approx(1 - 0.5 ** (8 / 27))
    seven = vectors(tiny(7), 0)
    assert seven["mix_time.decay.bias"][[0, 31, -1]].tolist() == pytest.approx([-8, -6 + 6 * 31 / 127 + 3, 3])
    assert seven["mix_time.residual.bias"][[0, -1]].tolist() == pytest.approx([0.93, 0.53])
    assert vectors(tiny(7), 1)["mix_channels.lean_key"][64].item() == pytest.approx(1 - 0.5 ** (16 / 81))
    assert vectors(tiny(7), 2)["mix_time.norm.weight"][0].item() == pytest.approx(1)


@GENERATIONS
def test_only_large_matrices_decay_and_the_decay_learns_faster(generation):
    model = Rwkv(tiny(generation))
    groups = learning_groups(model)
    names = sorted(name for group in groups for name in group["names"])
    assert names == sorted(name for name, _ in model.named_parameters())
    decaying = {name for group in groups if group["decays"] for name in group["names"]}
    matrices = {f"{name}.weight" for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)}
    assert decaying == matrices | {"embed.weight"}
    faster = {name: group["rate"] for group in groups for name in group["names"] if group["rate"] != 1}
    decay = "blocks.1.mix_time.decay" + (".bias" if generation > 5 else "")
    assert faster[decay] == 2 and len(faster) == (6 if generation == 4 else 3)
    assert generation != 4 or faster["blocks.1.mix_time.bonus"] == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"generation": 3}, "generation is 3: there are 4, 5, 6 and 7"),
        ({"d_model": 100}, "d_model 100 is no multiple of d_head 32"),
        ({"n_layers": 0}, "n_layers is 0"),
        ({"d_ff": 2.5}, "d_ff is 2.5"),
        ({"ranks": (8,)}, r"RWKV-7 takes \(decay, rate, residual, gate\)"),
        ({"ranks": (8, 8, 0, 8)}, "each at least 1"),
        ({"generation": 5}, "RWKV-5 takes none"),
        ({"context_length": 0}, "context_length is 0"),
    ],
)
def test_configs_that_can_not_work_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        replace(tiny(7), **change)


def test_a_config_survives_json():
    config = tiny(7)
    assert RwkvConfig(**json.loads(json.dumps(asdict(config)))) == config


def test_the_state_has_one_size_for_ever():
    for generation in (4, 5, 6, 7):
        model, sizes = Rwkv(tiny(generation, d_model=64)), []
        with torch.no_grad():
            for T in (1, 70):
                _, state = model(torch.zeros(1, T, dtype=torch.long))
                sizes.append([z.untyped_storage().nbytes() for z in parts(state.layers)])
        assert sizes[0] == sizes[1]


def parts(state):
    """Return the tensors of nested lists and tuples."""
    return [state] if isinstance(state, torch.Tensor) else [z for part in state for z in parts(part)]
