"""Right answers to the exercises of lesson 03, written in other ways: the check must let them through."""

import torch
from torch import nn

from lib.teach.check import right


class Parts(nn.Module):
    """What the two layers below share: three matrices, in another order."""

    def __init__(self, d_model, d_ff):
        super().__init__()
        self.down = nn.Linear(d_ff, d_model, bias=False)
        self.up, self.gate = (nn.Linear(d_model, d_ff, bias=False) for _ in range(2))


@right("03.1")
class ByModule(Parts):
    """Silu as a module, called on the fly."""

    def forward(self, x, state=None, shared=None):
        """(B, T, C) -> (B, T, C), and the state as it came."""
        return self.down(nn.SiLU()(self.gate(x)).mul(self.up(x))), state


@right("03.1")
class ByProducts(Parts):
    """The matrices alone, and silu by its formula."""

    def forward(self, x, state=None, shared=None):
        """(B, T, C) -> (B, T, C), and the state as it came."""
        z = x @ self.gate.weight.T
        return ((x @ self.up.weight.T) * (z * z.sigmoid())) @ self.down.weight.T, state


@right("03.2")
def by_counting_up(d_model, multiple_of=256):
    """Step by one multiple until it is wide enough."""
    width = 0
    while width < 8 * d_model // 3:
        width += multiple_of
    return width


@right("03.2")
def by_negative_division(d_model, multiple_of=256):
    """Division downwards of a negative number is division upwards."""
    return -(-(8 * d_model // 3) // multiple_of) * multiple_of


@right("03.3")
def by_unflatten(x, gate_up, down):
    """Give the two matrices an axis of their own."""
    both = torch.einsum("btc,gfc->gbtf", x, gate_up.unflatten(0, (2, -1)))
    return torch.einsum("btf,cf->btc", both[0] * torch.sigmoid(both[0]) * both[1], down)


@right("03.3")
def by_tensor_split(x, gate_up, down):
    """Cut the result at F."""
    width = gate_up.shape[0] // 2
    z = nn.functional.linear(x, gate_up)
    return nn.functional.linear(nn.functional.silu(z[..., :width]) * z[..., width:], down)


@right("03.4")
def halves():
    """Twice as strong offers, half as strong a sum; the second unit first."""
    gate = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    up = torch.tensor([[0.0, -2.0], [0.0, 2.0]])
    return gate, up, torch.tensor([[0.5, 0.5], [0.0, 0.0]])
