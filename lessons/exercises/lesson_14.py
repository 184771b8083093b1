"""The checks of lesson 14, Finch and Goose."""

import torch
import torch.nn.functional as F

from lessons.checker.check import Checks
from lessons.checker.effort import without_a_loop
from lessons.exercises.lesson_14_wrong import WRONG_ANSWERS, WRONG_STEPS, WRONG_WRITING, answers, stepwise
from lib.layers import rwkv7
from lib.layers.heads import to_heads

checks = Checks("14")
check = checks.check


def log_decay(x, bias, down, up):
    """Return log w = -exp(bias + tanh(x down) up), (B, T, C)."""
    return -(bias + torch.tanh(x @ down) @ up).exp()


@checks.exercise("14.1", log_decay, points=2, batch=(0,))
def decay(e):
    """The logarithm of a decay that depends on the data."""
    e.case("random numbers", e.randn(2, 5, 7), e.randn(7), e.randn(7, 3), e.randn(3, 7))
    e.case("the start: down is 0", e.randn(2, 4, 6), e.randn(6), torch.zeros(6, 2), e.randn(2, 6))
    e.case("large x", 30 * e.randn(2, 3, 5), e.randn(5), e.randn(5, 4), 0.5 * e.randn(4, 5))
    e.case("slow channels", e.randn(1, 3, 4), -8 + e.randn(4), e.randn(4, 2), 0.1 * e.randn(2, 4))
    for hint, formula in WRONG_DECAYS.items():
        e.mistake(hint, formula)


WRONG_DECAYS = {
    "the minus is missing: this memory would grow.": lambda x, bias, down, up: (bias + torch.tanh(x @ down) @ up).exp(),
    "this is w itself, or its e to the power: its logarithm is asked for.": lambda x, bias, down, up: torch.exp(
        -(bias + torch.tanh(x @ down) @ up).exp()
    ),
    "this is d: its logarithm of the decay is log w = -exp(d).": lambda x, bias, down, up: (
        bias + torch.tanh(x @ down) @ up
    ),
    "the minus stands inside of the exp, (-d).exp(): log w = -exp(d).": lambda x, bias, down, up: (
        -bias - torch.tanh(x @ down) @ up
    ).exp(),
    "one exp is missing: log w = -exp(d), not -d.": lambda x, bias, down, up: -(bias + torch.tanh(x @ down) @ up),
    "the tanh stands behind `up`: it belongs between `down` and `up`.": lambda x, bias, down, up: (
        -(bias + torch.tanh(x @ down @ up)).exp()
    ),
    "the bias is inside of the tanh: it comes after `up`.": lambda x, bias, down, up: (
        -torch.tanh(bias + x @ down @ up).exp()
    ),
    "the tanh is missing: a large x would make a wild decay.": lambda x, bias, down, up: -(bias + x @ down @ up).exp(),
    "the bias is missing.": lambda x, bias, down, up: -(torch.tanh(x @ down) @ up).exp(),
    "a sigmoid in the place of the tanh.": lambda x, bias, down, up: -(bias + torch.sigmoid(x @ down) @ up).exp(),
    "the bias is added behind the exp: log w = -exp(bias + ...).": lambda x, bias, down, up: (
        bias - (torch.tanh(x @ down) @ up).exp()
    ),
    "the exponent's sign: log w = -exp(d), not -exp(-d).": lambda x, bias, down, up: (
        -(-bias - torch.tanh(x @ down) @ up).exp()
    ),
    "exp(bias) and exp of the rest are added: exp of the sum is their product.": lambda x, bias, down, up: (
        -bias.exp() - (torch.tanh(x @ down) @ up).exp()
    ),
    "a small number is added before a logarithm: log w needs none, it is -exp(d).": lambda x, bias, down, up: (
        (-(bias + torch.tanh(x @ down) @ up).exp()).exp() + 1e-6
    ).log(),
    "a sigmoid in the place of exp: that is RWKV-7's decay.": lambda x, bias, down, up: (
        -torch.sigmoid(bias + torch.tanh(x @ down) @ up)
    ),
}


