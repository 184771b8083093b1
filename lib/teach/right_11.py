"""A right answer to an exercise of lesson 11, written in another way: the check must let it through."""

import torch

from lib.teach.check import right


@right("11.3")
def by_recursion_over_a_list(k, kept):
    """Split into tokens, and let each add its share to the one before."""
    means = [torch.zeros_like(k.select(2, 0))]
    for token in k.split(1, dim=2):
        means.append(torch.lerp(token.squeeze(2), means[-1], kept))
    return torch.stack(means[1:], dim=2)
