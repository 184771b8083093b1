"""Right answers to the exercises of lesson 19, written in other ways: the check must let them through."""

import torch
import torch.nn.functional as F

from tests.exercises.rights import right


@right("19.1")
def by_a_loop(ids, n_prompt):
    """Token by token."""
    x, y = [], []
    for i in range(len(ids) - 1):
        x.append(int(ids[i]))
        y.append(int(ids[i + 1]) if i + 1 >= n_prompt else -100)
    return torch.tensor(x), torch.tensor(y)


@right("19.1")
def by_where(ids, n_prompt):
    """A mask by place."""
    place = torch.arange(1, len(ids))
    return ids[:-1], torch.where(place < n_prompt, -100, ids[1:])


right("19.1")(lambda ids, n: (ids[:-1].clone(), torch.cat([torch.full((n - 1,), -100), ids[n:]])))
right("19.2")(lambda x, W, down, up, alpha: x @ (W + alpha / down.shape[0] * up @ down).T)
right("19.2")(lambda x, W, down, up, alpha: x @ W.mT + x @ down.mT @ up.mT * (alpha / up.shape[1]))
right("19.2")(lambda x, W, down, up, alpha: torch.einsum(
    "...c,dc->...d", x, W) + torch.einsum("...c,rc,dr->...d", x, down, up) * alpha / len(down)
)  # fmt: skip
right("19.4")(lambda W, down, up, length, s: F.normalize(W + s * up @ down, dim=1) * length[:, None])
right("19.4")(lambda W, down, up, length, s: (
    (length / torch.linalg.vector_norm(W + s * (up @ down), dim=-1)).diag() @ (W + s * (up @ down))
))  # fmt: skip
right("19.4")(lambda W, down, up, length, s: torch.stack(
    [m * v / v.square().sum().sqrt() for m, v in zip(length, W + up @ (s * down), strict=True)]
))  # fmt: skip
right("19.5")(lambda w, l, w0, l0, beta: F.softplus(beta * ((l - l0) - (w - w0))))
right("19.5")(lambda w, l, w0, l0, beta: -F.logsigmoid(beta * ((w - l) - (w0 - l0))))
right("19.5")(lambda w, l, w0, l0, beta: F.binary_cross_entropy_with_logits(
    beta * (w - w0 - l + l0), torch.ones_like(w), reduction="none"
))  # fmt: skip
