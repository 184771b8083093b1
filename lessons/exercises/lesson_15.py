"""The exercises of lesson 15: where the decays start, what weight decay makes of them, the groups, and the noise."""

import math

import torch

from lessons.checker.check import Checks
from lessons.checker.limits import InWords
from lessons.exercises.lesson_15_wrong import differences, faded, fading, gap, in_pairs, left_at, unpaired
from lib.models.rwkv import Rwkv, RwkvConfig
from lib.models.rwkv_start import learning_groups
from lib.run.train import Recipe, schedule

checks = Checks("15")
check = checks.check


def decay_start(d_model, layer, n_layers, low=-5.0, span=8.0):
    """Return low + span (n / (C - 1))^(0.7 + 1.3 l / (L - 1)) for the channels n = 0 .. C - 1, (C,) in float32."""
    return rising(d_model, layer, n_layers, low, span)


def rising(
    d_model, layer, n_layers, low=-5.0, span=8.0, flat=0.7, steep=1.3, over=lambda C: C - 1, last=lambda L: L - 1
):
    """Return the formula with one of its parts changed."""
    channel = torch.arange(d_model, dtype=torch.float64)
    power = flat + steep * layer / max(last(n_layers), 1)
    return (low + span * (channel / max(over(d_model), 1)) ** power).float()


@checks.exercise("15.1", decay_start, points=3, gradients=False)
def starts(e):
    """First, middle and last layers, other ranges, one layer alone."""
    e.case("the first of 4 layers", 8, 0, 4)
    e.case("the last of 4 layers", 8, 3, 4)
    e.case("a middle one, RWKV-5's range", 10, 1, 3, -6.0, 5.0)
    e.case("a model of one layer", 6, 0, 1, hint="with one layer L - 1 is 0: divide by max(1, L - 1).")
    e.case("other ranges", 12, 2, 6, low=-7.0, span=2.5)
    e.case("some layer", e.size(6, 14), e.size(1, 3), 5, low=-e.size(2, 6) / 1.0)
    for hint, change in {
        "the last channel does not reach low + span: divide n by C - 1.": {"over": lambda C: C},
        "the last layer does not reach the power 2: divide l by L - 1.": {"last": lambda L: L},
        "every layer gets the power 0.7: it grows with the layer.": {"steep": 0.0},
        "every layer gets the power 2: 0.7 + 1.3 l / (L - 1).": {"flat": 2.0, "steep": 0.0},
        "0.7 and 1.3 are swapped.": {"flat": 1.3, "steep": 0.7},
        "the power is missing: the channels go up in a straight line.": {"flat": 1.0, "steep": 0.0},
    }.items():
        e.mistake(hint, lambda *z, change=change, **k: rising(*z, **k, **change))
    e.mistake("the layers run backwards: the first has the power 0.7.", _backwards)
    e.mistake("the power is on span, too: only the channel's share is raised.", lambda C, i, L, low=-5.0, span=8.0: (
        low + (span * torch.arange(C) / max(C - 1, 1)) ** (0.7 + 1.3 * i / max(L - 1, 1))
    ))  # fmt: skip
    e.mistake("the layer's part is added to the share, not in its power.", lambda C, i, L, low=-5.0, span=8.0: (
        low + span * (torch.arange(C) / max(C - 1, 1)) ** 0.7 + 1.3 * i / max(L - 1, 1)
    ))  # fmt: skip
    e.mistake("the share is multiplied by the power: raise it, `**`.", lambda C, i, L, low=-5.0, span=8.0: (
        low + span * (torch.arange(C) / max(C - 1, 1)) * (0.7 + 1.3 * i / max(L - 1, 1))
    ))  # fmt: skip
    e.mistake("brackets: only 1.3 is multiplied by l / (L - 1), 0.7 is added.", lambda C, i, L, low=-5.0, span=8.0: (
        rising(C, i, L, low, span, flat=0.0, steep=2.0)
    ))  # fmt: skip
    e.mistake("this is e to the power d: return d itself.", lambda *z, **k: rising(*z, **k).exp())
    e.mistake("a list of numbers: make a tensor of it.", lambda *z, **k: rising(*z, **k).tolist())
    e.mistake("layers count from 0 here: l, not l + 1.", lambda C, i, L, low=-5.0, span=8.0: (
        rising(C, i + 1, L, low, span)
    ))  # fmt: skip
    e.mistake("channels count from 0: n, not n + 1.", lambda C, i, L, low=-5.0, span=8.0: (
        low + span * ((torch.arange(C) + 1) / C) ** (0.7 + 1.3 * i / max(L - 1, 1))
    ))  # fmt: skip
    e.mistake("low and span are fixed here: they are arguments.", lambda C, i, L, low=0, span=0: rising(C, i, L))
    e.mistake("span is taken for the upper end: it is added to low.", lambda C, i, L, low=-5.0, span=8.0: (
        rising(C, i, L, low, span - low)
    ))  # fmt: skip
    e.mistake("these are the decays already: return what the model learns, before -exp.", lambda *z, **k: (
        (-rising(*z, **k).exp()).exp()
    ))  # fmt: skip
    e.mistake("the channels run backwards: channel 0 forgets slowest.", lambda *z, **k: rising(*z, **k).flip(0))


