"""Right answers to the exercises of lesson 13, written in other ways: the check must let them through."""

import torch
import torch.nn.functional as F

from lessons.exercises.lesson_13 import head_norm, normed
from lessons.exercises.lesson_13_wrong import eagle, loop, reads, writes
from tests.exercises.rights import right


def step_by_step(first, second, log_w):
    """Fade the first memory token by token."""
    for w in log_w.exp().unbind(2):
        first = first * w[..., None]
    return first + second


def from_the_end(r, k, v, log_w, u, S):
    """The same with the decays counted backward from the chunk's end."""
    left = log_w.expand_as(k).cumsum(-2)
    to_end = left[..., -1:, :] - left
    asks, leaves = r * (-to_end - log_w).exp(), k * to_end.exp()
    weights = (asks @ leaves.mT).tril(-1) + torch.einsum("bhti,hi,bhti->bht", r, u, k).diag_embed()
    y = weights @ v + (r * (left - log_w).exp()) @ S
    return y, left[..., -1, :, None].exp() * S + leaves.mT @ v


def by_einsum(r, k, v, w, u, S):
    """The recurrence in einsum's words."""
    S = torch.zeros_like(torch.einsum("bhi,bhj->bhij", k[:, :, 0], v[:, :, 0])) if S is None else S
    ys = []
    for t in range(k.shape[2]):
        kv = torch.einsum("bhi,bhj->bhij", k[:, :, t], v[:, :, t])
        ys.append(torch.einsum("bhi,bhij->bhj", r[:, :, t], S + torch.einsum("hi,bhij->bhij", u, kv)))
        S = torch.einsum("bhi,bhij->bhij", w[:, :, t], S) + kv
    return torch.stack(ys, 2), S


def by_pairs(r, k, v, log_w, u, state=None):
    """Sum over all pairs of tokens: each product of decays by itself."""
    w, N = log_w.exp().expand_as(k), k.shape[-1]
    S = k.new_zeros(*k.shape[:2], N, N) if state is None else state
    ys = []
    for t in range(k.shape[2]):
        y = ((r[:, :, t] * w[:, :, :t].prod(2))[:, :, None] @ S)[:, :, 0]
        for s in range(t):
            y = y + (r[:, :, t] * w[:, :, s + 1 : t].prod(2) * k[:, :, s]).sum(-1, keepdim=True) * v[:, :, s]
        ys.append(y + (r[:, :, t] * u * k[:, :, t]).sum(-1, keepdim=True) * v[:, :, t])
    last = w.prod(2)[..., None] * S
    for s in range(k.shape[2]):
        last = last + (w[:, :, s + 1 :].prod(2) * k[:, :, s])[..., None] * v[:, :, s, None]
    return torch.stack(ys, 2), last


def own_apart(r, k, v, log_w, u, S):
    """The token itself apart from the pairs."""
    left = log_w.expand_as(k).cumsum(-2)
    asks, leaves = r * (left - log_w).exp(), k * (-left).exp()
    y = asks @ S + (asks @ leaves.mT).tril(-1) @ v + (r * u[:, None] * k).sum(-1, keepdim=True) * v
    return y, left[..., -1:, :].mT.exp() * (S + leaves.mT @ v)


def by_all_decays(r, k, v, log_w, u, S):
    """Every decay between two tokens as a number of its own, (B, H, L, L, N): nothing is raised, so none overflows."""
    left = log_w.expand_as(k).cumsum(-2)
    between = ((left - log_w)[..., :, None, :] - left[..., None, :, :]).clamp(max=0).exp()
    pairs = torch.einsum("bhti,bhtsi,bhsi->bhts", r, between, k).tril(-1)
    own = torch.einsum("bhti,hi,bhti->bht", r, u, k)
    y = (pairs + own.diag_embed()) @ v + (r * (left - log_w).exp()) @ S
    return y, left[..., -1, :, None].exp() * S + (k * (left[..., -1:, :] - left).exp()).mT @ v


right("13.1")(loop(reads, writes))
right("13.1")(by_pairs)
right("13.1")(lambda r, k, v, log_w, u, state=None: by_einsum(r, k, v, log_w.expand_as(k).exp(), u, state))
right("13.2")(from_the_end)
right("13.2")(own_apart)
right("13.2")(by_all_decays)
right("13.3")(normed(-1))
right("13.3")(
    lambda y, weight, bias, eps=64e-5: F.layer_norm(y, y.shape[-1:], eps=eps).transpose(1, 2).flatten(2) * weight + bias
)
right("13.3")(lambda y, weight, bias, eps=64e-5: torch.cat([head_norm(z, weight, bias, eps) for z in y.split(1, 2)], 1))
right("13.4")(eagle())
right("13.4")(eagle(gate=lambda z: z * z.sigmoid()))
right("13.4")(eagle(norm=lambda self, y: head_norm(y, self.norm.weight, self.norm.bias, self.norm.eps)))
right("13.5")(lambda a, b, w: w.exp().prod(-2)[..., None] * a + b)
right("13.5")(lambda a, b, w: torch.diag_embed(w.sum(-2).exp()) @ a + b)
right("13.5")(step_by_step)
