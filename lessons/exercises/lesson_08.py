"""The exercises of lesson 08: the schedule, clipping, what decays, bits per byte, and gradients in parts."""

import math
from dataclasses import replace

import torch
from torch import nn

from lessons.checker.check import Checks
from lessons.exercises.lesson_08_wrong import SMALL, added, call_accumulate
from lib.models.llama import Llama
from lib.run.train import Recipe, schedule

checks = Checks("08")
check = checks.check


def over_a_run(answer, recipe):
    """Return an answer's shares for all steps of a run."""
    return [float(answer(step, recipe)) for step in range(recipe.steps)]


def shares(answer, recipe):
    """Return them as a tensor."""
    return torch.tensor(over_a_run(answer, recipe))


def wrong_schedule(first=1, begin=None, end=None, r=None, angle=math.pi, half=2, climb=None):
    """Make a schedule with one thing changed; begin, end and r are functions of the recipe."""

    def wrong(step, recipe):
        if step < recipe.warmup:
            return climb(step, recipe) if climb else (step + first) / recipe.warmup
        since = step - (begin(recipe) if begin else recipe.warmup)
        progress = since / max(1, end(recipe) if end else recipe.steps - recipe.warmup)
        low = r(recipe) if r else recipe.final_ratio
        return low + (1 - low) * (1 + math.cos(angle * progress)) / half

    return wrong


@checks.exercise("08.1", schedule, points=3, call=shares)
def rates(e):
    """Whole runs of several recipes."""
    e.case("LLaMA's shape", Recipe(steps=50, warmup=10))
    e.case("down to zero", Recipe(steps=30, warmup=7, final_ratio=0.0))
    e.case("no warm-up", Recipe(steps=20, warmup=0), hint="without warm-up the first step has the full rate.")
    e.case("constant after the climb", Recipe(steps=20, warmup=5, final_ratio=1.0))
    e.case("nothing but warm-up", Recipe(steps=6, warmup=6))
    e.case("stopped within the warm-up", Recipe(steps=6, warmup=9))
    e.case("some run", Recipe(steps=e.size(20, 60), warmup=e.size(2, 15), final_ratio=e.size(2, 9) / 20))
    e.mistake("the first step has rate 0: (step + 1) / warmup.", wrong_schedule(first=0))
    e.mistake("the cosine begins at step 0: count p from the end of the warm-up.", wrong_schedule(begin=lambda z: 0))
    e.mistake("p is divided by all steps: only those after the warm-up count.", wrong_schedule(end=lambda z: z.steps))
    e.mistake("the end is at 0, not at final_ratio.", wrong_schedule(r=lambda z: 0.0))
    e.mistake("final_ratio is always 0.1 here: it is recipe.final_ratio.", wrong_schedule(r=lambda z: 0.1))
    e.mistake("this is a whole cosine, down and up again: pi p, not 2 pi p.", wrong_schedule(angle=2 * math.pi))
    e.mistake("a quarter of a circle is not half a cosine: pi p, not pi p / 2.", wrong_schedule(angle=math.pi / 2))
    e.mistake("1 + cos is divided by 2, so that it begins at 1.", wrong_schedule(half=1))
    e.mistake("the warm-up is missing.", lambda step, z: schedule(step, replace(z, warmup=0)))
    e.mistake("this is the rate itself: return the share of it.", lambda step, z: z.learning_rate * schedule(step, z))
    e.mistake("the climb follows the cosine, too: it is a straight line.", wrong_schedule(climb=_bent))
    e.mistake("the descent is a straight line: it is half a cosine.", _straight)


def _bent(step, recipe):
    return (1 - math.cos(math.pi * (step + 1) / recipe.warmup)) / 2


def _straight(step, recipe):
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return 1 - (1 - recipe.final_ratio) * progress


def clip(gradients, max_norm):
    """Return the gradients, shrunk together to max_norm where their global norm is larger, and that norm."""
    norm = norm_of(gradients)
    return [g * min(1.0, float(max_norm / norm)) if norm > 0 else g for g in gradients], norm


def norm_of(gradients):
    """Return the root of the sum of all squares, a tensor."""
    return sum(g.pow(2).sum() for g in gradients).sqrt()


def call_clip(answer, first, second, max_norm):
    """Clip two tensors, and return all as tensors."""
    gradients, norm = answer([first, second], max_norm)
    return [g for g in gradients], torch.as_tensor(norm, dtype=first.dtype)


def with_factor(factor):
    """Make a wrong clip: factor(gradients, max_norm) for all tensors."""
    return lambda gradients, max_norm: ([g * factor(gradients, max_norm) for g in gradients], norm_of(gradients))


