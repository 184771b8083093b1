"""Attention with grouped heads: many queries share few keys and values. Its state is the KV cache.

H query heads, G key/value heads. G = H is multi-head attention (MHA), 1 < G < H is grouped-query attention (GQA,
Ainslie et al. 2023, arXiv 2305.13245), G = 1 is multi-query attention (MQA, Shazeer 2019, arXiv 1911.02150).
Query head h reads key/value head h // (H / G): neighbours share.
"""

import math

import torch
from einops import rearrange, repeat
from torch import nn

from lib.layers import fast
from lib.layers.kv_cache import KVCache
from lib.layers.mask import causal_mask
from lib.layers.norm import RMSNorm


def attention_weights(q, k, window=None):
    """Return softmax(q k^T / sqrt(N)) under the causal mask: how much each query takes from each key.

    q: (B, H, T, N); k: (B, G, S, N) with G dividing H and S >= T. Returns (B, H, T, S); rows sum to one.
    Source: Vaswani et al. 2017, arXiv 1706.03762, eq. 1.
    """
    k = repeat(k, "b g s n -> b (g r) s n", r=q.shape[1] // k.shape[1])  # (B, H, S, N)
    T, S = q.shape[2], k.shape[2]
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])  # (B, H, T, S)
    seen = causal_mask(T, S, window, q.device)  # (T, S)
    return scores.masked_fill(~seen, -torch.inf).softmax(dim=-1)


def attend(q, k, v, window=None):
    """Return the mean of the values, weighted by `attention_weights`, in plain matrix products.

    q: (B, H, T, N); k, v: (B, G, S, N). Returns (B, H, T, N). Memory grows with T * S: it is the reference for
    what is faster.
    """
    v = repeat(v, "b g s n -> b (g r) s n", r=q.shape[1] // v.shape[1])  # (B, H, S, N)
    return attention_weights(q, k, window) @ v  # (B, H, T, N)


class GroupedAttention(nn.Module):
    """LLaMA's time mixer: project to heads, turn by position, attend, project back.

    x: (B, T, C); state: a KVCache or None; shared: a `Shared` with RoPE's table for the positions of x.
    Returns y: (B, T, C) and the longer KVCache. With a window W, as in Mistral, a token sees the last W alone (the
    cache still keeps all). With `qk_norm_eps`, as in OpenELM, each head's query and key get an RMSNorm before they are
    turned; its weight is one for all heads. No biases.
    It turns by `rotate_whole` and attends by `attend_fused`, the fast forms of `rotate_half_split` and `attend`.
    Source: Touvron et al. 2023, arXiv 2302.13971; for grouped queries 2307.09288; for the norms 2404.14619, section 2.
    """

    def __init__(self, d_model, n_heads, n_kv_heads, d_head, window=None, qk_norm_eps=None):
        super().__init__()
        if n_heads % n_kv_heads:
            raise ValueError(
                f"{n_heads} heads can't share {n_kv_heads} key/value heads evenly: let one divide the other"
            )
        self.query = nn.Linear(d_model, n_heads * d_head, bias=False)
        self.key = nn.Linear(d_model, n_kv_heads * d_head, bias=False)
        self.value = nn.Linear(d_model, n_kv_heads * d_head, bias=False)
        self.output = nn.Linear(n_heads * d_head, d_model, bias=False)
        self.d_head, self.window = d_head, window
        self.norm_query = None if qk_norm_eps is None else RMSNorm(d_head, qk_norm_eps)
        self.norm_key = None if qk_norm_eps is None else RMSNorm(d_head, qk_norm_eps)

    def forward(self, x, state, shared):
        """(B, T, C) -> (B, T, C), and the cache with the new tokens in it."""
        B, T, C = x.shape
        q = rearrange(self.query(x), "b t (h n) -> b h t n", n=self.d_head)  # (B, H, T, N)
        k = rearrange(self.key(x), "b t (g n) -> b g t n", n=self.d_head)  # (B, G, T, N)
        v = rearrange(self.value(x), "b t (g n) -> b g t n", n=self.d_head)  # (B, G, T, N)
        if self.norm_query is not None:
            q, k = self.norm_query(q), self.norm_key(k)
        whole = shared.whole or fast.whole_table(shared.cos, shared.sin)
        q, k = (fast.rotate_whole(z, *whole) for z in (q, k))
        state = KVCache(k, v) if state is None else state.append(k, v)
        y = fast.attend_fused(q, state.keys, state.values, self.window)  # (B, H, T, N)
        return self.output(rearrange(y, "b h t n -> b t (h n)")), state
