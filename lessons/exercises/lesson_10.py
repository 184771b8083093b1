"""The checks of lesson 10, layers of different sizes."""

import math
import statistics

from lessons.checker.check import Checks
from lessons.checker.limits import InWords
from lessons.exercises.lesson_10_wrong import (
    WRONG_COMPARISONS,
    WRONG_COUNTS,
    WRONG_LISTS,
    WRONG_ROUNDING,
    WRONG_SHARES,
    block,
    each_other,
    exact_width,
    first_for_all,
    last_for_all,
    lifted,
    nearest,
    not_the_last,
    sizes_by,
    total,
    width_plus,
)
from lib.models import openelm
from lib.models.openelm import block_parameters, make_divisible, multipliers, openelm_config, uniform_like
from lib.models.presets import preset
from lib.run.paired import paired

checks = Checks("10")
check = checks.check


def whole(answer, *inputs):
    """Call an answer that must give a whole number."""
    result = answer(*inputs)
    if isinstance(result, float):
        raise InWords(f"it is the float {result:g}: return an int, by `//` on whole numbers, int() or round()")
    return result


@checks.exercise("10.1", make_divisible, points=2, call=whole)
def divisible(e):
    """The nearest multiple, one more where too much is lost."""
    for value, divisor in ((640, 256), (300, 256), (288, 256), (1000.0, 256), (10, 256), (2048, 256), (4352.4, 256)):
        e.case(f"{value} to multiples of {divisor}", value, divisor)
    e.case("halfway between two", 44, 8)
    e.case("halfway between two others", 52, 8)
    e.case("49.5 to multiples of 9", 49.5, 9, hint="it lies halfway: cut nothing off before you add half a divisor.")
    e.case("53 to multiples of 8", 53, 8)
    e.case("19 to multiples of 8", 19, 8)
    e.case("10 to multiples of 9", 10, 9, hint="9 is 0.9 of it, and not below: it stays.")
    e.case("8.8 to multiples of 8", 8.8, 8)
    e.case("26.5 to multiples of 8", 26.5, 8)
    e.case("0 to multiples of 8", 0, 8, hint="at least one multiple.")
    e.case("8.95 to multiples of 8", 8.95, 8, hint="0.9 of it is 8.055: cut nothing off.")
    e.case("some number", e.size(1, 3000), 2 * e.size(2, 150))
    for hint, wrong in WRONG_ROUNDING.items():
        e.mistake(hint, wrong)
    e.mistake("0 must become one multiple: max(divisor, ...).", lambda v, m: lifted(nearest(v, m), v, m))
    e.mistake(
        "0.9 of the value is cut to a whole number: compare with `0.9 * value` as it is.",
        lambda v, m: lifted(max(m, nearest(v, m)), int(0.9 * v) / 0.9, m),
    )
    e.mistake(
        "256 stands for the divisor: small multiples are allowed.", lambda v, m: lifted(max(256, nearest(v, m)), v, m)
    )


def by_int(d_model, share):
    """Return a width that is only cut."""
    return int(d_model * share)


def widths_by_heads(n_layers, d_model, d_head):
    """Round the widths as the heads are rounded."""
    return sizes_by(d_ff=lambda d, b: make_divisible(d * b, 4 * d_head))(n_layers, d_model, d_head)


def widths_of_channels(n_layers, d_model, d_head):
    """Take the query channels for d_model."""
    heads, kv, _ = layer_sizes(n_layers, d_model, d_head)
    betas = multipliers(0.5, 4.0, n_layers)
    return heads, kv, [make_divisible(h * d_head * b, 256) for h, b in zip(heads, betas, strict=True)]


def layer_sizes(n_layers, d_model, d_head):
    """Return the lists n_heads, n_kv_heads, d_ff of OpenELM's rule."""
    config = openelm_config(1, n_layers, d_model, d_head)
    return list(config.n_heads), list(config.n_kv_heads), list(config.d_ff)


def three_lists(answer, *inputs):
    """Call an answer that must give three lists of whole numbers."""
    result = answer(*inputs)
    if not isinstance(result, tuple | list) or len(result) != 3:
        raise InWords("it must return three lists: query heads, key/value heads, MLP widths")
    if others := [n for row in result for n in row if isinstance(n, float)]:
        raise InWords(f"the lists must hold whole numbers; one is the float {others[0]:g}: divide with `//`")
    return [list(row) for row in result]