def _backwards(d_model, layer, n_layers, low=-5.0, span=8.0):
    return rising(d_model, n_layers - 1 - layer, n_layers, low, span)


@checks.exercise("15.2", faded, points=3, kind="predict", gradients=False)
def fades(e):
    """Short and long runs, several recipes, with a multiple and without."""
    e.case("a short run", -6.0, Recipe(steps=30, warmup=5, learning_rate=0.02))
    e.case("at twice the rate", -6.0, Recipe(steps=40, warmup=4, learning_rate=0.01), 2.0)
    e.case(
        "strong decay, three times the rate", 2.5, Recipe(steps=50, warmup=0, learning_rate=0.05, weight_decay=0.4), 3.0
    )
    e.case("no decay", -3.0, Recipe(steps=20, warmup=2, weight_decay=0.0))
    e.case("some steps", -4.0, Recipe(steps=e.size(20, 60), warmup=5, learning_rate=0.03))
    e.case("a long run", -6.0, Recipe(steps=900, warmup=50, final_ratio=0.02, learning_rate=0.01), 2.0)
    e.mistake("the schedule is missing: the rate changes from step to step.", fading(share=lambda step, recipe: 1.0))
    e.mistake("`multiple` is missing.", fading(every=lambda z, multiple: z.learning_rate * z.weight_decay))
    e.mistake(
        "the rate is missing: AdamW takes away rate times weight_decay.", fading(every=lambda z, m: m * z.weight_decay)
    )
    e.mistake("the weight decay is missing.", fading(every=lambda z, multiple: multiple * z.learning_rate))
    e.mistake("each step takes from the first value: it takes a share of what is left.",
              fading(join=lambda value, size, start: value - size * start))  # fmt: skip
    e.mistake("a fixed amount is taken away: it is a share of the value.", fading(join=lambda v, size, start: v - size))
    e.mistake("it grows: 1 minus the share.", fading(join=lambda value, size, start: value * (1 + size)))
    e.mistake("one step only: multiply for every step.", lambda v, z, multiple=1.0: (
        v * (1 - multiple * z.learning_rate * z.weight_decay * schedule(0, z))
    ))  # fmt: skip
    e.mistake("steps count from 0: the schedule's first is schedule(0, recipe).", lambda v, z, multiple=1.0: (
        faded(v, z, multiple) * left_at(z, multiple, z.steps) / left_at(z, multiple, 0)
    ))  # fmt: skip
    e.mistake("the share is multiplied in: what is left is 1 minus the share.", lambda v, z, multiple=1.0: (
        v * math.prod(1 - left_at(z, multiple, step) for step in range(z.steps))
    ))  # fmt: skip
    e.mistake("the weight decay is subtracted: it is multiplied by the rate.", lambda v, z, multiple=1.0: v * math.prod(
        1 - multiple * z.learning_rate * schedule(step, z) - z.weight_decay for step in range(z.steps)
    ))  # fmt: skip
    e.mistake("the first step is left out: steps count from 0.", lambda v, z, multiple=1.0: (
        faded(v, z, multiple) / left_at(z, multiple, 0)
    ))  # fmt: skip
    e.mistake("the factor is raised to `multiple`: it belongs to the rate.", lambda v, z, multiple=1.0: (
        v * faded(1.0, z) ** multiple
    ))  # fmt: skip
    e.mistake("this is what was taken away: return what is left.", lambda v, z, multiple=1.0: v - faded(v, z, multiple))
    e.mistake("`multiple` multiplies the value: it belongs to the rate.", lambda v, z, multiple=1.0: (
        multiple * faded(v, z)
    ))  # fmt: skip
    e.mistake("this is the factor: multiply it with the value.", lambda v, z, multiple=1.0: faded(1.0, z, multiple))


