"""Carry weights between our models and Hugging Face's Llama, both ways, and say what is left over."""

import re

import torch

from lib.models.llama import Llama, LlamaConfig
from lib.models.sizes import check_positive, check_whole
from lib.weights.names import HUGGING_FACE_LLAMA, HUGGING_FACE_UNUSED

CONFIG_NEEDS = (
    "vocab_size",
    "num_hidden_layers",
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "rms_norm_eps",
)


def expand(table, n_layers):
    """Write a rename table out for every block: {our name: their name}."""
    numbered = {}
    for ours, theirs in table.items():
        for i in range(n_layers if "{i}" in ours else 1):
            numbered[ours.format(i=i)] = theirs.format(i=i)
    return numbered


def rename(tensors, names):
    """Return the tensors under their new names. Raise where one is missing or left over, and name it."""
    missing, unexpected = sorted(names.keys() - tensors.keys()), sorted(tensors.keys() - names.keys())
    if missing or unexpected:
        raise ValueError(
            f"{len(missing)} tensors are missing {missing[:3]}, {len(unexpected)} are unexpected {unexpected[:3]}: "
            "is the config that of this file?"
        )
    return {names[name]: tensor for name, tensor in tensors.items()}


def to_hugging_face(model):
    """Return (config, tensors) of our Llama as transformers' LlamaForCausalLM has them.

    `LlamaForCausalLM(LlamaConfig(**config)).load_state_dict(tensors)` then gives the same logits. Both use the
    half-split pairing, so nothing is permuted.
    """
    config = model.config
    if config.window is not None:
        raise ValueError(f"a window of {config.window} tokens has no place in LlamaForCausalLM: it is Mistral's")
    names = expand(HUGGING_FACE_LLAMA, config.n_layers)
    described = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.d_head,
        "max_position_embeddings": config.context_length,
        "rms_norm_eps": config.norm_eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "tie_word_embeddings": config.tied,
        "attention_bias": False,
        "mlp_bias": False,
        "hidden_act": "silu",
    }
    return described, rename(model.state_dict(), names)


def from_hugging_face(config, tensors):
    """Build our Llama, in float32, from transformers' config (a dict) and tensors. The opposite of `to_hugging_face`.

    It reads LLaMA, TinyLlama, LiteLlama, SmolLM2, Mistral. Raises ValueError for a config of another design.
    """
    _refuse_other_llamas(config)
    ours = LlamaConfig(
        vocab_size=config["vocab_size"],
        n_layers=config["num_hidden_layers"],
        d_model=config["hidden_size"],
        n_heads=config["num_attention_heads"],
        n_kv_heads=config.get("num_key_value_heads") or config["num_attention_heads"],
        d_head=config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"],
        d_ff=config["intermediate_size"],
        context_length=config["max_position_embeddings"],
        norm_eps=config["rms_norm_eps"],
        rope_theta=_theta(config),
        tied=bool(config.get("tie_word_embeddings")),
        window=config.get("sliding_window"),
    )
    tensors = {name: tensor for name, tensor in tensors.items() if not re.fullmatch(HUGGING_FACE_UNUSED, name)}
    names = expand(HUGGING_FACE_LLAMA, ours.n_layers)
    if ours.tied and "model.embed_tokens.weight" in tensors:
        tensors = {"lm_head.weight": tensors["model.embed_tokens.weight"], **tensors}
    return filled(Llama, ours, tensors, names)


def filled(make, config, tensors, names):
    """Return make(config) with the tensors in it, in float32; names: {our name: theirs}.

    All is checked before anything is filled: a tensor that is missing, left over or of another shape is named in a
    ValueError. No memory is taken for weights that would be overwritten.
    """
    odd = [name for name, tensor in tensors.items() if not torch.is_tensor(tensor)]
    if odd:
        raise ValueError(f"{odd[:3]} are no tensors: is the file of weights?")
    renamed = rename(tensors, {theirs: ours for ours, theirs in names.items()})
    try:
        with torch.device("meta"):
            model = make(config)
    except (RuntimeError, OverflowError, TypeError) as error:  # the product of two sizes is more than torch can count
        raise ValueError(f"{config}: no such model can be built ({str(error).splitlines()[0]})") from None
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if expected.keys() != renamed.keys():
        raise ValueError(f"the model has other tensors than the file: {sorted(expected.keys() ^ renamed.keys())[:3]}")
    wrong = [
        f"{names[name]} is {tuple(renamed[name].shape)}, expected {shape}"
        for name, shape in expected.items()
        if tuple(renamed[name].shape) != shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(f"wrong shapes: {'; '.join(wrong[:3])}{more}: is the config that of this file?")
    copies = {name: tensor.detach().to(torch.float32, copy=True) for name, tensor in renamed.items()}
    model.load_state_dict(copies, assign=True)
    if config.tied:
        model.head.weight = model.embed.weight
    return model


def _refuse_other_llamas(config):
    """Raise ValueError for what transformers' Llama can be told to be, and ours can't: with biases, another gate."""
    family = config.get("model_type", "llama")
    if family not in ("llama", "mistral"):
        raise ValueError(f"config.json is of model type {family!r}: this reads llama and mistral")
    missing = [name for name in CONFIG_NEEDS if name not in config]
    if missing:
        raise ValueError(f"config.json does not say {', '.join(missing)}: is it that of a Llama?")
    for name in ("hidden_size", "num_attention_heads"):
        check_whole(name, config[name])  # one is divided by the other
    for name, only in (("attention_bias", False), ("mlp_bias", False), ("hidden_act", "silu")):
        if config.get(name, only) != only:
            raise ValueError(f"{name} is {config[name]!r}, but our Llama knows {only!r} alone")


def _theta(config):
    """Transformers 5 keeps theta in `rope_parameters`, older configs in `rope_theta`."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(rope, dict):
        raise ValueError(f"rope_parameters are {rope!r}: expected is an object with rope_theta")
    if rope.get("rope_type", "default") != "default":
        raise ValueError(f"RoPE of type {rope['rope_type']!r}: this Llama knows 'default' alone")
    theta = rope.get("rope_theta", config.get("rope_theta", 10000.0))
    check_positive("rope_theta", theta)
    return float(theta)
