"""Wrong forms of lesson 04's answers, one slip each, and the parts to make them."""

import torch
from einops import rearrange

from lib.layers.rope import to_half_split, to_interleaved


def halves(x):
    """Return the two halves of the channels."""
    return x.chunk(2, dim=-1)


def turns(x):
    """Return the even and the odd channels."""
    return x[..., 0::2], x[..., 1::2]


def beside(a, b):
    """Join two halves by putting one behind the other."""
    return torch.cat([a, b], dim=-1)


def zipped(a, b):
    """Join two halves in turns: a0 b0 a1 b1 ..."""
    return torch.stack([a, b], dim=-1).flatten(-2)


def rotation(split, formula, join):
    """Return a rotation from its three parts: x -> (a, b); (a, b, cos, sin) -> new a, b; new a, b -> x."""
    return lambda x, cos, sin: join(*formula(*split(x), cos, sin)).type_as(x)


def turn(a, b, cos, sin):
    """Return the pair turned: the right formula."""
    return a * cos - b * sin, b * cos + a * sin


WRONG_TURNS = {
    "it turns the other way: the minus stands in the first line, a cos - b sin.": lambda a, b, c, s: (
        a * c + b * s,
        b * c - a * s,
    ),
    "both lines have a minus: the second is b cos + a sin.": lambda a, b, c, s: (a * c - b * s, b * c - a * s),
    "there is no minus: the first line is a cos - b sin.": lambda a, b, c, s: (a * c + b * s, b * c + a * s),
    "the second line uses the new a. Compute both from the old pair.": lambda a, b, c, s: (
        a * c - b * s,
        b * c + (a * c - b * s) * s,
    ),
    "cos and sin are swapped.": lambda a, b, c, s: (a * s - b * c, b * s + a * c),
    "the two results are swapped: the new a comes first.": lambda a, b, c, s: (b * c + a * s, a * c - b * s),
    "the second line has a and b in the wrong places: b cos + a sin.": lambda a, b, c, s: (
        a * c - b * s,
        a * c + b * s,
    ),
    "only the cosines are used.": lambda a, b, c, s: (a * c, b * c),
    "only the first of each pair is turned.": lambda a, b, c, s: (a * c - b * s, b + 0 * s),
    "nothing is turned.": lambda a, b, c, s: (a + 0 * s, b + 0 * s),
    "no gradient: the result is detached.": lambda a, b, c, s: tuple(z.detach() for z in turn(a, b, c, s)),
}


def half_split_in_place(x, cos, sin):
    """Turn x itself: the caller's queries are spoiled."""
    a, b = halves(x)
    x[:] = beside(*turn(a, b, cos, sin))
    return x


def uncut(x, cos, sin):
    """All channels times a table of half as many."""
    a, b = halves(x)
    return x * cos + torch.cat([-b, a], dim=-1) * sin


def written_in_turn(x, cos, sin):
    """The second line reads what the first has written."""
    turned = x.clone()
    turned[..., 0::2] = turned[..., 0::2] * cos - turned[..., 1::2] * sin
    turned[..., 1::2] = turned[..., 1::2] * cos + turned[..., 0::2] * sin
    return turned


def typed(join):
    """Return a rotation with a wrong end: split -> ((x, cos, sin) -> join(new a, new b)), in the type of x."""
    return lambda split: lambda x, cos, sin: join(*(z.type_as(x) for z in turn(*split(x), cos, sin)))


WRONG_ENDS = {
    "the halves come back apart: join them with `torch.cat([...], dim=-1)`.": typed(lambda a, b: (a, b)),
    "the halves are joined along the first axis: `dim=-1`.": typed(lambda a, b: torch.cat([a, b])),
    "each pair still has an axis of its own: `.flatten(-2)` joins the last two.": typed(
        lambda a, b: torch.stack([a, b], dim=-1)
    ),
    "`.flatten()` joins all axes: `.flatten(-2)` joins the last two.": typed(
        lambda a, b: torch.stack([a, b], dim=-1).flatten()
    ),
}


def first_axis(x):
    """Cut the rows of the batch."""
    a, b = x.chunk(2)
    return a, b


def four_axes(x, cos, sin):
    """Only for x of four axes."""
    B, H, T, N = x.shape
    return rotation(halves, turn, beside)(x, cos, sin)


