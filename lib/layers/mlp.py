"""SwiGLU: LLaMA's channel mixer, in which a gate decides what passes."""

import torch.nn.functional as F
from torch import nn


def llama_d_ff(d_model, multiple_of=256):
    """Return LLaMA's inner width: two thirds of 4 d_model, rounded up to a multiple.

    Three matrices of width 8/3 d cost as much as the two of width 4 d that they replace.
    4096 -> 11008, 5120 -> 13824, 6656 -> 17920, 8192 -> 22016.
    Source: Shazeer 2020, arXiv 2002.05202; the rounding is that of Meta's llama/model.py.
    """
    if d_model < 1 or multiple_of < 1:
        raise ValueError(f"d_model {d_model} and multiple_of {multiple_of} must both be at least 1")
    return -(-(8 * d_model // 3) // multiple_of) * multiple_of


class SwiGLU(nn.Module):
    """Widen twice, let one copy gate the other, narrow again.

    y = down(silu(gate(x)) * up(x)), silu(z) = z * sigmoid(z); no biases.
    x, y: (B, T, C); inside (B, T, F). No time is mixed, so there is no state: it is passed through.
    Source: Shazeer 2020, arXiv 2002.05202, eq. 6.
    """

    def __init__(self, d_model, d_ff):
        super().__init__()
        self.gate = nn.Linear(d_model, d_ff, bias=False)
        self.up = nn.Linear(d_model, d_ff, bias=False)
        self.down = nn.Linear(d_ff, d_model, bias=False)

    def forward(self, x, state=None, shared=None):
        """(B, T, C) -> (B, T, C), and the state as it came."""
        hidden = F.silu(self.gate(x)) * self.up(x)  # (B, T, F)
        return self.down(hidden), state
