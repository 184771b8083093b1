"""The checks of lesson 04, RoPE."""

import torch

from lessons.checker.check import Checks
from lib.layers.rope import rope_table, rotate_half_split, rotate_interleaved, to_half_split, to_interleaved

checks = Checks("04")
check = checks.check

ROTATION = dict(points=4, dtypes=(torch.float64,), time=(0, -2), batch=(0,))


def tables(*shape, **options):
    """Return a table for x of this shape: cos, sin."""
    return rope_table(shape[-1], shape[-2], **options)


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
    "only the cosines are used.": lambda a, b, c, s: (a * c, b * c),
    "only the first of each pair is turned.": lambda a, b, c, s: (a * c - b * s, b + 0 * s),
    "nothing is turned.": lambda a, b, c, s: (a + 0 * s, b + 0 * s),
    "no gradient: the result is detached.": lambda a, b, c, s: tuple(z.detach() for z in turn(a, b, c, s)),
}


def rotation_cases(e):
    """Add the cases that both pairings share."""
    e.case("random numbers", e.randn(2, 3, 5, 8), *tables(5, 8))
    e.case("positions 1000 to 1003", e.randn(2, 4, 6), *tables(4, 6, offset=1000))
    e.case("one token at position 7", e.randn(3, 2, 1, 10), *tables(1, 10, offset=7))
    e.case("two axes, another theta", e.randn(6, 12), *tables(6, 12, theta=50.0))
    e.case("large numbers", 1e4 * e.randn(1, 2, 5, 4), *tables(5, 4))
    e.case("bfloat16 with a float32 table", e.randn(1, 2, 5, 8).bfloat16(), *tables(5, 8))


@checks.exercise("04.1", rotate_half_split, **ROTATION)
def half_split(e):
    """The rotation of the pairs (j, j + N/2)."""
    rotation_cases(e)
    for hint, formula in WRONG_TURNS.items():
        e.mistake(hint, rotation(halves, formula, beside))
    e.mistake("the pairs are (2j, 2j + 1), the other pairing. Here channel j goes with j + N/2.", rotate_interleaved)
    e.mistake(
        "right pairs, but the result is in turns. Put the new halves one behind the other.",
        rotation(halves, turn, zipped),
    )
    e.mistake("the pairs are (2j, 2j + 1), and the result is in halves.", rotation(turns, turn, beside))
    e.mistake("the result is float32: end with `.type_as(x)`.", lambda x, cos, sin: beside(*turn(*halves(x), cos, sin)))
    e.mistake("it works on x in place: make new tensors.", half_split_in_place)


def half_split_in_place(x, cos, sin):
    """Turn x itself: the caller's queries are spoiled."""
    a, b = halves(x)
    x[:] = beside(*turn(a, b, cos, sin))
    return x


@checks.exercise("04.2", rope_table, points=3)
def table(e):
    """Angles for positions that need not begin at 0."""
    e.case("8 channels, 5 positions", 8, 5)
    e.case("6 channels, theta 500", 6, 7, 500.0)
    e.case("offset 9", 8, 4, offset=9)
    e.case("offset 3, theta 50", 10, 6, theta=50.0, offset=3)
    e.case("one token, offset 11", 16, 1, offset=11)
    e.case("some table", 2 * e.size(2, 9), e.size(2, 8), offset=e.size(1, 60))
    hint = "the angles are float32: at 100,000 radians that is 0.004 off. Make positions and speeds float64."
    e.case("offset 100,000", 8, 3, offset=100_000, hint=hint)
    for words, (positions, exponent) in WRONG_ANGLES.items():
        e.mistake(words, angles_by(positions, exponent))
    e.mistake(
        "theta is the function's argument, not always 10,000.",
        lambda n, length, theta=1e4, offset=0: rope_table(n, length, offset=offset),
    )
    e.mistake(
        "the angles are float32: near 100,000 that is 0.004 off. Use float64 up to the cosine.",
        angles_by(dtype=torch.float32),
    )
    e.mistake("sin comes first: return cos, then sin.", lambda *a, **k: rope_table(*a, **k)[::-1])
    e.mistake(
        "each is (T, N), twice side by side, as in transformers. Here N/2 is enough.",
        lambda *a, **k: tuple(beside(t, t) for t in rope_table(*a, **k)),
    )
    e.mistake(
        "the result is float64: `.float()` on the cosines.", lambda *a, **k: rope_table(*a, **k, dtype=torch.float64)
    )
    e.mistake(
        "the axes are swapped: (T, N/2), a row for each position.",
        lambda *a, **k: tuple(t.T for t in rope_table(*a, **k)),
    )


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


@checks.exercise("04.3", rotate_interleaved, **(ROTATION | {"points": 3}))
def interleaved(e):
    """The rotation of the pairs (2j, 2j + 1)."""
    rotation_cases(e)
    for hint, formula in WRONG_TURNS.items():
        e.mistake(hint, rotation(turns, formula, zipped))
    e.mistake("the pairs are (j, j + N/2), the other pairing. Here neighbours are a pair.", rotate_half_split)
    e.mistake(
        "right pairs, but the result is in halves. Stack each pair on a new last axis, then `.flatten(-2)`.",
        rotation(turns, turn, beside),
    )
    e.mistake("the pairs are (j, j + N/2), and the result is in turns.", rotation(halves, turn, zipped))
    e.mistake("the result is float32: end with `.type_as(x)`.", lambda x, cos, sin: zipped(*turn(*turns(x), cos, sin)))


