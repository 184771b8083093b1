"""Where RWKV's training starts, and what learns how: RWKV-LM's choices, which its author calls very important.

Every layer and every channel begins at a decay, and at shares of the token shift, of its own: early layers look at the
token before, late ones at the token itself; low channels remember long, high ones forget at once. All that ends a
branch begins at zero, so that a fresh block passes its input on.
Sources: RWKV-LM, RWKV-v4neo/src/model.py (4), RWKV-v5/src/model.py (5, 6), RWKV-v7/train_temp/src/model.py (7):
__init__ of each mixer, generate_init_weight and configure_optimizers; README, "Initializing RWKV 5/6 Models".
"""

import math

import torch
from torch import nn

# Orthogonal matrices times this; one that is not named here has gain 1.
GAINS = {
    4: {"mix_time.key": 0, "mix_time.receptance": 0},
    5: {"mix_time.key": 0.1, "mix_time.gate": 0.1},
    6: {"mix_time.key": 0.1, "mix_time.gate": 0.1},
    7: {"mix_time.key": 0.1},
}
ZERO = ("mix_time.output", "mix_channels.value", "mix_channels.receptance")
# RWKV-LM's layerwise_lr: these learn at a multiple of the rate. Nothing of them decays.
RATES = {
    4: {"mix_time.decay": 2.0, "mix_time.bonus": 3.0},
    5: {"mix_time.decay": 2.0},
    6: {"mix_time.decay.bias": 2.0},
    7: {"mix_time.decay.bias": 2.0},
}


def initialise_rwkv(model):
    """Set every parameter as RWKV-LM does before training: vectors by formula, matrices orthogonal or zero."""
    start_ends(model)
    for i, block in enumerate(model.blocks):
        start_block(block, model.config, i)


@torch.no_grad()
def start_ends(model):
    """Draw embedding and head.

    The embedding is uniform in +-1e-4 (the norm after it makes it large again), the head orthogonal with gain
    0.5 sqrt(V / C). Differs in two things: RWKV-4's trainer draws the embedding in +- its learning rate; and a table
    that is the head too (RWKV-LM ties none) is normal with spread 0.02, since a head of 1e-4 passes no gradient on.
    """
    config = model.config
    if model.head.weight.is_meta:
        return  # nothing there to set: somebody counts
    if config.tied:
        nn.init.normal_(model.embed.weight, std=0.02)
    else:
        nn.init.uniform_(model.embed.weight, -1e-4, 1e-4)
        nn.init.orthogonal_(model.head.weight, gain=0.5 * max(1.0, config.vocab_size / config.d_model) ** 0.5)


@torch.no_grad()
def start_block(block, config, i):
    """Set all that is in block i of an RWKV, whose config says of which generation it is."""
    if block.mix_channels.key.weight.is_meta:
        return
    formulas = vectors(config, i)
    for name, weight in block.named_parameters():
        if name in formulas:
            weight.copy_(formulas[name].view_as(weight))
        elif name.startswith("mix_") and weight.dim() >= 2:
            _draw(weight, name, config.generation)


def _draw(weight, name, generation):
    part = name.removesuffix(".weight")
    if part.endswith(".down"):
        nn.init.zeros_(weight)
    elif part.endswith(".up") and generation == 6:
        nn.init.uniform_(weight, -0.01, 0.01)
    else:
        gain = 0 if part in ZERO else 0.1 if part.endswith(".up") else GAINS[generation].get(part, 1)
        wide = math.sqrt(max(1.0, weight.shape[0] / weight.shape[1]))  # 5, 6 and 7 do so for `up` alone
        gain *= wide if generation == 4 or part.endswith(".up") else 1
        nn.init.orthogonal_(weight, gain=gain) if gain else nn.init.zeros_(weight)


