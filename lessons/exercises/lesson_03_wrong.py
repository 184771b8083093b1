"""Wrong answers to the exercises of lesson 03: each changes one thing."""

import math

import torch
import torch.nn.functional as F

from lib.layers.mlp import SwiGLU


def layer(formula, answer=lambda y, state: (y, state)):
    """Return a SwiGLU with another formula: (the layer, x) -> y, and another way to answer."""

    class Layer(SwiGLU):
        def forward(self, x, state=None, shared=None):
            return answer(formula(self, x), state)

    return Layer


def built(linear, names=("gate", "up", "down"), kept=True):
    """Return a SwiGLU whose matrices are made otherwise: linear(wide, narrow), in this order, or under other names."""

    class Built(torch.nn.Module):
        def __init__(self, d_model, d_ff):
            super().__init__()
            made = linear(d_model, d_ff), linear(d_model, d_ff), linear(d_ff, d_model)
            for name, matrix in zip(names, made, strict=True) if kept else ():
                setattr(self, name, matrix)

        def forward(self, x, state=None, shared=None):
            gate, up, down = (getattr(self, name) for name in names)
            return down(F.silu(gate(x)) * up(x)), state

    return Built


def plain(wide, narrow):
    """Return a matrix without bias."""
    return torch.nn.Linear(wide, narrow, bias=False)


class One(SwiGLU):
    """One matrix is gate and offer at once."""

    def __init__(self, d_model, d_ff):
        super().__init__(d_model, d_ff)
        self.up = self.gate


class Raw(torch.nn.Module):
    """The matrices are bare tensors."""

    def __init__(self, d_model, d_ff):
        super().__init__()
        shapes = {"gate": (d_model, d_ff), "up": (d_model, d_ff), "down": (d_ff, d_model)}
        for name, shape in shapes.items():
            self.register_parameter(name, torch.nn.Parameter(torch.randn(shape)))


def scalar_silu(z):
    """Return silu as the lesson writes it by hand, for one number."""
    return z * (1 / (1 + math.exp(-z)))


FOR_ONE = "this silu is the lesson's, for one number: for tensors it is `F.silu`."


def right_one(m, x):
    """Return the layer's own result."""
    return m.down(F.silu(m.gate(x)) * m.up(x))


def middle_of(z, dim=-1):
    """Return silu of the first half, times the second."""
    gate, up = z.chunk(2, dim=dim)
    return F.silu(gate) * up


def by_twos(z):
    """Cut pieces of two channels, and take them for two halves."""
    gate, up = z.split(2, dim=-1)
    return F.silu(gate) * up


WRONG_FORMULAS = {
    "silu is around the offer, `up`. It belongs around the gate.": lambda m, x: m.down(m.gate(x) * F.silu(m.up(x))),
    "silu is around the product. It belongs around the gate alone.": lambda m, x: m.down(F.silu(m.gate(x) * m.up(x))),
    "silu is around both. The offer comes as it is.": lambda m, x: m.down(F.silu(m.gate(x)) * F.silu(m.up(x))),
    "there is no silu.": lambda m, x: m.down(m.gate(x) * m.up(x)),
    "sigmoid instead of silu: that is the older GLU. silu(z) = z * sigmoid(z).": lambda m, x: m.down(
        torch.sigmoid(m.gate(x)) * m.up(x)
    ),
    "ReLU instead of silu: that is ReGLU.": lambda m, x: m.down(F.relu(m.gate(x)) * m.up(x)),
    "GELU instead of silu: that is GEGLU.": lambda m, x: m.down(F.gelu(m.gate(x)) * m.up(x)),
    "tanh instead of silu.": lambda m, x: m.down(torch.tanh(m.gate(x)) * m.up(x)),
    "gate and offer are added. The gate multiplies.": lambda m, x: m.down(F.silu(m.gate(x)) + m.up(x)),
    "the offer `up` is left out.": lambda m, x: m.down(F.silu(m.gate(x))),
    "the gate is left out.": lambda m, x: m.down(F.silu(m.up(x))),
    "gate and offer both come from `up`, and `gate` is not used.": lambda m, x: m.down(F.silu(m.up(x)) * m.up(x)),
    "silu comes at the end, after `down`.": lambda m, x: F.silu(m.down(m.gate(x) * m.up(x))),
    "x is added to the result. The skeleton around the layer does that: x + f(x).": lambda m, x: x + right_one(m, x),
    "softmax instead of silu: gates do not compete.": lambda m, x: m.down(m.gate(x).softmax(-1) * m.up(x)),
    FOR_ONE: lambda m, x: m.down(scalar_silu(m.gate(x)) * m.up(x)),
    "`@` is the product of matrices: here number meets number, `*`.": lambda m, x: m.down(F.silu(m.gate(x)) @ m.up(x)),
    "`down` is left out.": lambda m, x: F.silu(m.gate(x)) * m.up(x),
    "a matrix is called: `self.gate(x)`.": lambda m, x: m.down(F.silu(m.gate.weight) * m.up(x)),
    "the gate is detached: no gradient reaches it.": lambda m, x: m.down(F.silu(m.gate(x).detach()) * m.up(x)),
}
