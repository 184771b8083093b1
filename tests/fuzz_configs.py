"""Bad configs: ours, and those of files that others wrote. What is accepted has to work. See tests/fuzz.py."""

import json
import math

import torch

from lib.models.llama import Llama, LlamaConfig
from lib.models.openelm import OpenElm, OpenElmConfig
from lib.models.rwkv import Rwkv, RwkvConfig
from lib.run.checkpoint import load_bundle, save_bundle
from lib.text.bpe import BPE
from lib.weights.convert import from_hugging_face, to_hugging_face
from lib.weights.gguf_llama import config_of_gguf
from lib.weights.openelm import from_hugging_face_openelm, to_hugging_face_openelm
from lib.weights.rwkv import from_rwkv, to_rwkv
from tests.run.tiny import CONFIG, tiny_llama, tiny_rwkv

BAD = [0, -1, -8, 2.5, 3.0, "4", None, True, math.nan, math.inf, 10**30, 2**31, [], {}, "", b"2", 1e-5, -0.1]
GOOD = {
    "vocab_size": [1, 5, 29],
    "n_layers": [1, 2, 3],
    "d_model": [4, 6, 8, 24],
    "n_heads": [1, 2, 3, 4, 6],
    "n_kv_heads": [1, 2, 3],
    "d_head": [1, 2, 3, 4, 5, 6, 8],
    "d_ff": [1, 7, 16],
    "context_length": [1, 4, 9],
    "norm_eps": [1e-5, 1e-6],
    "rope_theta": [10000.0, 500000, 2.0],
    "tied": [True, False],
    "window": [None, 1, 3],
    "generation": [4, 5, 6, 7],
    "head_eps": [64e-5],
}
LLAMA = ["vocab_size", "n_layers", "d_model", "n_heads", "n_kv_heads", "d_head", "d_ff", "context_length"]
LLAMA += ["norm_eps", "rope_theta", "tied", "window"]
RWKV = [
    "generation",
    "vocab_size",
    "n_layers",
    "d_model",
    "d_ff",
    "d_head",
    "context_length",
    "norm_eps",
    "head_eps",
    "tied",
]
WIDTHS = ("n_heads", "n_kv_heads", "d_ff")


def values(dice, names):
    """Return a value for each name; one time in two, one or two of them are bad."""
    chosen = {name: dice.choice(GOOD[name]) for name in names}
    for name in dice.sample(names, dice.choice([0, 0, 1, 2])):
        chosen[name] = dice.choice(BAD)
    return chosen


def works(make, config):
    """Build the model of an accepted config, and ask it: shapes are right, and numbers finite."""
    with torch.no_grad():
        model = make(config)
        T = min(3, config.context_length or 3)
        logits, _ = model(torch.zeros(2, T, dtype=torch.long))
    assert logits.shape == (2, T, config.vocab_size) and logits.isfinite().all(), "an accepted config does not work"


def small(config):
    """Say whether the model is one that a test can build."""
    sizes = [value for value in vars(config).values() if isinstance(value, int)]
    return max(sizes) < 1000


def names_the_value(make, chosen):
    """Make a config; a refusal has to show one of the values that were given. Return it."""
    try:
        return make(**chosen)
    except ValueError as error:
        lengths = [len(chosen[name]) for name in WIDTHS if isinstance(chosen.get(name), list)]
        singles = [one for value in chosen.values() for one in (value if isinstance(value, list) else [value])]
        shown = {str(lengths), *map(repr, singles), *map(repr, chosen.values())}
        assert any(value in str(error) for value in shown), f"no value in: {error}"
        raise


WORDS = "rope scaling scale window softcap bias norm activation factor alpha multiplier expert type x".split()


def with_more(dice, config, prefix="", join="_"):
    """Return the config with a key more, made of words that configs are made of, and the name; half have none."""
    if dice.random() < 0.5:
        return config, None
    name = prefix + join.join(dice.sample(WORDS, dice.choice([1, 2, 2, 3])))
    return config | {name: dice.choice([4.0, 0.5, 8, "gelu", True, {"factor": 2.0}, [1, 2]])}, name


def other_tensors(dice, tensors):
    """Return the tensors with up to two things done to them: one left out, misshapen, of another type, or too many."""
    there = dict(tensors)
    for name in dice.sample(sorted(there), dice.choice([0, 1, 1, 2])):
        kind = dice.randrange(7)
        if kind == 0:
            del there[name]
        elif kind == 1:
            there[dice.choice(["module.", "_orig_mod.", "blocks.9.", "x", ""]) + name] = there[name]
        elif kind == 2:
            there[name + dice.choice([".lora_A", ".bias", "2"])] = torch.ones(2)
        elif kind == 3:
            there[name] = there[name] * dice.choice([math.nan, math.inf])
        else:
            tensor = there[name]
            shapes = [tensor[:1], tensor.transpose(0, -1), tensor.double(), torch.zeros(()), tensor.flatten()]
            there[name] = dice.choice([*shapes, tensor.char(), tensor > 0, None, 3])
    if dice.random() < 0.2:
        prefix = dice.choice(["module.", "_orig_mod.", "model.", "_forward_module.module."])
        there = {prefix + name: tensor for name, tensor in there.items()}
    return there


