"""Carry weights between our RWKV and RWKV-LM's .pth files of generations 4, 5.2, 6 and 7, both ways."""

import re

from lib.models.rwkv import Rwkv, RwkvConfig
from lib.weights.convert import expand, rename
from lib.weights.names import RWKV, RWKV_ROWS, RWKV_UNUSED


def to_rwkv(model):
    """Return the tensors of our Rwkv under RWKV-LM's names and in its shapes: `torch.save` them as NAME.pth.

    The `rwkv` package's RWKV(model="NAME", strategy="cpu fp32") then gives the same logits.
    """
    config = model.config
    tensors = rename({name: tensor.detach() for name, tensor in model.state_dict().items()}, names_of(config))
    rows = re.compile(RWKV_ROWS[config.generation])
    return {
        name: tensor.view(1, 1, -1) if rows.fullmatch(name.split(".")[-1]) else tensor
        for name, tensor in tensors.items()
    }


def from_rwkv(tensors):
    """Build our Rwkv, in float32, from the tensors of such a file; all sizes are read from them.

    Tensors that are missing or left over are named in an error; but the v0, v1, v2 of RWKV-7's first layer, which no
    code reads, are dropped.
    """
    config = config_of(tensors)
    model = Rwkv(config)
    ours = model.state_dict()
    tensors = {name: tensor for name, tensor in tensors.items() if config.generation != 7 or name not in RWKV_UNUSED}
    renamed = rename(tensors, {theirs: name for name, theirs in names_of(config).items()})
    for name, tensor in renamed.items():
        found, expected = ([size for size in z.shape if size != 1] for z in (tensor, ours[name]))
        if found != expected:
            raise ValueError(f"{names_of(config)[name]} is {found}, expected {expected}: is the file of one model?")
    model.load_state_dict({name: tensor.view_as(ours[name]) for name, tensor in renamed.items()})
    return model


def names_of(config):
    """Return {our name: theirs} for all tensors of a config."""
    names = expand(RWKV[config.generation], config.n_layers)
    return {ours: theirs for ours, theirs in names.items() if config.generation != 7 or theirs not in RWKV_UNUSED}


def config_of(tensors):
    """Read the generation and all sizes from the names and shapes of a file's tensors."""
    first, generation = "blocks.0.att.", generation_of(tensors)
    blocks = [int(name.split(".")[1]) for name in tensors if name.startswith("blocks.")]
    (vocab_size, d_model), d_ff = tensors["emb.weight"].shape, tensors["blocks.0.ffn.key.weight"].shape[0]
    heads = {5: "time_faaaa", 6: "time_faaaa", 7: "r_k"}.get(generation)
    thin = {6: ("time_maa_w2", "time_decay_w2"), 7: ("w2", "a2", "v2", "g2")}.get(generation, ())
    # RWKV-7's v2 may be missing in the first layer.
    layers = {name: "blocks.1.att." if name == "v2" and 1 in blocks else first for name in thin}
    ranks = [tensors[layers[name] + name].shape[-2] if layers[name] + name in tensors else 1 for name in thin]
    more = {"d_head": tensors[first + heads].shape[1]} if heads else {}
    return RwkvConfig(generation, vocab_size, max(blocks) + 1, d_model, d_ff, ranks=ranks, **more)


def generation_of(tensors):
    """Tell the generation by names that it alone has."""
    first = "blocks.0.att."
    if first + "x_r" in tensors:
        return 7
    if first + "time_maa_x" in tensors:
        return 6
    if (
        first + "time_faaaa" in tensors
        and first + "gate.weight" in tensors
        and tensors[first + "time_decay"].dim() == 2
    ):
        return 5
    if first + "time_first" in tensors and first + "ln_x.weight" not in tensors:
        return 4
    some = sorted(name for name in tensors if name.startswith(first))[:3]
    raise ValueError(
        f"no tensors of RWKV-4, 5.2, 6 or 7 (5.0 and 5.1 are not read): there is {some or sorted(tensors)[:3]}"
    )
