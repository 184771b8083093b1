"""Attention with grouped heads: many queries share few keys and values. Its state is the KV cache.

H query heads, G key/value heads. G = H is multi-head attention (MHA), 1 < G < H is grouped-query attention (GQA,
Ainslie et al. 2023, arXiv 2305.13245), G = 1 is multi-query attention (MQA, Shazeer 2019, arXiv 1911.02150).
Query head h reads key/value head h // (H / G): neighbours share.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from lib.layers.norm import RMSNorm
from lib.layers.rope import rotate_whole, whole_table


def causal_mask(T, S, window=None, device=None, keys=slice(None)):
    """Say which of S keys each of the last T queries may see: (T, S), True where it may; `keys` picks some columns.

    Query t stands at position S - T + t. It sees itself and what came before; with a window W, the last W of those.
    """
    query = torch.arange(S - T, S, device=device)[:, None]  # (T, 1)
    key = torch.arange(*keys.indices(S), device=device)
    seen = key <= query
    return seen if window is None else seen & (key > query - window)


def attention_weights(q, k, window=None):
    """Return softmax(q k^T / sqrt(N)) under the causal mask: how much each query takes from each key.

    q: (B, H, T, N); k: (B, G, S, N) with G dividing H and S >= T. Returns (B, H, T, S); rows sum to one.
    Source: Vaswani et al. 2017, arXiv 1706.03762, eq. 1.
    """
    T, S = q.shape[2], k.shape[2]
    k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)  # (B, H, S, N)
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])  # (B, H, T, S)
    seen = causal_mask(T, S, window, q.device)  # (T, S)
    return scores.masked_fill(~seen, -torch.inf).softmax(dim=-1)


def attend(q, k, v, window=None):
    """Return the mean of the values, weighted by `attention_weights`, in plain matrix products.

    q: (B, H, T, N); k, v: (B, G, S, N). Returns (B, H, T, N). Memory grows with T * S: it is the reference for
    what is faster.
    """
    v = v.repeat_interleave(q.shape[1] // v.shape[1], dim=1)  # (B, H, S, N)
    return attention_weights(q, k, window) @ v  # (B, H, T, N)


def attend_fused(q, k, v, window=None):
    """Return what `attend` returns, by torch's fused kernel, which never holds the T * S matrix."""
    if q.device.type == "cpu" and q.requires_grad and q.dtype.itemsize == 2:
        # On a CPU the kernel's way back takes twice as long in bfloat16 as in float32 (measured: T 192, N 32).
        with torch.autocast("cpu", enabled=False):
            return attend_fused(q.float(), k.float(), v.float(), window).type_as(q)  # (B, H, T, N)
    T, S = q.shape[2], k.shape[2]
    # All keys are visible to a single new token; a whole sequence has a flag of its own; the rest needs a mask.
    plain = window is None or S <= window
    mask = None if plain and (T == 1 or T == S) else causal_mask(T, S, window, q.device)
    whole = mask is None and T > 1
    return F.scaled_dot_product_attention(q, k, v, mask, is_causal=whole, enable_gqa=q.shape[1] != k.shape[1])


class KVCache:
    """The keys and values of all tokens so far: `.keys` and `.values`, each (B, G, S, N).

    A cache never changes: `append` returns a longer one. Both share one buffer that doubles when it is full, so that S
    appends copy O(S) vectors in all, not O(S^2). A cache that was appended to twice copies at the second time.
    """

    def __init__(self, keys, values, buffer=None):
        self.keys, self.values = keys, values
        self.buffer = buffer

    def append(self, keys, values):
        """Return the cache that also holds keys and values: (B, G, T, N) each."""
        if self.keys.shape[0] != keys.shape[0]:
            raise ValueError(
                f"the cache holds {self.keys.shape[0]} sequences, the new tokens {keys.shape[0]}: start anew"
            )
        if torch.is_grad_enabled() and (keys.requires_grad or self.keys.requires_grad):
            return KVCache(torch.cat([self.keys, keys], 2), torch.cat([self.values, values], 2))
        S, T = self.keys.shape[2], keys.shape[2]
        buffer = self.buffer
        if buffer is None or not buffer.has_room(S, T):
            buffer = Buffer(self.keys, self.values, 2 * (S + T))
        return KVCache(*buffer.write(S, keys, values), buffer)


class Buffer:
    """Room for more keys and values than are there yet; `filled` tokens are written."""

    def __init__(self, keys, values, room):
        B, G, _, N = keys.shape
        self.keys, self.values = keys.new_empty(B, G, room, N), values.new_empty(B, G, room, N)
        self.filled = 0
        self.write(0, keys, values)

    def has_room(self, S, T):
        """Say whether T tokens fit behind the first S, and nobody else wrote there."""
        return self.filled == S and S + T <= self.keys.shape[2]

    def write(self, S, keys, values):
        """Write behind the first S tokens; return all keys and values so far, as views."""
        self.filled = S + keys.shape[2]
        self.keys[:, :, S : self.filled] = keys
        self.values[:, :, S : self.filled] = values
        return self.keys[:, :, : self.filled], self.values[:, :, : self.filled]


class GroupedAttention(nn.Module):
    """LLaMA's time mixer: project to heads, turn by position, attend, project back.

    x: (B, T, C); state: a KVCache or None; shared: {"cos", "sin"}, each (T, N/2) for the positions of x, to which the
    first layer adds "whole", the table that all of them turn by.
    Returns y: (B, T, C) and the longer KVCache. With a window W, as in Mistral, a token sees the last W alone (the
    cache still keeps all). With `qk_norm_eps`, as in OpenELM, each head's query and key get an RMSNorm before they are
    turned; its weight is one for all heads. No biases.
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
        q = self.query(x).view(B, T, -1, self.d_head).transpose(1, 2)  # (B, H, T, N)
        k = self.key(x).view(B, T, -1, self.d_head).transpose(1, 2)  # (B, G, T, N)
        v = self.value(x).view(B, T, -1, self.d_head).transpose(1, 2)  # (B, G, T, N)
        if self.norm_query is not None:
            q, k = self.norm_query(q), self.norm_key(k)
        if "whole" not in shared:  # the first layer makes it for all
            shared["whole"] = whole_table(shared["cos"], shared["sin"])
        q, k = (rotate_whole(z, *shared["whole"]) for z in (q, k))
        state = KVCache(k, v) if state is None else state.append(k, v)
        y = attend_fused(q, state.keys, state.values, self.window)  # (B, H, T, N)
        return self.output(y.transpose(1, 2).reshape(B, T, -1)), state