def neighbours_table(x, cos, sin):
    """The halves are turned, by a table that is doubled for neighbours."""
    a, b = halves(x)
    cos, sin = (table.repeat_interleave(2, -1) for table in (cos, sin))
    return (x * cos + beside(-b, a) * sin).type_as(x)


def in_type_of_x(x, cos, sin):
    """The table is made as coarse as x before it is used."""
    return beside(*turn(*halves(x), cos.type_as(x), sin.type_as(x)))


MORE_HALVES = {
    "`chunk(2)` cuts the first axis: `dim=-1`.": rotation(first_axis, turn, beside),
    "x may have any number of axes: don't unpack `x.shape` into four names.": four_axes,
    "`repeat_interleave` doubles the table for neighbours. For halves it is `torch.cat([cos, cos], dim=-1)`.": (
        neighbours_table
    ),
    "cos and sin lose digits in the type of x: take them as they are, and end with `.type_as(x)`.": in_type_of_x,
    "cos and sin fit as they are: their axes (T, N/2) meet the last two of a and b.": lambda x, cos, sin: rotation(
        halves, turn, beside
    )(x, cos[:, None], sin[:, None]),
}
STACKED = {
    "each pair has an axis of its own now: join the halves with `torch.cat`, not `torch.stack`.": typed(
        lambda a, b: torch.stack([a, b], dim=-1)
    ),
    "the halves lie on an axis of their own: `torch.cat` joins them, `torch.stack` does not.": typed(
        lambda a, b: torch.stack([a, b], dim=-2)
    ),
}
OTHER_AXIS = "the slice stands on another axis: the channels are the last, `x[..., 0::2]`."
MORE_TURNS = {
    "a and b are both the even channels: b is `x[..., 1::2]`.": (lambda x: (x[..., ::2],) * 2,),
    OTHER_AXIS: (lambda x: (x[..., 0::2, :], x[..., 1::2, :]), lambda x: (x[0::2], x[1::2])),
    "`:2` and `2:` cut after two channels: every second one is `0::2`, and `1::2`.": (
        lambda x: (x[..., :2], x[..., 2:]),
    ),
}


def plain(offset, length):
    """Return the right first and last position (not included)."""
    return offset, offset + length


WRONG_ANGLES = {
    "the offset is left out: every table begins at 0.": (lambda offset, length: (0, length), None),
    "the table begins at 0 and goes on to the end: begin at the offset.": (
        lambda offset, length: (0, offset + length),
        None,
    ),
    "positions begin at 1: the first is 0.": (lambda offset, length: (offset + 1, offset + length + 1), None),
    "the last position is offset + length: arange stops before its end.": (
        lambda offset, length: (offset, offset + length + 1),
        None,
    ),
    "arange stops before its end: for the last position, offset + length - 1, the end is offset + length.": (
        lambda offset, length: (offset, offset + length - 1),
        None,
    ),
    "the offset is taken away: it is added.": (lambda offset, length: (-offset, length - offset), None),
    "the exponent lacks its 2: pair j has theta^(-2j/N).": (None, lambda j, n: -j / n),
    "the exponent is -2j/(N/2), twice too large: divide by N.": (None, lambda j, n: -4 * j / n),
    "the sign of the exponent: the hands get slower, theta^(-2j/N).": (None, lambda j, n: 2 * j / n),
    "all hands turn at the same speed.": (None, lambda j, n: 0 * j),
}


