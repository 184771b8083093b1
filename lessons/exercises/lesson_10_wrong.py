"""Wrong forms of lesson 10's functions, one slip each, and the parts to make them."""

import math
import statistics

import numpy as np

from lib.models.openelm import block_parameters, make_divisible, multipliers
from lib.run.paired import paired


def nearest(value, divisor):
    """Return the nearest multiple, halves up."""
    return int(value + divisor / 2) // divisor * divisor


def lifted(rounded, value, divisor):
    """Add a multiple where more than a tenth is lost."""
    return rounded + divisor if rounded < 0.9 * value else rounded


WRONG_ROUNDING = {
    "the last step never happens: where over a tenth of the value is lost, one multiple more.": lambda v, m: max(
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
    "0.9 is taken of the rounded number: it is compared with 0.9 of the value.": lambda v, m: (
        max(m, nearest(v, m)) + m * (0.9 * max(m, nearest(v, m)) < v)
    ),
    "the result is a count of multiples: times the divisor.": lambda v, m: make_divisible(v, m) // m,
    "brackets are missing: half a divisor is added before it is divided.": lambda v, m: max(m, int(v + m / 2 // m * m)),
    "it is rounded down before 0.9 is asked: the nearest multiple.": lambda v, m: lifted(max(m, int(v) // m * m), v, m),
    "the value itself comes back where a tenth is lost: one multiple more.": lambda v, m: (
        v if max(m, nearest(v, m)) < 0.9 * v else max(m, nearest(v, m))
    ),
    "where a tenth is lost it is doubled: one multiple more.": lambda v, m: (
        max(m, nearest(v, m)) * (2 if max(m, nearest(v, m)) < 0.9 * v else 1)
    ),
    "exactly 0.9 of the value is enough: below it, `<`.": lambda v, m: (
        max(m, nearest(v, m)) + m * (max(m, nearest(v, m)) <= 0.9 * v)
    ),
    "the value is compared with 0.9 of the result: it is the other way round.": lambda v, m: (
        max(m, nearest(v, m)) + m * (v < 0.9 * max(m, nearest(v, m)))
    ),
    "the value or the half is cut to a whole number too early: add first, then cut.": lambda v, m: lifted(
        max(m, (int(v) + m // 2) // m * m), v, m
    ),
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
    "groups of four heads are counted, not heads: divide the channels by d_head.": sizes_by(
        heads=lambda d, a, N: make_divisible(d * a, 4 * N) // (4 * N)
    ),
    "the query heads are rounded down: make_divisible.": sizes_by(heads=lambda d, a, N: int(d * a) // N // 4 * 4),
    "alpha and beta are swapped: alpha (to 1.0) is for heads, beta (to 4.0) for widths.": sizes_by(
        lambda a, b, n: multipliers(a, 5.0 - b, n)
    ),
    "the order is: query heads, key/value heads, widths.": lambda *sizes: (
        sizes_by()(*sizes)[2:] + sizes_by()(*sizes)[:2]
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
    "a block has two norms of d_model, before attention and before the MLP.": lambda C, N, H, G, F: -C,
    "QK-norm's weights have d_head numbers, not d_model.": lambda C, N, H, G, F: 2 * C - 2 * N,
}


def first_for_all(c, i=0):
    """Take the first layer's size for all, or layer i's."""
    return c.vocab_size * c.d_model + c.n_layers * block_parameters(c, i) + c.d_model


def last_for_all(c):
    """Take the last layer's size for all."""
    return first_for_all(c, c.n_layers - 1)


def not_the_last(c):
    """Leave the last layer out."""
    return c.vocab_size * c.d_model + sum(block_parameters(c, i) for i in range(c.n_layers - 1)) + c.d_model


def each_other(c):
    """Take the lists for numbers."""
    C, N = c.d_model, c.d_head
    return c.vocab_size * C + C + c.n_layers * (2 * C * c.n_heads * N + 2 * C * c.n_kv_heads * N + 3 * C * c.d_ff)


def exact_width(config, n_heads, n_kv_heads):
    """Return the inner width of the uniform twin, not rounded."""
    L, fixed = config.n_layers, 2 * config.d_model + 2 * config.d_head
    attention = config.d_model * config.d_head * 2 * (n_heads + n_kv_heads)
    blocks = sum(block_parameters(config, i) for i in range(L))
    return (blocks - L * (attention + fixed)) / (3 * config.d_model * L)


def width_plus(change):
    """Return an answer whose total of the blocks is off by change(config, H, G) parameters."""
    return lambda c, H, G: round(exact_width(c, H, G) + change(c, H, G) / (3 * c.d_model * c.n_layers))


WRONG_SHARES = {
    "the table is shared out among the MLPs: both models have it, so leave it out.": lambda c, H, G: (
        c.vocab_size * c.d_model
    ),
    "the uniform model's attention is forgotten: take it off before you divide.": lambda c, H, G: (
        2 * (H + G) * c.d_head * c.d_model * c.n_layers
    ),
    "the uniform model's output matrices are forgotten.": lambda c, H, G: H * c.d_head * c.d_model * c.n_layers,
    "attention has four matrices: queries and output, keys and values.": lambda c, H, G: (
        (H + G) * c.d_head * c.d_model * c.n_layers
    ),
    "keys and values of the uniform model have n_kv_heads, not n_heads.": lambda c, H, G: (
        -2 * (H - G) * c.d_head * c.d_model * c.n_layers
    ),
    "query and output are d_model by n_heads * d_head, not d_model squared.": lambda c, H, G: (
        2 * c.d_model * c.n_layers * (H * c.d_head - c.d_model)
    ),
    "the twin's norms are forgotten: each block has two of d_model and two of d_head.": lambda c, H, G: (
        c.n_layers * (2 * c.d_model + 2 * c.d_head)
    ),
    "the twin's QK-norm is forgotten: two weights of d_head a layer.": lambda c, H, G: c.n_layers * 2 * c.d_head,
    "attention and norms are taken off for one layer: for all n_layers.": lambda c, H, G: (
        (c.n_layers - 1) * (2 * (H + G) * c.d_head * c.d_model + 2 * c.d_model + 2 * c.d_head)
    ),
}


def measured(pair, error):
    """Return a comparison: pair(uniform, scaled), two dicts by seed -> differences; error(differences) -> its error."""

    def answer(runs):
        sides = [{seed: loss for name, seed, loss in runs if name == asked} for asked in ("uniform", "scaled")]
        differences = pair(*sides)
        return statistics.fmean(differences), error(differences)

    return answer


def by_seed(uniform, scaled):
    """Return the differences of equal seeds."""
    return [scaled[seed] - loss for seed, loss in uniform.items()]


def by_rank(uniform, scaled):
    """Return the differences of the best, the second best, ..."""
    return [b - a for a, b in zip(sorted(uniform.values()), sorted(scaled.values()), strict=True)]


def error_of_mean(d):
    """Return the standard error of the mean."""
    return statistics.stdev(d) / math.sqrt(len(d))


def in_order(runs):
    """Pair the runs as they stand in the list."""
    sides = [[loss for name, _, loss in runs if name == asked] for asked in ("uniform", "scaled")]
    return paired(*sides)


def best_of_each(runs):
    """Compare the two best runs, with the right error."""
    best = [min(loss for name, _, loss in runs if name == asked) for asked in ("uniform", "scaled")]
    return best[1] - best[0], measured(by_seed, error_of_mean)(runs)[1]


def unpaired(runs):
    """Return the right mean with the error of two independent means."""
    sides = [[loss for name, _, loss in runs if name == asked] for asked in ("uniform", "scaled")]
    error = math.sqrt(sum(statistics.variance(side) / len(side) for side in sides))
    return measured(by_seed, error_of_mean)(runs)[0], error


def all_neighbours(runs):
    """Sort by seed, and pair each two that follow each other, whatever they are."""
    losses = [loss for _, _, loss in sorted(runs, key=lambda run: run[1])]
    return paired(losses[::2], losses[1::2]) if len(losses) % 2 == 0 else (math.nan, math.nan)


def mean_over_fewer(runs):
    """Divide the sum by n - 1."""
    mean, error = measured(by_seed, error_of_mean)(runs)
    n = sum(name == "uniform" for name, _, _ in runs)
    return mean * n / (n - 1), error


WRONG_COMPARISONS = {
    "this is still the one above, all of it.": measured(by_rank, statistics.pstdev),
    "the runs are sorted by loss: the best with the best. Pair those of one seed.": measured(by_rank, error_of_mean),
    "that is the spread of the differences: the error of their mean is that over sqrt(n).": measured(
        by_seed, statistics.stdev
    ),
    "paired, but the spread is over n, and not the error of the mean: n - 1, then over sqrt(n).": measured(
        by_seed, statistics.pstdev
    ),
    "the squares are divided by n: n - 1, since the mean is taken from the same numbers.": measured(
        by_seed, lambda d: statistics.pstdev(d) / math.sqrt(len(d))
    ),
    "divided by n, not by its root.": measured(by_seed, lambda d: statistics.stdev(d) / len(d)),
    "the root of the variance is missing.": measured(by_seed, lambda d: statistics.variance(d) / math.sqrt(len(d))),
    "that is the error squared: the root is missing.": measured(by_seed, lambda d: statistics.variance(d) / len(d)),
    "n - 1 stands below twice: once for the spread, and then over sqrt(n).": measured(
        by_seed, lambda d: statistics.stdev(d) / math.sqrt(len(d) - 1)
    ),
    "the mean is a sum over n: n - 1 is for the squares.": mean_over_fewer,
    "these are shares of the uniform loss: take the differences as they are.": measured(
        lambda uniform, scaled: [scaled[seed] / loss - 1 for seed, loss in uniform.items()], error_of_mean
    ),
    "the differences lost their signs: no abs().": measured(
        lambda *sides: [abs(gap) for gap in by_seed(*sides)], error_of_mean
    ),
    "other models are among the runs: take the two by their names.": all_neighbours,
    "the runs are paired as they come, not by their seed.": in_order,
    "the best run of each is compared: that rewards whoever has more luck.": best_of_each,
    "the two spreads are added as if the seeds had nothing in common.": unpaired,
}
