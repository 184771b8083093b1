"""A right answer to an exercise of lesson 11, written in another way: the check must let it through."""

import torch
import torch.nn.functional as F
from einops import rearrange

from lessons.exercises.lesson_11 import faded, first, with_ones
from lib.layers.linear_attention import linear_attention
from tests.exercises.rights import right


def by_einsum_of_powers(q, k, v, w):
    """Name the axes; the ages of a row are the lower half of a Toeplitz matrix."""
    T = q.shape[2]
    powers = torch.stack([w**age for age in range(T)], dim=-1).flip(-1)  # (H, T), the oldest first
    rows = F.pad(powers, (0, T - 1)).unfold(-1, T, 1).flip(1)  # (H, T, T)
    return torch.einsum("bhtn,bhsn,hts,bhsd->bhtd", q, k, rows, v)


def linear_chunked_at_once(q, k, v, state=None, chunk=64):
    """All chunks side by side, padded with zeros; the states by a cumulative sum."""
    T = q.shape[2]
    q, k, v = (rearrange(F.pad(z, (0, 0, 0, -T % chunk)), "b h (m l) n -> b h m l n", l=chunk) for z in (q, k, v))
    added = k.mT @ v
    states = added.cumsum(2) + (0 if state is None else state[:, :, None])
    y = (q @ k.mT).tril() @ v + q @ (states - added)
    return rearrange(y, "b h m l d -> b h (m l) d")[:, :, :T], states[:, :, -1]


def steps_of(k, kept):
    """Yield the means one by one."""
    m = torch.zeros_like(k[:, :, 0])
    for k_t in torch.unbind(k, dim=2):
        m = m + (1 - kept) * (k_t - m)
        yield m


def chunks_after(q, k, v, state, chunk):
    """First all states, then all chunks."""
    parts = [z.split(chunk, 2) for z in (q, k, v)]
    states = [k.new_zeros(*k.shape[:2], k.shape[-1], v.shape[-1]) if state is None else state]
    for k_m, v_m in zip(*parts[1:], strict=True):
        states.append(states[-1] + k_m.mT @ v_m)
    ys = [q_m @ S + linear_attention(q_m, k_m, v_m) for q_m, k_m, v_m, S in zip(*parts, states, strict=False)]
    return torch.cat(ys, 2), states[-1]


def by_slices(q, k, v, state=None, chunk=64):
    """Cut by index, write into an empty tensor."""
    S, T = (k.mT @ v * 0 if state is None else state), q.shape[2]
    y = torch.empty_like(v)
    for s in range(0, T, chunk):
        here = slice(s, min(s + chunk, T))
        mask = torch.ones(here.stop - s, here.stop - s, dtype=q.dtype).tril()
        y[:, :, here] = (q[:, :, here] @ k[:, :, here].mT * mask) @ v[:, :, here] + q[:, :, here] @ S
        S = S + k[:, :, here].mT @ v[:, :, here]
    return y, S


def by_index(q, k, v, state=None):
    """Slices keep the axis of time, so that products of matrices do both."""
    S, ys = (0 if state is None else state), []
    for t in range(q.shape[2]):
        here = slice(t, t + 1)
        S = S + k[:, :, here].mT @ v[:, :, here]
        ys.append(q[:, :, here] @ S)
    return torch.cat(ys, 2), S


def by_einsum(q, k, v, state=None):
    """Name the axes."""
    ys, S = [], torch.zeros_like(torch.einsum("bhn,bhd->bhnd", k[:, :, 0], v[:, :, 0])) if state is None else state
    for t in range(q.shape[2]):
        S = torch.einsum("bhn,bhd->bhnd", k[:, :, t], v[:, :, t]) + S
        ys.append(torch.einsum("bhn,bhnd->bhd", q[:, :, t], S))
    return torch.stack(ys, 2), S


def by_cumulative_sum(q, k, v, state=None):
    """Hold all states at once: no loop, much memory."""
    states = torch.einsum("bhtn,bhtd->bhtnd", k, v).cumsum(2) + (0 if state is None else state[:, :, None])
    return torch.einsum("bhtn,bhtnd->bhtd", q, states), states[:, :, -1]


@right("11.3")
def by_recursion_over_a_list(k, kept):
    """Split into tokens, and let each add its share to the one before."""
    means = [torch.zeros_like(k.select(2, 0))]
    for token in k.split(1, dim=2):
        means.append(torch.lerp(token.squeeze(2), means[-1], kept))
    return torch.stack(means[1:], dim=2)


right("11.1")(by_cumulative_sum)
right("11.1")(by_einsum)
right("11.1")(by_index)
right("11.2")(linear_chunked_at_once)
right("11.2")(by_slices)
right("11.2")(lambda q, k, v, state=None, chunk=64: chunks_after(q, k, v, state, chunk))
right("11.3")(lambda k, a: torch.stack(list(steps_of(k, a)), dim=2))
right("11.3")(lambda k, a: torch.cat([m[:, :, None] for m in steps_of(k, a)], dim=2))
right("11.4")(with_ones(lambda y: y[..., :-1] / y[..., -1, None]))
right("11.4")(lambda form, q, k, v: first(form(q, k, v)) / first(form(q, k, torch.ones_like(v))))
right("11.4")(
    lambda form, q, k, v: (lambda y: y[..., 1:] / y[..., :1])(first(form(q, k, torch.cat([v[..., :1] * 0 + 1, v], -1))))
)
right("11.5")(by_einsum_of_powers)
right("11.5")(faded(lambda age, w: (age.clamp(min=0) * w.log()).exp()))
right("11.5")(faded(lambda age, w: torch.where(age >= 0, w ** age.clamp(min=0), torch.zeros(()))))
