"""Right answers to the exercises of lesson 00, written in other ways: the check must let them through."""

import torch

from tests.exercises.rights import right


@right("00.1")
def by_logarithms(z):
    """Take the logarithm of the shares first."""
    return (z - z.amax(-1, keepdim=True)).log_softmax(-1).exp()


@right("00.1")
def by_rows(z):
    """Go through the rows."""
    rows = [torch.exp(row - row.max()) for row in z.reshape(-1, z.shape[-1])]
    return torch.stack([row / row.sum() for row in rows]).reshape(z.shape)


right("00.1")(lambda z: torch.exp(z - torch.logsumexp(z, -1, keepdim=True)))
