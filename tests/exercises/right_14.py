"""Right answers to the exercises of lesson 14, written in other ways: the check must let them through."""

import torch
import torch.nn.functional as F

from lessons.exercises.lesson_14 import one_hot, scaled
from lessons.exercises.lesson_14_wrong import new_state, stepwise
from lib.layers.heads import to_heads
from tests.exercises.rights import right


def answers_by_doubling(k, v, a, b):
    """Multiply by 1 + M, 1 + M^2, 1 + M^4 ..., whose product is the inverse: M to the power of L is zero."""
    Z, M = (a @ k.mT).tril(-1) @ v, (a @ b.mT).tril(-1)
    for _ in range(k.shape[-2].bit_length()):
        Z, M = Z + M @ Z, M @ M
    return Z


def removal_in_channels(k, rate, factor, n_heads):
    """Normalise in (B, T, H, N), and move the heads forward at the end."""
    B, T, C = k.shape
    removed = F.normalize((k * factor).view(B, T, n_heads, -1), dim=-1)
    return tuple(z.permute(0, 2, 1, 3) for z in (-removed, removed * rate.view(B, T, n_heads, -1)))


def removal_by_division(k, rate, factor, n_heads):
    """Write the normalising out."""
    removed = to_heads(k * factor, n_heads)
    removed = removed / removed.square().sum(-1, keepdim=True).sqrt().clamp(min=1e-12)
    return -removed, to_heads(rate, n_heads) * removed


def transposed_state(r, k, v, log_w, a, b, state=None):
    """Keep the state keys by values, and hand it back the other way round."""
    S, ys = k.new_zeros(*k.shape[:2], k.shape[3], k.shape[3]) if state is None else state.mT, []
    for t in range(k.shape[2]):
        answer = a[:, :, t, None] @ S  # a row
        S = log_w[:, :, t, :, None].exp() * S + b[:, :, t, :, None] * answer + k[:, :, t, :, None] * v[:, :, t, None]
        ys.append((r[:, :, t, None] @ S).squeeze(-2))
    return torch.stack(ys, dim=2), S.mT


right("14.1")(lambda x, bias, down, up: -torch.exp(bias) * torch.exp((x @ down).tanh() @ up))
right("14.1")(
    lambda x, bias, down, up: torch.log(torch.exp(-torch.exp((bias + (x @ down).tanh() @ up).double()))).to(x)
)
right("14.1")(lambda x, bias, down, up: -torch.einsum("btr,rc->btc", (x @ down).tanh(), up).add(bias).exp())
right("14.2")(transposed_state)
right("14.2")(stepwise(lambda S, r, k, v, w, a, b: (new_state(S, k, v, w, a, b), new_state(S, k, v, w, a, b) @ r)))
right("14.2")(
    stepwise(
        lambda S, r, k, v, w, a, b: (
            (T := S @ (torch.diag_embed(w.squeeze(-1)) + a @ b.mT) + v @ k.mT),
            torch.einsum("bhvk,bhkx->bhvx", T, r),
        )
    )
)
right("14.3")(removal_by_division)
right("14.3")(lambda k, rate, factor, H: ((a := -F.normalize(to_heads(k * factor, H), dim=-1)), -a * to_heads(rate, H)))
right("14.3")(removal_in_channels)
right("14.4")(lambda k, v, r, c, f, s: (k * (1 - c) + k * r * c, v * (1 - s) + f * s))
right("14.4")(lambda k, v, r, c, f, s: (torch.lerp(k, k * r, c.expand_as(k)), torch.lerp(v, f, s)))
right("14.4")(lambda k, v, r, c, f, s: [k.add(k * (r - 1) * c), v.addcmul(f - v, s)])
right("14.5")(
    lambda k, v, a, b: torch.linalg.inv(torch.eye(a.shape[-2]).to(a) - (a @ b.mT).tril(-1)) @ ((a @ k.mT).tril(-1) @ v)
)
right("14.5")(answers_by_doubling)
right("14.5")(
    lambda k, v, a, b: torch.linalg.solve(torch.eye(a.shape[-2]).to(a) - (a @ b.mT).tril(-1), (a @ k.mT).tril(-1) @ v)
)
right("14.6")(lambda i, j, N: (one_hot(j, N) - one_hot(i, N), one_hot(i, N) - one_hot(j, N)))
right("14.6")(lambda i, j, N: scaled(i, j, N, 2**-0.5, 2**0.5))
right("14.6")(lambda i, j, N: ((d := torch.eye(N)[i] - torch.eye(N)[j]) * 3, d / -3))
