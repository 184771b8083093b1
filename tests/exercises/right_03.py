"""Right answers to the exercises of lesson 03, written in other ways: the check must let them through."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from lessons.exercises.lesson_03 import product_weights
from lessons.exercises.lesson_03_wrong import layer
from tests.exercises.rights import right


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


right("03.1")(layer(lambda m, x: F.linear(m.up(x) * m.gate(x) * torch.sigmoid(m.gate(x)), m.down.weight)))
right("03.2")(lambda d, multiple_of=256: math.ceil(int(2 * (4 * d) / 3) / multiple_of) * multiple_of)


@right("03.3")
def cut_first(x, gate_up, down):
    """Cut the matrix, then use its halves."""
    gate, up = gate_up.split(gate_up.shape[0] // 2)
    return F.linear(F.silu(F.linear(x, gate)) * F.linear(x, up), down)


@right("03.4")
def other_unit_first():
    """The two units in the other order."""
    gate, up, down = product_weights()
    return gate.flip(1), up.flip(1), down


@right("03.4")
def stronger_offers():
    """Offers twice as strong, a sum half as strong, the signs the other way round."""
    gate, up, down = product_weights()
    return gate.flip(0), 2 * up, -down / 2
