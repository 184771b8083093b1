"""LLaMA: RMSNorm before each sublayer, RoPE, grouped attention, SwiGLU, no biases.

Source: Touvron et al. 2023, arXiv 2302.13971 (LLaMA) and 2307.09288 (Llama 2). TinyLlama, LiteLlama and Mistral are the
same model with other numbers.
"""

from contextlib import nullcontext
from dataclasses import dataclass, fields

import torch
from einops import rearrange

from lib.layers import fast
from lib.layers.attention import GroupedAttention, attention_weights
from lib.layers.mlp import SwiGLU
from lib.layers.norm import RMSNorm
from lib.layers.rope import rope_table, rotate_half_split
from lib.layers.shared import Shared
from lib.models.sizes import MOST, MOST_LAYERS, check_flag, check_heads, check_positive, check_rope, check_whole
from lib.models.skeleton import Block, LanguageModel, initialise


@dataclass(frozen=True)
class LlamaConfig:
    """The numbers that make one LLaMA. A `window` W lets a token see the last W tokens alone (Mistral); None is all."""

    vocab_size: int
    n_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_ff: int
    context_length: int
    norm_eps: float = 1e-5
    rope_theta: float = 10000.0
    tied: bool = False
    window: int | None = None

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int:
                check_whole(field.name, value, MOST_LAYERS if field.name == "n_layers" else MOST)
            elif field.type is float:
                check_positive(field.name, value)
        check_flag("tied", self.tied)
        check_heads(self.n_heads, self.n_kv_heads)
        check_rope(self.d_head)
        if self.window is not None and not (type(self.window) is int and self.window > 0):
            raise ValueError(
                f"window is {self.window!r}: a token must see at least itself, so 1 or more, or None for all"
            )


class Llama(LanguageModel):
    """A LLaMA-type model; its state is one KV cache a layer.

    >>> model = Llama(LlamaConfig(vocab_size=300, n_layers=2, d_model=64, n_heads=4, n_kv_heads=2, d_head=16, d_ff=176,
    ...                           context_length=128))
    >>> logits, state = model(torch.tensor([[1, 2, 3]]))
    >>> logits.shape
    torch.Size([1, 3, 300])
    """

    def __init__(self, config):
        blocks = [self.make_block(config, i) for i in range(config.n_layers)]
        super().__init__(config, blocks, RMSNorm(config.d_model, config.norm_eps))
        self._table = None
        initialise(self, outputs=("mix_time.output", "mix_channels.down"))

    @staticmethod
    def make_block(config, i):
        """Return block i; OpenELM's differ from each other."""
        return llama_block(config, config.n_heads, config.n_kv_heads, config.d_ff, window=config.window)

    def shared(self, position, T, x, layers=None):
        """Return RoPE's table for the T positions."""
        return rope_shared(self, position, T, x)


def rope_shared(model, position, T, x):
    """Return RoPE's table for T positions, a `Shared`. That of all positions is made once, at first use.

    model: any that has `_table`, None at first, and a config with `d_head`, `context_length` and `rope_theta`.
    """
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    if model._table is None or model._table[0].device != x.device or model._table[0].dtype != wide:
        config = model.config
        # What is made in inference mode can't be trained with later, and the table stays.
        with torch.inference_mode(False) if torch.is_inference_mode_enabled() else nullcontext():
            cos, sin = rope_table(config.d_head, config.context_length, config.rope_theta, device=x.device, dtype=wide)
            model._table = cos, sin, *fast.whole_table(cos, sin)
    cos, sin, *whole = (table[position : position + T] for table in model._table)
    return Shared(cos, sin, tuple(whole))


def llama_block(config, n_heads, n_kv_heads, d_ff, **attention):
    """Return a block of these sizes, a norm before each mixer; `attention` are GroupedAttention's other choices."""
    mix_time = GroupedAttention(config.d_model, n_heads, n_kv_heads, config.d_head, **attention)
    norms = (RMSNorm(config.d_model, config.norm_eps) for _ in range(2))
    return Block(next(norms), mix_time, next(norms), SwiGLU(config.d_model, d_ff))


@torch.no_grad()
def attention_maps(model, tokens):
    """Return how much each token of one text reads of each before it, in every head: (L, H, T, T), rows sum to one.

    tokens: (1, T). The model is a Llama, or an OpenElm whose layers have equally many heads.
    """
    maps = []

    def look(mixer, given, gave):
        (x, _, shared), (_, cache) = given, gave
        q = rearrange(mixer.query(x), "1 t (h n) -> 1 h t n", n=mixer.d_head)
        q = q if mixer.norm_query is None else mixer.norm_query(q)
        q = rotate_half_split(q, shared.cos, shared.sin)
        weights = attention_weights(q, cache.keys, mixer.window)
        maps.append(weights[0])

    hooks = [block.mix_time.register_forward_hook(look) for block in model.blocks]
    try:
        model.hidden(tokens)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(maps)
