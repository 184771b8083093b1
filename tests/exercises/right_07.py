"""Right answers to the exercises of lesson 07, written in other ways: the check must let them through."""

from torch import nn

from lib.layers.rope import rope_table
from lib.layers.shared import Shared
from lib.models.llama import Llama
from lib.models.skeleton import State
from tests.exercises.rights import right


class Parts(nn.Module):
    """The four parts of a block."""

    def __init__(self, norm_time, mix_time, norm_channels, mix_channels):
        super().__init__()
        self.norm_time, self.mix_time = norm_time, mix_time
        self.norm_channels, self.mix_channels = norm_channels, mix_channels


@right("07.1")
class InALoop(Parts):
    """Both halves by the same lines."""

    def forward(self, x, state, shared):
        """(B, T, C) -> (B, T, C), and the pair of new states."""
        new, pairs = [], ((self.norm_time, self.mix_time), (self.norm_channels, self.mix_channels))
        for (norm, mix), old in zip(pairs, state, strict=True):
            y, kept = mix(norm(x), old, shared)
            x = x + y
            new.append(kept)
        return x, tuple(new)


@right("07.1")
class ByNames(Parts):
    """Every step has a name of its own."""

    def forward(self, x, state, shared):
        """(B, T, C) -> (B, T, C), and the pair of new states."""
        told, time = self.mix_time(self.norm_time(x), state[0], shared)
        seen = told + x
        thought, channel = self.mix_channels(self.norm_channels(seen), state[1], shared)
        return seen + thought, (time, channel)


@right("07.1")
class ByList(Parts):
    """The pair of states as a list."""

    def forward(self, x, state, shared):
        """(B, T, C) -> (B, T, C), and the pair of new states."""
        new = [None, None]
        y, new[0] = self.mix_time(self.norm_time(x), state[0], shared)
        z, new[1] = self.mix_channels(self.norm_channels(x + y), state[1], shared)
        return x + y + z, new


def _tables(model, tokens, state, dtype):
    first = 0 if state is None else state.position
    return rope_table(model.config.d_head, tokens.shape[1], model.config.rope_theta, offset=first, dtype=dtype)


@right("07.5")
def by_index(model, tokens, state=None):
    """Blocks by their number, new states written into a list."""
    layers = [(None, None)] * len(model.blocks) if state is None else list(state.layers)
    x = model.embed(tokens)
    cos, sin = _tables(model, tokens, state, x.dtype)
    for i in range(len(model.blocks)):
        x, layers[i] = model.blocks[i](x, layers[i], Shared(cos, sin))
    return model.head(model.norm(x)), State((state.position if state else 0) + tokens.shape[1], layers)


@right("07.5")
def by_a_longer_table(model, tokens, state=None):
    """One table from position 0 on, cut; blocks by an iterator."""
    state = State(0, [(None, None) for _ in model.blocks]) if state is None else state
    x, last, layers = model.embed(tokens), state.position + tokens.shape[1], []
    table = rope_table(model.config.d_head, last, model.config.rope_theta, dtype=x.dtype)
    shared = Shared(*(part[state.position :] for part in table))
    before = iter(state.layers)
    for block in model.blocks:
        x, new = block(x, next(before), shared)
        layers += [new]
    return model.head(model.norm(x)), State(last, layers)


@right("07.5")
def by_the_parts_of_a_block(model, tokens, state=None):
    """Without calling the blocks: their four parts in order."""
    position, layers = state if state else (0, [(None, None)] * len(model.blocks))
    x, new = model.embed(tokens), []
    shared = Shared(*_tables(model, tokens, state, x.dtype))
    for block, (time, channel) in zip(model.blocks, layers, strict=True):
        y, time = block.mix_time(block.norm_time(x), time, shared)
        z, channel = block.mix_channels(block.norm_channels(x + y), channel, shared)
        x = x + y + z
        new.append((time, channel))
    return model.head(model.norm(x)), State(position + tokens.shape[1], new)


@right("07.2")
class Indexed(Llama):
    """A Llama that runs its blocks by number."""

    forward = by_index


@right("07.2")
class LongerTable(Llama):
    """A Llama that makes its table from position 0 on."""

    forward = by_a_longer_table


@right("07.2")
class Opened(Llama):
    """A Llama that calls the parts of its blocks."""

    forward = by_the_parts_of_a_block


NAMES = {"mix_time": "self_attn", "mix_channels": "mlp"}
LAST = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "o_proj"}
LAST |= {name: f"{name}_proj" for name in ("gate", "up", "down")}
NORMS = {"norm_time": "input_layernorm", "norm_channels": "post_attention_layernorm"}
OUTSIDE = {"embed": "model.embed_tokens", "norm": "model.norm", "head": "lm_head"}


@right("07.3")
def by_pieces(name):
    """Take the name apart at its dots."""
    pieces = name.split(".")
    if pieces[0] != "blocks":
        return f"{OUTSIDE[pieces[0]]}.weight"
    if pieces[2] in NORMS:
        return f"model.layers.{pieces[1]}.{NORMS[pieces[2]]}.weight"
    return f"model.layers.{pieces[1]}.{NAMES[pieces[2]]}.{LAST[pieces[3]]}.weight"


@right("07.3")
def by_match(name):
    """One pattern for each form."""
    match name.removesuffix(".weight").split("."):
        case ["blocks", i, norm]:
            return ".".join(["model.layers", i, NORMS[norm], "weight"])
        case ["blocks", i, mixer, part]:
            return ".".join(["model.layers", i, NAMES[mixer], LAST[part], "weight"])
        case [other]:
            return OUTSIDE[other] + ".weight"


@right("07.3")
def by_lookup(name):
    """Each piece on its own; the last norm first, since its name stands in others."""
    if name == "norm.weight":
        return "model.norm.weight"
    table = NAMES | LAST | NORMS | {"blocks": "model.layers"} | OUTSIDE
    return ".".join(table.get(piece, piece) for piece in name.split("."))


@right("07.4")
def on_the_meta_device(config):
    """Build it without memory, and count."""
    import torch

    with torch.device("meta"):
        model = Llama(config)
    return sum({id(weight): weight.numel() for weight in model.parameters()}.values())


@right("07.4")
def by_shapes(config):
    """A list of all shapes."""
    C, wide, narrow = config.d_model, config.n_heads * config.d_head, config.n_kv_heads * config.d_head
    block = [(C, wide), (C, narrow), (C, narrow), (wide, C), *[(C, config.d_ff)] * 3, (C, 1), (C, 1)]
    tables = [(config.vocab_size, C)] * (2 - config.tied)
    return sum(rows * columns for rows, columns in block * config.n_layers + tables + [(C, 1)])


@right("07.4")
def by_the_width(config):
    """Everything has the factor d_model."""
    heads = 2 * config.d_head * (config.n_heads + config.n_kv_heads)
    tables = config.vocab_size if config.tied else 2 * config.vocab_size
    return config.d_model * (tables + config.n_layers * (heads + 3 * config.d_ff + 2) + 1)