@checks.exercise("14.2", rwkv7.wkv, points=5, batch=(0, 1, 2, 3, 4, 5))
def recurrence(e):
    """RWKV-7's recurrence."""
    for name, shape, given in (
        ("random numbers", (2, 3, 6, 5), False),
        ("one token", (2, 2, 1, 4), False),
        ("a state is given", (2, 2, 4, 3), True),
        ("forty tokens", (1, 2, 40, 4), True),
    ):
        r, k, v, rate = (e.randn(*shape) for _ in range(4))
        log_w = -0.6 * e.randn(*shape).sigmoid()
        removed = F.normalize(e.randn(*shape), dim=-1)
        state = e.randn(*shape[:2], shape[3], shape[3]) if given else None
        e.case(name, r, k, v, log_w, -removed, removed * rate.sigmoid(), state)
    for hint, step in WRONG_STEPS.items():
        e.mistake(hint, stepwise(step))
    e.mistake(
        "the state that is given is not used: start from it.",
        lambda r, k, v, w, a, b, s=None: rwkv7.wkv(r, k, v, w, a, b),
    )


def removal(k, rate, factor, n_heads):
    """Return a and b, (B, H, T, N): minus the removal key, of length one in each head, and the rate times it."""
    removed, rate = (to_heads(z, n_heads) for z in (k * factor, rate))
    removed = F.normalize(removed, dim=-1)
    return -removed, removed * rate


@checks.exercise("14.3", removal, points=3, kind="repair", batch=(0, 1))
def removing(e):
    """The removal key and its rate, in heads."""
    e.case("4 heads of 3", e.randn(2, 5, 12), e.randn(2, 5, 12).sigmoid(), e.randn(12), 4)
    e.case("one head", e.randn(2, 3, 6), e.randn(2, 3, 6).sigmoid(), 1 + 0.1 * e.randn(6), 1)
    e.case("long keys", 40 * e.randn(1, 4, 10), e.randn(1, 4, 10).sigmoid(), e.randn(10), 2)
    for hint, (over_all, twice, change) in {
        "this is the broken one as it was.": (True, True, None),
        "the rate still goes in twice: into b alone.": (False, True, None),
        "the length is still one over all heads: first into heads, then normalise.": (True, False, None),
        "a is the removal key: it needs its minus.": (False, False, lambda a, b: (-a, b)),
        "a and b are swapped: the rate belongs to b.": (False, False, lambda a, b: (-b, -a)),
        "the minus is in both, so that it cancels.": (False, False, lambda a, b: (a, -b)),
    }.items():
        e.mistake(hint, removing_wrongly(over_all, twice, change))
    for hint, (order, axis) in {
        "the length is taken over the tokens: it is over the channels of a head, dim=-1.": (2, -2),
        "the length is taken over the heads: it is over the channels of one head, dim=-1.": (2, 1),
        "the sum of sizes is one here, not the length: F.normalize's p stays 2.": (1, -1),
    }.items():
        e.mistake(hint, normalised_otherwise(order, axis))
    e.mistake("the rate goes into the length, which takes it out again: first normalise, then times the rate.",
              lambda k, rate, factor, H: removal(k * rate, torch.ones_like(rate), factor, H))  # fmt: skip
    e.mistake("each head has one rate here, its mean: the rate has a number for each channel.",
              lambda k, rate, factor, H: removal(k, mean_of_heads(rate, H), factor, H))  # fmt: skip
    e.mistake("the rate is squared in b: once is enough.",
              lambda k, rate, factor, H: removal(k, rate.square(), factor, H))  # fmt: skip
    e.mistake("the minus is on b: it belongs to a, which asks.", lambda *z: tuple(-part for part in removal(*z)))
    e.mistake("the root of the rate is in both: a is the removal key itself, and the rate goes into b alone.",
              lambda k, rate, factor, H: (-(b := removal(k, rate.sqrt(), factor, H)[1]), b))  # fmt: skip
    e.mistake("b is normalised again, which takes the size of the rate out.", lambda *z: (
        removal(*z)[0], F.normalize(removal(*z)[1], dim=-1)))  # fmt: skip
    e.mistake("it is divided by the square of its length: the root is missing.", divided_by_square)
    e.mistake("the learned factor is missing.", lambda k, rate, factor, H: removal(k, rate, torch.ones_like(factor), H))
    e.mistake(
        "nothing is normalised: a long key makes the memory explode.",
        lambda k, rate, factor, H: (-to_heads(k * factor, H), to_heads(k * factor * rate, H)),
    )
    e.mistake(
        "the factor comes after the normalising, so the length is not one.",
        lambda k, rate, factor, H: tuple(
            z * s
            for z, s in zip(removal(k, rate, torch.ones_like(factor), H), [factor.view(H, 1, -1)] * 2, strict=True)
        ),
    )


