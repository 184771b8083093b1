"""RWKV's heads: the channels cut into H heads of N, and the norm that lays them side by side again."""

from torch import nn


def to_heads(x, n_heads):
    """Split channels into heads: (B, T, C) -> (B, H, T, N)."""
    # rearrange(x, "b t (h n) -> b h t n", h=n_heads), by views: a token that is told passes here for each product.
    return x.unflatten(-1, (n_heads, -1)).transpose(1, 2)  # (B, H, T, N)


class HeadNorm(nn.GroupNorm):
    """Normalise each head's output by its own mean and spread, and lay the heads side by side again.

    RWKV's code divides y by 8 first and takes eps 1e-5; eps 64e-5 = 1e-5 * 8^2 is the same without the division.
    """

    def forward(self, y):
        """(B, H, T, N) -> (B, T, C)."""
        B, H, T, N = y.shape
        rows = y.transpose(1, 2).reshape(B * T, H * N)  # (B*T, C)
        return super().forward(rows).view(B, T, H * N)  # (B, T, C)
