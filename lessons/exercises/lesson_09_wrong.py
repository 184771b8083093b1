"""Wrong forms of lesson 09's functions, one slip each, and the parts to make them."""

import math

import torch

from lib.run.sample import keep_top_p


def top_p(logits, p, cut=-torch.inf, gone=None, back=True, inverse=True, first=True, ascending=False, dim=-1):
    """Return top-p with one thing changed. gone(shares, their running sum, p) says which ranks fall out."""
    ordered, place = logits.sort(dim=dim, descending=not ascending)
    share = ordered.softmax(dim=dim)
    out = (gone or (lambda share, total, p: total - share >= p))(share, share.cumsum(dim), p)
    if first:
        out.select(dim, 0).fill_(False)
    if not back:
        return ordered.masked_fill(out, cut)
    return logits.masked_fill(out.gather(dim, place.argsort(dim) if inverse else place), cut)


def changed(**change):
    """Make a wrong top-p."""
    return lambda logits, p: top_p(logits, p, **change)


def _of_logits(logits, p):
    ordered, place = logits.sort(dim=-1, descending=True)
    gone = ordered.cumsum(-1) - ordered >= p
    gone[..., 0] = False
    return logits.masked_fill(gone.gather(-1, place.argsort(-1)), -torch.inf)


def _unsorted(logits, p):
    share = logits.softmax(-1)
    return logits.masked_fill(share.cumsum(-1) - share >= p, -torch.inf)


def _softmax_of_rows(logits, p):
    ordered, place = logits.sort(dim=-1, descending=True)
    share = ordered.softmax(0)
    gone = share.cumsum(-1) - share >= p
    gone[..., 0] = False
    return logits.masked_fill(gone.gather(-1, place.argsort(-1)), -torch.inf)


def _first_row(logits, p):
    ordered, place = logits.sort(dim=-1, descending=True)
    share = ordered.softmax(-1)
    gone = share.cumsum(-1) - share >= p
    gone[0] = False
    return logits.masked_fill(gone.gather(-1, place.argsort(-1)), -torch.inf)


WRONG_TOP_P = {
    "the token that crosses p falls out: what counts is the sum of those before it.": changed(
        gone=lambda s, t, p: t >= p
    ),
    "even the first token can fall out: `gone[..., 0] = False`.": changed(gone=lambda s, t, p: t > p, first=False),
    "one token too many: after the one that crosses p nothing stays.": changed(gone=lambda s, t, p: t - 2 * s >= p),
    "what is cut is 0, and that is a chance like any other: -torch.inf.": changed(cut=0.0),
    "the result is in sorted order: bring it back to the old places.": changed(back=False),
    "brought back with `place` itself: its inverse is `place.argsort(-1)`.": changed(inverse=False),
    "sorted upward: the likeliest come first, `descending=True`.": changed(ascending=True),
    "these are the tokens that should fall out.": changed(gone=lambda s, t, p: t - s < p, first=False),
    "each token's own chance is compared with p: it is their sum that counts.": changed(gone=lambda s, t, p: s < p),
    "the softmax is missing: chances are added, not logits.": _of_logits,
    "not sorted before the sum: likeliest first.": _unsorted,
    "the sum runs over the first axis: the tokens are the last one, -1.": changed(dim=0),
    "chances come back: return the logits, with -inf in them.": lambda z, p: keep_top_p(z, p).softmax(-1),
    "logarithms of chances come back: leave the logits as they are.": lambda z, p: keep_top_p(z, p).log_softmax(-1),
    "the logits were changed in place: make a new tensor.": lambda z, p: z.copy_(keep_top_p(z, p)),
    "the sum is 1 - p: keep p of the chance, not the rest.": lambda z, p: keep_top_p(z, max(1 - p, 1e-9)),
    "all tokens stay: those after the one that crosses p fall out.": lambda z, p: z.clone(),
    "the softmax runs over the rows: the tokens are the last axis, -1.": _softmax_of_rows,
    "`gone[0]` is the first row: the first rank of each row is `gone[..., 0]`.": _first_row,
    "a large negative number is not -inf: -torch.inf.": changed(cut=-1e9),
    "the tokens that stay are picked out: leave all in their places.": lambda z, p: z[keep_top_p(z, p) > -torch.inf],
}


def keep_min_p(logits, min_p):
    """Leave the logits whose chance is at least min_p times their row's largest; the others become -inf."""
    share = logits.softmax(dim=-1)
    return logits.masked_fill(share < min_p * share.amax(-1, keepdim=True), -torch.inf)


def best(values, dim=-1):
    """Return the largest of each row, with its axis kept."""
    return values.amax(dim, keepdim=True)


def where(keep, cut=-torch.inf):
    """Make a wrong min-p: keep(chances, min_p) says what stays."""
    return lambda logits, min_p: torch.where(keep(logits.softmax(-1), min_p), logits, cut)


