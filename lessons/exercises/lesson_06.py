"""The checks of lesson 06, online softmax."""

import torch

from lessons.checker.check import Checks
from lessons.checker.limits import InWords
from lessons.exercises.lesson_06_wrong import (
    SLIPS,
    WRONG_LOSSES,
    WRONG_MERGES,
    WRONG_SUMS,
    Largest,
    added_maxima,
    chunked_loss,
    right_total,
    streamed,
    with_sums,
)
from lib.layers.online_softmax import add_block

checks = Checks("06")
check = checks.check


def one_step(answer, maximum, total, weighted, scores, v):
    """Call add_block with its state as three inputs. The maximum's own gradient is left out: a tie leaves it open."""
    result = answer((maximum, total, weighted), scores, v)
    if isinstance(result, tuple) and isinstance(result[0], torch.Tensor):
        result = (result[0].detach(), *result[1:])
    return result


def state(e, *shape, size=1.0):
    """Return a state that has seen some keys: maximum, total, weighted; shape is (..., T, N)."""
    column = (*shape[:-1], 1)
    return size * e.randn(*column), 1 + e.randn(*column).exp(), e.randn(*shape)


def empty(*shape):
    """Return the state of a pass that has seen nothing."""
    column = torch.zeros(*shape[:-1], 1)
    return column - torch.inf, column, torch.zeros(*shape)


@checks.exercise("06.1", add_block, points=5, call=one_step, batch=(0, 1, 2, 3, 4))
def block(e):
    """One block into the running maximum and the two sums."""
    e.case("a later block", *state(e, 2, 3, 4, 6), e.randn(2, 3, 4, 5), e.randn(2, 3, 5, 6))
    e.case("the first block", *empty(2, 4, 6), e.randn(2, 4, 5), e.randn(2, 5, 6))
    e.case("a larger maximum comes", *state(e, 2, 4, 6), 5 + e.randn(2, 4, 3), e.randn(2, 3, 6))
    e.case("no larger maximum comes", *state(e, 2, 4, 6), e.randn(2, 4, 3) - 6, e.randn(2, 3, 6))
    e.case("large scores", *state(e, 2, 4, 3, size=1000.0), 1000 * e.randn(2, 4, 5), e.randn(2, 5, 3))
    hidden = torch.tensor([[1, 0, 0], [1, 1, 0]]) == 0
    e.case("some keys hidden", *state(e, 3, 2, 5), e.randn(3, 2, 3).masked_fill(hidden, -torch.inf), e.randn(3, 3, 5))
    e.case("all keys hidden, some seen before", *state(e, 2, 4, 6), torch.full((2, 4, 3), -torch.inf), e.randn(2, 3, 6))
    e.case("all keys hidden, none seen before", *empty(2, 4, 6), torch.full((2, 4, 3), -torch.inf), e.randn(2, 3, 6))
    for hint, sums in WRONG_SUMS.items():
        e.mistake(hint, with_sums(sums))
    for hint, wrong in SLIPS.items():
        e.mistake(hint, wrong)


def mean_of_stream(blocks):
    """A list of (scores (S,), values (S, N)) -> the weighted mean (N,)."""
    return stream(
        lambda total, weighted, shrink, share, values: (
            total * shrink + share.sum(),
            weighted * shrink + share @ values,
        )
    )(blocks)


def stream(sums):
    """Return a pass by sums(total, weighted, shrink, share, values) -> (total, weighted), right or wrong."""

    def run(blocks):
        maximum, total, weighted = torch.tensor(-torch.inf), 0.0, 0.0
        for scores, values in blocks:
            larger = torch.maximum(maximum, scores.max())
            total, weighted = sums(total, weighted, (maximum - larger).exp(), (scores - larger).exp(), values)
            maximum = larger
        return weighted / total

    return run


def in_blocks(answer, scores, values, sizes):
    """Call a pass with the scores and values cut into blocks."""
    return answer(list(zip(scores.split(sizes), values.split(sizes), strict=True)))


