"""The exercises of lesson 00: softmax, the loss of ignorance, the bytes of a token, and what a floor is."""

import math

import torch

from lessons.checker.check import Checks

checks = Checks("00")
check = checks.check

# Softmax has no function of its own in lib: torch's is the reference.


def softmax(z):
    """Return e^z / sum of e^z over the last axis, without overflow. z: (..., V)."""
    return z.softmax(-1)


@checks.exercise("00.1", reference=softmax, points=2)
def softmax_of_logits(e):
    """Softmax of rows of logits, small ones and huge ones."""
    e.case("a batch of rows", e.randn(2, 3, 7))
    e.case("one row", e.randn(5))
    e.case("negative", e.randn(4, 6) - 50)
    e.case(
        "logits near 1,000", 1000 + e.randn(3, 5), hint="e^1000 is infinite: subtract the row's largest score first."
    )
    e.case("one far above", torch.tensor([[0.0, 500.0, -500.0]]))
    e.case("rows far apart", torch.tensor([[1000.0, 999.0, 998.0], [0.0, 1.0, 2.0]]))
    e.mistake(
        "no maximum is subtracted: e^1000 is infinite, and infinite / infinite is nan.",
        lambda z: z.exp() / z.exp().sum(-1, True),
    )
    over_all = "the sum runs over all numbers: each row has a sum of its own (`.sum(-1, keepdim=True)`)."
    e.mistake(over_all, lambda z: shares(z, total=lambda e: e.sum()))
    e.mistake(over_all, lambda z: shares(z, largest=lambda z: z.max(), total=lambda e: e.sum()))
    for hint, wrong in SLIPS.items():
        e.mistake(hint, wrong)
    no_power = "the scores are divided by their sum: take e to the power of each first."
    e.mistake(no_power, lambda z: z / z.sum(-1, keepdim=True))
    e.mistake(no_power, lambda z: (z - z.amax(-1, keepdim=True)) / (z - z.amax(-1, keepdim=True)).sum(-1, True))
    e.mistake("the sum runs over the first axis: the tokens are the last one, -1.", lambda z: z.softmax(0))
    e.mistake(
        "the sum runs over the second axis: the tokens are the last one, -1.", lambda z: z.softmax(min(1, z.dim() - 1))
    )
    e.mistake("this is the logarithm of the chances: leave the log away.", lambda z: z.log_softmax(-1))
    e.mistake("the chances are not divided by their sum.", lambda z: (z - z.amax(-1, keepdim=True)).exp())
    e.mistake("this is the sigmoid: each score alone. The chances of a row must share one sum.", torch.sigmoid)


def shares(z, largest=lambda z: z.amax(-1, keepdim=True), total=lambda e: e.sum(-1, keepdim=True)):
    """Return softmax with another number subtracted, or divided by another."""
    e = (z - largest(z)).exp()
    return e / total(e)


SLIPS = {
    "an axis is lost: `amax` and `sum` need `keepdim=True`, so that each row keeps its own number as a column.": (
        lambda z: shares(z, total=lambda e: e.sum(-1))
    ),
    "`z.max(-1)` gives two things, the numbers and their places: use `z.amax`.": (
        lambda z: shares(z, largest=lambda z: z.max(-1, keepdim=True))
    ),
    "the largest of all rows is subtracted: a row far below it becomes 0/0. Take each row's own.": (
        lambda z: shares(z, largest=lambda z: z.max())
    ),
    "the smallest is subtracted, and e^1000 is still infinite: subtract the largest.": (
        lambda z: shares(z, largest=lambda z: z.amin(-1, keepdim=True))
    ),
    "`math.exp` takes one number: a tensor has its own, `z.exp()`.": lambda z: math.exp(z),
    "divided by the largest score: subtract it.": lambda z: shares(z / z.amax(-1, keepdim=True)),
    "the largest is subtracted above, but not below the line: sum what you have made.": (
        lambda z: shares(z, total=lambda e: z.exp().sum(-1, keepdim=True))
    ),
    "the mean is subtracted, and e^500 is still infinite: subtract the largest.": (
        lambda z: shares(z, largest=lambda z: z.mean(-1, keepdim=True))
    ),
    "2 to the power of the score: it is e, so `.exp()`.": lambda z: (z * math.log(2)).softmax(-1),
    "divided by the mean: the chances of a row sum to one, so divide by the sum.": (
        lambda z: shares(z, total=lambda e: e.mean(-1, keepdim=True))
    ),
}


@checks.exercise("00.2", reference=math.log(1024), points=1, tolerance=2e-3)
def loss_of_ignorance(e):
    """ln 1024."""
    e.mistake("these are bits, log2 of 1,024: nats take the natural logarithm, `math.log`.", 10.0)
    e.mistake("this is the logarithm to base 10: take `math.log`.", math.log10(1024))
    e.mistake("the sign: the loss is minus the logarithm of the chance, so above zero.", -math.log(1024))
    e.mistake("this is the chance itself: take minus its logarithm.", 1 / 1024)
    e.mistake("this is the number of tokens: take minus the logarithm of one token's chance.", 1024)
    one = "the mean runs over the tokens that came, and each of them costs the same: one of them is the mean."
    e.mistake(one, 1024 * math.log(1024))
    e.mistake(one, math.log(1024) / 1024)
    e.mistake("this is the logarithm of 1,000: there are 1,024 tokens.", math.log(1000))
    e.mistake("this is the logarithm of 2,048: the question is about 1,024 tokens.", math.log(2048))
    e.mistake("this is the logarithm of 2: each of 1,024 tokens has the chance 1/1024.", math.log(2))


@checks.exercise("00.3", reference=4.0, points=1, kind="measure")
def bytes_of_a_token(e):
    """What the tales have, story by story (3.9 to 4.9, and 4.8 to 6 bytes a word); a measured number, so a range."""
    e.between(3.7, 5.0)


@checks.exercise("00.4", reference="The floor is the entropy of the grammar.", points=2, kind="explain")
def below_the_floor(e):
    """Free text: a person reads it."""