WRONG_MIN_P = {
    "each chance is compared with min_p itself: times the row's largest chance.": where(lambda s, m: s >= m),
    "one largest for all rows: each row has its own, `amax(-1, True)`.": where(lambda s, m: s >= m * s.max()),
    "the largest over the first axis: the tokens are the last one.": where(lambda s, m: s >= m * best(s, 0)),
    "the best one falls out at min_p = 1: at least, not more than.": where(lambda s, m: s > m * best(s)),
    "what is cut is 0, and that is a chance like any other: -torch.inf.": where(lambda s, m: s >= m * best(s), 0.0),
    "these are the ones that should fall out.": where(lambda s, m: s < m * best(s)),
    "logits are compared: min_p is about chances.": lambda z, m: z.masked_fill(z < m * best(z), -torch.inf),
    "the line is the largest logit minus min_p: plus ln min_p.": lambda z, m: z.masked_fill(
        z < best(z) - m, -torch.inf
    ),
    "the mean takes the place of the largest.": where(lambda s, m: s >= m * s.mean(-1, keepdim=True)),
    "chances come back: return the logits, with -inf in them.": lambda z, m: keep_min_p(z, m).softmax(-1),
    "the logits were changed in place: make a new tensor.": lambda z, m: z.copy_(keep_min_p(z, m)),
    "the largest lost its axis: amax(-1, keepdim=True).": where(lambda s, m: s >= m * s.amax(-1)),
    "`max(-1)` gives values and places: take `.values`, or amax.": where(lambda s, m: s >= s.max(-1, keepdim=True) * m),
    "the line is m times the largest chance, not 1 - m times.": where(lambda s, m: s >= (1 - m) * best(s)),
    "the softmax runs over the rows: the tokens are the last axis, -1.": lambda z, m: z.masked_fill(
        z.softmax(0) < m * best(z.softmax(0)), -torch.inf
    ),
    "logarithms of chances come back: leave the logits as they are.": lambda z, m: keep_min_p(z.log_softmax(-1), m),
    "chances come back, and 0 for what is cut: logits, and -inf.": lambda z, m: torch.where(
        keep_min_p(z, m) > -torch.inf, z.softmax(-1), 0.0
    ),
    "the result is in sorted order: each token keeps its place.": lambda z, m: keep_min_p(
        z.sort(-1, descending=True).values, m
    ),
    "ln m is negative: add it to the largest logit.": lambda z, m: z.masked_fill(
        z < best(z) - torch.tensor(m).log(), -torch.inf
    ),
    "`math.log(0)` is an error: compare chances, or use torch.log.": lambda z, m: z.masked_fill(
        z < best(z) + math.log(m), -torch.inf
    ),
    "the tokens that stay are picked out: leave all in their places.": lambda z, m: z[keep_min_p(z, m) > -torch.inf],
}


def continue_greedily(model, tokens, n_tokens, stop):
    """Return (B, n_tokens): the likeliest token each time; `stop` for ever after the first one in a row."""
    return loop(model, tokens, n_tokens, stop)


def loop(model, tokens, n_tokens, stop, state=True, only_new=True, hold=True, all_end=False, which=-1, least=False,
         shape=lambda token: token[:, None], leave=None):  # fmt: skip
    """Continue with one thing changed. shape: of a token that is read; leave: any or all rows that end the loop."""
    memory, new, told = None, tokens, []
    ended = torch.zeros(len(tokens), dtype=torch.bool)
    for _ in range(n_tokens):
        logits, found = model(new, memory)
        memory = found if state else None
        row = logits[:, which]
        token = row.argmin(-1) if least else row.argmax(-1)
        if hold:
            token = token.masked_fill(ended, stop)
        ended = ended | (token == stop)
        told.append(token)
        new = shape(token) if only_new else torch.cat([new, token[:, None]], 1)
        if all_end and ended.any():
            ended[:] = True
        if leave and leave(ended.tolist()):
            break
    return torch.stack(told, 1)


def looping(**change):
    """Make a wrong loop."""
    return lambda *inputs: loop(*inputs, **change)


def _first_lost(model, tokens, n_tokens, stop):
    told = loop(model, tokens, n_tokens + 1, stop)
    return told[:, 1:]


def _prompt_again(model, tokens, n_tokens, stop):
    return loop(model, tokens, n_tokens, stop, shape=lambda token: tokens)


