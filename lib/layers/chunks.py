"""What the chunked forms of linear attention and of RWKV share: cut time into chunks, step from one to the next."""

import math

import torch
import torch.nn.functional as F
from einops import rearrange


def empty_state(k, v):
    """Return zeros (B, H, N, D), keys by values."""
    return k.new_zeros(*k.shape[:2], k.shape[-1], v.shape[-1])


def in_chunks(x, L):
    """Cut time into chunks of L tokens: (..., T, N) -> (..., M, L, N). What is missing in the last one is zero."""
    x = F.pad(x, (0, 0, 0, -x.shape[-2] % L))
    # Contiguous once, or each product below would copy for itself.
    return rearrange(x, "... (m l) n -> ... m l n", l=L).contiguous()


def out_of_chunks(y, T):
    """Undo `in_chunks`: (..., M, L, N) -> (..., T, N)."""
    return rearrange(y, "... m l n -> ... (m l) n")[..., :T, :]


def carry(kept, added, state):
    """Step from chunk to chunk, S <- kept * S + added; return the states before each chunk, and the last one.

    kept: (..., M, N, 1), the share that is left of each row; added: (..., M, N, N); state (..., N, N).
    """
    before = []
    for kept_m, added_m in zip(kept.unbind(-3), added.unbind(-3), strict=True):
        before.append(state)
        state = kept_m * state + added_m
    return torch.stack(before, dim=-3), state


def fit_chunk(log_w, T, chunk=None, longest=64):
    """Choose the length of a chunk for decays e^log_w; return it, log_w as (..., T, N), and a lift.

    In a chunk the decay between two tokens is a product of e^(lift + what is left) and e^(-lift - what is left), and in
    float32 e^89 is infinite. L is the longest power of two for which both stay below e^66, where needed with a lift of
    66 so that neither goes the whole way alone; but L is 8 at least: there log_w is held above -16.6, since of e^-16.6
    float32 keeps no digit beside a one. A `chunk` that is given is not looked at: |log w| has to stay below 66 / L.
    The strongest decay of all decides, so one token can change how the others are rounded, but nothing more.
    """
    log_w = log_w.expand(*log_w.shape[:-2], T, log_w.shape[-1])
    if chunk is not None:
        # Without the clamp, torch.compile (2.13, CPU) lets the backward pass overwrite a log_w that is an input.
        return min(chunk, T), log_w.clamp(max=0.0), 0.0
    room = 0.75 * math.log(torch.finfo(log_w.dtype).max)  # 66 in float32, 532 in float64
    strongest = -log_w.detach().amin().item()
    while longest > 8 and longest * strongest > 2 * room:
        longest //= 2
    L = min(longest, T)
    return L, log_w.clamp(min=-room / 4), room if L * strongest > room else 0.0
