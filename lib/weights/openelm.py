"""Carry weights between our OpenELM and the files that Apple has on Hugging Face, both ways."""

import math

import torch

from lib.models.openelm import OpenElm, OpenElmConfig, make_divisible
from lib.models.sizes import check_list, check_positive, check_whole
from lib.weights.config_keys import PLAIN, refuse_unknown, shown
from lib.weights.convert import expand, filled, on_meta, rename, unwrapped, without_copy
from lib.weights.names import HUGGING_FACE_OPENELM, OPENELM_FUSED

NEEDS = ("vocab_size", "model_dim", "head_dim", "num_query_heads", "num_kv_heads", "ffn_multipliers",
         "ffn_dim_divisor", "max_context_length")  # fmt: skip
# Where the rest comes from: the lists say the heads, Apple's own code runs it, and RoPE's table is as long as one asks.
READ = frozenset(NEEDS) | {
    "model_type", "architectures", "auto_map", "num_transformer_layers", "num_gqa_groups", "qkv_multipliers",
    "rms_norm_eps", "rope_freq_constant", "rope_max_length", "share_input_output_layers", "tie_word_embeddings",
}  # fmt: skip
ALWAYS = PLAIN | {
    "ffn_with_glu": (True,),
    "normalize_qk_projections": (True,),
    "activation_fn_name": ("swish", "silu"),
    "normalization_layer_name": ("rms_norm",),
}


def to_hugging_face_openelm(model):
    """Return (config, tensors) of our OpenElm as Apple's OpenELMForCausalLM and mlx-lm have them.

    Both use the half-split pairing, so nothing is permuted. Readers that follow the lists num_query_heads, num_kv_heads
    and ffn_multipliers, as mlx-lm does, take any model; Apple's own class computes the heads anew by its rule.
    """
    config, pieces = model.config, {name: tensor.detach() for name, tensor in model.state_dict().items()}
    if config.tied:
        del pieces["head.weight"]  # it is embed.weight
    for theirs, ours in fused(config.n_layers).items():
        pieces[theirs] = torch.cat([pieces.pop(name) for name in ours])
    return describe(config), rename(pieces, names_of(config))


def from_hugging_face_openelm(config, tensors):
    """Build our OpenElm from such a config (a dict) and tensors. The opposite of `to_hugging_face_openelm`.

    Tensors that are missing, left over or of another shape than the config says are named in a ValueError.
    """
    ours = read_config(config)
    empty = on_meta(OpenElm, ours)
    _, like = to_hugging_face_openelm(empty)
    tensors = unwrapped(tensors)
    if ours.tied:  # some files carry the shared matrix twice
        shared = "lm_head.weight", "transformer.token_embeddings.weight"
        tensors = without_copy(tensors, *shared, "share_input_output_layers")
    pieces = rename(tensors, {theirs: name for name, theirs in names_of(ours).items()})
    for name, tensor in tensors.items():
        if tensor.shape != like[name].shape:
            found, expected = tuple(tensor.shape), tuple(like[name].shape)
            raise ValueError(f"{name} is {found}, expected {expected}: is the config that of this file?")
    heights = {name: weight.shape[0] for name, weight in empty.state_dict().items()}
    for theirs, names in fused(ours.n_layers).items():
        parts = pieces.pop(theirs).split([heights[name] for name in names])
        pieces |= dict(zip(names, parts, strict=True))
    if ours.tied:
        pieces["head.weight"] = pieces["embed.weight"]
    labels = expand(HUGGING_FACE_OPENELM, ours.n_layers)
    labels |= {name: f"{name} in {theirs}" for theirs, names in fused(ours.n_layers).items() for name in names}
    return filled(OpenElm, ours, {labels[name]: tensor for name, tensor in pieces.items()}, labels)


def fused(n_layers):
    """Return {their name: our names, in the order in which they stand} for every block."""
    return {
        theirs.format(i=i): [name.format(i=i) for name in ours]
        for theirs, ours in OPENELM_FUSED.items()
        for i in range(n_layers)
    }


def names_of(config):
    """Return {our name: theirs} for all tensors of a config; a fused one keeps their name."""
    names = expand(HUGGING_FACE_OPENELM, config.n_layers) | {name: name for name in fused(config.n_layers)}
    if config.tied:
        del names["head.weight"]
    return names


def describe(config):
    """Return the config.json of our config, as a dict."""
    return {
        "architectures": ["OpenELMForCausalLM"],
        "model_type": "openelm",
        "vocab_size": config.vocab_size,
        "num_transformer_layers": config.n_layers,
        "model_dim": config.d_model,
        "head_dim": config.d_head,
        "num_query_heads": list(config.n_heads),
        "num_kv_heads": list(config.n_kv_heads),
        "num_gqa_groups": config.n_heads[0] // config.n_kv_heads[0],
        "ffn_multipliers": [width / config.d_model for width in config.d_ff],
        "ffn_dim_divisor": math.gcd(*config.d_ff),
        "ffn_with_glu": True,
        "activation_fn_name": "swish",
        "normalization_layer_name": "rms_norm",
        "normalize_qk_projections": True,
        "share_input_output_layers": config.tied,
        "max_context_length": config.context_length,
        "rope_max_length": 2 * config.context_length,
        "rope_freq_constant": config.rope_theta,
        "rms_norm_eps": config.norm_eps,
    }


def read_config(config):
    """Return our config of a config.json (a dict). ValueError for what is missing, and for another design."""
    missing = [name for name in NEEDS if config.get(name) is None]
    if missing:
        raise ValueError(f"config.json does not say {', '.join(missing)}: is it that of an OpenELM?")
    refuse_unknown(config, READ, ALWAYS, "our OpenELM")
    for name in ("model_dim", "ffn_dim_divisor"):
        check_whole(name, config[name])
    d_model, shares = config["model_dim"], check_list("ffn_multipliers", config["ffn_multipliers"])
    for share in shares:
        check_positive("ffn_multipliers", share)
    n_layers = config.get("num_transformer_layers")
    if n_layers is not None and n_layers != len(shares):
        raise ValueError(f"num_transformer_layers is {shown(n_layers)}, but ffn_multipliers has {len(shares)} numbers")
    theta = config.get("rope_freq_constant", 10000)
    check_positive("rope_freq_constant", theta)
    tied = config.get("share_input_output_layers")
    tied = True if tied is None else tied
    if config.get("tie_word_embeddings") not in (None, tied):
        raise ValueError(
            f"tie_word_embeddings is {shown(config['tie_word_embeddings'])}, but share_input_output_layers {tied}: let "
            "both say the same"
        )
    return OpenElmConfig(
        vocab_size=config["vocab_size"],
        d_model=d_model,
        d_head=config["head_dim"],
        n_heads=config["num_query_heads"],
        n_kv_heads=config["num_kv_heads"],
        d_ff=[make_divisible(share * d_model, config["ffn_dim_divisor"]) for share in shares],
        context_length=config["max_context_length"],
        norm_eps=config.get("rms_norm_eps", 1e-6),
        rope_theta=float(theta),
        tied=tied,
    )
