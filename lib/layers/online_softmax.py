"""Attention without the matrix: one pass over blocks of keys, with a running maximum and a running sum.

This is the idea in FlashAttention (Dao et al. 2022, arXiv 2205.14135, section 3.1), after Milakov and Gimelshein 2018
(arXiv 1805.02867). In plain PyTorch it saves memory; time only where the matrix would not fit the cache.
"""

import math

import torch
from einops import repeat

from lib.layers.mask import causal_mask


def start_softmax(q):
    """Return the state of an empty pass over queries q (..., T, N): running maximum, sum and weighted sum of values.

    Maximum and sum are (..., T, 1), in float32 at least; the weighted sum is (..., T, N).
    """
    wide = q if q.dtype == torch.float64 else q.float()
    total = torch.zeros_like(wide[..., :1])  # (..., T, 1)
    return torch.full_like(total, -torch.inf), total, torch.zeros_like(wide)


def add_block(state, scores, v):
    """Take one block of keys into the pass.

    m' = max(m, max_s scores_s);  total' = total e^(m - m') + sum_s e^(scores_s - m');  sum' likewise with e^(...) v_s.
    scores: (..., T, S), -inf where a query may not look; v: (..., S, N).
    What was added before under a smaller maximum is scaled down once, so no exponent is ever above zero.
    """
    maximum, total, weighted = state
    larger = torch.maximum(maximum, scores.amax(-1, keepdim=True))  # (..., T, 1)
    # A query that has seen no key yet has maximum -inf; -inf - -inf would be nan, so it is measured from zero.
    base = torch.where(larger == -torch.inf, torch.zeros_like(larger), larger)
    shrink, share = torch.exp(maximum - base), torch.exp(scores - base)
    return larger, total * shrink + share.sum(-1, keepdim=True), weighted * shrink + share @ v


def attend_online(q, k, v, block=64, window=None):
    """Return what `attend` returns, holding scores for one block of keys at a time.

    q: (B, H, T, N); k, v: (B, G, S, N). Returns (B, H, T, N). Extra memory T * block a head, not T * S.
    """
    if block < 1:
        raise ValueError(f"a block of {block} keys holds nothing: choose 1 or more")
    T, S = q.shape[2], k.shape[2]
    r = q.shape[1] // k.shape[1]  # query heads to a key head
    k, v = (repeat(z, "b g s n -> b (g r) s n", r=r).to(q.dtype) for z in (k, v))  # (B, H, S, N)
    state = start_softmax(q)
    wide = state[2].dtype
    for s in range(0, S, block):
        here = slice(s, s + block)
        scores = (q @ k[:, :, here].transpose(-1, -2)).to(wide) / math.sqrt(q.shape[-1])
        scores = scores.masked_fill(~causal_mask(T, S, window, q.device, here), -torch.inf)
        state = add_block(state, scores, v[:, :, here].to(wide))
    _, total, weighted = state
    return (weighted / total).to(q.dtype)  # (B, H, T, N)