RANKS = {4: (), 5: (), 6: (3, 5), 7: (3, 5, 2, 7)}


def small_rwkv(generation):
    """Return a function that makes a tiny RWKV of that generation, tied where it is even."""
    config = RwkvConfig(generation, 31, 2, 16, 24, 8, RANKS[generation], tied=generation % 2 == 0)
    return lambda: Rwkv(config)


def who_learns_how(answer, make):
    """Return {name: how it learns} of an answer's groups, as words; a name in two groups is told."""
    model, told = make(), {}
    names = {id(weight): name for name, weight in model.named_parameters()}
    for group in answer(model):
        if isinstance(group["params"], torch.Tensor):
            raise InWords("a group's `params` is a tensor: it must be a list of parameters, [weight]")
        for weight in group["params"]:
            words = f"decays: {bool(group['decays'])}, rate x {float(group['rate']):g}"
            if id(weight) not in names:
                raise InWords(f"a group's `params` holds {type(weight).__name__}, not the model's own parameters")
            name = names[id(weight)]
            told[name] = words if name not in told else "in two groups"
    return dict(sorted(told.items()))


def grouping(decays, rate=None):
    """Return an answer: decays(name, weight) and rate(name, generation); one group for each parameter."""

    def groups(model):
        truth = {name: group["rate"] for group in learning_groups(model) for name in group["names"]}
        return [
            {"params": [w], "decays": decays(name, w), "rate": rate(name, truth[name]) if rate else truth[name]}
            for name, w in model.named_parameters()
        ]

    return groups


def large(name, weight):
    """Say whether it is a large matrix: a `weight` with two axes."""
    return name.endswith(".weight") and weight.ndim == 2


@checks.exercise("15.3", learning_groups, points=4, kind="repair", call=who_learns_how, gradients=False)
def groups(e):
    """All four generations, tied and not."""
    for generation in (5, 7, 4, 6):
        e.case(f"an RWKV-{generation}", small_rwkv(generation))
    for hint, decays in {
        "all with two axes decay: the (H, N) tables and the low-rank matrices must not.": lambda n, w: w.ndim >= 2,
        "all that is called weight decays: the norms have a weight with one axis.": lambda n, w: n.endswith("weight"),
        "everything decays.": lambda n, w: True,
        "nothing decays: the large matrices should.": lambda n, w: False,
        "the low-rank matrices decay, too.": lambda n, w: large(n, w) or n.endswith((".up", ".down")),
        "the embedding decays, too: it is a large matrix.": lambda n, w: large(n, w) and not n.startswith("embed"),
        "the matrices outside of the blocks decay, too.": lambda n, w: large(n, w) and n.startswith("blocks"),
        "these are the ones that must not decay.": lambda n, w: not large(n, w),
    }.items():
        e.mistake(hint, grouping(decays))
    e.mistake(
        "every rate is 1: the decays learn at twice the rate. (`RATES` has ends of names: ask with `endswith`.)",
        grouping(large, lambda name, rate: 1.0),
    )
    e.mistake("everything learns at twice the rate.", grouping(large, lambda name, rate: 2.0))
    e.mistake("the low-rank matrices of the decay learn at rate 1: only its bias at 2.", grouping(
        large, lambda name, rate: 2.0 if ".decay" in name else rate
    ))  # fmt: skip
    e.mistake("the head decays, too: it is a large matrix.", grouping(lambda n, w: large(n, w) and "head" not in n))
    e.mistake("all is in one group with one rate: who decays and how fast differs.", lambda model: [
        {"params": list(model.parameters()), "decays": True, "rate": 1.0}
    ])  # fmt: skip
    e.mistake("large is taken by size: a matrix in this sense is a `....weight` with two axes.", grouping(
        lambda n, w: w.ndim >= 2 and min(w.shape) > 7
    ))  # fmt: skip
    e.mistake("matrices are found by their name alone: `key`, `value` and the like also name vectors.", grouping(
        lambda n, w: any(word in n for word in ("key", "value", "receptance", "output", "gate", "embed", "head"))
    ))  # fmt: skip
    e.mistake("the rates go to what decays: `RATES` maps the ends of names.", grouping(
        large, lambda name, rate: 2.0 if large(name, torch.zeros(1, 1)) else 1.0
    ))  # fmt: skip
    e.mistake("a parameter without a rate of its own stands still: the default is 1.0.", grouping(
        large, lambda name, rate: 0.0 if rate == 1.0 else rate
    ))  # fmt: skip
    e.mistake("what lies outside of `model.blocks` is in no group: embedding, last norm, head.", lambda model: [
        group for group in grouping(large)(model) if any(group["params"][0] is w for w in model.blocks.parameters())
    ])  # fmt: skip
    e.mistake("some parameters are in no group.", lambda model: learning_groups(model)[:1])


