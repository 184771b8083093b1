"""Wrong forms of lesson 06's block step, merge and loss, one slip each, and the parts to make them."""

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lib.layers.online_softmax import add_block


def parts(maximum, scores):
    """Return the new maximum, and what it is measured from."""
    larger = torch.maximum(maximum, scores.amax(-1, keepdim=True))
    return larger, torch.where(larger == -torch.inf, torch.zeros_like(larger), larger)


def with_sums(sums):
    """Return an add_block by sums(total, weighted, shrink, share, v) -> (total, weighted), right or wrong."""

    def step(state, scores, v):
        larger, base = parts(state[0], scores)
        return larger, *sums(state[1], state[2], torch.exp(state[0] - base), torch.exp(scores - base), v)

    return step


def with_maximum(choose, base=None):
    """Return an add_block with the maximum choose(maximum, scores); shares are measured from base(larger, scores)."""

    def step(state, scores, v):
        larger = choose(state[0], scores)
        zero = torch.where(larger == -torch.inf, torch.zeros_like(larger), larger)
        share = torch.exp(scores - (base(zero, scores) if base else zero))
        shrink = torch.exp(state[0] - zero)
        return larger, state[1] * shrink + share.sum(-1, keepdim=True), state[2] * shrink + share @ v

    return step


def own(scores):
    """Return the largest score of the block, 0 where all are -inf."""
    return parts(torch.full_like(scores[..., :1], -torch.inf), scores)[1]


def in_place(state, scores, v):
    """A right result, but the state that came in is spoiled."""
    larger, base = parts(state[0], scores)
    shrink, share = torch.exp(state[0] - base), torch.exp(scores - base)
    with torch.no_grad():
        state[1].mul_(shrink).add_(share.sum(-1, keepdim=True))
    return larger, state[1], state[2] * shrink + share @ v


def unmeasured(state, scores, v):
    """No maximum is subtracted at all."""
    larger, _ = parts(state[0], scores)
    return larger, state[1] + scores.exp().sum(-1, keepdim=True), state[2] + scores.exp() @ v


def no_corner(state, scores, v):
    """-inf - -inf is nan."""
    larger, _ = parts(state[0], scores)
    shrink, share = torch.exp(state[0] - larger), torch.exp(scores - larger)
    return larger, state[1] * shrink + share.sum(-1, keepdim=True), state[2] * shrink + share @ v


def ones_for_nothing(state, scores, v):
    """NaN is replaced, by the wrong number."""
    larger, _ = parts(state[0], scores)
    shrink, share = (torch.exp(z - larger).nan_to_num(1.0) for z in (state[0], scores))
    return larger, state[1] * shrink + share.sum(-1, keepdim=True), state[2] * shrink + share @ v


def own_softmax(state, scores, v):
    """The block's own shares."""
    larger, base = parts(state[0], scores)
    shrink, share = torch.exp(state[0] - base), scores.softmax(-1)
    return larger, state[1] * shrink + share.sum(-1, keepdim=True), state[2] * shrink + share @ v


WRONG_SUMS = {
    "the old weighted sum is not shrunk.": lambda l, o, shrink, p, v: (l * shrink + p.sum(-1, keepdim=True), o + p @ v),
    "the old total is not shrunk.": lambda l, o, shrink, p, v: (l + p.sum(-1, keepdim=True), o * shrink + p @ v),
    "neither of the old sums is shrunk.": lambda l, o, shrink, p, v: (l + p.sum(-1, keepdim=True), o + p @ v),
    "the new block is shrunk, too: it is measured from the new maximum already.": lambda l, o, shrink, p, v: (
        (l + p.sum(-1, keepdim=True)) * shrink,
        (o + p @ v) * shrink,
    ),
    "the old sums are divided by the factor: e^(old - new) multiplies.": lambda l, o, shrink, p, v: (
        l / shrink + p.sum(-1, keepdim=True),
        o / shrink + p @ v,
    ),
    "the old sums are forgotten.": lambda l, o, shrink, p, v: (p.sum(-1, keepdim=True), p @ v),
    "the powers are summed over the queries: over the keys, the last axis.": lambda l, o, shrink, p, v: (
        l * shrink + p.sum(-2, keepdim=True),
        o * shrink + p @ v,
    ),
    "the block's mean is added to the total: it is the sum.": lambda l, o, shrink, p, v: (
        l * shrink + p.mean(-1, keepdim=True),
        o * shrink + p @ v,
    ),
    "it divides by the total at each block: divide once, at the end.": lambda l, o, shrink, p, v: (
        l * shrink + p.sum(-1, keepdim=True),
        (o * shrink + p @ v) / (l * shrink + p.sum(-1, keepdim=True)),
    ),
    "the block's values are averaged with its own softmax: only the powers multiply.": lambda l, o, shrink, p, v: (
        l * shrink + p.sum(-1, keepdim=True),
        o * shrink + p / p.sum(-1, keepdim=True).clamp(min=1e-30) @ v,
    ),
}

