"""RWKV, generations 4 to 7, on the skeleton that LLaMA stands on. Its state has one size, however long the text.

LayerNorm with bias before each sublayer, after the embedding and at the end; projections without bias. No positions:
the order of the tokens is in the decay and in the token shift. Sources: Peng et al. 2023, arXiv 2305.13048 (4); 2024,
arXiv 2404.05892 (5 Eagle, 6 Finch); 2025, arXiv 2503.14456 (7 Goose); and the repository RWKV-LM.
"""

from dataclasses import dataclass

from torch import nn

from lib.layers import rwkv4, rwkv5, rwkv6, rwkv7
from lib.layers.shared import Shared
from lib.models.rwkv_start import initialise_rwkv
from lib.models.sizes import MOST, MOST_LAYERS, check_flag, check_positive, check_whole
from lib.models.skeleton import Block, LanguageModel

RANKS = {4: (), 5: (), 6: ("shift", "decay"), 7: ("decay", "rate", "residual", "gate")}


@dataclass(frozen=True)
class RwkvConfig:
    """The numbers that make one RWKV.

    ranks: those of the low-rank products, (shift, decay) for generation 6 and (decay, rate, residual, gate) for 7.
    d_head: 4 has no heads and does not use it. head_eps: of the norm by heads, from generation 5 on.
    context_length: None is any length; a number is a promise not to go further than the training did.
    """

    generation: int
    vocab_size: int
    n_layers: int
    d_model: int
    d_ff: int
    d_head: int = 64
    ranks: tuple[int, ...] = ()
    context_length: int | None = None
    norm_eps: float = 1e-5
    head_eps: float = 64e-5
    tied: bool = False

    def __post_init__(self):
        if type(self.generation) is not int or self.generation not in RANKS:
            raise ValueError(f"generation is {self.generation!r}: there are 4, 5, 6 and 7")
        for name in ("vocab_size", "n_layers", "d_model", "d_ff", "d_head"):
            check_whole(name, getattr(self, name), MOST_LAYERS if name == "n_layers" else MOST)
        for name in ("norm_eps", "head_eps"):
            check_positive(name, getattr(self, name))
        check_flag("tied", self.tied)
        if self.generation > 4 and self.d_model % self.d_head:
            raise ValueError(f"d_model {self.d_model} is no multiple of d_head {self.d_head}: let one divide the other")
        ranks, names = self.ranks, RANKS[self.generation]
        fits = isinstance(ranks, list | tuple) and len(ranks) == len(names)
        if not fits or not all(type(rank) is int and 0 < rank <= MOST for rank in ranks):
            wanted = f"({', '.join(names)})" if names else "none"
            raise ValueError(f"ranks are {ranks!r}: RWKV-{self.generation} takes {wanted}, each at least 1")
        object.__setattr__(self, "ranks", tuple(ranks))  # JSON makes lists of them
        room = self.context_length
        if room is not None and not (type(room) is int and room > 0):
            raise ValueError(f"context_length is {room!r}: give 1 or more, or None for any length")


def rwkv_d_ff(generation, d_model):
    """Return the published inner width: 4 C for RWKV-4 and 7; for 5 and 6, 3.5 C rounded down to a multiple of 32."""
    return int(d_model * 3.5) // 32 * 32 if generation in (5, 6) else 4 * d_model


class Rwkv(LanguageModel):
    """An RWKV of any generation; its state is, per layer, the last token of both mixers and the time mixer's memory.

    >>> import torch
    >>> model = Rwkv(RwkvConfig(5, vocab_size=300, n_layers=2, d_model=64, d_ff=224, d_head=16))
    >>> logits, state = model(torch.tensor([[1, 2, 3]]))
    >>> logits.shape
    torch.Size([1, 3, 300])
    >>> (last_token, memory), last_token_of_channel_mix = state.layers[0]
    >>> memory.shape
    torch.Size([1, 4, 16, 16])
    """

    def __init__(self, config):
        blocks = [_block(config, i) for i in range(config.n_layers)]
        super().__init__(config, blocks, _norm(config), _norm(config))
        initialise_rwkv(self)

    def read_early(self):
        """Return 0 for RWKV-7, whose first values are the first block's; nothing for the other generations."""
        return (0,) if self.config.generation == 7 else ()

    def shared(self, position, T, x, layers=None):
        """Return the first values, which RWKV-7's layers read; nothing for the other generations."""
        if self.config.generation != 7:
            return Shared()
        first = self.blocks[0]
        state = None if layers is None else layers[0][0]
        return Shared(first_values=rwkv7.first_values(first.mix_time, first.norm_time(x), state))


def _norm(config):
    return nn.LayerNorm(config.d_model, config.norm_eps)


def _block(config, i):
    layers = {4: rwkv4, 5: rwkv5, 6: rwkv6, 7: rwkv7}[config.generation]
    mix_time = layers.TimeMix(*_sizes(config, i))
    return Block(_norm(config), mix_time, _norm(config), layers.ChannelMix(config.d_model, config.d_ff))


def _sizes(config, i):
    """Return what the generation's TimeMix takes, for layer i."""
    heads = config.d_model, config.d_head
    return {
        4: (config.d_model,),
        5: (*heads, config.head_eps),
        6: (*heads, config.ranks, config.head_eps),
        7: (*heads, config.ranks, i == 0, config.head_eps),
    }[config.generation]
