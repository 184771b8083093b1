"""Carry weights between our OpenELM and the files that Apple has on Hugging Face, both ways."""

import math

import torch

from lib.models.openelm import OpenElm, OpenElmConfig, make_divisible
from lib.weights.convert import expand, rename
from lib.weights.names import HUGGING_FACE_OPENELM, OPENELM_FUSED


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
    with torch.device("meta"):
        _, like = to_hugging_face_openelm(OpenElm(ours))
    if ours.tied:  # some files carry the shared matrix twice
        tensors = {name: tensor for name, tensor in tensors.items() if name != "lm_head.weight"}
    pieces = rename(tensors, {theirs: name for name, theirs in names_of(ours).items()})
    for name, tensor in tensors.items():
        if tensor.shape != like[name].shape:
            found, expected = tuple(tensor.shape), tuple(like[name].shape)
            raise ValueError(f"{name} is {found}, expected {expected}: is the config that of this file?")
    model = OpenElm(ours)
    heights = {name: weight.shape[0] for name, weight in model.state_dict().items()}
    for theirs, names in fused(ours.n_layers).items():
        parts = pieces.pop(theirs).split([heights[name] for name in names])
        pieces |= dict(zip(names, parts, strict=True))
    if ours.tied:
        pieces["head.weight"] = pieces["embed.weight"]
    model.load_state_dict(pieces)
    return model


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
    """Return our config of a config.json (a dict). A model without gate or QK-norm is refused: we have none."""
    for name in ("ffn_with_glu", "normalize_qk_projections"):
        if not config.get(name, True):
            raise ValueError(f"{name} is {config[name]}, but our OpenELM always has it: no released model is so")
    d_model = config["model_dim"]
    return OpenElmConfig(
        vocab_size=config["vocab_size"],
        d_model=d_model,
        d_head=config["head_dim"],
        n_heads=config["num_query_heads"],
        n_kv_heads=config["num_kv_heads"],
        d_ff=[make_divisible(share * d_model, config["ffn_dim_divisor"]) for share in config["ffn_multipliers"]],
        context_length=config["max_context_length"],
        norm_eps=config.get("rms_norm_eps", 1e-6),
        rope_theta=float(config.get("rope_freq_constant", 10000)),
        tied=bool(config.get("share_input_output_layers", True)),
    )
