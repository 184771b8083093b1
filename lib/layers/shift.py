"""Token shift: each token also sees the one before it, channel by channel, for the price of an addition.

RWKV mixes x_t with x_{t-1} before each projection, with a learned share for each channel. Two conventions are in use,
and weights of one are wrong in the other:

    mix    generations 4 and 5   x_{t-1} + (x_t - x_{t-1}) * share    the share belongs to the token itself
    lean   generations 6 and 7   x_t + (x_{t-1} - x_t) * share        the share belongs to the token before

Source: Peng et al. 2023, arXiv 2305.13048, section 3; RWKV-LM, the src/model.py of each generation.
"""

import torch


def shift(x, last=None):
    """Return for each token the one before it, and x's last token: what the next call takes as `last`.

    x: (B, T, C); last: (B, C), or None at the start: the token before the first is zero. Returns (B, T, C), (B, C).
    """
    first = torch.zeros_like(x[:, :1]) if last is None else last[:, None].to(x.dtype)  # (B, 1, C)
    # A slice would keep all of x alive for as long as the state lives.
    return torch.cat([first, x[:, :-1]], dim=1), x[:, -1].clone()  # (B, T, C), (B, C)


def mix(x, before, *shares):
    """Return x and `before` mixed, once for each share; 1 is x, 0 is `before`. x: (B, T, C); shares: (C,) each."""
    change = x - before
    return [before + change * share for share in shares]


def lean(x, before, *shares):
    """Return x leaning towards `before`, once for each share; 0 is x, 1 is `before`. Shapes as in `mix`."""
    change = before - x
    return [x + change * share for share in shares]
