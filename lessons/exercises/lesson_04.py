"""The checks of lesson 04, RoPE."""

import torch

from lessons.checker.check import Checks
from lessons.checker.limits import InWords
from lessons.exercises.lesson_04_wrong import (
    MORE_HALVES,
    MORE_TURNS,
    STACKED,
    WRONG_ANGLES,
    WRONG_ENDS,
    WRONG_ORDERS,
    WRONG_TABLES,
    WRONG_TURNS,
    angles_by,
    back,
    beside,
    by_formula,
    by_heads,
    by_key_heads,
    columns,
    emptied,
    half_split_in_place,
    halves,
    left_out,
    only_angles,
    renamed,
    rotation,
    same,
    turn,
    turns,
    uncut,
    with_parts,
    written_in_turn,
    zipped,
)
from lib.layers.rope import rope_table, rotate_half_split, rotate_interleaved, to_half_split, to_interleaved

checks = Checks("04")
check = checks.check

ROTATION = dict(points=4, dtypes=(torch.float64,), time=(0, -2), batch=(0,))


def tables(*shape, **options):
    """Return a table for x of this shape: cos, sin."""
    return rope_table(shape[-1], shape[-2], **options)


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
    e.mistake("what is multiplied by cos has N/2 channels: cut the last axis, `x.chunk(2, dim=-1)`.", uncut)
    for hint, wrong in [*list(WRONG_ENDS.items())[:2], *STACKED.items()]:
        e.mistake(hint, wrong(halves))
    for hint, wrong in MORE_HALVES.items():
        e.mistake(hint, wrong)


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
    for words, formula in WRONG_TABLES.items():
        e.mistake(words, by_formula(formula))
    e.mistake("these are the angles: return their cosines and their sines.", only_angles)
    e.mistake(
        "theta is the function's argument, not always 10,000.",
        lambda n, length, theta=1e4, offset=0: rope_table(n, length, offset=offset),
    )
    e.mistake(
        "the angles are float32: near 100,000 that is 0.004 off. Use float64 up to the cosine.",
        angles_by(dtype=torch.float32),
    )
    e.mistake(
        "cos and sin are in one tensor: return two, `cos, sin`.", lambda *a, **k: torch.stack(rope_table(*a, **k))
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
    e.mistake("the second line reads the new a, which is written already: take both from x.", written_in_turn)
    e.mistake(
        "a and b are the wrong way round: a is channel 2j, b is channel 2j + 1.",
        rotation(lambda x: turns(x)[::-1], turn, zipped),
    )
    for hint, wrong in list(WRONG_ENDS.items())[2:]:
        e.mistake(hint, wrong(turns))
    for hint, splits in MORE_TURNS.items():
        for split in splits:
            e.mistake(hint, rotation(split, turn, zipped))
    e.mistake(
        "cos and sin have N/2 columns already, one a pair: they are not sliced.",
        rotation(turns, lambda a, b, cos, sin: turn(a, b, cos[..., 0::2], sin[..., 0::2]), zipped),
    )


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
    for hint, wrong in WRONG_ORDERS.items():
        e.mistake(hint, wrong)


def load_attention(weights, n_heads, n_kv_heads):
    """Return Meta's attention weights under our names, queries and keys in the half-split order."""
    query, key = to_half_split(weights["wq"], n_heads), to_half_split(weights["wk"], n_kv_heads)
    return {"query": query, "key": key, "value": weights["wv"], "output": weights["wo"]}


def loaded(answer, wq, wk, wv, wo, n_heads, n_kv_heads):
    """Call a loader on four matrices, and insist that they stay in the dict in which they came."""
    given = {"wq": wq, "wk": wk, "wv": wv, "wo": wo}
    before = dict(given)
    result = answer(given, n_heads, n_kv_heads)
    if [(name, id(matrix)) for name, matrix in given.items()] != [
        (name, id(matrix)) for name, matrix in before.items()
    ]:
        raise InWords(
            "it changed the dict `weights`, which the caller may still need: put your matrices into a new one"
        )
    return result


WRONG_PARTS = {
    "this is still the broken one: all four are permuted with n_heads.": (by_heads, by_heads, by_heads, by_heads),
    "values are permuted. Only what is rotated knows about pairs.": (by_heads, by_key_heads, by_key_heads, same),
    "values are permuted, with n_heads. Leave them as they are.": (by_heads, by_key_heads, by_heads, same),
    "the output matrix is permuted. It is not rotated.": (by_heads, by_key_heads, same, by_heads),
    "values and output are permuted. They are not rotated.": (by_heads, by_key_heads, by_key_heads, by_heads),
    "keys are permuted with n_heads: they have n_kv_heads.": (by_heads, by_heads, same, same),
    "queries are permuted with n_kv_heads: they have n_heads.": (by_key_heads, by_key_heads, same, same),
    "keys are not permuted: they are rotated like queries.": (by_heads, same, same, same),
    "queries are not permuted.": (same, by_key_heads, same, same),
    "nothing is permuted: that is the crossed model again.": (same, same, same, same),
    "the key heads are right now. But values and output are not rotated: leave them as they are.": (
        by_heads,
        by_key_heads,
        by_heads,
        by_heads,
    ),
    "the output's columns are permuted: they meet the values, which are not rotated.": (
        by_heads,
        by_key_heads,
        same,
        columns,
    ),
    "the numbers of heads are swapped: queries have n_heads, keys n_kv_heads.": (by_key_heads, by_heads, same, same),
}


@checks.exercise("04.5", load_attention, points=4, kind="repair", call=loaded)
def loader(e):
    """Which matrices are permuted, and with how many heads."""
    for name, H, G, N, C in (
        ("4 heads, 2 key heads", 4, 2, 8, 24),
        ("2 heads, 2 key heads", 2, 2, 6, 8),
        ("3 heads, 1 key head", 3, 1, 12, 18),
    ):
        e.case(name, e.randn(H * N, C), e.randn(G * N, C), e.randn(G * N, C), e.randn(C, H * N), H, G)
    for hint, parts in WRONG_PARTS.items():
        e.mistake(hint, with_parts(*parts))
    e.mistake(
        "permuted the other way, half-split to interleaved.",
        with_parts(back(lambda H, G: H), back(lambda H, G: G), same, same),
    )
    e.mistake("write the result into a new dict, and take `weights[...]` instead of `weights.pop(...)`.", emptied)
    e.mistake("a dict is asked for, with a name for each matrix.", lambda *a: tuple(load_attention(*a).values()))
    e.mistake(
        "values and output are crossed: wv makes the value, wo the output.",
        lambda w, H, G: load_attention({**w, "wv": w["wo"], "wo": w["wv"]}, H, G),
    )
    e.mistake("these are Meta's names: the keys of the result are query, key, value and output.", renamed)
    e.mistake("value and output are left out: they come along as they are.", left_out)
    e.mistake(
        "queries and keys are crossed: wq makes the query, wk the key.",
        lambda w, H, G: load_attention({**w, "wq": w["wk"], "wk": w["wq"]}, G, H),
    )
