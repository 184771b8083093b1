"""Take the softmax away, and attention becomes a recurrence whose state has one size for ever.

Attention weighs value s for query t by e^(q_t . k_s). A plain product in its place can be summed in another order:

    y_t = sum_{s<=t} (q_t . k_s) v_s    as a matrix: tril(q k^T) v, T^2 products
        = q_t (sum_{s<=t} k_s^T v_s)    as a recurrence: S <- S + k_t^T v_t, y_t = q_t S, with S of N x N numbers

Between the two lies the chunked form: the matrix within L tokens, the recurrence from chunk to chunk. RWKV-5, 6 and 7
add to S a decay, and more; what their chunked forms share stands at the end of this file.
Values may have a width D of their own; mostly it is N. Source: Katharopoulos et al. 2020, arXiv 2006.16236, section 3;
chunks: Hua et al. 2022, arXiv 2202.10447.
"""

import functools
import math

import torch
import torch.nn.functional as F


def in_full_precision(form):
    """Let a function of tensors compute in float32 at least, whatever comes in; its y has the dtype of what came first.

    A sum over a thousand tokens in bfloat16, with its 8 bits, would lose all that is small. The state stays float32.
    """

    @functools.wraps(form)
    def wide(first, *others, **options):
        tensors = [z.float() if _is_half(z) else z for z in (first, *others)]
        with torch.autocast(first.device.type, enabled=False):
            y, state = form(*tensors, **options)
        return y.to(first.dtype), state

    return wide


def _is_half(z):
    return isinstance(z, torch.Tensor) and z.dtype in (torch.bfloat16, torch.float16)


def linear_attention(q, k, v):
    """Return sum_{s<=t} (q_t . k_s) v_s for each t, by the matrix of all products.

    q, k: (B, H, T, N); v: (B, H, T, D). Returns (B, H, T, D). Time and memory grow with T^2: it is the reference for
    what is faster.
    """
    return (q @ k.transpose(-1, -2)).tril() @ v  # (B, H, T, D)


@in_full_precision
def linear_recurrent(q, k, v, state=None):
    """Return what `linear_attention` returns, token by token, and the state: S <- S + k_t^T v_t, y_t = q_t S.

    q, k: (B, H, T, N); v: (B, H, T, D); S: (B, H, N, D), keys by values, None at the start.
    """
    S = empty_state(k, v) if state is None else state  # (B, H, N, D)
    ys = []
    for q_t, k_t, v_t in zip(q.unbind(2), k.unbind(2), v.unbind(2), strict=True):
        S = S + k_t[..., :, None] * v_t[..., None, :]
        ys.append((q_t[..., None, :] @ S).squeeze(-2))
    return torch.stack(ys, dim=2), S  # (B, H, T, D), (B, H, N, D)


@in_full_precision
def linear_chunked(q, k, v, state=None, chunk=64):
    """Return what `linear_recurrent` returns, L tokens at a time: T L products, and T / L steps."""
    T, L = k.shape[2], min(chunk, k.shape[2])
    state = empty_state(k, v) if state is None else state
    q, k, v = (in_chunks(z, L) for z in (q, k, v))
    added = k.transpose(-1, -2) @ v  # (B, H, M, N, D)
    before, state = carry(torch.ones_like(added[..., :1]), added, state)
    y = (q @ k.transpose(-1, -2)).tril() @ v + q @ before  # (B, H, M, L, D)
    return out_of_chunks(y, T), state


def feature(x):
    """Return elu(x) + 1, which is positive: products of such vectors can serve as weights."""
    return F.elu(x) + 1


def averaged(form, q, k, v):
    """Return the weighted mean of the values instead of the weighted sum, by any of the forms above.

    y_t = sum_s (q_t . k_s) v_s / sum_s (q_t . k_s): a channel of ones goes along with the values, and what comes of it
    is the sum of the weights. q and k have to be positive, `feature(...)` of something.
    """
    y = form(q, k, F.pad(v, (0, 1), value=1.0))
    y = y[0] if isinstance(y, tuple) else y
    return y[..., :-1] / y[..., -1:]


def empty_state(k, v):
    """Return zeros (B, H, N, D), keys by values."""
    return k.new_zeros(*k.shape[:2], k.shape[-1], v.shape[-1])


def in_chunks(x, L):
    """Cut time into chunks of L tokens: (..., T, N) -> (..., M, L, N). What is missing in the last one is zero."""
    x = F.pad(x, (0, 0, 0, -x.shape[-2] % L))
    # Contiguous once, or each product below would copy for itself.
    return x.unflatten(-2, (-1, L)).contiguous()


def out_of_chunks(y, T):
    """Undo `in_chunks`: (..., M, L, N) -> (..., T, N)."""
    return y.flatten(-3, -2)[..., :T, :]


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
