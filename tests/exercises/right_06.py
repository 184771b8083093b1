"""Right answers to the exercises of lesson 06, written in other ways: the check must let them through."""

import torch

from lessons.exercises.lesson_06 import merged, stream
from lessons.exercises.lesson_06_wrong import with_maximum, with_sums
from tests.exercises.rights import right


@right("06.1")
def one_key_more(state, scores, v):
    """What was seen before is one more key: its score is the maximum, its weight the total."""
    maximum, total, weighted = state
    larger = torch.cat([maximum, scores], -1).amax(-1, keepdim=True)
    base = larger.masked_fill(larger == -torch.inf, 0.0)
    before, now = (maximum - base).exp(), (scores - base).exp()
    return larger, before * total + now.sum(-1, keepdim=True), before * weighted + now @ v


@right("06.2")
def by_logaddexp(blocks):
    """Keep the logarithm of the total, and a mean that is always finished."""
    log_total, mean = None, None
    for scores, values in blocks:
        log_block, mean_block = scores.logsumexp(0), scores.softmax(0) @ values
        if log_total is None:
            log_total, mean = log_block, mean_block
            continue
        both = torch.logaddexp(log_total, log_block)
        mean = (log_total - both).exp() * mean + (log_block - both).exp() * mean_block
        log_total = both
    return mean


@right("06.3")
def by_stacking(one, other):
    """Both states on a new axis."""
    m, l, o = (torch.stack(parts) for parts in zip(one, other, strict=True))
    largest = m.amax(0)
    shrink = (m - largest).exp()
    return largest, (shrink * l).sum(0), (shrink * o).sum(0)


@right("06.4")
def by_list(x, head, targets, chunk=256):
    """The logsumexp of the chunks' logsumexps."""
    parts = [(x @ part.T).logsumexp(-1) for part in head.split(chunk)]
    right = torch.einsum("tc,tc->t", x, head[targets])
    return (torch.stack(parts, -1).logsumexp(-1) - right).mean()


right("06.1")(
    with_sums(
        lambda l, o, shrink, p, v: (
            torch.addcmul(p.sum(-1, keepdim=True), l, shrink),
            torch.einsum("...ts,...sn->...tn", p, v) + shrink * o,
        )
    )
)
right("06.1")(with_maximum(lambda m, a: torch.cat([m, a], -1).max(-1, keepdim=True)[0]))
right("06.2")(lambda blocks: torch.cat([s for s, _ in blocks]).softmax(0) @ torch.cat([v for _, v in blocks]))
right("06.2")(stream(lambda l, o, c, p, v: (c * l + p.sum(), c * o + (p[:, None] * v).sum(0))))
right("06.3")(merged(lambda l, k, o, p, a, b: (l * a + k * b, o * a + p * b)))
right("06.3")(
    lambda s, t: (
        torch.maximum(s[0], t[0]),
        *(sum(x * (m - torch.maximum(s[0], t[0])).exp() for m, x in ((s[0], s[i]), (t[0], t[i]))) for i in (1, 2)),
    )
)


@right("06.4")
def tokens_apart(x, head, targets, chunk=256):
    """One token after another, and the target picked out of its chunk."""
    losses = []
    for one, target in zip(x, targets.tolist(), strict=True):
        parts = [part @ one for part in head.split(chunk)]
        losses.append(
            torch.stack([part.logsumexp(0) for part in parts]).logsumexp(0) - parts[target // chunk][target % chunk]
        )
    return torch.stack(losses).mean()


@right("06.4")
def by_pairs(x, head, targets, chunk=256):
    """The same by torch's own two functions."""
    total = None
    for part in head.split(chunk):
        new = (x @ part.T).logsumexp(-1)
        total = new if total is None else torch.logaddexp(total, new)
    return (total - torch.einsum("tc,tc->t", x, head[targets])).mean()
