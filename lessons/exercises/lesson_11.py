"""The checks of lesson 11, linear attention."""

import torch
import torch.nn.functional as F

from lessons.checker.check import Checks
from lessons.checker.effort import Effort, without_a_loop
from lessons.checker.limits import InWords
from lessons.exercises.lesson_11_wrong import (
    WRONG_CHUNKS,
    WRONG_FADING,
    WRONG_SHARES,
    WRONG_STEPS,
    always_a_pair,
    fade_by_steps,
    fed_twice,
    half_repaired,
    itself,
    ones_first,
    padded_all,
)
from lib.layers.linear_attention import averaged, linear_attention, linear_chunked, linear_recurrent
from lib.run.measure import numbers_written

MOST_CALLS = 300  # of torch: four chunks in ten or twenty lines make 80, 512 steps make thousands

checks = Checks("11")
check = checks.check


def heads(e, T, B=2, H=3, N=4, D=5):
    """Return random queries, keys and values."""
    return e.randn(B, H, T, N), e.randn(B, H, T, N), e.randn(B, H, T, D)


def by_chunks_indeed(answer, q, k, v, chunk):
    """Call a chunked form, and see that it takes neither single tokens nor the matrix of all pairs."""
    with Effort() as effort:
        result = answer(q, k, v, chunk=chunk)
    if effort.calls > MOST_CALLS:
        steps = -(-q.shape[2] // chunk)
        raise InWords(f"right, but in far more than the {steps} steps that {chunk} tokens at a time take")
    if effort.largest >= q.shape[2] ** 2:
        raise InWords(f"right, but by the matrix of all pairs, and not by those of {chunk} tokens")
    if effort.largest < chunk**2:
        raise InWords(f"right, but in pieces smaller than the {chunk} tokens that were asked for")
    return result


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
    e.case("512 tokens in chunks of 128", *heads(e, 512, B=1, H=1), 128, call=by_chunks_indeed)
    for hint, wrong in WRONG_CHUNKS.items():
        e.mistake(hint, wrong)


def running_mean(k, kept):
    """(B, H, T, N) -> (B, H, T, N): m_t = kept * m_{t-1} + (1 - kept) * k_t, from m = 0."""
    return means_by(lambda m, k_t: kept * m + (1 - kept) * k_t)(k, kept)


def from_the_first(begin):
    """Return a running mean whose first value is begin(m_0, kept), and not 0, for the first key m_0."""

    def answer(k, kept):
        keys = k.unbind(2)
        m = begin(keys[0], kept)
        means = [m]
        for k_t in keys[1:]:
            m = kept * m + (1 - kept) * k_t
            means.append(m)
        return torch.stack(means, dim=2)

    return answer


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


def over_heads(k, kept):
    """Step along the heads instead of time."""
    return running_mean(k.transpose(1, 2), kept).transpose(1, 2)


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
    e.mistake("the mean begins at the first key: it begins at 0.", from_the_first(lambda k, kept: k))
    e.mistake("the heads are taken one by one: time is the third axis, k.unbind(2).", lambda k, a: over_heads(k, a))
    e.mistake(
        "it is read as it should be; `means[:, :, t] = ...` is left: a list, and `stack` at the end.", half_repaired
    )
    e.mistake("the mean is detached: fast, but it learns nothing.", lambda k, a: running_mean(k.detach(), a))


def weigher(shares):
    """Return an `averaged` by shares(weights (B, H, T, T) under the mask, v, q, k), for the matrix form alone."""

    def answer(form, q, k, v):
        return shares((q @ k.mT).tril(), v, q, k)

    return answer


def by_that_form(answer, form, q, k, v):
    """Call an average, and see that it uses the form that it was given."""
    used = []
    result = answer(lambda *z: used.append(z) or form(*z), q, k, v)
    if not used:
        raise InWords("right, but `form` is never called")
    return result


@checks.exercise("11.4", averaged, points=3, batch=(1, 2, 3), time=(3, 2))
def normalised(e):
    """A weighted mean by any of the forms."""
    for name, form in (("matrix", linear_attention), ("recurrence", linear_recurrent), ("chunks", linear_chunked)):
        q, k, v = heads(e, 6)
        e.case(f"by the {name}", form, q.exp(), k.exp(), v)
    q, k, v = heads(e, 5, N=3, D=3)
    e.case("small weights", linear_attention, 1e-3 * q.exp(), 1e-3 * k.exp(), v)
    e.case("two tokens", linear_recurrent, *(z[:, :, :2].exp() for z in (q, k, v)))
    e.case("by the form that is given", linear_recurrent, *(z.exp() for z in heads(e, 5)), call=by_that_form)
    for hint, shares in WRONG_SHARES.items():
        e.mistake(hint, weigher(shares))
    e.mistake(
        "`form` is left out: it may be the matrix, the recurrence or the chunks.",
        weigher(lambda w, v, q, k: w @ v / w.sum(-1, keepdim=True)),
    )
    e.mistake("divided by the sum of the result's channels: by the sum of the weights.", by_own_sum)
    e.mistake(
        "the ones are one more token: F.pad(v, (0, 1), value=1.0) adds a channel.",
        lambda form, q, k, v: first(form(q, k, F.pad(v, (0, 0, 0, 1), value=1.0))),
    )
    e.mistake("the ones stand first, and the last channel is divided by: F.pad(v, (0, 1)).", ones_first)
    e.mistake("q and k have a channel of ones, too: it belongs to the values alone.", padded_all)
    e.mistake("q and k have been through the feature map already.", fed_twice)
    e.mistake("the matrix returns y alone: take y[0] only where y is a tuple.", always_a_pair)
    e.mistake("y[..., -1] has lost its axis: y[..., -1:] keeps it.", with_ones(lambda y: y[..., :-1] / y[..., -1]))
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


def by_own_sum(form, q, k, v):
    """Divide by the sum of the channels."""
    y = first(form(q, k, v))
    return y / y.sum(-1, keepdim=True)


def with_ones(end):
    """Return an `averaged` that makes end(y) of the result for values with a channel of ones."""
    return lambda form, q, k, v: end(first(form(q, k, torch.cat([v, torch.ones_like(v[..., :1])], -1))))


def fading(q, k, v, w):
    """q, k (B, H, T, N), v (B, H, T, D), w (H,) -> (B, H, T, D), where S <- w * S + k_t^T v_t."""
    return faded(lambda age, w: w ** age.clamp(min=0))(q, k, v, w)


def with_softmax(q, k, v, w):
    """Put a softmax over the faded scores."""
    hidden = torch.ones(q.shape[2], q.shape[2]).triu(1).bool()
    return faded(lambda age, w: w ** age.clamp(min=0), lambda z: z.masked_fill(hidden, -torch.inf).softmax(-1))(
        q, k, v, w
    )


def faded(shares, mask=torch.tril):
    """Return a `fading` by shares(age (T, T), w (H, 1, 1)), right or wrong."""

    def answer(q, k, v, w):
        position = torch.arange(q.shape[2])
        return mask((q @ k.mT) * shares(position[:, None] - position, w[:, None, None])) @ v

    return answer


@checks.exercise("11.5", fading, points=4, batch=(0, 1, 2), time=(2, 2))
def decay(e):
    """Decay as a matrix."""
    e.case("3 heads", *heads(e, 7), torch.tensor([0.5, 0.9, 0.99]))
    e.case("one token", *heads(e, 1), torch.tensor([0.5, 0.9, 0.99]))
    e.case("nothing fades", *heads(e, 6, H=1), torch.ones(1))
    e.case("as many tokens as heads", *heads(e, 4, H=4), torch.tensor([0.3, 0.6, 0.8, 0.95]))
    e.case(
        "300 tokens, w 0.01 and 0.999", *heads(e, 300, B=1, H=2), torch.tensor([0.01, 0.999]), call=without_a_loop(300)
    )
    for hint, shares in WRONG_FADING.items():
        e.mistake(hint, faded(shares))
    e.mistake(
        "above the diagonal 0.01 to the power of -299 is infinite, and the gradient is nan: clamp the age at 0.",
        faded(lambda age, w: w**age),
    )
    e.mistake("there is no mask: a token sees later ones.", faded(lambda age, w: w ** age.abs(), lambda scores: scores))
    e.mistake(
        "all heads fade alike: each has a share of its own, w[:, None, None].",
        lambda q, k, v, w: fading(q, k, v, w.mean().expand(w.shape)),
    )
    for hint, shape in {
        "`w` meets the last axis: w is (H,), so w[:, None, None] to go with (T, T).": (-1,),
        "w[:, None] is (H, 1) and meets the rows: w[:, None, None].": (-1, 1),
    }.items():
        e.mistake(
            hint, lambda q, k, v, w, shape=shape: faded(lambda age, _: w.view(shape) ** age.clamp(min=0))(q, k, v, w)
        )
    e.mistake("there is no softmax here: the faded products are the weights.", with_softmax)
    e.mistake(
        "the results are divided by sqrt(N): nothing is scaled here.", lambda *a: fading(*a) / a[0].shape[-1] ** 0.5
    )
    e.mistake("`triu` keeps the later tokens: tril.", faded(lambda age, w: w ** age.clamp(min=0), torch.triu))
    e.mistake("the keys are not transposed: q @ k.transpose(-1, -2).", lambda q, k, v, w: ((q @ k) * w).tril() @ v)
    e.mistake(
        "the diagonal is hidden: a token reads itself, `tril()` without -1.", lambda *a: fading(*a) - itself(*a[:3])
    )
    e.mistake("a loop over time is right, and slow: here the shares of all pairs stand in one matrix.", fade_by_steps)
