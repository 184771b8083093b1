"""The exercises of lesson 09: top-p, min-p, the loop, the work without a cache, and a penalty for repeating."""

import torch

from lessons.checker.check import Checks
from lib.models.llama import Llama, LlamaConfig
from lib.run.sample import keep_top_p

checks = Checks("09")
check = checks.check

SMALL = LlamaConfig(19, n_layers=2, d_model=24, n_heads=6, n_kv_heads=2, d_head=4, d_ff=40, context_length=40)


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


@checks.exercise("09.1", keep_top_p, points=4, batch=(0,), gradients=False)
def nucleus(e):
    """Rows of logits in any order, one sure of itself, one hot, and the edges of p."""
    e.case("random rows", 2 * e.randn(3, 11), 0.7)
    e.case("three axes", e.randn(2, 4, 7), 0.5)
    e.case("one row", 2 * e.randn(9), 0.9)
    sure = torch.tensor([[0.0, 9.0, 1.0, -2.0], [1.0, 0.5, 3.0, 2.0]])
    e.case("p below the likeliest one's chance", sure, 0.3, hint="the first token always stays.")
    e.case("a tiny p", 2 * e.randn(2, 6), 1e-4, hint="the first token always stays.")
    e.case("p = 1 keeps all", e.randn(2, 5), 1.0, hint="with p = 1 nothing falls out.")
    e.case("large logits", 100 + 3 * e.randn(2, 8), 0.8)
    e.case("some are cut already", torch.tensor([[1.0, -torch.inf, 2.0, 0.5, -torch.inf]]), 0.9)
    for hint, wrong in {
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
    }.items():
        e.mistake(hint, wrong)


def _of_logits(logits, p):
    ordered, place = logits.sort(dim=-1, descending=True)
    gone = ordered.cumsum(-1) - ordered >= p
    gone[..., 0] = False
    return logits.masked_fill(gone.gather(-1, place.argsort(-1)), -torch.inf)


def _unsorted(logits, p):
    share = logits.softmax(-1)
    return logits.masked_fill(share.cumsum(-1) - share >= p, -torch.inf)


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


@checks.exercise("09.2", keep_min_p, points=3, batch=(0,), gradients=False)
def min_p(e):
    """Sure and unsure rows in one batch."""
    e.case("random rows", 2 * e.randn(3, 11), 0.1)
    e.case("three axes", e.randn(2, 3, 7), 0.4)
    both = torch.tensor([[9.0, 1.0, 0.0, 2.0], [1.0, 0.9, 0.8, -3.0]])
    e.case("a sure row and an unsure one", both, 0.2, hint="each row has its own best.")
    e.case("nothing is cut", e.randn(2, 6), 0.0)
    e.case("only the best", e.randn(2, 6), 1.0, hint="with min_p = 1 the best one stays.")
    e.case("large logits", 300 + 2 * e.randn(2, 5), 0.3)
    for hint, wrong in {
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
    }.items():
        e.mistake(hint, wrong)


def fixed_model():
    """Return a small random model that does not fall into a rut at once."""
    held = torch.random.get_rng_state()
    torch.manual_seed(12)
    model = Llama(SMALL)
    for weight in model.parameters():
        weight.data.mul_(2.5)
    torch.random.set_rng_state(held)
    return model


def continue_greedily(model, tokens, n_tokens, stop):
    """Return (B, n_tokens): the likeliest token each time; `stop` for ever after the first one in a row."""
    return loop(model, tokens, n_tokens, stop)


def loop(model, tokens, n_tokens, stop, state=True, only_new=True, hold=True, all_end=False, which=-1, least=False):
    """Continue with one thing changed."""
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
        new = token[:, None] if only_new else torch.cat([new, token[:, None]], 1)
        if all_end and ended.any():
            ended[:] = True
    return torch.stack(told, 1)


def call_loop(answer, tokens, n_tokens, stop):
    """Run an answer, count what the model reads, and return both."""
    model, read = fixed_model(), []
    model.embed.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0].shape[1]))
    with torch.no_grad():
        told = answer(model, tokens, n_tokens, stop)
    return {"tokens": told, "each token is read once": sum(read) <= tokens.shape[1] + n_tokens}


def looping(**change):
    """Make a wrong loop."""
    return lambda *inputs: loop(*inputs, **change)


@checks.exercise("09.3", continue_greedily, points=5, call=call_loop, gradients=False)
def the_loop(e):
    """A batch whose rows end at different times, one that never ends, and a single row."""
    prompt = e.randint(19, 3, 5)
    with torch.no_grad():
        free = loop(fixed_model(), prompt, 14, -1)
    stop = int(free[0, 3])
    e.case("rows that end at different times", prompt, 14, stop, hint="one that came to `stop` stays there.")
    e.case("none ends", prompt[:, :4], 9, 18 if 18 not in free else 17)
    e.case("one row", prompt[1:2], 6, stop)
    e.case("one new token", prompt, 1, stop)
    for hint, wrong in {
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
    }.items():
        e.mistake(hint, wrong)


@checks.exercise("09.4", sum(range(100, 500)), points=2)
def tokens_read(e):
    """The work without a cache."""
    e.mistake("the last new token need not be read: it is drawn after 499 were.", sum(range(100, 501)))
    e.mistake("the first step reads the prompt alone, 100 tokens.", sum(range(101, 501)))
    e.mistake("this is what it reads with the cache.", 499)
    e.mistake("at the first step it reads 100 tokens, not 500: the text grows.", 400 * 500)
    e.mistake("the prompt is read again at each step, too.", sum(range(400)))
    e.mistake("the prompt was there from the start: count from 100 on.", sum(range(500)))
    e.mistake("it is read again at each step, and it grows.", 400 * 100)


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


@checks.exercise("09.5", penalised, points=3, kind="repair", gradients=False)
def repetition(e):
    """Logits of both signs, tokens that stand twice, one penalty that does nothing, and one that rewards."""
    e.case("random rows", 3 * e.randn(3, 9), e.randint(9, 3, 5), 1.7)
    e.case("all below zero", -3 - e.randn(2, 6).abs(), e.randint(6, 2, 4), 2.0, hint="a negative logit is multiplied.")
    e.case("all above zero", 3 + e.randn(2, 6).abs(), e.randint(6, 2, 4), 1.3)
    e.case(
        "the same token again and again", 2 * e.randn(1, 5), torch.tensor([[2, 2, 2, 4]]), 3.0, hint="once is enough."
    )
    e.case("penalty 1", e.randn(2, 7), e.randint(7, 2, 3), 1.0, hint="a penalty of 1 changes nothing.")
    e.case("below 1: a reward", 2 * e.randn(2, 7), e.randint(7, 2, 3), 0.5)
    divide, multiply = (lambda z, p: z / p), (lambda z, p: z * p)
    for hint, wrong in {
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
    }.items():
        e.mistake(hint, wrong)


def _each_time(logits, seen, penalty):
    for t in range(seen.shape[1]):
        logits = penalised(logits, seen[:, t : t + 1], penalty)
    return logits
