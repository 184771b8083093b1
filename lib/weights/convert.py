"""Carry weights between our models and Hugging Face's Llama, both ways, and say what is left over."""

import re

import torch

from lib.layers.rope import rope_table
from lib.models.llama import Llama, LlamaConfig
from lib.weights.config_keys import family_of, refuse_other_llamas, rope_theta, window_of
from lib.weights.names import HUGGING_FACE_LLAMA, HUGGING_FACE_UNUSED, WRAPPERS

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


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

    It reads LLaMA, TinyLlama, LiteLlama, SmolLM2, Mistral. Raises ValueError for a config of another design, and for a
    key that may change the arithmetic and is not known here. What stands twice in a file is compared, then dropped.
    """
    refuse_other_llamas(config)
    heads, family = config["num_attention_heads"], family_of(config)
    n_kv_heads = config.get("num_key_value_heads", 8 if family == "mistral" else None)  # transformers' own default
    d_head, tied = config.get("head_dim"), config.get("tie_word_embeddings")
    ours = LlamaConfig(
        vocab_size=config["vocab_size"],
        n_layers=config["num_hidden_layers"],
        d_model=config["hidden_size"],
        n_heads=heads,
        n_kv_heads=heads if n_kv_heads is None else n_kv_heads,
        d_head=config["hidden_size"] // heads if d_head is None else d_head,
        d_ff=config["intermediate_size"],
        context_length=config["max_position_embeddings"],
        norm_eps=config["rms_norm_eps"],
        rope_theta=rope_theta(config),
        tied=False if tied is None else tied,
        window=window_of(config),
    )
    tensors = without_angles(unwrapped(tensors), ours)
    names = expand(HUGGING_FACE_LLAMA, ours.n_layers)
    if ours.tied:
        embed = "model.embed_tokens.weight"
        tensors = without_copy(tensors, "lm_head.weight", embed, "tie_word_embeddings")
        if embed in tensors:
            tensors["lm_head.weight"] = tensors[embed]
    return filled(Llama, ours, tensors, names)


def unwrapped(tensors):
    """Return the tensors without what torch.compile, FSDP and DDP put before a name. Adapters of LoRA are refused."""
    refuse_others_than_tensors(tensors)
    lora = [name for name in tensors if re.search(r"lora_[AB]\b|lora_(down|up|embedding)", name)]
    if lora:
        raise ValueError(
            f"{lora[:2]} belong to an adapter (LoRA), which is added to a model: merge the two first, "
            "as peft's merge_and_unload does, and save the model"
        )
    plain = {re.sub(WRAPPERS, "", name): tensor for name, tensor in tensors.items()}
    if len(plain) < len(tensors):
        twice = [name for name in tensors if name not in plain and re.sub(WRAPPERS, "", name) in tensors]
        raise ValueError(f"{twice[:3]} stand in the file without their prefix, too: save one of the two")
    return plain


def refuse_others_than_tensors(tensors):
    """Raise ValueError, with some names, where a value is no tensor."""
    odd = [name for name, tensor in tensors.items() if not torch.is_tensor(tensor)]
    if odd:
        raise ValueError(f"{odd[:3]} are no tensors: is the file of weights?")


def without_copy(tensors, head, embed, key):
    """Return the tensors without a head that is the embedding once more. One that differs is refused, with the key."""
    if head in tensors and embed in tensors:
        one, other = tensors[head], tensors[embed]
        if one.shape != other.shape:
            raise ValueError(
                f"{key} is true, but {head} is {tuple(one.shape)} and {embed} {tuple(other.shape)}: set it to false to "
                f"use the file's own head, or take {head} out of the file"
            )
        if not torch.equal(one, other.to(one.dtype)):
            apart = (one.float() - other.float()).abs().max()
            raise ValueError(
                f"{key} is true, but {head} differs from {embed} by up to {apart:.2g}: set it to false to use the "
                f"file's own head, or take {head} out of the file"
            )
    return {name: tensor for name, tensor in tensors.items() if name != head}


def without_angles(tensors, config):
    """Return the tensors without the speeds of RoPE that older files have; other speeds than theta gives are refused.

    Speed j is theta^(-2j/N) radians a token; files in half precision have it to 1 %.
    """
    speeds = {name: tensor for name, tensor in tensors.items() if re.fullmatch(HUGGING_FACE_UNUSED, name)}
    _, sin = rope_table(config.d_head, 2, config.rope_theta, dtype=torch.float64)
    expected = sin[1].asin()  # one token further; at most one radian
    for name, found in speeds.items():
        fits = found.shape == expected.shape
        if not fits or not torch.allclose(found.double(), expected, rtol=0.01, atol=1e-6):
            raise ValueError(
                f"{name} has other speeds than theta = {config.rope_theta:g} gives: the model was trained with another "
                "theta, or with scaled positions. Set rope_theta if you know it; if not, take these tensors out"
            )
    return {name: tensor for name, tensor in tensors.items() if name not in speeds}


def filled(make, config, tensors, names):
    """Return make(config) with the tensors in it, in float32; names: {our name: theirs}.

    All is checked before anything is filled: a tensor that is missing, left over or of another shape is named in a
    ValueError. No memory is taken for weights that would be overwritten.
    """
    refuse_others_than_tensors(tensors)
    renamed = rename(tensors, {theirs: ours for ours, theirs in names.items()})
    model = on_meta(make, config)
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
    _refuse_other_numbers(renamed, names)
    copies = {name: tensor.detach().to(torch.float32, copy=True) for name, tensor in renamed.items()}
    _refuse_infinite(copies, names)
    model.load_state_dict(copies, assign=True)
    if config.tied:
        model.head.weight = model.embed.weight
    return model


def on_meta(make, config):
    """Return make(config) without memory for its weights; ValueError where torch can't count that far."""
    try:
        with torch.device("meta"):
            return make(config)
    except (RuntimeError, OverflowError, TypeError) as error:  # the product of two sizes is too large a number
        raise ValueError(f"{config}: no such model can be built ({str(error).splitlines()[0]})") from None


def _refuse_other_numbers(tensors, names):
    """Raise ValueError for integers, which need scales that stand elsewhere, and for what is not stored row by row."""
    for name, tensor in tensors.items():
        if tensor.dtype not in FLOATS or tensor.layout != torch.strided:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ValueError(
                f"{names[name]} has numbers of the type {kind}: the weights are quantised, or damaged. Choose the "
                "release in float16, bfloat16 or float32"
            )


def _refuse_infinite(tensors, names):
    """Raise ValueError for weights that are NaN or infinite; a sum, which both of them spoil, is the quickest look."""
    for name, tensor in tensors.items():
        if not tensor.is_meta and not tensor.sum().isfinite() and not tensor.isfinite().all():
            bad = int((~tensor.isfinite()).sum())
            raise ValueError(
                f"{names[name]} has {bad:,} of {tensor.numel():,} numbers that are NaN or infinite: the training "
                "diverged, or the file is damaged. Take an earlier checkpoint, or download it again"
            )