def whole(model, vocab_size=29):
    """Assert that a model that was opened can be asked, and has finite numbers throughout."""
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())
    with torch.no_grad():
        logits, _ = model(torch.zeros(1, 2, dtype=torch.long))
    assert logits.shape == (1, 2, vocab_size)


def targets(folder):
    """Return {name: (target, weight)}."""

    def llama(dice):
        config = names_the_value(LlamaConfig, values(dice, LLAMA))
        assert config.n_heads % config.n_kv_heads == 0 and config.d_head % 2 == 0
        if small(config) and dice.random() < 0.05:
            works(Llama, config)

    def openelm(dice):
        chosen = values(dice, [name for name in LLAMA if name not in ("n_layers", "window")])
        n = dice.choice([1, 2, 3])
        for name in WIDTHS:
            whole = isinstance(chosen[name], int)
            chosen[name] = [chosen[name]] * dice.choice([n, n, n, n, n + 1, 0]) if whole else chosen[name]
        config = names_the_value(OpenElmConfig, chosen)
        if max(map(max, (config.n_heads, config.d_ff))) < 1000 and small(config) and dice.random() < 0.05:
            works(OpenElm, config)

    def rwkv(dice):
        chosen = values(dice, RWKV)
        count = {6: 2, 7: 4}.get(chosen["generation"] if isinstance(chosen["generation"], int) else 4, 0)
        chosen["ranks"] = dice.choice(
            [[2] * count, [3] * count, [2] * count, [0], [2.5] * count, 3, None, "ab", [-1] * 2]
        )
        config = names_the_value(RwkvConfig, chosen)
        if small(config) and dice.random() < 0.05:
            works(Rwkv, config)

    described, tensors = to_hugging_face(tiny_llama())
    names = ("vocab_size", "hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size", "head_dim")
    names += ("num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "rope_parameters", "sliding_window")
    names += ("model_type", "hidden_act", "attention_bias", "tie_word_embeddings")

    def hugging_face(dice):
        config, there = dict(described), dict(tensors)
        for name in dice.sample(names, dice.choice([0, 1, 1, 2])):
            config[name] = dice.choice(BAD)
            if dice.random() < 0.2:
                del config[name]
        config, more = with_more(dice, config)
        model = from_hugging_face(config, other_tensors(dice, there))
        assert more is None, f"{more} was skipped"
        whole(model)

    apples, apple_tensors = to_hugging_face_openelm(
        OpenElm(OpenElmConfig(29, 24, 6, (2, 4), (1, 2), (12, 20), context_length=9))
    )

    def openelm_file(dice):
        config = dict(apples)
        for name in dice.sample(sorted(config), dice.choice([0, 1, 1])):
            config[name] = dice.choice(BAD)
            if dice.random() < 0.3:
                del config[name]
        config, more = with_more(dice, config)
        model = from_hugging_face_openelm(config, other_tensors(dice, apple_tensors))
        assert more is None, f"{more} was skipped"
        whole(model)

    recurrent = [to_rwkv(tiny_rwkv(generation, tied=False)) for generation in (4, 5, 6, 7)]

    def rwkv_file(dice):
        whole(from_rwkv(other_tensors(dice, dice.choice(recurrent))))

    metadata = {"general.architecture": "llama", "llama.embedding_length": 24, "llama.attention.head_count": 4}
    metadata |= {"llama.attention.head_count_kv": 2, "llama.vocab_size": 29, "llama.block_count": 2}
    metadata |= {"llama.feed_forward_length": 40, "llama.context_length": 48, "llama.rope.freq_base": 1e4}
    metadata |= {"llama.attention.layer_norm_rms_epsilon": 1e-5}

    def gguf_metadata(dice):
        there = dict(metadata)
        for name in dice.sample(sorted(there), dice.choice([0, 1, 2])):
            there[name] = dice.choice(BAD)
            if dice.random() < 0.2:
                del there[name]
        there, more = with_more(dice, there, "llama.", ".")
        config = config_of_gguf(there, tied=True)
        assert more is None, f"{more} was skipped"
        if dice.random() < 0.03:
            works(Llama, config)

    bundles = [folder / "llama", folder / "rwkv"]
    for bundle, model in zip(bundles, (tiny_llama(), tiny_rwkv(7)), strict=True):
        save_bundle(bundle, model, BPE([]), {})

    def bundle(dice):
        place = dice.choice(bundles)
        path = place / "config.json"
        whole = path.read_text()
        config = json.loads(whole)
        try:
            for name in dice.sample(sorted(config), dice.choice([1, 1, 2])):
                config[name] = dice.choice([value for value in BAD if not isinstance(value, bytes)])
                if dice.random() < 0.2:
                    del config[name]
            path.write_text(
                dice.choice([json.dumps(config), json.dumps(config)[: dice.randrange(200)], "[]", "3", "[" * 10**5])
            )
            model, _ = load_bundle(place)
            assert model.config.vocab_size == 29
        finally:
            path.write_text(whole)

    assert CONFIG.vocab_size == 29
    return {
        "llama": (llama, 90),
        "openelm": (openelm, 60),
        "rwkv": (rwkv, 80),
        "hugging_face": (hugging_face, 8),
        "openelm_file": (openelm_file, 8),
        "rwkv_file": (rwkv_file, 12),
        "gguf_metadata": (gguf_metadata, 40),
        "bundle": (bundle, 8),
    }