@checks.exercise("08.2", clip, points=3, call=call_clip, gradients=False)
def clipping(e):
    """Two tensors of different shapes, longer and shorter than the limit."""
    e.case("too long", 3 * e.randn(4, 5), e.randn(7), 1.0)
    e.case("another limit", e.randn(3, 2), 9 * e.randn(2, 2, 5), 0.25)
    e.case("short enough", 0.01 * e.randn(4, 5), 0.02 * e.randn(7), 1.0, hint="short gradients stay as they are.")
    e.case("together too long", torch.tensor([0.8]), torch.tensor([0.9]), 1.0, hint="one norm for all together.")
    e.case("all zero", torch.zeros(2, 3), torch.zeros(4), 1.0, hint="the norm is 0: don't divide by it.")
    for hint, wrong in {
        "each tensor is clipped by itself: that changes the direction. One norm for all.": _each_alone,
        "each number is cut by itself: that changes the direction.": _by_value,
        "short gradients are made longer: the factor is never above 1.": _always,
        "the norm is the largest tensor's: add the squares of all.": with_factor(_largest),
        "the norms are added: add the squares, and take the root at the end.": with_factor(_added),
        "divided by the norm, so that max_norm is always 1.": with_factor(_to_one),
        "the root is missing: the squares are added up, but no root is taken.": with_factor(_no_root),
        "the norm that is returned is the one after clipping: return the one before.": _norm_after,
        "the gradients come back as they were.": lambda gradients, max_norm: (gradients, norm_of(gradients)),
        "the inputs were changed in place: make new tensors here.": _in_place,
        "where they are too long, they are dropped: shrink them.": _dropped,
    }.items():
        e.mistake(hint, wrong)


def _each_alone(gradients, max_norm):
    return [clip([g], max_norm)[0][0] for g in gradients], norm_of(gradients)


def _by_value(gradients, max_norm):
    return [g.clamp(-max_norm, max_norm) for g in gradients], norm_of(gradients)


def _always(gradients, max_norm):
    norm = norm_of(gradients)
    return [g * (max_norm / norm) if norm > 0 else g for g in gradients], norm


def _largest(gradients, max_norm):
    norm = max(norm_of([g]) for g in gradients)
    return min(1.0, float(max_norm / norm)) if norm > 0 else 1.0


def _added(gradients, max_norm):
    norm = sum(norm_of([g]) for g in gradients)
    return min(1.0, float(max_norm / norm)) if norm > 0 else 1.0


def _no_root(gradients, max_norm):
    norm = norm_of(gradients) ** 2
    return min(1.0, float(max_norm / norm)) if norm > 0 else 1.0


def _to_one(gradients, max_norm):
    norm = norm_of(gradients)
    return 1.0 if norm <= max_norm else 1 / norm


def _norm_after(gradients, max_norm):
    clipped, _ = clip(gradients, max_norm)
    return clipped, norm_of(clipped)


def _in_place(gradients, max_norm):
    norm = norm_of(gradients)
    return [g.mul_(min(1.0, float(max_norm / norm)) if norm > 0 else 1.0) for g in gradients], norm


def _dropped(gradients, max_norm):
    norm = norm_of(gradients)
    return [g * float(norm <= max_norm) for g in gradients], norm


