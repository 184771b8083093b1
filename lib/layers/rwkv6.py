"""RWKV-6, Finch: Eagle with a decay that depends on the data, and a token shift that does too.

    w_t = exp(-exp(bias + tanh(x_w down) up))      each token says what it wants forgotten
    y_t = r_t (S + diag(u) k_t^T v_t);  S <- diag(w_t) S + k_t^T v_t

Source: Peng et al. 2024, arXiv 2404.05892 (Finch); RWKV-LM, RWKV-v5/src/model.py, RWKV_Tmix_x060.
"""

import torch
import torch.nn.functional as F
from torch import nn

from lib.layers.heads import HeadNorm, to_heads
from lib.layers.low_rank import LowRank
from lib.layers.rwkv5 import wkv, wkv_chunked
from lib.layers.shift import lean, shift

__all__ = ["ChannelMix", "DataShift", "TimeMix", "wkv", "wkv_chunked"]


class DataShift(nn.Module):
    """Five token shifts whose shares depend on the data: for decay, key, value, receptance and gate, in this order.

    share_j = lean_j + tanh(x' down)_j up_j, x' a shift with fixed shares. x: (B, T, C), R the rank; starts as fixed.
    """

    def __init__(self, d_model, rank):
        super().__init__()
        self.lean_first, self.lean_decay, self.lean_key, self.lean_value, self.lean_receptance, self.lean_gate = (
            nn.Parameter(torch.full((d_model,), 0.5)) for _ in range(6)
        )
        self.down = nn.Parameter(torch.zeros(d_model, 5 * rank))
        self.up = nn.Parameter(torch.zeros(5, rank, d_model))

    def forward(self, x, before):
        """x and the tokens before, (B, T, C) -> five of (B, T, C)."""
        B, T, C = x.shape
        (first,) = lean(x, before, self.lean_first)
        small = torch.tanh(first @ self.down).view(B * T, 5, -1).transpose(0, 1)  # (5, B*T, R)
        shares = torch.bmm(small, self.up).view(5, B, T, C)  # (5, B, T, C)
        fixed = self.lean_decay, self.lean_key, self.lean_value, self.lean_receptance, self.lean_gate
        return lean(x, before, *(one + share for one, share in zip(fixed, shares.unbind(0), strict=True)))


class TimeMix(nn.Module):
    """Finch's time mixer: Eagle's, with shift and decay from the data. ranks: of the shift and of the decay.

    x: (B, T, C), C = H N; state: (the last token (B, C), S (B, H, N, N)) or None. `shared` is not needed.
    """

    def __init__(self, d_model, d_head, ranks, head_eps=64e-5):
        super().__init__()
        self.n_heads = d_model // d_head
        self.shift = DataShift(d_model, ranks[0])
        self.decay = LowRank(d_model, ranks[1], nn.Tanh())
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
        x_w, x_k, x_v, x_r, x_g = self.shift(x, before)
        r, k, v, log_w = self.receptance(x_r), self.key(x_k), self.value(x_v), -self.decay(x_w).exp()
        r, k, v, log_w = (to_heads(z, self.n_heads) for z in (r, k, v, log_w))  # (B, H, T, N)
        y, S = (wkv if T == 1 else wkv_chunked)(r, k, v, log_w, self.bonus, S)
        return self.output(self.norm(y) * F.silu(self.gate(x_g))), (last, S)  # (B, T, C), ...


class ChannelMix(nn.Module):
    """Finch's channel mixer: RWKV-4's with the other convention of the shift.

    y = sigmoid(receptance(x_r)) * value(relu(key(x_k))^2). x: (B, T, C); inside (B, T, F). state: (B, C), the last x.
    """

    def __init__(self, d_model, d_ff):
        super().__init__()
        self.lean_key, self.lean_receptance = (nn.Parameter(torch.full((d_model,), 0.5)) for _ in range(2))
        self.key = nn.Linear(d_model, d_ff, bias=False)
        self.receptance = nn.Linear(d_model, d_model, bias=False)
        self.value = nn.Linear(d_ff, d_model, bias=False)

    def forward(self, x, state=None, shared=None):
        """(B, T, C) -> (B, T, C), and the last token."""
        before, last = shift(x, state)
        x_k, x_r = lean(x, before, self.lean_key, self.lean_receptance)
        hidden = self.key(x_k).relu().square()  # (B, T, F)
        return self.receptance(x_r).sigmoid() * self.value(hidden), last  # (B, T, C), (B, C)
