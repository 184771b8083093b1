"""Carry weights between our RWKV and RWKV-LM's .pth files of generations 4, 5.2, 6 and 7, both ways."""

import re

from lib.models.rwkv import Rwkv, RwkvConfig
from lib.weights.convert import expand, filled, on_meta, rename, unwrapped
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
    code reads, are dropped. The files do not say the eps of the norm by heads (RWKV-5.2 to 7): it is 64e-5 here, as in
    RWKV-LM and the package `rwkv`. rwkv.cpp has 1e-5 for RWKV-5.2, so its logits differ a little.
    """
    tensors = unwrapped(tensors)
    config = config_of(tensors)
    tensors = {name: tensor for name, tensor in tensors.items() if config.generation != 7 or name not in RWKV_UNUSED}
    names = names_of(config)
    rename(tensors, {theirs: ours for ours, theirs in names.items()})  # what is missing or left over is said first
    shapes = {names[ours]: weight.shape for ours, weight in on_meta(Rwkv, config).state_dict().items()}
    for name, tensor in tensors.items():
        found, expected = ([size for size in shape if size != 1] for shape in (tensor.shape, shapes[name]))
        if found != expected:
            raise ValueError(f"{name} is {found}, expected {expected}: is the file of one model?")
    return filled(Rwkv, config, {name: tensor.reshape(shapes[name]) for name, tensor in tensors.items()}, names)


def names_of(config):
    """Return {our name: theirs} for all tensors of a config."""
    names = expand(RWKV[config.generation], config.n_layers)
    return {ours: theirs for ours, theirs in names.items() if config.generation != 7 or theirs not in RWKV_UNUSED}


def config_of(tensors):
    """Read the generation and all sizes from the names and shapes of a file's tensors."""
    generation, n_layers = generation_of(tensors), _count_blocks(tensors)
    first, second = "blocks.0.att.", "blocks.1.att." if n_layers > 1 else "blocks.0.att."
    vocab_size, d_model = _shape(tensors, "emb.weight")
    d_ff, _ = _shape(tensors, "blocks.0.ffn.key.weight")
    heads = {5: "time_faaaa", 6: "time_faaaa", 7: "r_k"}.get(generation)
    more = {"d_head": _shape(tensors, first + heads)[1]} if heads else {}
    thin = {6: ("time_maa_w2", "time_decay_w2"), 7: ("w2", "a2", "v2", "g2")}.get(generation, ())
    places = [(second if name == "v2" else first) + name for name in thin]  # RWKV-7's first layer needs no v2
    axes = [3 if name == "time_maa_w2" else 2 for name in thin]
    # Of a tensor that is missing the rank is not known; the loader then names the tensor.
    ranks = [_shape(tensors, place, n)[-2] if place in tensors else 1 for place, n in zip(places, axes, strict=True)]
    return RwkvConfig(generation, vocab_size, n_layers, d_model, d_ff, ranks=ranks, **more)


def _shape(tensors, name, axes=2):
    """Return the shape of a tensor that says a size; ValueError where it is missing, or has another number of axes."""
    if name not in tensors:
        raise ValueError(f"{name} is missing, which says a size of the model: is the file whole?")
    shape = tuple(tensors[name].shape)
    if len(shape) != axes:
        raise ValueError(f"{name} is {shape}, expected are {axes} axes: is it of RWKV-4, 5.2, 6 or 7?")
    return shape


def _count_blocks(tensors):
    """Return the number of blocks; ValueError where one between the others is missing."""
    found = (re.match(r"blocks\.(\d{1,6})\.", name) for name in tensors)
    blocks = {int(match[1]) for match in found if match}
    gaps = sorted(set(range(len(blocks))) - blocks)
    if gaps:
        raise ValueError(f"block {gaps[0]} is missing, but there is block {max(blocks)}: is the file whole?")
    return len(blocks)


def generation_of(tensors):
    """Tell the generation by names that it alone has."""
    first = "blocks.0.att."
    if first + "x_r" in tensors:
        return 7
    if first + "time_maa_x" in tensors:
        return 6
    if first + "time_faaaa" in tensors and first + "gate.weight" in tensors:
        decay = first + "time_decay"
        if decay not in tensors:
            raise ValueError(f"{decay} is missing, which says whether this is RWKV-5.2: is the file whole?")
        if tensors[decay].dim() == 2:
            return 5
    if first + "time_first" in tensors and first + "ln_x.weight" not in tensors:
        return 4
    some = sorted(name for name in tensors if name.startswith(first))[:3]
    raise ValueError(
        f"no tensors of RWKV-4, 5.2, 6 or 7 (5.0 and 5.1 are not read): there is {some or sorted(tensors)[:3]}"
    )