SLIPS = {
    "the maximum of the block alone: the old one counts, too.": with_maximum(lambda m, a: a.amax(-1, keepdim=True)),
    "the maximum never grows.": with_maximum(lambda m, a: m),
    "one maximum for all queries: each has its own, over the last axis.": with_maximum(
        lambda m, a: torch.maximum(m, a.max())
    ),
    "the maximum runs over the queries: over the keys, the last axis.": with_maximum(
        lambda m, a: torch.maximum(m, a.amax(-2, keepdim=True).amax(-1, keepdim=True))
    ),
    "the shares are measured from the block's own maximum: from the new common one.": with_maximum(
        lambda m, a: parts(m, a)[0], lambda larger, a: own(a)
    ),
    "base is returned as the maximum: a query that saw no key has -inf still.": lambda s, a, v: (
        parts(s[0], a)[1],
        *add_block(s, a, v)[1:],
    ),
    "total and maximum are swapped in what is returned.": lambda s, a, v: tuple(
        add_block(s, a, v)[i] for i in (1, 0, 2)
    ),
    "no maximum is subtracted: large scores overflow.": unmeasured,
    "-inf - -inf is not a number: measure from measured_from(larger).": no_corner,
    "it works on the state in place: make new tensors.": in_place,
    "where no key was seen the shares are 0, not 1.": ones_for_nothing,
    "the shares are the block's own softmax: exp(scores - base).": own_softmax,
    "total and weighted come before the maximum: return the three in the order in which they came.": lambda s, a, v: (
        tuple(add_block(s, a, v)[i] for i in (1, 2, 0))
    ),
    "`amax` and `sum` drop the last axis: `keepdim=True`.": lambda s, a, v: torch.maximum(s[0], a.amax(-1)),
    "shares and values are multiplied place by place: `share @ v` sums over the keys.": lambda s, a, v: a * v,
}


def merging(maximum, factors=lambda m, one, other: (torch.exp(one - m), torch.exp(other - m))):
    """Return a merge with the maximum maximum(one, other) and the factors of the two states."""

    def run(one, other):
        m = maximum(one[0], other[0])
        a, b = factors(m, one[0], other[0])
        return m, a * one[1] + b * other[1], a * one[2] + b * other[2]

    return run


def from_the_second(one, other):
    """Measure from the second maximum, and return it."""
    return merging(lambda a, b: b)(one, other)


def one_question(one, other):
    """One comparison decides for all queries."""
    return merging(lambda a, b: a if (a > b).all() else b)(one, other)


added_maxima = merging(torch.add)

WRONG_MERGES = {
    "the factors are upside down: e^(m_1 - m), which is at most 1.": merging(
        torch.maximum, lambda m, one, other: (torch.exp(m - one), torch.exp(m - other))
    ),
    "one maximum for all queries: `torch.maximum` compares place by place.": merging(
        lambda a, b: max(a.max(), b.max())
    ),
    "Python's `max` can't compare tensors: `torch.maximum`.": merging(max),
    "the sums are measured from the second maximum, and the larger one is returned.": merging(
        torch.maximum, lambda m, one, other: (torch.exp(one - other), torch.ones_like(m))
    ),
    "always measured from the first maximum: it overflows when the second is larger.": merging(
        lambda a, b: a, lambda m, one, other: (torch.ones_like(m), torch.exp(other - one))
    ),
    "always measured from the second maximum: it overflows when the first is larger.": from_the_second,
    "one comparison decides for all queries: `torch.maximum` decides for each.": one_question,
    "ln(e^m_1 + e^m_2) is larger than both maxima: the larger of the two.": merging(torch.logaddexp),
    "the weighted sums are divided by the total, and the totals are not shrunk.": lambda one, other: (
        torch.maximum(one[0], other[0]),
        one[1] + other[1],
        (one[2] + other[2]) / (one[1] + other[1]),
    ),
    "a state has three parts, and the maximum is the first.": lambda one, other: merging(torch.maximum)(one, other)[1:],
}


