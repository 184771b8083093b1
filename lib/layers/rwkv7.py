"""RWKV-7, Goose: before it writes a value under a key, it removes what stood under that key. That is the delta rule.

    S <- S diag(w) + (S a) b^T + v k^T        a = -k', b = rate * k',  k' the key as a direction of length one
    y_t = S r                                 the token itself is in S by now

S k' is what the memory answers to the key; the rate, in (0, 1) for each channel, says how much of it goes. S is values
by keys here, N x N a head, the transpose of RWKV-5's. w is in (0.545, 1) and depends on the data.
Source: Peng et al. 2025, arXiv 2503.14456, section 4; RWKV-LM, RWKV-v7/rwkv_v7_numpy.py and
RWKV-v7/train_temp/src/model.py.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from lib.layers.chunks import empty_state, fit_chunk, in_chunks, out_of_chunks
from lib.layers.heads import HeadNorm, to_heads
from lib.layers.low_rank import LowRank
from lib.layers.precision import in_full_precision
from lib.layers.shift import lean, shift


@in_full_precision
def wkv(r, k, v, log_w, a, b, state=None):
    """Return y and the last S, token by token, as the paper writes it: each vector is a column, (B, H, N, 1).

    r, k, v, log_w <= 0, a, b: (B, H, T, N); S: (B, H, N, N), None at the start. Returns (B, H, T, N), (B, H, N, N).
    """
    S = empty_state(v, k) if state is None else state  # (B, H, N, N)
    columns, ys = [z[..., None].unbind(2) for z in (r, k, v, log_w.exp(), a, b)], []
    for r, k, v, w, a, b in zip(*columns, strict=True):
        S = S * w.mT + (S @ a) * b.mT + v * k.mT
        ys.append(S @ r)
    return torch.stack(ys, dim=2).squeeze(-1), S  # (B, H, T, N), (B, H, N, N)


@in_full_precision
def wkv_chunked(r, k, v, log_w, a, b, state=None, chunk=None):
    """Return what `wkv` returns: a chunk of L tokens is one linear map of the state, S <- S kept + added.

    The answers S_{t-1} a_t of a chunk depend on each other, each on those before it: a triangular system of equations,
    (1 - A) answers = what the chunk's own values and the state S before it give. It is solved once for both: the
    answers are `own` + `old` S^T, a row for each token. With them all else is sums over pairs, as in RWKV-5.
    """
    T, S = k.shape[2], empty_state(v, k) if state is None else state
    L, log_w, lift = fit_chunk(log_w, T, chunk, longest=32)
    r, k, v, log_w, a, b = (in_chunks(z, L) for z in (r, k, v, log_w, a, b))  # each (B, H, M, L, N)
    left = log_w.cumsum(-2)  # the log of what is left of S since the chunk began
    r, a = r * (left + lift).exp(), a * (left - log_w + lift).exp()
    k, b = (z * (-lift - left).exp() for z in (k, b))
    rk, rb = ((r @ _transposed(z)).tril() for z in (k, b))  # (B, H, M, L, L), the token itself included
    ak, ab = ((a @ _transposed(z)).tril(-1) for z in (k, b))  # (B, H, M, L, L), only what came before
    r, a = math.exp(-lift) * r, math.exp(-lift) * a  # what they ask of S is not lifted
    one = torch.eye(L, dtype=ab.dtype, device=ab.device)
    answers = torch.linalg.solve_triangular(one - ab, torch.cat([ak @ v, a], -1), upper=False, unitriangular=True)
    own, old = answers.chunk(2, dim=-1)  # (B, H, M, L, N), (B, H, M, L, N)
    end = left[..., -1:, :]  # (B, H, M, 1, N)
    kept = end.exp().squeeze(-2).diag_embed() + _transposed(old) @ b * (end + lift).exp()  # (B, H, M, N, N)
    added = (_transposed(v) @ k + _transposed(own) @ b) * (end + lift).exp()  # (B, H, M, N, N)
    states = []
    for kept_m, added_m in zip(kept.unbind(2), added.unbind(2), strict=True):
        states.append(S)
        S = S @ kept_m + added_m
    y = rk @ v + rb @ own + (r + rb @ old) @ _transposed(torch.stack(states, dim=2))
    return out_of_chunks(y, T), S


def _transposed(z):
    return z.transpose(-1, -2)


class TimeMix(nn.Module):
    """Goose's time mixer: shift, project, remember by the delta rule, norm by head, add the bonus, gate, project back.

    x: (B, T, C), C = H N; state: (the last token (B, C), S (B, H, N, N)) or None. All layers but the first move their
    values towards shared.first_values, which are the first one's own. ranks: of decay, rate, residual and gate.
    """

    def __init__(self, d_model, d_head, ranks, first, head_eps=64e-5):
        super().__init__()
        self.n_heads = d_model // d_head
        self.lean_receptance, self.lean_decay, self.lean_key, self.lean_value, self.lean_rate, self.lean_gate = (
            nn.Parameter(torch.full((d_model,), 0.5)) for _ in range(6)
        )
        self.decay = LowRank(d_model, ranks[0], nn.Tanh())
        self.rate = LowRank(d_model, ranks[1])
        self.residual = None if first else LowRank(d_model, ranks[2])
        self.gate = LowRank(d_model, ranks[3], nn.Sigmoid(), bias=False)
        self.removal, self.boost = (nn.Parameter(torch.ones(d_model)) for _ in range(2))
        self.bonus = nn.Parameter(torch.zeros(self.n_heads, d_head))
        self.receptance, self.key, self.value, self.output = (nn.Linear(d_model, d_model, bias=False) for _ in range(4))
        self.norm = HeadNorm(self.n_heads, d_model, head_eps)

    def forward(self, x, state, shared):
        """(B, T, C) -> (B, T, C), and the pair (last token, S)."""
        B, T, C = x.shape
        last, S = state or (None, None)
        before, last = shift(x, last)
        leans = self.lean_receptance, self.lean_decay, self.lean_key, self.lean_value, self.lean_rate, self.lean_gate
        x_r, x_w, x_k, x_v, x_a, x_g = lean(x, before, *leans)
        r, k, v = self.receptance(x_r), self.key(x_k), self.values(x_v, shared.first_values)
        log_w = -math.exp(-0.5) * self.decay(x_w).sigmoid()  # (B, T, C), above -0.607
        rate = self.rate(x_a).sigmoid()
        removed, k = k * self.removal, k * (1 + (rate - 1) * self.boost)
        r, k, v, log_w, rate, removed = (to_heads(z, self.n_heads) for z in (r, k, v, log_w, rate, removed))
        removed = F.normalize(removed, dim=-1)  # (B, H, T, N)
        # Such decays fit into chunks of 32, so nobody has to look at them.
        form, chunk = (wkv, {}) if T == 1 else (wkv_chunked, {"chunk": 32})
        y, S = form(r, k, v, log_w, -removed, removed * rate, S, **chunk)
        own = (r * k * self.bonus[:, None]).sum(-1, keepdim=True) * v  # (B, H, T, N)
        y = self.norm(y) + own.transpose(1, 2).reshape(B, T, C)
        return self.output(y * self.gate(x_g)), (last, S)  # (B, T, C), ...

    def values(self, x_v, first):
        """Return the values, moved towards the first layer's, (B, T, C); the first layer's are these, once computed."""
        if self.residual is None and first is not None:
            return first
        v = self.value(x_v)  # (B, T, C)
        return v if self.residual is None else v + (first - v) * self.residual(x_v).sigmoid()


def first_values(mixer, x, state):
    """Return the values of the first layer's time mixer, (B, T, C) -> (B, T, C), before any layer runs.

    mixer: a `TimeMix`; x: what it will get; state: its own, as `forward` takes it.
    """
    before, _ = shift(x, None if state is None else state[0])
    (x_v,) = lean(x, before, mixer.lean_value)
    return mixer.value(x_v)


class ChannelMix(nn.Module):
    """Goose's channel mixer, which has no gate: y = value(relu(key(x_k))^2). x: (B, T, C); inside (B, T, F)."""

    def __init__(self, d_model, d_ff):
        super().__init__()
        self.lean_key = nn.Parameter(torch.full((d_model,), 0.5))
        self.key = nn.Linear(d_model, d_ff, bias=False)
        self.value = nn.Linear(d_ff, d_model, bias=False)

    def forward(self, x, state=None, shared=None):
        """(B, T, C) -> (B, T, C), and the last token, (B, C)."""
        before, last = shift(x, state)
        (x_k,) = lean(x, before, self.lean_key)
        hidden = self.key(x_k).relu().square()  # (B, T, F)
        return self.value(hidden), last  # (B, T, C), (B, C)
