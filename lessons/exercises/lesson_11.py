"""The checks of lesson 11, linear attention."""

import torch
import torch.nn.functional as F

from lessons.checker.check import Checks
from lessons.checker.limits import InWords
from lessons.exercises.lesson_11_wrong import WRONG_CHUNKS, WRONG_STEPS
from lib.layers.linear_attention import averaged, linear_attention, linear_chunked, linear_recurrent
from lib.run.measure import numbers_written

checks = Checks("11")
check = checks.check


def heads(e, T, B=2, H=3, N=4, D=5):
    """Return random queries, keys and values."""
    return e.randn(B, H, T, N), e.randn(B, H, T, N), e.randn(B, H, T, D)


@checks.exercise("11.1", linear_recurrent, points=4, batch=(0, 1, 2), time=(0, 2))
def recurrence(e):
    """Linear attention, token by token."""
    e.case("7 tokens", *heads(e, 7))
    e.case("one token", *heads(e, 1))
    e.case("a state to begin with", *heads(e, 6, D=3), e.randn(2, 3, 4, 3))
    e.case("one token and a state", *heads(e, 1, B=1, N=6), e.randn(1, 3, 6, 5))
    e.case("as many keys as values", *heads(e, 5, N=4, D=4), e.randn(2, 3, 4, 4))
    for hint, wrong in WRONG_STEPS.items():
        e.mistake(hint, wrong)


@checks.exercise("11.2", linear_chunked, points=5, batch=(0, 1, 2), time=(0, 2))
def chunks(e):
    """Pairs within a chunk, the state between chunks."""
    e.case("13 tokens in chunks of 4", *heads(e, 13), chunk=4)
    e.case("12 tokens in chunks of 4", *heads(e, 12), chunk=4)
    e.case("chunks of 1", *heads(e, 5), chunk=1)
    e.case("a chunk longer than the text", *heads(e, 6), chunk=64)
    e.case("a state to begin with", *heads(e, 9, D=3), e.randn(2, 3, 4, 3), chunk=5)
    e.case("one token and a state", *heads(e, 1), e.randn(2, 3, 4, 5), chunk=4)
    e.case("the chunk that is the default", *heads(e, 70, B=1, H=1))
    for hint, wrong in WRONG_CHUNKS.items():
        e.mistake(hint, wrong)


def running_mean(k, kept):
    """(B, H, T, N) -> (B, H, T, N): m_t = kept * m_{t-1} + (1 - kept) * k_t, from m = 0."""
    return means_by(lambda m, k_t: kept * m + (1 - kept) * k_t)(k, kept)


def means_by(step, start=0):
    """Return a running mean by step(m, k_t) -> m, right or wrong."""

    def answer(k, kept):
        means, m = [], start
        for k_t in k.unbind(2):
            m = step(m, k_t)
            means.append(m)
        return torch.stack(means, dim=2)

    return answer


def with_growth(answer, k, kept):
    """Call a running mean, and look how its backward pass grows."""

    def written(T):
        keys = torch.ones(1, 1, T, 4, requires_grad=True)
        means = answer(keys, kept)
        return numbers_written(means.sum().backward) if means.requires_grad else 1

    means = answer(k, kept)
    growth = written(128) / written(64)
    if growth > 2.6:
        raise InWords(f"twice the tokens, and the backward pass writes {growth:.1f} times as many numbers")
    return means


def slow_mean(k, kept):
    """The broken one."""
    means, m = torch.zeros_like(k), 0
    for t in range(k.shape[2]):
        m = kept * m + (1 - kept) * k[:, :, t]
        means[:, :, t] = m
    return means


@checks.exercise("11.3", running_mean, points=3, kind="repair", call=with_growth)
def repaired(e):
    """A loop without a hidden T^2."""
    e.case("9 tokens", e.randn(2, 3, 9, 4), 0.9)
    e.case("one token", e.randn(1, 2, 1, 3), 0.5)
    e.case("kept is 0", e.randn(1, 2, 4, 3), 0.0)
    e.mistake(
        "something of full length is touched at one place in each step: `k[:, :, t]` and `means[:, :, t] = ...` both"
        " have a gradient of full length. `unbind` for the one, a list and `stack` for the other.",
        slow_mean,
    )
    e.mistake("the new key counts whole: its share is 1 - kept.", lambda k, a: means_by(lambda m, x: a * m + x)(k, a))
    e.mistake(
        "the shares are swapped: `kept` is the old mean's.",
        lambda k, a: means_by(lambda m, x: (1 - a) * m + a * x)(k, a),
    )
    e.mistake("the old mean is forgotten.", lambda k, a: means_by(lambda m, x: (1 - a) * x)(k, a))
    e.mistake("time is not the third axis: stack with dim=2.", lambda k, a: running_mean(k, a).transpose(0, 2))
    e.mistake("only the last mean is returned.", lambda k, a: running_mean(k, a)[:, :, -1])
    e.mistake("the mean is detached: fast, but it learns nothing.", lambda k, a: running_mean(k.detach(), a))


def weigher(shares):
    """Return an `averaged` by shares(weights (B, H, T, T) under the mask, v, q, k), for the matrix form alone."""

    def answer(form, q, k, v):
        return shares((q @ k.mT).tril(), v, q, k)

    return answer