def two_numbers(answer, a, b):
    """Return what an answer gives as a tensor, so that float32 will do."""
    found = answer(a, b)
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise InWords("two numbers are expected, the mean of the differences and its standard error")
    difference, error = found
    return torch.tensor([float(difference), float(error)])


@checks.exercise("15.4", gap, points=4, kind="measure", call=two_numbers, tolerance=1e-4, gradients=False)
def noise(e):
    """A few seeds, whose losses go up and down together, or do not."""
    e.case("three seeds", [2.61, 2.55, 2.64], [2.58, 2.50, 2.66])
    e.case("far apart", [3.0, 3.1, 2.9, 3.05], [1.0, 1.2, 1.1, 0.9])
    e.case("some losses", *([2 + e.size(0, 99) / 100 for _ in range(5)] for _ in range(2)))
    e.case("hard and easy stories, and one gap", [1.2, 2.31, 3.1, 4.4], [1.1, 2.2, 3.02, 4.28])
    e.case("one goes up where the other goes down", [1.0, 2.0, 3.0], [3.01, 2.02, 1.04])
    for hint, part in {
        "the variance is divided by n: over a few seeds divide by n - 1.": lambda d: d.var(correction=0) / len(d),
        "this is the spread of single differences: the mean of n has variance / n.": lambda d: d.var(),
        "variance / n, not variance / (n - 1): the n - 1 is in the variance already.": lambda d: d.var() / (len(d) - 1),
        "the spread is divided by n: divide the variance by n, then take the root.": lambda d: d.var() / len(d) ** 2,
        "there are n pairs, not 2 n numbers: the variance is divided by n.": lambda d: d.var() / (2 * len(d)),
        "this is the mean size of the differences: their variance is asked for.": lambda d: d.abs().mean() ** 2,
    }.items():
        e.mistake(hint, lambda a, b, part=part: in_pairs(a, b, part))
    e.mistake("the root is missing.", lambda a, b: in_pairs(a, b, root=False))
    e.mistake("the difference goes the other way: a minus b.", lambda a, b: (-gap(a, b)[0], gap(a, b)[1]))
    e.mistake("sizes are taken: a difference keeps its sign.", lambda a, b: (
        (d := differences(a, b).abs()).mean(), d.std() / len(d) ** 0.5
    ))  # fmt: skip
    e.mistake("the sum of the differences, not their mean.", lambda a, b: (len(a) * gap(a, b)[0], gap(a, b)[1]))
    e.mistake("the median of the differences, not their mean.", lambda a, b: (
        differences(a, b).median(), gap(a, b)[1]
    ))  # fmt: skip
    e.mistake("the pairs are forgotten: this is the error of two lists that have nothing in common.", unpaired())
    e.mistake("the pairs are forgotten, and the two errors are added.", unpaired(
        lambda x: x.std() / len(x) ** 0.5, lambda x, y: x + y
    ))  # fmt: skip
    e.mistake("the pairs are forgotten, and a variance divides by n.", unpaired(lambda x: x.var(correction=0) / len(x)))
    e.mistake("the pairs are forgotten: all numbers are thrown together.", lambda a, b: (
        gap(a, b)[0], (torch.tensor([*a, *b], dtype=torch.float64).var() / len([*a, *b])) ** 0.5
    ))  # fmt: skip
    e.mistake("only the first side's noise is there.", unpaired(join=lambda x, y: x**0.5))
