"""A hybrid: RWKV's blocks, and in each of them the time mixer of your choice. A model is a list of names.

One layer of attention among layers of recurrence looks things up word for word; the others keep a state of one size.
All layers have RWKV-5's channel mixer, with its token shift, and LayerNorms, so that two models of one list of widths
differ in their time mixers alone. A layer of RWKV-7 keeps its values to itself: in RWKV-7 they move towards those of
the first layer, which here may be of another kind.
Sources of the idea: Lieber et al. 2024, arXiv 2403.19887 (Jamba); three layers to one, as here: Qwen3-Next, and Kimi
Linear (arXiv 2510.26692). Theirs are gated delta nets; the blocks here are RWKV's.
"""

from dataclasses import dataclass

from torch import nn

from lib.layers import linear_mix, rwkv4, rwkv5, rwkv6, rwkv7
from lib.layers.attention import GroupedAttention
from lib.layers.shared import Shared
from lib.models.llama import rope_shared
from lib.models.rwkv import RwkvConfig
from lib.models.rwkv_start import start_block, start_ends
from lib.models.sizes import MOST, check_flag, check_heads, check_positive, check_rope, check_whole
from lib.models.skeleton import Block, LanguageModel

MIXERS = ("attention", "linear", "rwkv4", "rwkv5", "rwkv6", "rwkv7")


@dataclass(frozen=True)
class HybridConfig:
    """The numbers that make one hybrid.

    mixers: one name of MIXERS for each layer. n_kv_heads: of the attention layers, whose number of heads is
    d_model / d_head. rank: of every low-rank product in layers of RWKV-6 and 7.
    """

    vocab_size: int
    mixers: tuple[str, ...]
    d_model: int
    d_ff: int
    d_head: int
    n_kv_heads: int
    context_length: int
    rank: int = 16
    norm_eps: float = 1e-5
    head_eps: float = 64e-5
    rope_theta: float = 10000.0
    tied: bool = False

    def __post_init__(self):
        for name in ("vocab_size", "d_model", "d_ff", "d_head", "n_kv_heads", "context_length", "rank"):
            check_whole(name, getattr(self, name), MOST)
        for name in ("norm_eps", "head_eps", "rope_theta"):
            check_positive(name, getattr(self, name))
        check_flag("tied", self.tied)
        mixers = self.mixers
        if not isinstance(mixers, list | tuple) or not mixers or not all(name in MIXERS for name in mixers):
            raise ValueError(f"mixers are {mixers!r}: give a list, one of {', '.join(MIXERS)} for each layer")
        object.__setattr__(self, "mixers", tuple(mixers))  # JSON makes lists of them
        if self.d_model % self.d_head:
            raise ValueError(f"d_model {self.d_model} is no multiple of d_head {self.d_head}: let one divide the other")
        if "attention" in mixers:
            check_rope(self.d_head)
            check_heads(self.d_model // self.d_head, self.n_kv_heads)

    @property
    def n_layers(self):
        """As many as there are mixers."""
        return len(self.mixers)


class Hybrid(LanguageModel):
    """A model of mixed time mixers; its state is a KV cache for each layer of attention, a memory for each other.

    >>> import torch
    >>> config = HybridConfig(300, ("rwkv5", "attention"), d_model=64, d_ff=96, d_head=16, n_kv_heads=4,
    ...                       context_length=128)
    >>> logits, state = Hybrid(config)(torch.tensor([[1, 2, 3]]))
    >>> (last_token, memory), cache = state.layers[0][0], state.layers[1][0]
    >>> memory.shape, cache.keys.shape
    (torch.Size([1, 4, 16, 16]), torch.Size([1, 4, 3, 16]))
    """

    def __init__(self, config):
        super().__init__(config, [_block(config, i) for i in range(config.n_layers)], _norm(config), _norm(config))
        start_ends(self)
        for i, block in enumerate(self.blocks):
            start_block(block, rwkv_like(config, config.mixers[i]), i)
        self._table = None

    def shared(self, position, T, x, layers=None):
        """Return RoPE's table for the T positions, where a layer of attention needs it."""
        return rope_shared(self, position, T, x) if "attention" in self.config.mixers else Shared()


def rwkv_like(config, mixer):
    """Return the config of an RWKV that has such layers; what is no RWKV counts as generation 5, as its channels do."""
    generation = int(mixer[-1]) if mixer.startswith("rwkv") else 5
    ranks = (config.rank,) * {6: 2, 7: 4}.get(generation, 0)
    sizes = config.n_layers, config.d_model, config.d_ff, config.d_head
    return RwkvConfig(generation, config.vocab_size, *sizes, ranks=ranks, tied=config.tied)


def _norm(config):
    return nn.LayerNorm(config.d_model, config.norm_eps)


def _block(config, i):
    mix_channels = rwkv5.ChannelMix(config.d_model, config.d_ff)
    return Block(_norm(config), _time_mix(config, i), _norm(config), mix_channels)


def _time_mix(config, i):
    C, N, R, eps = config.d_model, config.d_head, config.rank, config.head_eps
    make = {
        "attention": lambda: GroupedAttention(C, C // N, config.n_kv_heads, N),
        "linear": lambda: linear_mix.TimeMix(C, N, eps),
        "rwkv4": lambda: rwkv4.TimeMix(C),
        "rwkv5": lambda: rwkv5.TimeMix(C, N, eps),
        "rwkv6": lambda: rwkv6.TimeMix(C, N, (R, R), eps),
        "rwkv7": lambda: rwkv7.TimeMix(C, N, (R,) * 4, True, eps),  # each stands as a first layer does
    }
    return make[config.mixers[i]]()
