"""LoRA and DoRA: leave the weights alone and learn a small product beside them.

LoRA    y = x W^T + s (x down^T) up^T                s = alpha / rank
DoRA    the same matrix V = W + s up down, each row as long as a learned number says:  W' = length * V / |V|

down: (R, C_in), drawn at random; up: (C_out, R), zero at the start, so that the model begins as it was. R is the rank.
Sources: Hu et al. 2021, arXiv 2106.09685, section 4.1; Liu et al. 2024, arXiv 2402.09353, sections 4.1 and 4.3.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


class LowRankUpdate(nn.Module):
    """A linear layer whose weight stays, with a product of rank R that learns: LoRA.

    linear: an nn.Linear, (..., C_in) -> (..., C_out); alpha: the product counts alpha / R times.
    """

    def __init__(self, linear, rank, alpha=None):
        super().__init__()
        if not isinstance(rank, int) or not 1 <= rank <= min(linear.weight.shape):
            raise ValueError(
                f"rank {rank!r}, but the matrix is {tuple(linear.weight.shape)}: from 1 to the smaller one"
            )
        self.linear, self.scale = linear.requires_grad_(False), (alpha or rank) / rank
        self.down = nn.Parameter(linear.weight.new_empty(rank, linear.in_features))
        self.up = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))  # as nn.Linear and peft draw it

    def forward(self, x):
        """(..., C_in) -> (..., C_out)."""
        return self.linear(x) + self.scale * F.linear(F.linear(x, self.down), self.up)

    def update(self):
        """Return what is added to the weight, (C_out, C_in)."""
        return self.scale * self.up @ self.down

    def weight(self):
        """Return the one matrix that does the same, (C_out, C_in)."""
        return self.linear.weight + self.update()


class DirectedUpdate(LowRankUpdate):
    """LoRA for the direction of each row of the weight, and one learned number for its length: DoRA.

    As in the paper's section 4.3 no gradient goes through |V|, which saves much memory and changes little. A row of
    zeros, as in a fresh RWKV, has no direction, and stays (peft divides by zero there).
    """

    def __init__(self, linear, rank, alpha=None):
        super().__init__(linear, rank, alpha)
        self.length = nn.Parameter(linear.weight.norm(dim=1))  # (C_out,)

    def forward(self, x):
        """(..., C_in) -> (..., C_out)."""
        y = F.linear(x, self.linear.weight) + self.scale * F.linear(F.linear(x, self.down), self.up)
        y = y * (self.length / norms(super().weight().detach()))
        return y if self.linear.bias is None else y + self.linear.bias

    def weight(self):
        """Return the one matrix that does the same, (C_out, C_in)."""
        direction = super().weight()
        return direction * (self.length / norms(direction))[:, None]


def norms(matrix):
    """Return the length of each row, (n, m) -> (n,), at least 1e-12, so that it can divide."""
    return matrix.norm(dim=1).clamp(min=1e-12)


METHODS = {"lora": LowRankUpdate, "dora": DirectedUpdate}


def adapt(model, method="lora", rank=8, alpha=None):
    """Freeze a model and put an update beside each linear layer of its blocks, in place; return the model.

    alpha: twice the rank where None.
    """
    if method not in METHODS:
        raise ValueError(f"no method {method!r}: there is {', '.join(METHODS)}")
    model.requires_grad_(False)
    for parent, name, linear in _places(model.blocks, nn.Linear):
        setattr(parent, name, METHODS[method](linear, rank, alpha or 2 * rank))
    return model


@torch.no_grad()
def merge(model):
    """Write every update into the weight that it stands beside, in place; return a model as it was before `adapt`."""
    for parent, name, update in _places(model.blocks, LowRankUpdate):
        update.linear.weight.copy_(update.weight())
        setattr(parent, name, update.linear)
    return model.requires_grad_(True)


def _places(root, kind):
    """Return (parent, name, part) of all parts of a kind, but not those inside of another such part."""
    updates = [part for part in root.modules() if isinstance(part, LowRankUpdate)]
    inside = {id(child) for part in updates for child in part.modules() if child is not part}
    return [
        (parent, name, part)
        for parent in root.modules()
        for name, part in parent.named_children()
        if isinstance(part, kind) and id(part) not in inside
    ]