def vectors(config, i):
    """Return {name in the block: first value} for what layer i sets by formula, each (C,) in float64."""
    C, L, generation = config.d_model, config.n_layers, config.generation
    late, early = i / max(L - 1, 1), 1 - i / L  # 0 to 1, and 1 to nearly 0
    channel = torch.arange(C, dtype=torch.float64)
    slope = channel / max(C - 1, 1)
    if generation == 7:
        return _vectors_7(config, channel, slope, late, early)
    zigzag = (channel + 1) % 3 - 1  # 0, 1, -1, 0, ...
    power = 0.7 + 1.3 * late
    share, sharp = (channel / C) ** early, (channel / C) ** (0.5 * early)
    own = {"key": share, "value": share + 0.3 * late, "receptance": sharp, "gate": sharp}
    if generation == 4:
        start = {"mix_time.decay": -5 + 8 * slope**power, "mix_time.bonus": math.log(0.3) + 0.5 * zigzag}
        return start | _mixes(("key", "value", "receptance"), own, share)
    bonus = late * (1 - slope) + 0.1 * zigzag
    scale = torch.full_like(channel, ((1 + i) / L) ** 0.7)
    start = {"mix_time.bonus": bonus, "mix_time.norm.weight": scale}
    if generation == 5:
        return start | {"mix_time.decay": -6 + 5 * slope**power} | _mixes(own, own, share)
    before = {f"mix_time.shift.lean_{name}": 1 - value for name, value in own.items()}
    before |= {f"mix_time.shift.lean_{name}": 1 - share for name in ("first", "decay")}
    channels = {f"mix_channels.lean_{name}": 1 - (channel / C) ** early**3 for name in ("key", "receptance")}
    return start | {"mix_time.decay.bias": -6 + 5 * slope**power} | before | channels


def _mixes(names, own, share):
    """Generations 4 and 5: the share of the token itself, in both mixers."""
    time = {f"mix_time.mix_{name}": own[name] for name in names}
    return time | {f"mix_channels.mix_{name}": share for name in ("key", "receptance")}


def _vectors_7(config, channel, slope, late, early):
    N, C = config.d_head, config.d_model
    line = slope - 0.5
    zigzag = (channel % N - (N - 1) / 2) / max((N - 1) / 2, 0.5)  # -1 to 1 in each head
    zigzag = zigzag * zigzag.abs()
    powers = {"receptance": 0.2, "decay": 0.9, "key": 0.7, "value": 0.7, "rate": 0.9, "gate": 0.2}
    before = {f"mix_time.lean_{name}": 1 - (channel / C) ** (power * early) for name, power in powers.items()}
    return before | {
        "mix_time.decay.bias": -6 + 6 * slope ** (1 + late**0.3) + 0.5 + 2.5 * zigzag,
        "mix_time.rate.bias": -0.19 + 0.3 * zigzag + 0.4 * line,
        "mix_time.residual.bias": 0.73 - 0.4 * line,
        "mix_time.removal": 0.71 - 0.1 * line,
        "mix_time.boost": torch.full_like(line, 1.02),
        "mix_time.bonus": torch.full_like(line, -0.04),
        "mix_time.norm.weight": torch.full_like(line, (config.n_layers * (1 - early) + 1) / config.n_layers) ** 0.7,
        "mix_channels.lean_key": 1 - (channel / C) ** early**4,
    }


def learning_groups(model, rates=None):
    """Return [{"names", "params", "decays", "rate"}]: who shares a weight decay and a multiple of the learning rate.

    Only the large matrices decay: projections, embedding and head; no vector, no low-rank matrix, no (H, N) table.
    rates: {end of a name: multiple}, those of the model's generation where it is None.
    """
    rates, groups = RATES[model.config.generation] if rates is None else rates, {}
    for name, weight in model.named_parameters():
        rate = next((rate for part, rate in rates.items() if name.endswith(part)), 1.0)
        key = name.endswith(".weight") and weight.dim() == 2, rate
        group = groups.setdefault(key, {"names": [], "params": [], "decays": key[0], "rate": rate})
        group["names"].append(name)
        group["params"].append(weight)
    return list(groups.values())
