"""Take the softmax away, and attention becomes a recurrence whose state has one size for ever.

Attention weighs value s for query t by e^(q_t . k_s). A plain product in its place can be summed in another order:

    y_t = sum_{s<=t} (q_t . k_s) v_s    as a matrix: tril(q k^T) v, T^2 products
        = q_t (sum_{s<=t} k_s^T v_s)    as a recurrence: S <- S + k_t^T v_t, y_t = q_t S, with S of N x N numbers

Between the two lies the chunked form: the matrix within L tokens, the recurrence from chunk to chunk. RWKV-5, 6 and 7
add to S a decay, and more; what all chunked forms share stands in chunks.py.
Values may have a width D of their own; mostly it is N. Source: Katharopoulos et al. 2020, arXiv 2006.16236, section 3;
chunks: Hua et al. 2022, arXiv 2202.10447.
"""

import torch
import torch.nn.functional as F

from lib.layers.chunks import carry, empty_state, in_chunks, out_of_chunks
from lib.layers.precision import in_full_precision


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
