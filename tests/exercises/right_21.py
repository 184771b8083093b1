"""Right answers to the exercises of lesson 21, written in other ways: the check must let them through."""

import torch

from lessons.exercises.lesson_21 import inventory, signed
from lib.layers.rope import to_half_split
from lib.weights.blocks import as_float
from tests.exercises.rights import right


def by_places(raw):
    """Write into an empty tensor, weight by weight."""
    out = torch.empty(len(raw), 32)
    for i in range(16):
        out[:, i], out[:, i + 16] = (raw[:, 2 + i] & 15).float(), (raw[:, 2 + i] >> 4).float()
    return (out - 8) * as_float(raw[:, :2])


def by_numpy(raw):
    """Dequantise Q8_0 with numpy's views."""
    import numpy as np

    plain = np.ascontiguousarray(raw.numpy())
    scale = plain[:, :2].copy().view("<f2").astype("f4")
    return torch.from_numpy(scale * plain[:, 2:].copy().view("i1").astype("f4"))


def by_loops(found, expected, tied=False):
    """Look at each name once."""
    missing, unexpected, misshapen = [], [], []
    for name in sorted(set(found) | set(expected)):
        if name not in expected:
            unexpected.append(name)
        elif name in found and list(found[name]) != list(expected[name]):
            misshapen.append(name)
        elif name not in found and not (tied and name == "lm_head.weight"):
            missing.append(name)
    return missing, unexpected, misshapen


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


right("21.1")(by_loops)
right("21.1")(lambda found, expected, tied=False: [list(part) for part in inventory(found, expected, tied)])
right("21.1")(lambda found, expected, tied=False: inventory(
    found, expected if not tied or "lm_head.weight" in found else
    {name: shape for name, shape in expected.items() if name != "lm_head.weight"}))  # fmt: skip
right("21.2")(lambda raw: torch.stack([d * q for d, q in zip(as_float(raw[:, :2]), signed(raw), strict=True)]))
right("21.2")(by_numpy)
right("21.3")(lambda raw: torch.cat([raw[:, 2:] % 16, raw[:, 2:] // 16], -1).float().sub(8) * as_float(raw[:, :2]))
right("21.3")(by_places)
right("21.4")(lambda name, tensor, config: to_half_split(tensor, config.n_heads) if ".attn_q." in name
        else to_half_split(tensor, config.n_kv_heads) if ".attn_k." in name else tensor)  # fmt: skip


@right("21.4")
def by_table(name, tensor, config):
    """A table of the matrices that are rotated."""
    heads = {"attn_q": config.n_heads, "attn_k": config.n_kv_heads}.get(name.split(".")[-2])
    return tensor if heads is None else to_half_split(tensor, heads)
