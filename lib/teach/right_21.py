"""Right answers to the exercises of lesson 21, written in other ways: the check must let them through."""

import torch

from lib.layers.rope import to_half_split
from lib.teach.check import right


def _scale(raw):
    return raw[:, :2].contiguous().view(torch.float16).to(torch.float32)


@right("21.2")
def by_wrapping(raw):
    """A byte above 127 stands for 256 less."""
    q = raw[:, 2:].int()
    return _scale(raw) * (q - 256 * (q > 127)).float()


@right("21.3")
def by_columns(raw):
    """Write into an empty tensor: low halves first, high halves behind."""
    packed = raw[:, 2:].to(torch.int32)
    q = torch.empty(len(raw), 32)
    q[:, :16] = torch.remainder(packed, 16).float()
    q[:, 16:] = torch.div(packed, 16, rounding_mode="floor").float()
    return _scale(raw) * q - 8 * _scale(raw)


@right("21.4")
def by_a_table(name, tensor, config):
    """Which piece of a name has how many heads; all others stay."""
    heads = {"attn_q": config.n_heads, "attn_k": config.n_kv_heads}
    found = [n for piece, n in heads.items() if piece in name.split(".")]
    return to_half_split(tensor, found[0]) if found else tensor