WRONG_LOOPS = {
    "the whole text is read again: pass the state, and only the new token.": looping(state=False, only_new=False),
    "the state is passed, and the whole text again: only the new token.": looping(only_new=False),
    "the state is not passed on: the model sees a single token and forgets the rest.": looping(state=False),
    "a row that came to `stop` goes on: masked_fill(ended, stop).": looping(hold=False),
    "all rows end as soon as one does.": looping(all_end=True),
    "the first position's logits are taken: the last one's, `[:, -1]`.": looping(which=0),
    "this is the least likely token: argmax.": looping(least=True),
    "the prompt is in the result: only the new tokens.": lambda m, t, n, s: torch.cat([t, loop(m, t, n, s)], 1),
    "one token too few.": lambda m, t, n, s: loop(m, t, max(1, n - 1), s),
    "the axes are swapped: rows first, `torch.stack(told, dim=1)`.": lambda m, t, n, s: loop(m, t, n, s).T,
    "the last token stands twice: n_tokens columns.": lambda m, t, n, s: loop(m, t, n, s)[:, [*range(n), n - 1]],
    "one token too many.": lambda m, t, n, s: loop(m, t, n + 1, s),
    "the first new token is missing: the prompt's own logits give it.": _first_lost,
    "the prompt is read again at each step: only the new token.": _prompt_again,
    "`new` must be (B, 1): token[:, None].": looping(shape=lambda token: token),
    "`new` is (1, B): token[:, None] is (B, 1).": looping(shape=lambda token: token[None]),
    "the loop ends as soon as one row does: go on, that row gives `stop`.": looping(leave=any),
    "the loop ends when all rows do: the result needs n_tokens columns, filled up with `stop`.": looping(leave=all),
    "the columns are joined end to end: `torch.stack(told, dim=1)`.": lambda m, t, n, s: loop(m, t, n, s).T.flatten(),
}


def penalised(logits, seen, penalty):
    """Return logits (B, V); those of the tokens in `seen` (B, T) divided where positive, multiplied where negative."""
    z = logits.gather(1, seen)
    return logits.scatter(1, seen, torch.where(z > 0, z / penalty, z * penalty))


def by_sign(positive, negative):
    """Make a penalty: what becomes of positive and of negative logits, each (logits, penalty) -> logits."""

    def answer(logits, seen, penalty):
        z = logits.gather(1, seen)
        return logits.scatter(1, seen, torch.where(z > 0, positive(z, penalty), negative(z, penalty)))

    return answer


def _each_time(logits, seen, penalty):
    for t in range(seen.shape[1]):
        logits = penalised(logits, seen[:, t : t + 1], penalty)
    return logits


def _added(logits, seen, penalty):
    z = logits.gather(1, seen)
    return logits.scatter_add(1, seen, torch.where(z > 0, z / penalty, z * penalty) - z)


def _of_chances(logits, seen, penalty):
    chances = logits.softmax(-1)
    return chances.scatter(1, seen, chances.gather(1, seen) / penalty)


def _one_truth(logits, seen, penalty):
    z = logits.gather(1, seen)
    return logits.scatter(1, seen, z / penalty if z > 0 else z * penalty)


def divide(z, penalty):
    """Return z / penalty."""
    return z / penalty


def multiply(z, penalty):
    """Return z * penalty."""
    return z * penalty


WRONG_PENALTIES = {
    "still divided, whatever the sign: a negative logit is multiplied.": by_sign(divide, divide),
    "multiplied, whatever the sign: a positive logit is divided.": by_sign(multiply, multiply),
    "the signs are crossed: positive logits are divided, negative ones multiplied.": by_sign(multiply, divide),
    "negative logits stay as they are: multiply them.": by_sign(divide, lambda z, p: z),
    "positive logits stay as they are: divide them.": by_sign(lambda z, p: z, multiply),
    "the penalty is subtracted: here it divides and multiplies.": by_sign(*[lambda z, p: z - p] * 2),
    "used tokens are forbidden: they only get less likely.": by_sign(*[lambda z, p: z - torch.inf] * 2),
    "all tokens are penalised: only those in `seen`.": lambda z, s, p: torch.where(z > 0, z / p, z * p),
    "a token that stands twice is penalised twice: once.": _each_time,
    "only the last token counts: all that stand in `seen`.": lambda z, s, p: penalised(z, s[:, -1:], p),
    "the rows share what was seen: each has its own text.": lambda z, s, p: penalised(
        z, s.reshape(1, -1).expand(len(s), -1), p
    ),
    "the logits were changed in place: make a new tensor.": lambda z, s, p: z.copy_(penalised(z, s, p)),
    "chances come back: return logits.": lambda z, s, p: penalised(z, s, p).softmax(-1),
    "a token that stands twice is changed twice: scatter, not scatter_add.": _added,
    "only the penalised logits come back: put them into their places, `logits.scatter(1, ...)`.": lambda z, s, p: (
        penalised(z, s, p).gather(1, s)
    ),
    "the smaller one is right only for a penalty above 1: ask for the sign.": by_sign(
        *[lambda z, p: torch.minimum(z / p, z * p)] * 2
    ),
    "the logarithm of the penalty is subtracted: here it divides and multiplies.": by_sign(
        *[lambda z, p: z - math.log(p)] * 2
    ),
    "positive logits become negative: divide them, their sign stays.": by_sign(*[lambda z, p: -z.abs() * p] * 2),
    "chances are divided, and come back: divide or multiply the logits.": _of_chances,
    "chances are divided: it is the logits that are divided or multiplied.": lambda z, s, p: _of_chances(z, s, p).log(),
    "`if` asks for one truth value, and this is a whole tensor: torch.where.": _one_truth,
}
