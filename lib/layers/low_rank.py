"""A small matrix product that lets a value depend on the data: down to a few channels, and up again."""

import torch
from torch import nn


class LowRank(nn.Module):
    """y = bias + activation(x down) up, with down (C, R) and up (R, C), R much smaller than C.

    Two thin matrices cost 2 C R instead of C^2. RWKV starts with down = 0, so that at first y is its bias for all data.
    x, y: (..., C). Source: the LoRA in Peng et al. 2024, arXiv 2404.05892 (Finch); arXiv 2503.14456 (Goose).
    """

    def __init__(self, d_model, rank, activation=None, bias=True):
        super().__init__()
        self.down = nn.Parameter(torch.zeros(d_model, rank))
        self.up = nn.Parameter(torch.zeros(rank, d_model))
        self.bias = nn.Parameter(torch.zeros(d_model)) if bias else None
        self.activation = activation or nn.Identity()

    def forward(self, x):
        """(..., C) -> (..., C)."""
        y = self.activation(x @ self.down) @ self.up  # (..., C)
        return y if self.bias is None else self.bias + y