def divided_by_square(k, rate, factor, n_heads):
    """Divide by the sum of squares."""
    removed = to_heads(k * factor, n_heads)
    removed = removed / removed.square().sum(-1, keepdim=True)
    return -removed, removed * to_heads(rate, n_heads)


def normalised_otherwise(order, axis):
    """Return a removal whose length is another norm, or along another axis of (B, H, T, N)."""

    def wrong(k, rate, factor, n_heads):
        removed = F.normalize(to_heads(k * factor, n_heads), p=order, dim=axis)
        return -removed, removed * to_heads(rate, n_heads)

    return wrong


def mean_of_heads(rate, n_heads):
    """Return (B, T, C): the mean of each head's rates in all of its channels."""
    B, T, C = rate.shape
    return rate.view(B, T, n_heads, -1).mean(-1, keepdim=True).expand(B, T, n_heads, C // n_heads).reshape(B, T, C)


def removing_wrongly(over_all, twice, change=None):
    """Return a removal with some of: the length over all channels, the rate twice, a and b changed at the end."""

    def wrong(k, rate, factor, n_heads):
        k = k * factor
        removed = to_heads(F.normalize(k, dim=-1) if over_all else k, n_heads)
        removed = removed if over_all else F.normalize(removed, dim=-1)
        rate = to_heads(rate, n_heads)
        a, b = (-removed * rate if twice else -removed), removed * rate
        return change(a, b) if change else (a, b)

    return wrong


def written(k, v, rate, boost, first, share):
    """Return the key and the value that Goose writes: k (1 + (rate - 1) boost), and v + (first - v) share."""
    return k * (1 + (rate - 1) * boost), v + (first - v) * share


@checks.exercise("14.4", written, points=2, batch=(0, 1, 2, 4, 5))
def writing(e):
    """What is written: the key scaled by the rate, the value moved towards the first layer's."""
    shape = (2, 3, 5)
    k, v, first = (e.randn(*shape) for _ in range(3))
    rate, share, boost = e.randn(*shape).sigmoid(), e.randn(*shape).sigmoid(), e.randn(5)
    e.case("random numbers", k, v, rate, boost, first, share)
    e.case("a boost of 1: the rate scales the key", k, v, rate, torch.ones(5), first, share)
    e.case("a boost of 0: the rate changes nothing", k, v, rate, torch.zeros(5), first, share)
    e.case("share 0: the values stay", k, v, rate, boost, first, torch.zeros(shape))
    e.case("share 1: the first layer's values", k, v, rate, boost, first, torch.ones(shape))
    for hint, (key, value) in WRONG_WRITING.items():
        e.mistake(hint, writing_wrongly(key, value))
    e.mistake("k and v are in each other's place.", lambda k, v, *z: written(v, k, *z))
    e.mistake("value first: the key comes first.", lambda *z: written(*z)[::-1])
    e.mistake("the value is moved by `rate`: `share` says how far.", lambda k, v, r, c, f, s: written(k, v, r, c, f, r))
    e.mistake("the key is scaled by `share`: `rate` does it.", lambda k, v, r, c, f, s: written(k, v, s, c, f, s))
    e.mistake("only the key comes back: return both.", lambda *z: written(*z)[0])
    e.mistake("the sigmoid is taken again: `share` is one already.", lambda k, v, r, c, f, s: written(
        k, v, r, c, f, s.sigmoid()
    ))  # fmt: skip


def writing_wrongly(key=None, value=None):
    """Return a `written` with another key or another value."""

    def wrong(k, v, rate, boost, first, share):
        right_key, right_value = written(k, v, rate, boost, first, share)
        return key(k, rate, boost) if key else right_key, value(v, first, share) if value else right_value

    return wrong


@checks.exercise("14.5", answers, points=4, tolerance=1e-5, batch=(0, 1, 2, 3))
def triangular(e):
    """All answers of a chunk at once."""
    for name, shape in (("random numbers", (2, 3, 6, 4)), ("one chunk", (5, 3)), ("one token", (2, 1, 4))):
        removed = F.normalize(e.randn(*shape), dim=-1)
        e.case(name, e.randn(*shape), e.randn(*shape), -removed, removed * e.randn(*shape).sigmoid())
    same = F.normalize(e.randn(1, 5), dim=-1).expand(2, 8, 5).clone()
    e.case("the same key eight times", same, e.randn(2, 8, 5), -same, 0.9 * same)
    many = F.normalize(e.randn(64, 8), dim=-1)
    e.case("a chunk of 64", e.randn(64, 8), e.randn(64, 8), -many, 0.5 * many, call=without_a_loop(64))
    for hint, wrong in WRONG_ANSWERS.items():
        e.mistake(hint, wrong)


def swap(i, j, N):
    """Return a and b, each (N,): S + (S a) b^T is S with the columns i and j swapped."""
    a = torch.zeros(N)
    a[i], a[j] = 1.0, -1.0
    return a, -a


def after_step(answer, S, i, j):
    """Return S after a step with an answer's a and b: many pairs of a and b do the same."""
    a, b = answer(i, j, S.shape[-1])
    return S + (S @ a.to(S))[..., None] * b.to(S)


@checks.exercise("14.6", swap, points=3, call=after_step, gradients=False, tolerance=1e-6)
def swapped(e):
    """A step that swaps two columns."""
    e.case("columns 0 and 1 of 2", e.randn(3, 2), 0, 1)
    e.case("columns 1 and 3 of 5", e.randn(4, 5), 1, 3)
    e.case("columns 4 and 2 of 6", e.randn(6, 6), 4, 2)
    for hint, (asks, where) in {
        "that erases along the difference: both columns become their mean. Twice as much mirrors.": (1.0, 0.5),
        "the sign of b is wrong: the columns move apart.": (1.0, -1.0),
        "the difference is moved twice: one of a and b is enough with length root 2, rate 2.": (2.0, 1.0),
    }.items():
        e.mistake(hint, lambda i, j, N, asks=asks, where=where: scaled(i, j, N, asks, where))
    e.mistake(
        "column i is overwritten by column j, which stays as it was.",
        lambda i, j, N: (swap(i, j, N)[0], -one_hot(i, N)),
    )
    e.mistake(
        "column j is overwritten by column i, which stays as it was.", lambda i, j, N: (swap(i, j, N)[0], one_hot(j, N))
    )
    e.mistake(
        "column i alone is moved, not the difference of the two.", lambda i, j, N: (one_hot(i, N), swap(i, j, N)[1])
    )
    e.mistake(
        "a is the sum of the two columns: the difference is needed.",
        lambda i, j, N: (swap(i, j, N)[0].abs(), swap(i, j, N)[1]),
    )
    e.mistake("a asks for the sum, and b is minus that: a is the difference, a[j] = -1.", lambda i, j, N: (
        swap(i, j, N)[0].abs(), -swap(i, j, N)[0].abs()))  # fmt: skip
    e.mistake("one of the two has length one, the other is as before: their product must move the whole difference.",
              lambda i, j, N: scaled(i, j, N, 0.5**0.5, 1.0))  # fmt: skip
    e.mistake("the columns 0 and 1 are always swapped: take i and j.", lambda i, j, N: swap(0, 1, N))
    e.mistake("both are sums: a asks for the difference, and b gives it back with two signs.", lambda i, j, N: (
        swap(i, j, N)[0].abs(), swap(i, j, N)[1].abs()))  # fmt: skip
    e.mistake("a asks for column i, and b adds it to column j: column j must come back, too.", lambda i, j, N: (
        one_hot(i, N), one_hot(j, N)))  # fmt: skip
    e.mistake("b has one sign: column i loses the difference, column j gains it.", lambda i, j, N: (
        swap(i, j, N)[0], -swap(i, j, N)[1].abs()))  # fmt: skip
    e.mistake("nothing moves: a or b is zero.", lambda i, j, N: (torch.zeros(N), torch.zeros(N)))


def one_hot(i, N):
    """Return (N,): 1 at i."""
    return F.one_hot(torch.tensor(i), N).float()


def scaled(i, j, N, asks, where):
    """Return swap's a and b, each times a number."""
    a, b = swap(i, j, N)
    return asks * a, where * b