def angles_by(positions=None, exponent=None, dtype=torch.float64):
    """Return a rope_table with other positions, another exponent or another dtype."""

    def answer(d_head, length, theta=10000.0, offset=0):
        first, last = (positions or plain)(offset, length)
        speed = theta ** (exponent or (lambda j, n: -2 * j / n))(torch.arange(d_head // 2, dtype=dtype), d_head)
        angle = torch.outer(torch.arange(first, last, dtype=dtype), speed)
        return angle.cos().float(), angle.sin().float()

    return answer


def by_formula(formula):
    """Return a rope_table by formula(speeds, length, offset) -> angles, or whatever it returns."""

    def answer(d_head, length, theta=10000.0, offset=0):
        speed = theta ** (-torch.arange(0, d_head, 2, dtype=torch.float64) / d_head)
        angle = formula(speed, length, offset)
        return angle.cos().float(), angle.sin().float()

    return answer


def only_angles(d_head, length, theta=10000.0, offset=0):
    """The angles themselves."""
    speed = theta ** (-torch.arange(0, d_head, 2, dtype=torch.float64) / d_head)
    return torch.outer(torch.arange(offset, offset + length, dtype=torch.float64), speed).float()


WRONG_TABLES = {
    "the offset is added to the angle: it is added to the position, and each pair turns at a speed of its own.": (
        lambda speed, length, offset: torch.outer(torch.arange(length).double(), speed) + offset
    ),
    "arange ends at `length`: the last position is offset + length - 1.": (
        lambda speed, length, offset: torch.outer(torch.arange(offset, length, dtype=torch.float64), speed)
    ),
    "each position meets each speed: give the positions an axis, `position[:, None] * speeds(...)`.": (
        lambda speed, length, offset: torch.arange(offset, offset + length).double() * speed
    ),
    "the offset cuts rows off a table of `length` rows: make the table for offset .. offset + length - 1.": (
        lambda speed, length, offset: torch.outer(torch.arange(length).double(), speed)[offset:]
    ),
}


WRONG_ORDERS = {
    "the heads count fastest here: on the left stands (h j i), the head first.": lambda w, n: rearrange(
        w, "(j i h) c -> (i j h) c", h=n, i=2
    ),
    "the heads count slowest: on the left stands (h j i).": lambda w, n: rearrange(
        w, "(j i h) c -> (h i j) c", h=n, i=2
    ),
    "axes 0 and 1 are swapped, heads with pairs: swap 1 and 2.": lambda w, n: (
        w.reshape(n, -1, 2, w.shape[1]).transpose(0, 1).reshape(w.shape)
    ),
    "einops can't know both j and i: say `i=2`.": lambda w, n: rearrange(w, "(h j i) c -> (h i j) c", h=n),
    "N is not always 8: `h=n_heads` and `i=2` leave j open.": lambda w, n: rearrange(
        w, "(h j i) c -> (h i j) c", j=4, i=2
    ),
    "all axes are apart: join the three letters, (h i j).": lambda w, n: rearrange(w, "(h j i) c -> h i j c", h=n, i=2),
    "the columns are permuted: it is the rows.": lambda w, n: rearrange(w, "r (h j i) -> r (h i j)", h=n, i=2),
    "h and i are mixed up: `h=n_heads`, `i=2`.": lambda w, n: rearrange(w, "(h j i) c -> (h i j) c", h=2, i=n),
    "the heads have an axis of their own: join all three letters, (h i j).": lambda w, n: rearrange(
        w, "(h j i) c -> h (i j) c", h=n, i=2
    ),
}


def with_parts(query, key, value, output):
    """Return a loader that treats each matrix by a function (matrix, n_heads, n_kv_heads) -> matrix."""
    parts = {"query": ("wq", query), "key": ("wk", key), "value": ("wv", value), "output": ("wo", output)}
    return lambda weights, H, G: {ours: part(weights[meta], H, G) for ours, (meta, part) in parts.items()}


def renamed(weights, n_heads, n_kv_heads):
    """Right matrices under Meta's names."""
    return {
        "wq": to_half_split(weights["wq"], n_heads),
        "wk": to_half_split(weights["wk"], n_kv_heads),
        "wv": weights["wv"],
        "wo": weights["wo"],
    }


def left_out(weights, n_heads, n_kv_heads):
    """Only what is permuted."""
    return {"query": to_half_split(weights["wq"], n_heads), "key": to_half_split(weights["wk"], n_kv_heads)}


def emptied(weights, n_heads, n_kv_heads):
    """Right, but the caller's dict is empty afterwards."""
    query, key = to_half_split(weights.pop("wq"), n_heads), to_half_split(weights.pop("wk"), n_kv_heads)
    return {"query": query, "key": key, "value": weights.pop("wv"), "output": weights.pop("wo")}


def by_heads(w, H, G):
    """Permute with the query heads."""
    return to_half_split(w, H)


def by_key_heads(w, H, G):
    """Permute with the key heads."""
    return to_half_split(w, G)


def columns(w, H, G):
    """Permute the columns, which stand for the query heads' channels."""
    return to_half_split(w.T, H).T


def same(w, H, G):
    """Leave a matrix as it is."""
    return w


def back(count):
    """Return the permutation the other way; count: (H, G) -> the number of heads."""
    return lambda w, H, G: to_interleaved(w, count(H, G))