@checks.exercise("04.4", to_half_split, points=3)
def permutation(e):
    """Rows from one pairing to the other."""
    e.case("3 heads of 8", e.randn(24, 5), 3)
    e.case("1 head of 6", e.randn(6, 4), 1)
    e.case("2 heads of 10", e.randn(20, 7), 2)
    e.case("4 heads of 2: nothing moves", e.randn(8, 3), 4)
    e.case("row numbers", torch.arange(16.0)[:, None].clone(), 2)
    e.mistake(
        "that is the way back, half-split to interleaved: give each head the axes (N/2, 2), then swap.", to_interleaved
    )
    e.mistake("the heads are not kept apart: permute within each head.", lambda w, n: to_half_split(w, 1))
    e.mistake(
        "nothing moves: what is numbered (h j i) must become (h i j).",
        lambda w, n: w.reshape(n, -1, 2, w.shape[1]).reshape(w.shape),
    )
    e.mistake(
        "the pair comes first, before the heads: swap axes 1 and 2, not 0 and 2.",
        lambda w, n: w.reshape(n, -1, 2, w.shape[1]).transpose(0, 2).reshape(w.shape),
    )
    e.mistake(
        "the order within a pair is turned around.",
        lambda w, n: to_half_split(w.reshape(-1, 2, w.shape[1]).flip(1).reshape(w.shape), n),
    )
    e.mistake(
        "the heads come in another order.",
        lambda w, n: to_half_split(w, n).reshape(n, -1, w.shape[1]).flip(0).reshape(w.shape),
    )
    e.mistake("n_heads is taken for the size of a head.", lambda w, n: to_half_split(w, w.shape[0] // n))


def load_attention(weights, n_heads, n_kv_heads):
    """Return Meta's attention weights under our names, queries and keys in the half-split order."""
    query, key = to_half_split(weights["wq"], n_heads), to_half_split(weights["wk"], n_kv_heads)
    return {"query": query, "key": key, "value": weights["wv"], "output": weights["wo"]}


def loaded(answer, wq, wk, wv, wo, n_heads, n_kv_heads):
    """Call a loader on four matrices."""
    return answer({"wq": wq, "wk": wk, "wv": wv, "wo": wo}, n_heads, n_kv_heads)


@checks.exercise("04.5", load_attention, points=4, kind="repair", call=loaded)
def loader(e):
    """Which matrices are permuted, and with how many heads."""
    for name, H, G, N, C in (
        ("4 heads, 2 key heads", 4, 2, 8, 24),
        ("2 heads, 2 key heads", 2, 2, 6, 8),
        ("3 heads, 1 key head", 3, 1, 12, 18),
    ):
        e.case(name, e.randn(H * N, C), e.randn(G * N, C), e.randn(G * N, C), e.randn(C, H * N), H, G)
    same = lambda w, H, G: w  # noqa: E731
    by_heads, by_key_heads = (lambda w, H, G: to_half_split(w, H)), (lambda w, H, G: to_half_split(w, G))
    back, back_keys = (lambda w, H, G: to_interleaved(w, H)), (lambda w, H, G: to_interleaved(w, G))
    e.mistake(
        "this is still the broken one: all four are permuted with n_heads.",
        with_parts(by_heads, by_heads, by_heads, by_heads),
    )
    e.mistake(
        "values are permuted. Only what is rotated knows about pairs.",
        with_parts(by_heads, by_key_heads, by_key_heads, same),
    )
    e.mistake(
        "values are permuted, with n_heads. Leave them as they are.", with_parts(by_heads, by_key_heads, by_heads, same)
    )
    e.mistake("the output matrix is permuted. It is not rotated.", with_parts(by_heads, by_key_heads, same, by_heads))
    e.mistake(
        "values and output are permuted. They are not rotated.",
        with_parts(by_heads, by_key_heads, by_key_heads, by_heads),
    )
    e.mistake("keys are permuted with n_heads: they have n_kv_heads.", with_parts(by_heads, by_heads, same, same))
    e.mistake(
        "queries are permuted with n_kv_heads: they have n_heads.", with_parts(by_key_heads, by_key_heads, same, same)
    )
    e.mistake("keys are not permuted: they are rotated like queries.", with_parts(by_heads, same, same, same))
    e.mistake("queries are not permuted.", with_parts(same, by_key_heads, same, same))
    e.mistake("nothing is permuted: that is the crossed model again.", with_parts(same, same, same, same))
    e.mistake("permuted the other way, half-split to interleaved.", with_parts(back, back_keys, same, same))


def with_parts(query, key, value, output):
    """Return a loader that treats each matrix by a function (matrix, n_heads, n_kv_heads) -> matrix."""
    parts = {"query": ("wq", query), "key": ("wk", key), "value": ("wv", value), "output": ("wo", output)}
    return lambda weights, H, G: {ours: part(weights[meta], H, G) for ours, (meta, part) in parts.items()}
