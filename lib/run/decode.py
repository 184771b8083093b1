"""One more token of a LLaMA, fast: the same arithmetic as the model's, with fewer calls and room made once.

At batch 1 a step of a small model multiplies for a quarter of its time. The rest is calls: of modules, of views, of a
cache that grows. Written flat, with a buffer for all tokens to come, a step does the same in half the time. Engines
that serve language models do so too; on a GPU they also record the step and replay it.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from lib.layers.attention import GroupedAttention
from lib.layers.fast import rms_norm, rotate_whole
from lib.layers.kv_cache import Buffer
from lib.layers.mlp import SwiGLU
from lib.layers.norm import RMSNorm
from lib.models.llama import Llama
from lib.models.skeleton import Block

KNOWN = {Block, GroupedAttention, SwiGLU, RMSNorm, nn.Linear, nn.ModuleList, nn.Embedding, nn.Identity}


def can_decode(model):
    """Say whether `Decoder` does what the model does: it is built of LLaMA's own parts, and nobody hooked into one.

    Autocast has a list of its own of what is multiplied in which dtype, so there the model itself is asked.
    """
    if not isinstance(model, Llama) or type(model).hidden is not Llama.hidden:
        return False
    if torch.is_autocast_enabled(model.head.weight.device.type):
        return False
    parts = list(model.modules())
    hooked = any(part._forward_hooks or part._forward_pre_hooks for part in parts)
    return not hooked and all(type(part) in KNOWN for part in parts[1:])


class Layer(NamedTuple):
    """What a step reads of a block, looked up once, and the room for its keys and values: (B, G, S, N) each."""

    norm_time: nn.Parameter
    query: nn.Parameter
    key: nn.Parameter
    value: nn.Parameter
    output: nn.Parameter
    mix: GroupedAttention
    norm_channels: nn.Parameter
    gate: nn.Parameter
    up: nn.Parameter
    down: nn.Parameter
    keys: torch.Tensor
    values: torch.Tensor


def layer_of(block, cache, n_tokens):
    """Return the `Layer` of a block after the text in `cache`, with room for n_tokens more."""
    mix, channels = block.mix_time, block.mix_channels
    buffer = Buffer(cache.keys, cache.values, cache.keys.shape[2] + n_tokens)
    return Layer(
        block.norm_time.weight,
        *(part.weight for part in (mix.query, mix.key, mix.value, mix.output)),
        mix,
        block.norm_channels.weight,
        *(part.weight for part in (channels.gate, channels.up, channels.down)),
        buffer.keys,
        buffer.values,
    )


class Decoder:
    """`decoder(token)`: one more token a row, (B,), and what the head sees after it, (B, C).

    state: what the model returned after the text so far; n_tokens: how many tokens are to come at most.
    """

    def __init__(self, model, state, n_tokens):
        self.embedding, self.norm, self.eps = model.embed.weight, model.norm.weight, model.norm.eps
        self.position, self.d_head, self.window = state.position, model.config.d_head, model.blocks[0].mix_time.window
        shared = model.shared(0, state.position + n_tokens, self.embedding)
        self.table = torch.stack(shared.whole)  # (2, S, N)
        C = len(self.norm)
        self.mean, self.eps_1 = self.norm.new_full((C, 1), 1 / C), self.norm.new_full((1, 1), self.eps)
        layers = zip(model.blocks, state.layers, strict=True)
        self.layers = [layer_of(block, cache, n_tokens) for block, (cache, _) in layers]

    def __call__(self, token):
        """Read the next token of each row, (B,), and return what the head sees after it, (B, C)."""
        cos, sin = self.table[:, self.position, None]  # (1, N)
        x = F.embedding(token, self.embedding)  # (B, C)
        for layer in self.layers:
            x = x + self.attend(layer, self.normed(x, layer.norm_time), cos, sin)
            y = self.normed(x, layer.norm_channels)
            x = x + F.linear(F.silu(F.linear(y, layer.gate)) * F.linear(y, layer.up), layer.down)
        self.position += 1
        return self.normed(x, self.norm)

    def normed(self, x, weight):
        """Return `rms_norm`, (B, C) -> (B, C). Its mean is a matrix product, one call: eps + x^2 @ (1/C, .., 1/C)."""
        if x.dtype.itemsize < 4:
            return rms_norm(x, weight, self.eps)
        return x * torch.addmm(self.eps_1, x * x, self.mean).rsqrt() * weight

    def attend(self, layer, x, cos, sin):
        """Return attention's output for one token, (B, C) -> (B, C), and write its key and value to their place."""
        t, B, N = self.position, len(x), self.d_head
        q, k, v = F.linear(x, layer.query), F.linear(x, layer.key), F.linear(x, layer.value)  # (B, H N), (B, G N) twice
        if layer.mix.norm_query is not None:
            q, k = layer.mix.norm_query(q.view(B, -1, N)).view(B, -1), layer.mix.norm_key(k.view(B, -1, N)).view(B, -1)
        both = rotate_whole(torch.cat([q, k], 1).view(B, -1, 1, N), cos, sin)  # (B, H + G, 1, N)
        H, G = q.shape[1] // N, k.shape[1] // N
        layer.keys.narrow(2, t, 1).copy_(both.narrow(1, H, G))
        layer.values.narrow(2, t, 1).copy_(v.view(B, G, 1, N))
        first = 0 if self.window is None else max(0, t + 1 - self.window)
        keys, values = layer.keys.narrow(2, first, t + 1 - first), layer.values.narrow(2, first, t + 1 - first)
        y = F.scaled_dot_product_attention(both.narrow(1, 0, H), keys, values, enable_gqa=H != G)
        return F.linear(y.view(B, -1), layer.output)
