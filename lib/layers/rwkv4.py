"""RWKV-4: a weighted mean of all values so far, in which each channel forgets at a speed of its own.

    y_t = (sum_{s<t} w^{t-1-s} e^{k_s} v_s + e^{u + k_t} v_t) / (the same without v)        w = exp(-exp(decay))

Channel by channel: no heads, no products between channels. u is the bonus of the token itself. The two sums are the
memory, and since e^k has no bound they are kept relative to e^top, top the largest exponent so far.
Source: Peng et al. 2023, arXiv 2305.13048, section 3 and the appendix on the numerically stable form; RWKV-LM,
RWKV-v4neo/src/model.py and RWKV-v4neo/cuda/wkv_cuda.cu.
"""

import torch
from torch import nn

from lib.layers.chunks import in_chunks, out_of_chunks
from lib.layers.precision import in_full_precision
from lib.layers.shift import mix, shift


def empty_memory(k):
    """Return the memory of nothing: both sums zero, relative to a top that any key exceeds. k: (B, T, C)."""
    zero = torch.zeros_like(k[:, 0])  # (B, C)
    return zero, zero, torch.full_like(zero, -1e38)


@in_full_precision
def wkv(k, v, log_w, u, state=None):
    """Return y and the memory (sum with v, sum without, top), token by token, as the paper writes it.

    k, v: (B, T, C); log_w <= 0 and u: (C,); the memory's parts: (B, C). Returns (B, T, C) and the memory.
    """
    above, below, top = empty_memory(k) if state is None else state
    ys = []
    for k_t, v_t in zip(k.unbind(1), v.unbind(1), strict=True):
        largest = torch.maximum(top, u + k_t)  # (B, C)
        past, own = (top - largest).exp(), (u + k_t - largest).exp()
        ys.append((past * above + own * v_t) / (past * below + own))
        largest = torch.maximum(top + log_w, k_t)
        past, own = (top + log_w - largest).exp(), (k_t - largest).exp()
        above, below, top = past * above + own * v_t, past * below + own, largest
    return torch.stack(ys, dim=1), (above, below, top)  # (B, T, C), ...


@in_full_precision
def wkv_chunked(k, v, log_w, u, state=None, chunk=32):
    """Return what `wkv` returns, in L + T / L steps instead of T, for any keys and decays.

    All chunks of L tokens first add up what they contribute; then the memory is carried from chunk to chunk; then all
    chunks at once step through their tokens. Top can be anything near the largest exponent, as long as it is the same
    above and below: so no gradient needs to pass through it.
    """
    T, L = k.shape[1], min(chunk, k.shape[1])
    above, below, top = empty_memory(k) if state is None else state
    k, v = (in_chunks(z, L) for z in (k, v))  # (B, M, L, C)
    start = (*((top - top.detach()).exp() * z for z in (above, below)), top.detach())
    above, below, top = _carry(_sums(k, v, log_w), L * log_w, start)  # each (B, M, C)
    tops = _tops(k, log_w, top)  # (B, M, L + 1, C)
    keep = (tops[:, :, :-1] + log_w - tops[:, :, 1:]).exp()
    join = (k - tops[:, :, 1:]).exp()
    memory, memories = torch.stack([above, below]), []  # (2, B, M, C)
    for joins, keeps in zip(torch.stack([join * v, join]).unbind(3), keep.unbind(2), strict=True):
        memories.append(memory)
        memory = torch.addcmul(joins, keeps, memory)
    above, below = torch.stack([*memories, memory], dim=3)  # (B, M, L + 1, C), (B, M, L + 1, C)
    y = _read(above[:, :, :-1], below[:, :, :-1], tops[:, :, :-1], u + k, v)
    end = T - (k.shape[1] - 1) * L  # tokens in the last chunk
    return out_of_chunks(y, T), tuple(z[:, -1, end].clone() for z in (above, below, tops))