class Other(nn.Module):
    """A model that no name helps with: biases, a convolution, norms called otherwise."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 4)
        self.mix = nn.Conv1d(4, 6, 3)
        self.scale = nn.LayerNorm(6)
        self.weight_norm_head = nn.Linear(6, 5)


def decaying(model):
    """Return the names of the parameters with two axes or more."""
    return [name for name, weight in model.named_parameters() if weight.ndim >= 2]


def names_of(answer, make):
    """Return the sorted names that an answer gives for a model, as one text."""
    return " ".join(sorted(answer(make())))


def choosing(keep):
    """Make a wrong choice: keep(name, weight)."""
    return lambda model: [name for name, weight in model.named_parameters() if keep(name, weight)]


@checks.exercise("08.3", decaying, points=2, call=names_of, gradients=False)
def decays(e):
    """A LLaMA, one with tied tables, and a model with other names."""
    e.case("a LLaMA", lambda: Llama(SMALL))
    e.case("a model with biases and a convolution", Other, hint="ask for the number of axes, not for names.")
    for hint, keep in {
        "the norms decay too: they have one axis.": lambda name, w: True,
        "these are the ones that do not decay.": lambda name, w: w.ndim < 2,
        "a norm may have another name: ask for `.ndim`.": lambda name, w: "norm" not in name,
        "biases have one axis, they don't decay.": lambda name, w: "bias" in name or w.ndim >= 2,
        "a convolution has three axes: two or more decay.": lambda name, w: w.ndim == 2,
        "the embedding decays: it is a matrix.": lambda name, w: w.ndim >= 2 and name[:5] not in ("embed", "table"),
        "the head decays, too: it is a matrix.": lambda name, w: w.ndim >= 2 and "head" not in name,
        "norms have a weight, too: ask for `.ndim`.": lambda name, w: name.endswith("weight"),
    }.items():
        e.mistake(hint, choosing(keep))


def bits_per_byte(nats, texts):
    """Return total nats / ln 2 / total UTF-8 bytes."""
    return nats / math.log(2) / n_bytes(texts)


def n_bytes(texts):
    """Return the UTF-8 bytes of all texts."""
    return sum(len(text.encode("utf-8")) for text in texts)


@checks.exercise("08.4", bits_per_byte, points=2, gradients=False)
def bits(e):
    """English, other alphabets, an empty text among others."""
    e.case("plain English", 30.0, ["The snail slept.", "So did Mina, for a very long time."])
    e.case("letters of two bytes and more", 12.5, ["Größe", "한국어", "naïve"], hint="bytes, not characters.")
    e.case("an empty text among them", 3.25, ["", "a b"])
    e.case("some nats", e.size(10, 900) / 7, ["One day", "Größe"[: e.size(3, 5)]])
    e.mistake("characters are counted: bytes.", lambda n, t: n / math.log(2) / len("".join(t)))
    e.mistake("these are nats per byte: divide by ln 2.", lambda n, t: n / n_bytes(t))
    e.mistake("multiplied by ln 2: a bit is smaller than a nat.", lambda n, t: n * math.log(2) / n_bytes(t))
    e.mistake("divided by the number of texts, too: `nats` is a sum.", lambda n, t: bits_per_byte(n, t) / len(t))
    e.mistake("this is bits per text: divide by bytes.", lambda n, t: n / math.log(2) / len(t))
    e.mistake("words are counted: bytes.", lambda n, t: n / math.log(2) / sum(len(x.split()) for x in t))
    e.mistake("upside down: nats are above, bytes below.", lambda n, t: n_bytes(t) * math.log(2) / n)
    e.mistake("the base is 10: a bit is ln 2 nats.", lambda n, t: n / math.log(10) / n_bytes(t))


def accumulate(model, x, y, rows):
    """Leave the gradients of the batch's mean loss in .grad, `rows` rows at a time; return the loss."""
    return added(model, x, y, rows)


@checks.exercise("08.5", accumulate, points=5, kind="repair", call=call_accumulate, gradients=False)
def in_parts(e):
    """Batches with all tokens counted, with some, and a last part that is smaller."""
    x, y = e.randint(31, 4, 6), e.randint(31, 4, 6)
    some = y.clone()
    some[0, :5] = -100
    some[2, 1:3] = -100
    e.case("all tokens count", x, y, 2)
    e.case("some tokens do not count", x, some, 1, hint="divide by the number of counted tokens of the whole batch.")
    e.case("the last part is smaller", x, y, 3, hint="a smaller part must count less.")
    e.case("a part without a counted token", x, torch.cat([torch.full((1, 6), -100), y[1:]]), 1)
    for hint, change in {
        "still the mean of the parts' means: a part with fewer counted tokens must count less.": dict(
            weigh=lambda s, here, all, parts: s / here.clamp(min=1) / parts
        ),
        "the old gradients are still in there: `model.zero_grad()` first.": dict(clear=False),
        "the parts' means are added, but not weighed.": dict(weigh=lambda s, here, all, parts: s / here.clamp(min=1)),
        "the sum is not divided by the number of counted tokens.": dict(weigh=lambda s, here, all, parts: s),
        "each part clears the gradients of the one before: clear once, before the loop.": dict(keep=False),
        "divided by the number of parts, too.": dict(weigh=lambda s, here, all, parts: s / all / parts),
        "all tokens are counted, those with -100 too: `(y != -100).sum()`.": dict(weigh=_all_tokens(x)),
    }.items():
        e.mistake(hint, _changed(change))
    e.mistake("all rows go through at once: memory forbids it.", lambda m, x, y, r: added(m, x, y, len(x)))


def _all_tokens(x):
    return lambda s, here, all, parts: s / x.numel()


def _changed(change):
    return lambda model, x, y, rows: added(model, x, y, rows, **change)