class Largest(TorchDispatchMode):
    """While active, note the most numbers of a float tensor that is made, but for those with an axis of `width`."""

    def __init__(self, width):
        super().__init__()
        self.width, self.numbers = width, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Call a tensor function, and look at what it made."""
        result = function(*args, **(kwargs or {}))
        for t in tree_leaves(result):
            if isinstance(t, torch.Tensor) and t.is_floating_point() and self.width not in t.shape:
                self.numbers = max(self.numbers, t.numel())
        return result


def chunked_loss(x, head, targets, chunk=256):
    """x (T, C), head (V, C), targets (T,) -> the mean cross-entropy, `chunk` words at a time."""
    return streamed(lambda total, shrink, power: total * shrink + power)(x, head, targets, chunk)


def streamed(total_of, target=lambda x, head, targets: (x * head[targets]).sum(-1), finish=torch.mean):
    """Return a loss whose running total is total_of(total, shrink, sum of powers), right or wrong."""

    def run(x, head, targets, chunk=256):
        maximum, total = torch.full_like(x[:, 0], -torch.inf), torch.zeros_like(x[:, 0])
        for w in range(0, len(head), chunk):
            z = x @ head[w : w + chunk].T
            larger = torch.maximum(maximum, z.amax(-1))
            total = total_of(total, torch.exp(maximum - larger), torch.exp(z - larger[:, None]).sum(-1))
            maximum = larger
        return finish(maximum + total.log() - target(x, head, targets))

    return run


def right_total(total, shrink, power):
    """Shrink the old, add the new."""
    return total * shrink + power


def over_chunks(join):
    """Return a loss from join(the log-sum-exps of the chunks, each (T,)) -> (T,)."""

    def run(x, head, targets, chunk=256):
        logs = join([(x @ part.T).logsumexp(-1) for part in head.split(chunk)])
        return (logs - (x * head[targets]).sum(-1)).mean()

    return run


def overflowing(x, head, targets, chunk=256):
    """Powers as they are."""
    total = sum((x @ part.T).exp().sum(-1) for part in head.split(chunk))
    return (total.log() - (x * head[targets]).sum(-1)).mean()


def without_maximum(x, head, targets, chunk=256):
    """ln(total) alone."""
    largest = torch.stack([(x @ part.T).amax(-1) for part in head.split(chunk)]).amax(0)
    return chunked_loss(x, head, targets, chunk) - largest.mean()


def lost_end(x, head, targets, chunk=256):
    """Whole chunks only, unless there is none."""
    whole = len(head) // chunk * chunk or len(head)
    logs = torch.stack([(x @ part.T).logsumexp(-1) for part in head[:whole].split(chunk)]).logsumexp(0)
    return (logs - (x * head[targets]).sum(-1)).mean()


WRONG_LOSSES = {
    "the old total is not shrunk.": streamed(lambda l, c, p: l + p),
    "only the last chunk is left in the total.": streamed(lambda l, c, p: p),
    "the sum over the tokens: it is the mean.": streamed(right_total, finish=torch.sum),
    "a loss for each token: take the mean.": streamed(right_total, finish=lambda z: z),
    "the target's logit is missing.": streamed(right_total, lambda x, head, t: 0 * x[:, 0]),
    "the target's logit is added: subtract it.": streamed(right_total, lambda x, h, t: -(x * h[t]).sum(-1)),
    "the sign is wrong: a loss is not negative.": streamed(right_total, finish=lambda z: -z.mean()),
    "the target's logit is a sum over the channels: `.sum(-1)`, not a mean.": streamed(
        right_total, lambda x, h, t: (x * h[t]).mean(-1)
    ),
    "`x @ head[targets].T` pairs each token with the targets of all: multiply, and sum over the channels.": streamed(
        right_total, lambda x, h, t: (x @ h[t].T).sum(-1)
    ),
    "the maximum is not added to the logarithm: m + ln(total).": without_maximum,
    "the logarithms of the chunks are added: ln(a + b) is not ln(a) + ln(b).": over_chunks(sum),
    "the chunks' losses are averaged: the powers of all chunks are added up before the logarithm.": (
        lambda x, head, targets, chunk=256: over_chunks(sum)(x, head, targets, chunk) / -(-len(head) // chunk)
    ),
    "no maximum is subtracted: large logits overflow.": overflowing,
    "the last chunk is lost when it is smaller.": lost_end,
    "the logits of all words are made at once: take `chunk` of the words at a time.": (
        lambda x, head, targets, chunk=256: F.cross_entropy(x @ head.T, targets)
    ),
}
