"""Wrong forms of lesson 10's functions, one slip each, and the parts to make them."""

import math

import numpy as np

from lib.models.openelm import block_parameters, make_divisible, multipliers


def nearest(value, divisor):
    """Return the nearest multiple, halves up."""
    return int(value + divisor / 2) // divisor * divisor


def lifted(rounded, value, divisor):
    """Add a multiple where more than a tenth is lost."""
    return rounded + divisor if rounded < 0.9 * value else rounded


WRONG_ROUNDING = {
    "the last step is missing: where over a tenth of the value is lost, one multiple more.": lambda v, m: max(
        m, nearest(v, m)
    ),
    "small values become 0: at least one multiple.": lambda v, m: lifted(nearest(v, m), v, m) if v > m / 2 else 0,
    "it always rounds down: the nearest multiple is asked for.": lambda v, m: max(m, int(v) // m * m),
    "it always rounds up: the nearest multiple is asked for.": lambda v, m: math.ceil(v / m) * m,
    "halves are rounded down: halfway between two, take the larger one.": lambda v, m: lifted(
        max(m, math.ceil((v - m / 2) / m) * m), v, m
    ),
    "Python's round takes halves to the even number: add half a multiple and cut.": lambda v, m: lifted(
        max(m, round(v / m) * m), v, m
    ),
    "the tenth is taken of the rounded number: compare it with 0.9 of the value.": lambda v, m: (
        max(m, nearest(v, m)) + m * (0.9 * max(m, nearest(v, m)) < v)
    ),
    "the result is a count of multiples: times the divisor.": lambda v, m: make_divisible(v, m) // m,
}


def query_heads(d_model, share, d_head):
    """Return the query heads of a layer."""
    return make_divisible(d_model * share, 4 * d_head) // d_head


def inner_width(d_model, share):
    """Return the inner width of a layer."""
    return make_divisible(d_model * share, 256)


def sizes_by(shares=multipliers, heads=query_heads, kv=lambda h: h // 4, d_ff=inner_width):
    """Return a layer_sizes with other parts, right or wrong: heads(d, a, N), kv(heads), d_ff(d, b)."""

    def answer(n_layers, d_model, d_head):
        count = [heads(d_model, a, d_head) for a in shares(0.5, 1.0, n_layers)]
        return count, [kv(h) for h in count], [d_ff(d_model, b) for b in shares(0.5, 4.0, n_layers)]

    return answer


def exact(first, last, n):
    """Return equal steps, not rounded."""
    return np.linspace(first, last, n).tolist()


WRONG_LISTS = {
    "the multipliers are not rounded to two decimals before they are used.": sizes_by(exact),
    "the multipliers are rounded to one decimal: two.": sizes_by(lambda *a: [round(x, 1) for x in exact(*a)]),
    "the last layer doesn't reach the end: divide by n_layers - 1.": sizes_by(
        lambda a, b, n: [round(a + (b - a) * i / n, 2) for i in range(n)]
    ),
    "the first layer begins one step late: i starts at 0.": sizes_by(
        lambda a, b, n: [round(a + (b - a) * (i + 1) / n, 2) for i in range(n)]
    ),
    "the lists are upside down: the first layer is the narrow one.": sizes_by(lambda a, b, n: multipliers(b, a, n)),
    "the heads are rounded to multiples of 1: the query channels are a multiple of 4 heads.": sizes_by(
        heads=lambda d, a, N: make_divisible(d * a, N) // N
    ),
    "these are channels, not heads: divide by d_head.": sizes_by(heads=lambda d, a, N: make_divisible(d * a, 4 * N)),
    "num_gqa_groups 4 means 4 query heads for each key/value head, not 4 key/value heads.": sizes_by(kv=lambda h: 4),
    "there are as many key/value heads as query heads: four share one.": sizes_by(kv=lambda h: h),
    "the inner widths are not multiples of 256: make_divisible.": sizes_by(d_ff=lambda d, b: int(d * b)),
    "the inner widths are LLaMA's, two thirds of it: beta times d_model as it is.": sizes_by(
        d_ff=lambda d, b: make_divisible(2 * d * b / 3, 256)
    ),
    "the heads do not grow: alpha goes from 0.5 to 1.0.": sizes_by(heads=lambda d, a, N: make_divisible(d, 4 * N) // N),
}


def total(block, table=lambda c: c.vocab_size * c.d_model, last=lambda c: c.d_model):
    """Return a count with block(C, N, H, G, F) summed over the layers, plus tables and last norm."""

    def answer(c):
        blocks = [block(c.d_model, c.d_head, *sizes) for sizes in zip(c.n_heads, c.n_kv_heads, c.d_ff, strict=True)]
        return table(c) + sum(blocks) + last(c)

    return answer


def block(C, N, H, G, F):
    """Return the parameters of one block."""
    return C * N * (2 * H + 2 * G) + 3 * C * F + 2 * C + 2 * N


WRONG_COUNTS = {
    "QK-norm is missing: two weights of d_head a layer.": lambda C, N, H, G, F: -2 * N,
    "QK-norm has one weight of d_head for all heads of a layer, not one for each head.": lambda C, N, H, G, F: (
        N * (H + G - 2)
    ),
    "QK-norm counts once for queries and once for keys.": lambda C, N, H, G, F: -N,
    "the two norms of a block are missing.": lambda C, N, H, G, F: -2 * C,
    "the gate is missing: SwiGLU has three matrices.": lambda C, N, H, G, F: -C * F,
    "keys and values have n_kv_heads, not n_heads.": lambda C, N, H, G, F: C * N * (2 * H - 2 * G),
    "the query heads do not fill d_model: query and output are d_model by n_heads * d_head.": (
        lambda C, N, H, G, F: 2 * C * C - 2 * C * N * H
    ),
    "the output matrix of attention is missing.": lambda C, N, H, G, F: -C * N * H,
    "values are missing: keys and values, each n_kv_heads.": lambda C, N, H, G, F: -C * N * G,
}


def first_for_all(c):
    """Take the first layer's size for all."""
    return c.vocab_size * c.d_model + c.n_layers * block_parameters(c, 0) + c.d_model
