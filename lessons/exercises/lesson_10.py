"""The checks of lesson 10, layers of different sizes."""

import math
import statistics

from lessons.checker.check import Checks
from lessons.checker.limits import InWords
from lessons.exercises.lesson_10_wrong import WRONG_COUNTS, WRONG_LISTS, WRONG_ROUNDING, block, first_for_all, total
from lib.models import openelm
from lib.models.openelm import block_parameters, make_divisible, openelm_config, uniform_like
from lib.models.presets import preset
from lib.run.paired import paired

checks = Checks("10")
check = checks.check


@checks.exercise("10.1", make_divisible, points=2)
def divisible(e):
    """The nearest multiple, one more where too much is lost."""
    for value, divisor in ((640, 256), (300, 256), (288, 256), (1000.0, 256), (10, 256), (2048, 256), (4352.4, 256)):
        e.case(f"{value} to multiples of {divisor}", value, divisor)
    e.case("halfway between two", 44, 8)
    e.case("halfway between two others", 52, 8)
    e.case("8.8 to multiples of 8", 8.8, 8)
    e.case("26.5 to multiples of 8", 26.5, 8)
    e.case("some number", e.size(1, 3000), 2 * e.size(2, 150))
    for hint, wrong in WRONG_ROUNDING.items():
        e.mistake(hint, wrong)


def layer_sizes(n_layers, d_model, d_head):
    """Return the lists n_heads, n_kv_heads, d_ff of OpenELM's rule."""
    config = openelm_config(1, n_layers, d_model, d_head)
    return list(config.n_heads), list(config.n_kv_heads), list(config.d_ff)


@checks.exercise("10.2", layer_sizes, points=4)
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


def count_parameters(config):
    """Return the parameters of an OpenELM from its config alone."""
    table = config.vocab_size * config.d_model * (1 if config.tied else 2)
    return table + sum(block_parameters(config, i) for i in range(config.n_layers)) + config.d_model


@checks.exercise("10.3", count_parameters, points=3)
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
    e.mistake("the first layer is taken for all: add them up one by one.", first_for_all)


def uniform_width(config, n_heads, n_kv_heads):
    """Return the inner width with which equal layers of so many heads have as many parameters as the config's."""
    L, fixed = config.n_layers, 2 * config.d_model + 2 * config.d_head
    attention = config.d_model * config.d_head * 2 * (n_heads + n_kv_heads)
    blocks = sum(block_parameters(config, i) for i in range(L))
    return round((blocks - L * (attention + fixed)) / (3 * config.d_model * L))


def tiny_config(**changes):
    """Return the config of the lesson's experiment, or one like it."""
    sizes = {"n_layers": 6, "d_model": 48, "d_head": 8, "group": 2, "multiple_of": 8} | changes
    return openelm_config(2048, context_length=256, **sizes)


def width_plus(change):
    """Return an answer whose total of the blocks is off by change(config, H, G) parameters."""

    def answer(config, H, G):
        exact = uniform_width(config, H, G) * 3 * config.d_model * config.n_layers
        return round((exact + change(config, H, G)) / (3 * config.d_model * config.n_layers))

    return answer


