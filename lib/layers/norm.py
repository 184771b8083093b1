"""RMSNorm: keep the direction of a vector, drop its length."""

import torch
from torch import nn

from lib.layers import fast


def rms_norm(x, weight, eps=1e-5):
    """Divide each vector by its root mean square, then scale each channel.

    y = x / sqrt(mean(x^2) + eps) * weight, the mean over the last axis alone.

    x: (..., C) of any float dtype; weight: (C,). Returns (..., C) in the dtype of x (of weight, where that is wider).
    eps stands inside the root, as in LLaMA. Half precision is squared in float32: in float16, 300^2 is infinite.
    Source: Zhang and Sennrich 2019, arXiv 1910.07467, eq. 4; LLaMA (arXiv 2302.13971) norms before each sublayer.
    """
    wide = x if x.dtype == torch.float64 else x.float()
    scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)  # (..., 1)
    return (wide * scale).to(x.dtype) * weight


class RMSNorm(nn.Module):
    """`rms_norm` with a learned weight that starts at one. It calls the fast form, which gives the same."""

    def __init__(self, d_model, eps=1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))
        self.eps = eps

    def forward(self, x):
        """(..., C) -> (..., C)."""
        if x.shape[-1] != self.weight.shape[0]:
            raise ValueError(
                f"x has {x.shape[-1]} channels, the norm has {self.weight.shape[0]}: build it as wide as x"
            )
        return fast.rms_norm(x, self.weight, self.eps)
