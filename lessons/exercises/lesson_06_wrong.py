"""Wrong forms of lesson 06's block step, one slip each, and the parts to make them."""

import torch

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
}