@checks.exercise("10.2", layer_sizes, points=4, call=three_lists)
def rule(e):
    """The lists of all four sizes, and of one that is not published."""
    for name in ("270m", "450m", "1.1b", "3b"):
        config = preset(f"openelm-{name}").config
        e.case(f"OpenELM-{name}", config.n_layers, config.d_model, config.d_head)
    e.case("7 layers of 640, heads of 32", 7, 640, 32)
    e.case("2 layers of 512, heads of 128", 2, 512, 128)
    e.case("some sizes", e.size(3, 9), 64 * e.size(6, 20), 32)
    for hint, wrong in WRONG_LISTS.items():
        e.mistake(hint, wrong)
    e.mistake(
        "the widths stand second: query heads, key/value heads, widths.",
        lambda *sizes: (lambda lists: [lists[0], lists[2], lists[1]])(layer_sizes(*sizes)),
    )
    e.mistake(
        "beta ends at 4.0: 3.5 is how far it goes from 0.5.",
        sizes_by(lambda a, b, n: multipliers(a, 3.5 if b == 4.0 else b, n)),
    )
    e.mistake("widths are multiples of 256 in each model, not of four heads.", widths_by_heads)
    e.mistake(
        "neither is rounded: make_divisible for both.", sizes_by(heads=lambda d, a, N: int(d * a) // N, d_ff=by_int)
    )
    e.mistake("the widths are beta times d_model, not times the query channels.", widths_of_channels)


def count_parameters(config):
    """Return the parameters of an OpenELM from its config alone."""
    table = config.vocab_size * config.d_model * (1 if config.tied else 2)
    return table + sum(block_parameters(config, i) for i in range(config.n_layers)) + config.d_model


def the_first_alone(config):
    """Return from inside the loop."""
    return (config.vocab_size + 1) * config.d_model + block_parameters(config, 0)


@checks.exercise("10.3", count_parameters, points=3, call=whole)
def counted(e):
    """All four sizes, and a small one whose layers are all different."""
    for name in ("270m", "450m", "1.1b", "3b"):
        e.case(f"OpenELM-{name}", preset(f"openelm-{name}").config)
    e.case("three layers", openelm.OpenElmConfig(101, 48, 8, (3, 4, 8), (1, 4, 2), (20, 60, 44), 64))
    e.mistake(
        "the table is counted twice: the head is the embedding.", total(block, lambda c: 2 * c.vocab_size * c.d_model)
    )
    e.mistake("the embedding is missing.", total(block, lambda c: 0))
    e.mistake("the norm after the last block is missing.", total(block, last=lambda c: 0))
    for hint, change in WRONG_COUNTS.items():
        e.mistake(hint, total(lambda *z, change=change: block(*z) + change(*z)))
    for hint, change in {
        "the output matrix takes n_heads * d_head channels, not d_model.": lambda C, N, H, G, F: C * C - C * N * H,
        "there are no biases.": lambda C, N, H, G, F: 2 * F + C,
        "heads are counted, not channels: times d_head.": lambda C, N, H, G, F: 2 * C * (H + G) * (1 - N),
    }.items():
        e.mistake(hint, total(lambda *z, change=change: block(*z) + change(*z)))
    e.mistake("it ends after the first layer: `return` belongs behind the loop.", the_first_alone)
    e.mistake("the first layer is taken for all: add them up one by one.", first_for_all)
    e.mistake("the last layer is taken for all: add them up one by one.", last_for_all)
    e.mistake("the last layer is missing: range(n_layers).", not_the_last)
    e.mistake("n_heads, n_kv_heads and d_ff are lists now: go through them layer by layer.", each_other)


def uniform_width(config, n_heads, n_kv_heads):
    """Return the inner width with which equal layers of so many heads have as many parameters as the config's."""
    return round(exact_width(config, n_heads, n_kv_heads))


def tiny_config(**changes):
    """Return the config of the lesson's experiment, or one like it."""
    sizes = {"n_layers": 6, "d_model": 48, "d_head": 8, "group": 2, "multiple_of": 8} | changes
    return openelm_config(2048, context_length=256, **sizes)


@checks.exercise("10.4", uniform_width, points=3, call=whole)
def partner(e):
    """The width of a uniform model of the same size."""
    e.case("the lesson's tiny model, 4 heads", tiny_config(), 4, 2)
    e.case("the same, 6 heads", tiny_config(), 6, 3)
    e.case("5 layers of 64", tiny_config(n_layers=5, d_model=64), 6, 3)
    e.case("some layers", tiny_config(n_layers=e.size(3, 9)), 4, 2)
    for F in ((20, 60, 44), (33, 47, 71)):
        wide_heads = openelm.OpenElmConfig(101, 24, 64, (2, 2, 4), (1, 1, 2), F, context_length=64)
        e.case("large heads", wide_heads, 3, 1)
    for name in ("270m", "1.1b", "3b"):
        config = preset(f"openelm-{name}").config
        e.case(f"OpenELM-{name}", config, uniform_like(config).n_heads[0], uniform_like(config).n_kv_heads[0])
    e.mistake(
        "that is the mean of the widths. The heads differ, too: give what they save to the MLP.",
        lambda c, H, G: round(sum(c.d_ff) / c.n_layers),
    )
    e.mistake(
        "only the first layer is shared out: add up all of them.",
        lambda c, H, G: width_plus(
            lambda c, H, G: sum(block_parameters(c, 0) - block_parameters(c, i) for i in range(c.n_layers))
        )(c, H, G),
    )
    e.mistake(
        "that is the middle of first and last: add up the parameters.", lambda c, H, G: (c.d_ff[0] + c.d_ff[-1]) // 2
    )
    e.mistake("that is LLaMA's 8/3 of d_model: the total must be the same.", lambda c, H, G: round(8 * c.d_model / 3))
    e.mistake("that is the width of the last layer: such a model is far larger.", lambda c, H, G: c.d_ff[-1])
    for hint, scale in {
        "SwiGLU has three matrices: divide by 3 * d_model.": lambda c: 3 / 2,
        "the widths of all layers together: divide by n_layers.": lambda c: c.n_layers,
    }.items():
        e.mistake(hint, lambda c, H, G, scale=scale: round(exact_width(c, H, G) * scale(c)))
    e.mistake("it is cut down: take the nearest whole number, round().", lambda c, H, G: int(exact_width(c, H, G)))
    e.mistake(
        "the next whole number above is taken: the nearest one, round().",
        lambda c, H, G: math.ceil(exact_width(c, H, G)),
    )
    e.mistake(
        "it is rounded to a multiple of 256: the nearest whole number.",
        lambda c, H, G: make_divisible(uniform_width(c, H, G), 256),
    )
    e.mistake(
        "it is rounded to a multiple of 8: the nearest whole number.",
        lambda c, H, G: make_divisible(uniform_width(c, H, G), 8),
    )
    for hint, change in WRONG_SHARES.items():
        e.mistake(hint, width_plus(change))


def difference(runs):
    """Return the mean of scaled - uniform, seed by seed, and its standard error; runs: (name, seed, nats) each."""
    nats = {(name, seed): loss for name, seed, loss in runs}
    seeds = [seed for name, seed, _ in runs if name == "uniform"]
    return paired([nats["uniform", seed] for seed in seeds], [nats["scaled", seed] for seed in seeds])


def runs_of(e, n, names=("uniform", "scaled"), gap=0.1, spread=0.02):
    """Return runs in a random order: each seed has a part that both models share."""
    common, own = e.randn(n).tolist(), e.randn(len(names), n).tolist()
    runs = [
        (name, 7 * seed % 31 + 1, 3 + gap * k + 0.3 * common[seed] + spread * own[k][seed])
        for k, name in enumerate(names)
        for seed in range(n)
    ]
    return [runs[i] for i in e.randn(len(runs)).argsort().tolist()]


def both_numbers(answer, runs):
    """Call an answer, and name its two numbers."""
    result = answer(runs)
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise InWords("it must return two numbers, the mean difference and its standard error")
    return {"mean difference": result[0], "standard error": result[1]}


def gaps(runs):
    """Return scaled - uniform of each seed."""
    nats = {(name, seed): loss for name, seed, loss in runs}
    return [nats["scaled", seed] - loss for (name, seed), loss in nats.items() if name == "uniform"]


def not_uniform(runs):
    """Take whatever is not uniform for scaled; the last one wins."""
    return difference([(name if name == "uniform" else "scaled", seed, loss) for name, seed, loss in runs])


@checks.exercise("10.5", difference, points=4, kind="repair", call=both_numbers)
def compared(e):
    """Paired by seed, with the standard error of the mean."""
    for name, runs in {
        "five seeds": runs_of(e, 5),
        "nine seeds": runs_of(e, 9, gap=-0.05),
        "two seeds": runs_of(e, 2),
        "a third model among the runs": runs_of(e, 6, ("scaled", "reversed", "uniform")),
    }.items():
        e.case(name, runs)
    for hint, wrong in WRONG_COMPARISONS.items():
        e.mistake(hint, wrong)
    e.mistake("the sign is turned: scaled - uniform.", lambda runs: (-difference(runs)[0], difference(runs)[1]))
    e.mistake(
        "that is the half of the interval for five: the standard error has no 2.78.",
        lambda runs: (difference(runs)[0], 2.78 * difference(runs)[1]),
    )
    e.mistake(
        "the median of the differences: their mean.", lambda runs: (statistics.median(gaps(runs)), difference(runs)[1])
    )
    e.mistake("what is not uniform need not be scaled: ask for the name.", not_uniform)
    e.mistake("that is two standard errors.", lambda runs: (difference(runs)[0], 2 * difference(runs)[1]))
    e.mistake("the order is: first the mean, then its error.", lambda runs: difference(runs)[::-1])