@checks.exercise("10.4", uniform_width, points=3)
def partner(e):
    """The width of a uniform model of the same size."""
    e.case("the lesson's tiny model, 4 heads", tiny_config(), 4, 2)
    e.case("the same, 6 heads", tiny_config(), 6, 3)
    e.case("5 layers of 64", tiny_config(n_layers=5, d_model=64), 6, 3)
    e.case("some layers", tiny_config(n_layers=e.size(3, 9)), 4, 2)
    for name in ("270m", "1.1b", "3b"):
        config = preset(f"openelm-{name}").config
        e.case(f"OpenELM-{name}", config, uniform_like(config).n_heads[0], uniform_like(config).n_kv_heads[0])
    e.mistake(
        "that is the mean of the widths. The heads differ, too: give what they save to the MLP.",
        lambda c, H, G: round(sum(c.d_ff) / c.n_layers),
    )
    e.mistake(
        "that is the middle of first and last: add up the parameters.", lambda c, H, G: (c.d_ff[0] + c.d_ff[-1]) // 2
    )
    e.mistake("that is LLaMA's 8/3 of d_model: the total must be the same.", lambda c, H, G: round(8 * c.d_model / 3))
    e.mistake("that is the width of the last layer: such a model is far larger.", lambda c, H, G: c.d_ff[-1])
    e.mistake(
        "SwiGLU has three matrices: divide by 3 * d_model.",
        lambda c, H, G: round(uniform_width(c, H, G) * 3 / 2),
    )
    e.mistake(
        "the widths of all layers together: divide by n_layers.", lambda c, H, G: uniform_width(c, H, G) * c.n_layers
    )
    e.mistake(
        "the table is shared out among the MLPs: both models have it, so leave it out.",
        width_plus(lambda c, H, G: c.vocab_size * c.d_model),
    )
    e.mistake(
        "the uniform model's attention is forgotten: take it off before you divide.",
        width_plus(lambda c, H, G: 2 * (H + G) * c.d_head * c.d_model * c.n_layers),
    )
    e.mistake(
        "the uniform model's output matrices are forgotten.",
        width_plus(lambda c, H, G: H * c.d_head * c.d_model * c.n_layers),
    )
    e.mistake(
        "keys and values of the uniform model have n_kv_heads, not n_heads.",
        width_plus(lambda c, H, G: -2 * (H - G) * c.d_head * c.d_model * c.n_layers),
    )


def difference(runs):
    """Return the mean of scaled - uniform, seed by seed, and its standard error; runs: (name, seed, nats) each."""
    nats = {(name, seed): loss for name, seed, loss in runs}
    seeds = [seed for name, seed, _ in runs if name == "uniform"]
    return paired([nats["uniform", seed] for seed in seeds], [nats["scaled", seed] for seed in seeds])


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
    e.mistake("this is still the one above, all of it.", measured(by_rank, statistics.pstdev))
    e.mistake(
        "the runs are sorted by loss: the best with the best. Pair those of one seed.", measured(by_rank, error_of_mean)
    )
    e.mistake(
        "that is the spread of the differences: the error of their mean is that over sqrt(n).",
        measured(by_seed, statistics.stdev),
    )
    e.mistake(
        "paired, but the spread is over n, and not the error of the mean: n - 1, then over sqrt(n).",
        measured(by_seed, statistics.pstdev),
    )
    e.mistake(
        "the squares are divided by n: n - 1, since the mean is taken from the same numbers.",
        measured(by_seed, lambda d: statistics.pstdev(d) / math.sqrt(len(d))),
    )
    e.mistake("divided by n, not by its root.", measured(by_seed, lambda d: statistics.stdev(d) / len(d)))
    e.mistake("the sign is turned: scaled - uniform.", lambda runs: (-difference(runs)[0], difference(runs)[1]))
    e.mistake("the runs are paired as they come, not by their seed.", in_order)
    e.mistake("the best run of each is compared: that rewards whoever has more luck.", best_of_each)
    e.mistake("the two spreads are added as if the seeds had nothing in common.", unpaired)


def in_order(runs):
    """Pair the runs as they stand in the list."""
    sides = [[loss for name, _, loss in runs if name == asked] for asked in ("uniform", "scaled")]
    return paired(*sides)


def best_of_each(runs):
    """Compare the two best runs, with the right error."""
    best = [min(loss for name, _, loss in runs if name == asked) for asked in ("uniform", "scaled")]
    return best[1] - best[0], difference(runs)[1]


def unpaired(runs):
    """Return the right mean with the error of two independent means."""
    sides = [[loss for name, _, loss in runs if name == asked] for asked in ("uniform", "scaled")]
    return difference(runs)[0], math.sqrt(sum(statistics.variance(side) / len(side) for side in sides))
