"""A right answer to an exercise of lesson 11, written in another way: the check must let it through."""

import torch

from lessons.exercises.lesson_11 import faded, first, weigher, with_ones
from lessons.exercises.lesson_11_wrong import read, write
from lib.layers.linear_attention import linear_attention
from tests.exercises.rights import right


def by_fading_steps(q, k, v, keep):
    """The recurrence itself."""
    ys, S = [], 0
    for q_t, k_t, v_t in zip(q.unbind(2), k.unbind(2), v.unbind(2), strict=True):
        S = keep[:, None, None] * S + write(k_t, v_t)
        ys.append(read(q_t, S))
    return torch.stack(ys, 2)


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
right("11.2")(lambda q, k, v, state=None, chunk=64: by_einsum(q, k, v, state))
right("11.2")(by_slices)
right("11.2")(lambda q, k, v, state=None, chunk=64: chunks_after(q, k, v, state, chunk))
right("11.3")(lambda k, a: torch.stack(list(steps_of(k, a)), dim=2))
right("11.3")(lambda k, a: torch.cat([m[:, :, None] for m in steps_of(k, a)], dim=2))
right("11.4")(with_ones(lambda y: y[..., :-1] / y[..., -1, None]))
right("11.4")(lambda form, q, k, v: first(form(q, k, v)) / first(form(q, k, torch.ones_like(v))))
right("11.4")(weigher(lambda w, v, q, k: (w / w.sum(-1, keepdim=True)) @ v))
right("11.5")(by_fading_steps)
right("11.5")(faded(lambda age, keep: (age.clamp(min=0) * keep.log()).exp()))
right("11.5")(faded(lambda age, keep: torch.where(age >= 0, keep ** age.clamp(min=0), torch.zeros(()))))