@checks.exercise("11.4", averaged, points=3, batch=(1, 2, 3), time=(3, 2))
def normalised(e):
    """A weighted mean by any of the forms."""
    for name, form in (("matrix", linear_attention), ("recurrence", linear_recurrent), ("chunks", linear_chunked)):
        q, k, v = heads(e, 6)
        e.case(f"by the {name}", form, q.exp(), k.exp(), v)
    q, k, v = heads(e, 5, N=3, D=3)
    e.case("small weights", linear_attention, 1e-3 * q.exp(), 1e-3 * k.exp(), v)
    e.case("two tokens", linear_recurrent, *(z[:, :, :2].exp() for z in (q, k, v)))
    for hint, shares in WRONG_SHARES.items():
        e.mistake(hint, weigher(shares))
    e.mistake("the ones are still in the result: y[..., :-1] above the line.", with_ones(lambda y: y / y[..., -1:]))
    e.mistake("the ones are not divided by: it is a sum.", with_ones(lambda y: y[..., :-1]))
    e.mistake("the padded channel is zero: pad with value=1.0.", with_ones(lambda y: y[..., :-1] / (0 * y[..., -1:])))
    e.mistake(
        "the recurrence and the chunks return (y, state): take y.",
        lambda form, q, k, v: (lambda y: y[..., :-1] / y[..., -1:])(form(q, k, F.pad(v, (0, 1), value=1.0))),
    )


def first(result):
    """Return y of (y, state), or y."""
    return result[0] if isinstance(result, tuple) else result


def with_ones(end):
    """Return an `averaged` that makes end(y) of the result for values with a channel of ones."""
    return lambda form, q, k, v: end(first(form(q, k, torch.cat([v, torch.ones_like(v[..., :1])], -1))))


WRONG_SHARES = {
    "divided by the number of tokens: by the sum of the weights.": lambda w, v, q, k: (
        w @ v / torch.arange(1, v.shape[2] + 1)[:, None]
    ),
    "divided by the sum over all tokens, later ones too.": lambda w, v, q, k: w @ v / (q @ k.mT).sum(-1, keepdim=True),
    "divided by the sum over the queries: each row has a sum of its own.": lambda w, v, q, k: (
        w @ v / w.sum(-2)[..., None]
    ),
    "that is a softmax of the weights: divide by their sum.": lambda w, v, q, k: (
        (q @ k.mT).masked_fill(torch.ones_like(w).triu(1) == 1, -torch.inf).softmax(-1) @ v
    ),
    "divided by the sum of the keys alone: the query weighs them.": lambda w, v, q, k: (
        w @ v / k.sum(-1, keepdim=True).cumsum(2)
    ),
    "divided by the root of the sum.": lambda w, v, q, k: w @ v / w.sum(-1, keepdim=True).sqrt(),
    "divided by the length of the result.": lambda w, v, q, k: w @ v / (w @ v).norm(dim=-1, keepdim=True),
    "the values' own sum is divided by.": lambda w, v, q, k: w @ v / v.sum(-1, keepdim=True),
}


def fading(q, k, v, keep):
    """q, k (B, H, T, N), v (B, H, T, D), keep (H,) -> (B, H, T, D), where S <- keep * S + k_t^T v_t."""
    return faded(lambda age, keep: keep ** age.clamp(min=0))(q, k, v, keep)


def faded(shares, mask=torch.tril):
    """Return a `fading` by shares(age (T, T), keep (H, 1, 1)), right or wrong."""

    def answer(q, k, v, keep):
        position = torch.arange(q.shape[2])
        return mask((q @ k.mT) * shares(position[:, None] - position, keep[:, None, None])) @ v

    return answer


@checks.exercise("11.5", fading, points=4, batch=(0, 1, 2), time=(2, 2))
def decay(e):
    """Decay as a matrix."""
    e.case("3 heads", *heads(e, 7), torch.tensor([0.5, 0.9, 0.99]))
    e.case("one token", *heads(e, 1), torch.tensor([0.5, 0.9, 0.99]))
    e.case("nothing fades", *heads(e, 6, H=1), torch.ones(1))
    e.case("as many tokens as heads", *heads(e, 4, H=4), torch.tensor([0.3, 0.6, 0.8, 0.95]))
    e.case("300 tokens, keep 0.01 and 0.999", *heads(e, 300, B=1, H=2), torch.tensor([0.01, 0.999]))
    for hint, shares in WRONG_FADING.items():
        e.mistake(hint, faded(shares))
    e.mistake(
        "above the diagonal 0.01 to the power of -299 is infinite, and the gradient is nan: clamp the age at 0.",
        faded(lambda age, keep: keep**age),
    )
    e.mistake("there is no mask: a token sees later ones.", faded(lambda age, keep: keep ** age.abs(), lambda w: w))
    e.mistake(
        "the scores fade from the first axis on: keep is (H,), so keep[:, None, None].",
        lambda q, k, v, keep: fading(q, k, v, keep.mean().expand(keep.shape)),
    )


WRONG_FADING = {
    "one step too many: token t reads its own value unfaded.": lambda age, keep: keep ** (age + 1).clamp(min=0),
    "one step too few: the token before has faded once.": lambda age, keep: keep ** (age - 1).clamp(min=0),
    "the age is upside down: t - s, with t in the rows.": lambda age, keep: keep ** (-age),
    "nothing fades.": lambda age, keep: torch.ones_like(keep) + 0 * age,
    "every past token fades once: its age is the power.": lambda age, keep: keep ** (age > 0).long(),
    "keep is multiplied by the age: it is a power.": lambda age, keep: keep * age,
    "the share that is lost is taken for the share that is kept.": lambda age, keep: (1 - keep) ** age.clamp(min=0),
    "that fades like e^(-keep * age): it is keep^age.": lambda age, keep: (-keep * age.clamp(min=0)).exp(),
}