@checks.exercise("06.2", mean_of_stream, points=2, kind="repair", call=in_blocks)
def repaired(e):
    """The pass that forgot to shrink one sum."""
    e.case("the largest first", e.randn(6).sort(descending=True)[0], e.randn(6, 3), [2, 4])
    e.case("the largest last", 2 * e.randn(7).sort()[0], e.randn(7, 3), [3, 2, 2])
    e.case("as they come", 2 * e.randn(9), e.randn(9, 4), [1] * 9)
    e.case("large scores", 300 * e.randn(8), e.randn(8, 2), [3, 5])
    far = torch.cat([200 + e.randn(3), e.randn(4)])
    e.case("the first block far above the next", far, e.randn(7, 2), [3, 4])
    for hint, sums in {
        "this is the broken one as it was: the weighted sum is not shrunk.": lambda l, o, c, p, v: (
            l * c + p.sum(),
            o + p @ v,
        ),
        "now the total is not shrunk.": lambda l, o, c, p, v: (l + p.sum(), o * c + p @ v),
        "neither sum is shrunk.": lambda l, o, c, p, v: (l + p.sum(), o + p @ v),
        "the new block is shrunk with the old: shrink first, then add.": lambda l, o, c, p, v: (
            l * c + p.sum(),
            (o + p @ v) * c,
        ),
        "the weighted sum is shrunk twice.": lambda l, o, c, p, v: (l * c + p.sum(), o * c * c + p @ v),
        "the total is shrunk twice.": lambda l, o, c, p, v: (l * c * c + p.sum(), o * c + p @ v),
        "each block counts alike: its own softmax is no share of the whole.": lambda l, o, c, p, v: (
            l + 1,
            o + p @ v / p.sum(),
        ),
        "only the last block is left.": lambda l, o, c, p, v: (p.sum(), p @ v),
        "the factor is upside down: (maximum - larger).exp(), at most 1, multiplies.": lambda l, o, c, p, v: (
            l / c + p.sum(),
            o / c + p @ v,
        ),
        "the block is measured from its own maximum: from `larger`, like all the rest.": lambda l, o, c, p, v: (
            l * c + p.sum() / p.max(),
            o * c + p @ v / p.max(),
        ),
        "the block is measured from the old maximum: from `larger`, the new one.": lambda l, o, c, p, v: (
            l * c + p.sum() / c,
            o * c + p @ v / c,
        ),
    }.items():
        e.mistake(hint, stream(sums))
    e.mistake("no maximum is subtracted: large scores overflow.", unmeasured_mean)
    e.mistake("the maximum of the block alone: the old one counts, too, or a low block overflows.", by_block)


def unmeasured_mean(blocks):
    """Powers as they are."""
    scores, values = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    return scores.exp() @ values / scores.exp().sum()


def by_block(blocks):
    """The maximum of each block, whatever came before."""
    maximum, total, weighted = torch.tensor(-torch.inf), 0.0, 0.0
    for scores, values in blocks:
        shrink, share = (maximum - scores.max()).exp(), (scores - scores.max()).exp()
        total, weighted, maximum = total * shrink + share.sum(), weighted * shrink + share @ values, scores.max()
    return weighted / total


def merge(one, other):
    """Two states over different keys -> the state over all of them."""
    return merged(lambda l1, l2, o1, o2, a, b: (a * l1 + b * l2, a * o1 + b * o2))(one, other)


def merged(sums):
    """Return a merge by sums(l1, l2, o1, o2, a, b) -> (l, o), right or wrong."""

    def run(one, other):
        m = torch.maximum(one[0], other[0])
        return m, *sums(one[1], other[1], one[2], other[2], torch.exp(one[0] - m), torch.exp(other[0] - m))

    return run


@checks.exercise("06.3", merge, points=3, call=lambda answer, *z: answer(z[:3], z[3:]), batch=(0, 1, 2, 3, 4, 5))
def merging(e):
    """Two partial results into one."""
    e.case("random states", *state(e, 2, 4, 6), *state(e, 2, 4, 6))
    one, other = state(e, 3, 2, 5), state(e, 3, 2, 5)
    e.case("the first has the larger maximum", one[0] + 9, *one[1:], *other)
    e.case("the second has the larger maximum", *one, other[0] + 9, *other[1:])
    e.case("large scores", *state(e, 2, 4, 3, size=500.0), *state(e, 2, 4, 3, size=500.0))
    e.case("equal maxima", *one, one[0], *other[1:])
    for hint, sums in {
        "the sums are added as they are: measure both from the larger maximum.": lambda l, k, o, p, a, b: (
            l + k,
            o + p,
        ),
        "only the second state is shrunk.": lambda l, k, o, p, a, b: (l + b * k, o + b * p),
        "only the first state is shrunk.": lambda l, k, o, p, a, b: (a * l + k, a * o + p),
        "the factors are swapped: each state has its own.": lambda l, k, o, p, a, b: (b * l + a * k, b * o + a * p),
        "the totals are not shrunk.": lambda l, k, o, p, a, b: (l + k, a * o + b * p),
        "the weighted sums are not shrunk.": lambda l, k, o, p, a, b: (a * l + b * k, o + p),
        "the two results are averaged: the one with the larger total must count more.": lambda l, k, o, p, a, b: (
            l + k,
            (o / l + p / k) / 2 * (l + k),
        ),
        "it divides by the total: that comes at the end.": lambda l, k, o, p, a, b: (
            a * l + b * k,
            (a * o + b * p) / (a * l + b * k),
        ),
    }.items():
        e.mistake(hint, merged(sums))
    for hint, wrong in WRONG_MERGES.items():
        e.mistake(hint, wrong)
    for wrong in (lambda s, t: (s[0] + t[0], *merge(s, t)[1:]), added_maxima):
        e.mistake("maxima are not added: the larger of the two.", wrong)


