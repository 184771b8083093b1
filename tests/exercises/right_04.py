"""Right answers to the exercises of lesson 04, written in other ways: the check must let them through."""

import torch

from lessons.exercises.lesson_04_wrong import angles_by, beside, halves, turn, turns, with_parts
from lib.layers.rope import to_half_split
from tests.exercises.rights import right


def rotate_pairs(x, cos, sin):
    """Write into an empty tensor."""
    turned = torch.empty_like(x)
    turned[..., 0::2], turned[..., 1::2] = turn(*turns(x), cos, sin)
    return turned


def by_complex(x, cos, sin):
    """Turn by complex multiplication."""
    wide = torch.promote_types(x.dtype, cos.dtype)
    turned = torch.complex(*(half.to(wide).contiguous() for half in halves(x))) * torch.complex(cos, sin)
    return beside(turned.real, turned.imag).type_as(x)


@right("04.1")
def by_slices(x, cos, sin):
    """Cut by numbers."""
    half = x.shape[-1] // 2
    new = (x[..., :half] * cos - x[..., half:] * sin, x[..., half:] * cos + x[..., :half] * sin)
    return torch.cat(new, -1).to(x.dtype)


@right("04.2")
def by_exponentials(d_head, length, theta=10000.0, offset=0):
    """Speeds as e to the power of a logarithm."""
    pairs = torch.arange(d_head // 2).double()
    speed = torch.exp(-2 * pairs / d_head * torch.log(torch.tensor(theta, dtype=torch.float64)))
    angle = torch.outer(offset + torch.arange(length).double(), speed)
    return torch.cos(angle).to(torch.float32), torch.sin(angle).to(torch.float32)


@right("04.2")
def by_a_longer_table(d_head, length, theta=10000.0, offset=0):
    """Make all positions from 0 on, and cut off the first."""
    speed = 1 / theta ** (torch.arange(0, d_head, 2, dtype=torch.float64) / d_head)
    angle = torch.arange(offset + length, dtype=torch.float64).unsqueeze(1) * speed
    return angle.cos()[offset:].float(), angle.sin()[offset:].float()


@right("04.3")
def by_unflatten(x, cos, sin):
    """Give each pair an axis of its own."""
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).reshape(x.shape).type_as(x)


@right("04.3")
def by_a_turned_copy(x, cos, sin):
    """x cos + (x with each pair turned by a right angle) sin."""
    quarter = torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)
    wide_cos, wide_sin = (table.repeat_interleave(2, -1) for table in (cos, sin))
    return (x * wide_cos + quarter * wide_sin).to(x.dtype)


@right("04.4")
def by_index(weight, n_heads):
    """Write down the order of the rows."""
    size = weight.shape[0] // n_heads
    order = [h * size + row for h in range(n_heads) for first in (0, 1) for row in range(first, size, 2)]
    return weight[order]


@right("04.4")
def by_movedim(weight, n_heads):
    """Axes (heads, pairs, 2, columns): the 2 comes before the pairs."""
    return weight.unflatten(0, (n_heads, -1, 2)).movedim(2, 1).flatten(0, 2)


def _rows(weight, n_heads):
    return torch.cat([torch.cat((head[::2], head[1::2])) for head in weight.chunk(n_heads)])


@right("04.5")
def one_by_one(weights, n_heads, n_kv_heads):
    """Each matrix in a line of its own, the dict in an order of its own."""
    loaded = {"output": weights["wo"], "value": weights["wv"]}
    loaded["query"] = _rows(weights["wq"], n_heads)
    loaded["key"] = _rows(weights["wk"], n_kv_heads)
    return loaded


@right("04.5")
def by_a_table(weights, n_heads, n_kv_heads):
    """A table of names and heads; no heads, no order."""
    table = {"query": ("wq", n_heads), "key": ("wk", n_kv_heads), "value": ("wv", 0), "output": ("wo", 0)}
    return {ours: by_movedim(weights[m], heads) if heads else weights[m] for ours, (m, heads) in table.items()}


right("04.1")(
    lambda x, cos, sin: (x * beside(cos, cos) + beside(-halves(x)[1], halves(x)[0]) * beside(sin, sin)).type_as(x)
)
right("04.1")(by_complex)
right("04.2")(angles_by())
right("04.3")(rotate_pairs)
right("04.4")(lambda w, n: torch.cat([part for head in w.chunk(n) for part in (head[0::2], head[1::2])]))


def _same(w, H, G):
    return w


right("04.5")(with_parts(lambda w, H, G: to_half_split(w, H), lambda w, H, G: to_half_split(w, G), _same, _same))
