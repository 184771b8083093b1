"""RWKV-5, Eagle: the memory of each head is a matrix, and each of its rows fades at a speed of its own.

    y_t = r_t (S + diag(u) k_t^T v_t)        what is remembered, and the token itself with a bonus u
    S  <- diag(w) S + k_t^T v_t              w = exp(-exp(decay)), in (0, 1)

r (receptance) asks as a query does. H heads of size N; S is keys by values, N x N. RWKV-6 has the same recurrence with
a w of its own for each token.
Source: Peng et al. 2024, arXiv 2404.05892 (Eagle); RWKV-LM, RWKV-v5/src/model.py, RWKV_Tmix_x052.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from lib.layers.chunks import carry, empty_state, fit_chunk, in_chunks, out_of_chunks
from lib.layers.heads import HeadNorm, to_heads
from lib.layers.precision import in_full_precision
from lib.layers.rwkv4 import ChannelMix
from lib.layers.shift import mix, shift

__all__ = ["ChannelMix", "TimeMix", "wkv", "wkv_chunked"]


@in_full_precision
def wkv(r, k, v, log_w, u, state=None):
    """Return y and the last S, token by token, as the paper writes it.

    r, k, v: (B, H, T, N); log_w <= 0: one for all tokens (H, 1, N), or one for each (B, H, T, N); u: (H, N);
    S: (B, H, N, N), None at the start. Returns (B, H, T, N), (B, H, N, N).
    """
    S = empty_state(k, v) if state is None else state  # (B, H, N, N)
    w, u, ys = log_w.exp().expand_as(k), u[..., None], []
    # Not k[:, :, t]: the gradient of each such slice is a whole tensor of zeros, and the backward pass costs T^2.
    for r_t, k_t, v_t, w_t in zip(r.unbind(2), k.unbind(2), v.unbind(2), w.unbind(2), strict=True):
        kv = k_t[..., :, None] * v_t[..., None, :]  # (B, H, N, N)
        ys.append((r_t[..., None, :] @ (S + u * kv)).squeeze(-2))
        S = w_t[..., None] * S + kv
    return torch.stack(ys, dim=2), S  # (B, H, T, N), (B, H, N, N)


@in_full_precision
def wkv_chunked(r, k, v, log_w, u, state=None, chunk=None):
    """Return what `wkv` returns: products of matrices within L tokens, a step of the recurrence for each L.

    What token s left is worth exp(sum of log_w between s and t) to token t. That sum is a difference of two running
    sums, so its exp is a factor of t times a factor of s, and all pairs together are one product of matrices. Both
    factors count from the chunk's beginning: nothing that comes later touches a token, not even in the last bit.
    """
    T, state = k.shape[2], empty_state(k, v) if state is None else state
    L, log_w, lift = fit_chunk(log_w, T, chunk)
    r, k, v, log_w = (in_chunks(z, L) for z in (r, k, v, log_w))  # each (..., M, L, N)
    left = log_w.cumsum(-2)  # the log of what is left of S since the chunk began, when this token has written
    asks, leaves = r * (left - log_w + lift).exp(), k * (-lift - left).exp()
    pairs = (asks @ leaves.transpose(-1, -2)).tril(-1)  # (B, H, M, L, L)
    own = (r * u[:, None, None] * k).sum(-1)  # (B, H, M, L)
    y = (pairs + own.diag_embed()) @ v  # (B, H, M, L, N)
    end = left[..., -1, :, None]  # (..., M, N, 1)
    added = (end + lift).exp() * (leaves.transpose(-1, -2) @ v)  # (B, H, M, N, N)
    states, state = carry(end.exp(), added, state)
    y = y + math.exp(-lift) * (asks @ states)
    return out_of_chunks(y, T), state


class TimeMix(nn.Module):
    """Eagle's time mixer: shift, project, remember in a matrix, norm by head, gate, project back.

    x: (B, T, C), C = H N; state: (the last token (B, C), S (B, H, N, N)) or None. `shared` is not needed.
    """

    def __init__(self, d_model, d_head, head_eps=64e-5):
        super().__init__()
        self.n_heads = d_model // d_head
        self.mix_receptance, self.mix_key, self.mix_value, self.mix_gate = (
            nn.Parameter(torch.full((d_model,), 0.5)) for _ in range(4)
        )
        self.decay = nn.Parameter(torch.zeros(self.n_heads, d_head))
        self.bonus = nn.Parameter(torch.zeros(self.n_heads, d_head))
        self.receptance, self.key, self.value, self.gate, self.output = (
            nn.Linear(d_model, d_model, bias=False) for _ in range(5)
        )
        self.norm = HeadNorm(self.n_heads, d_model, head_eps)

    def forward(self, x, state, shared=None):
        """(B, T, C) -> (B, T, C), and the pair (last token, S)."""
        B, T, C = x.shape
        last, S = state or (None, None)
        before, last = shift(x, last)
        x_r, x_k, x_v, x_g = mix(x, before, self.mix_receptance, self.mix_key, self.mix_value, self.mix_gate)
        r, k, v = self.receptance(x_r), self.key(x_k), self.value(x_v)
        r, k, v = (to_heads(z, self.n_heads) for z in (r, k, v))  # (B, H, T, N)
        log_w = -self.decay.exp()[:, None]  # (H, 1, N)
        y, S = (wkv if T == 1 else wkv_chunked)(r, k, v, log_w, self.bonus, S)
        return self.output(self.norm(y) * F.silu(self.gate(x_g))), (last, S)  # (B, T, C), ...