def _sums(k, v, log_w):
    """Return each chunk's own two sums and their top, as they stand when it ends: (B, M, C) each."""
    age = torch.arange(k.shape[2] - 1, -1, -1, device=k.device)[:, None]
    exponent = k + age * log_w  # (B, M, L, C)
    top = exponent.detach().amax(2)  # (B, M, C)
    share = (exponent - top[:, :, None]).exp()
    return (share * v).sum(2), share.sum(2), top


def _carry(sums, log_kept, memory):
    """Return the memory before each chunk: (B, M, C) for each part."""
    before = []
    for above, below, top in zip(*(z.unbind(1) for z in sums), strict=True):
        before.append(memory)
        largest = torch.maximum(memory[2] + log_kept, top).detach()  # (B, C)
        past, own = (memory[2] + log_kept - largest).exp(), (top - largest).exp()
        memory = past * memory[0] + own * above, past * memory[1] + own * below, largest
    return [torch.stack(part, dim=1) for part in zip(*before, strict=True)]


def _tops(k, log_w, top):
    """Return the largest exponent before each token and after the last: top_{j+1} = max(top_j + w, k_j).

    k: (B, M, L, C); top: (B, M, C). Returns (B, M, L + 1, C). With j w taken off, that is a running maximum, which
    needs no loop.
    """
    with torch.no_grad():
        faded = torch.arange(k.shape[2] + 1, device=k.device)[:, None] * log_w  # (L + 1, C)
        return torch.cat([top[:, :, None], k - faded[1:]], dim=2).cummax(2).values + faded


def _read(above, below, top, own, v):
    """Return the mean of what is remembered and of v itself, which has the exponent `own`."""
    largest = torch.maximum(top, own).detach()
    past, own = (top - largest).exp(), (own - largest).exp()
    return (past * above + own * v) / (past * below + own)


class TimeMix(nn.Module):
    """RWKV-4's time mixer: shift, project, average with decay, let the receptance gate it, project back.

    x: (B, T, C); state: (the last token (B, C), the memory of `wkv`) or None. `shared` is not needed.
    """

    def __init__(self, d_model):
        super().__init__()
        self.mix_key, self.mix_value, self.mix_receptance = (
            nn.Parameter(torch.full((d_model,), 0.5)) for _ in range(3)
        )
        self.decay, self.bonus = (nn.Parameter(torch.zeros(d_model)) for _ in range(2))
        self.key, self.value, self.receptance, self.output = (nn.Linear(d_model, d_model, bias=False) for _ in range(4))

    def forward(self, x, state, shared=None):
        """(B, T, C) -> (B, T, C), and the pair (last token, memory)."""
        B, T, C = x.shape
        last, memory = state or (None, None)
        before, last = shift(x, last)
        x_k, x_v, x_r = mix(x, before, self.mix_key, self.mix_value, self.mix_receptance)
        k, v, r = self.key(x_k), self.value(x_v), self.receptance(x_r).sigmoid()
        y, memory = (wkv if T == 1 else wkv_chunked)(k, v, -self.decay.exp(), self.bonus, memory)
        return self.output(r * y), (last, memory)  # (B, T, C), ...


class ChannelMix(nn.Module):
    """The channel mixer of RWKV-4 and 5: shift, widen, square what is positive, narrow, gate.

    y = sigmoid(receptance(x_r)) * value(relu(key(x_k))^2). x: (B, T, C); inside (B, T, F); state: (B, C), the last x.
    """

    def __init__(self, d_model, d_ff):
        super().__init__()
        self.mix_key, self.mix_receptance = (nn.Parameter(torch.full((d_model,), 0.5)) for _ in range(2))
        self.key = nn.Linear(d_model, d_ff, bias=False)
        self.receptance = nn.Linear(d_model, d_model, bias=False)
        self.value = nn.Linear(d_ff, d_model, bias=False)

    def forward(self, x, state=None, shared=None):
        """(B, T, C) -> (B, T, C), and the last token."""
        before, last = shift(x, state)
        x_k, x_r = mix(x, before, self.mix_key, self.mix_receptance)
        hidden = self.key(x_k).relu().square()  # (B, T, F)
        return self.receptance(x_r).sigmoid() * self.value(hidden), last  # (B, T, C), (B, C)
