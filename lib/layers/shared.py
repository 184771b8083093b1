"""What one place computes and all layers read: a model makes it once for a call, and no layer writes into it."""

from typing import NamedTuple

from torch import Tensor


class Shared(NamedTuple):
    """The third argument of each mixer's `forward(x, state, shared)`; a mixer reads what it needs, and leaves the rest.

    cos, sin: (T, N/2) each, RoPE's table for the positions of x.
    whole: the same as two tensors (T, N), for `lib.layers.fast.rotate_whole`; where it is None, attention makes it.
    first_values: (B, T, C), the values of RWKV-7's first layer, towards which all later ones move theirs.
    """

    cos: Tensor | None = None
    sin: Tensor | None = None
    whole: tuple[Tensor, Tensor] | None = None
    first_values: Tensor | None = None