def few_logits(answer, x, head, targets, chunk=256):
    """Call a loss, and refuse it where it holds the logits of more words than a chunk has."""
    held = Largest(x.shape[1])
    with held:
        loss = answer(x, head, targets, chunk)
    # With chunks of one word even a row of their sums has as many numbers as the logits.
    if 1 < chunk < len(head) and held.numbers > len(x) * chunk:
        raise InWords(
            f"it makes a tensor of {held.numbers} numbers, but {len(x)} tokens and {chunk} words have"
            f" {len(x) * chunk} logits: go over the words in chunks, for all tokens at once"
        )
    return loss


def left_out_of_the_call(answer, *inputs):
    """Call a loss without a chunk."""
    return answer(*inputs)


@checks.exercise("06.4", chunked_loss, points=4, call=few_logits)
def loss(e):
    """Cross-entropy without the logits."""
    e.case("a last chunk that is smaller", e.randn(7, 5), e.randn(23, 5), e.randint(23, 7), 8)
    e.case("chunks that fit", e.randn(6, 5), e.randn(24, 5), e.randint(24, 6), 8)
    e.case("one chunk", e.randn(3, 5), e.randn(9, 5), e.randint(9, 3), 100)
    e.case("one word at a time", e.randn(4, 5), e.randn(11, 5), e.randint(11, 4), 1)
    e.case("large logits", 60 * e.randn(4, 5), e.randn(16, 5), e.randint(16, 4), 4)
    last = e.randn(4, 5), e.randn(300, 5), e.randint(300, 4)
    e.case("chunk left out of the call", *last, call=left_out_of_the_call)
    low = torch.full((4, 5), 0.5), -44.0 - e.randint(5, 16, 5)  # halves of whole numbers, exact in float32
    e.case("all logits far below zero", *low, e.randint(16, 4), 4)

    def from_zero(x, head, targets, chunk=256):
        top, total = x.new_zeros(len(x)), x.new_zeros(len(x))
        for part in head.split(chunk):
            z = x @ part.T
            new = torch.maximum(top, z.amax(-1))
            top, total = new, total * (top - new).exp() + (z - new[:, None]).exp().sum(-1)
        return (top + total.log() - (x * head[targets]).sum(-1)).mean()

    e.mistake("the maximum begins at 0, which is above logits below zero: begin at minus infinity.", from_zero)
    for hint, wrong in WRONG_LOSSES.items():
        e.mistake(hint, wrong)
        if "pairs each token" in hint:  # the same slip, with the mean over all pairs
            e.mistake(hint, streamed(right_total, lambda x, h, t: x @ h[t].T))


@checks.exercise("06.5", 32768 * (128 + 1), points=1)
def numbers_kept(e):
    """What FlashAttention keeps of one head for the backward pass."""
    e.mistake("that is the matrix.", 32768**2)
    e.mistake("the result alone: one number for each query is kept, too.", 32768 * 128)
    e.mistake("one number for each query alone: the result is kept, too.", 32768)
    e.mistake("m + ln(l) is one number, not two.", 32768 * 130)
    e.mistake("these are bytes of two: count numbers.", 2 * 32768 * 129)
    e.mistake("these are bytes of four: count numbers.", 4 * 32768 * 129)
    e.mistake("one number for each query, and there are 32,768 queries.", 32768 * 128 + 1)
    e.mistake("that is for one query: there are 32,768.", 129)
    e.mistake("that is for all 32 heads: one head was asked for.", 32768 * 129 * 32)
    e.mistake("each of the 32,768 queries has N numbers and one more: T times (N + 1), not T + N.", 32768 + 128)
    for numbers in (3 * 128 + 1, 4 * 128 + 1):
        e.mistake(
            "queries, keys and values are there in both forms: count the result and one number each.", 32768 * numbers
        )
