"""Right answers to the exercises of lesson 02, written in other ways: the check must let them through."""

import torch
import torch.nn.functional as F

from lessons.exercises.lesson_02 import mean, wide, with_parts, with_root
from tests.exercises.rights import right


def by_autograd(x, d, eps=1e-5):
    """Let torch do it, where it may: inside a backward pass of a backward pass it needs its graph."""
    x = x if x.requires_grad else x.detach().requires_grad_()
    with torch.enable_grad():
        y = x / (mean(x) + eps).sqrt()
    return torch.autograd.grad(y, x, d, create_graph=True)[0]


right("02.1")(lambda x, weight, eps=1e-5: F.rms_norm(wide(x), x.shape[-1:], None, eps).to(x.dtype) * weight)
right("02.1")(with_root(lambda x, eps: ((x * x).sum(-1, keepdim=True) / x.shape[-1] + eps) ** 0.5))
right("02.1")(
    with_root(lambda x, eps: torch.einsum("...c,...c->...", x, x).div(x.shape[-1]).add(eps).sqrt()[..., None])
)
right("02.2")(lambda x: x * (mean(x) + 1e-5).rsqrt())
right("02.2")(lambda x: F.rms_norm(x, x.shape[-1:], None, 1e-5))
right("02.2")(lambda x: torch.stack([x[:, t] / (mean(x[:, t]) + 1e-5).sqrt() for t in range(x.shape[1])], 1))
right("02.4")(lambda w, m: torch.diag(w) @ m)
right("02.4")(lambda w, m: torch.einsum("c,cd->cd", w, m))
right("02.4")(lambda w, m: (m.T * w).T)
right("02.5")(by_autograd)
right("02.5")(with_parts(lambda x, d, r, m: (d - (x / r) * m / r) / r))
right("02.5")(with_parts(lambda x, d, r, m: (r * r * d - x * m) / r.pow(3)))
