"""RoPE: a token's position is an angle, and turning leaves only distances visible to attention.

A head of size N is N/2 pairs of channels. Pair j of the token at position t is turned by the angle t * theta^(-2j/N).
Two pairings are in use, and weights of one are garbage in the other:

    half-split   pair j = channels (j, j + N/2)    Hugging Face, OpenELM, this course
    interleaved  pair j = channels (2j, 2j + 1)    Meta's files, GGUF

`to_half_split` and `to_interleaved` permute the rows of the query and key matrices between the two.
Source: Su et al. 2021, arXiv 2104.09864, section 3.2.2.
"""

import torch
from einops import rearrange


def rope_table(d_head, length, theta=10000.0, offset=0, device=None, dtype=torch.float32):
    """Return cos and sin of every angle, each (T, N/2), for positions offset .. offset + length - 1.

    Angles are in radians. They are computed in float64 on the CPU, since in float32 an angle of 10,000 radians is
    already 0.0005 off, and Apple's GPUs have no float64.
    """
    if d_head % 2:
        raise ValueError(f"d_head is {d_head}, but RoPE turns pairs of channels: choose an even head size")
    frequency = theta ** (-torch.arange(0, d_head, 2, dtype=torch.float64) / d_head)  # (N/2,)
    position = torch.arange(offset, offset + length, dtype=torch.float64)  # (T,)
    angle = position[:, None] * frequency  # (T, N/2)
    return angle.cos().to(dtype).to(device), angle.sin().to(dtype).to(device)


def rotate_half_split(x, cos, sin):
    """Turn the pairs (j, j + N/2) of x by the table's angles.

    (a, b) -> (a cos - b sin, b cos + a sin).  x: (..., T, N); cos, sin: (T, N/2). Returns x's shape and dtype.
    The models call `lib.layers.fast.rotate_whole`, which gives the same.
    """
    a, b = x.chunk(2, dim=-1)  # (..., T, N/2)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).type_as(x)  # (..., T, N)


def rotate_interleaved(x, cos, sin):
    """Turn the pairs (2j, 2j + 1) of x by the table's angles. Shapes as in `rotate_half_split`."""
    a, b = x[..., 0::2], x[..., 1::2]  # (..., T, N/2)
    turned = torch.stack([a * cos - b * sin, b * cos + a * sin], dim=-1)  # (..., T, N/2, 2)
    return turned.flatten(-2).type_as(x)  # (..., T, N)


def to_half_split(weight, n_heads):
    """Permute the rows of a query or key matrix from the interleaved pairing to the half-split one.

    weight: (n_heads * N, C). Row 2j + i of a head moves to row i * N/2 + j: for N = 8 the order is 0 2 4 6 1 3 5 7.
    Value and output matrices stay as they are: only what is rotated knows about pairs.
    """
    _check_rows(weight, n_heads)
    return rearrange(weight, "(h j i) ... -> (h i j) ...", h=n_heads, i=2)


def to_interleaved(weight, n_heads):
    """Undo `to_half_split`, bit for bit."""
    _check_rows(weight, n_heads)
    return rearrange(weight, "(h i j) ... -> (h j i) ...", h=n_heads, i=2)


def _check_rows(weight, n_heads):
    rows = weight.shape[0]
    if rows % (2 * n_heads):
        raise ValueError(
            f"{rows} rows are not {n_heads} heads of an even size: pass the number of heads of this matrix"
        )
