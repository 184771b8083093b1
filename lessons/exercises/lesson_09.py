"""The exercises of lesson 09: top-p, min-p, the loop, the work without a cache, and a penalty for repeating."""

import torch

from lessons.checker.check import Checks
from lessons.checker.limits import InWords
from lessons.checker.verdict import kind
from lessons.exercises.lesson_09_wrong import (
    WRONG_LOOPS,
    WRONG_MIN_P,
    WRONG_PENALTIES,
    WRONG_TOP_P,
    best,
    by_sign,
    continue_greedily,
    keep_min_p,
    loop,
    penalised,
)
from lib.models.llama import Llama, LlamaConfig
from lib.run.sample import keep_top_p

checks = Checks("09")
check = checks.check

SMALL = LlamaConfig(19, n_layers=2, d_model=24, n_heads=6, n_kv_heads=2, d_head=4, d_ff=40, context_length=40)


def by_place(logits, p):
    """Write with indices that hold for one row alone."""
    result, place = logits.clone(), logits.argsort(-1, descending=True)
    result[place[keep_top_p(logits.gather(-1, place), p) == -torch.inf]] = -torch.inf
    return result


def by_marks(gone, back=True):
    """Return a top-p by gone(shares in falling order, p) -> what falls out; back: to the old places."""

    def answer(logits, p):
        ordered, place = logits.sort(dim=-1, descending=True)
        out = gone(ordered.softmax(-1), p)
        return logits.masked_fill(out.gather(-1, place.argsort(-1)) if back else out, -torch.inf)

    return answer


MORE_TOP_P = {
    "the mask is still in sorted order: gather it with `place.argsort(-1)`.": by_marks(
        lambda s, p: (s.cumsum(-1) - s >= p).index_fill(-1, torch.tensor([0]), False), back=False
    ),
    "chances come back, and 0 for what is cut: logits, and -inf.": lambda z, p: z.softmax(-1).masked_fill(
        keep_top_p(z, p) == -torch.inf, 0.0
    ),
    "each token's own chance is compared with 1 - p: add up the chances of those before it.": by_marks(
        lambda s, p: s < 1 - p
    ),
    "the sum runs over the rows: `cumsum(-1)`.": by_marks(
        lambda s, p: (s.cumsum(0) - s >= p).index_fill(-1, torch.tensor([0]), False)
    ),
    "`result[place[gone]]` counts along the first axis: gather the mask, and masked_fill.": by_place,
}


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
    for hint, wrong in (WRONG_TOP_P | MORE_TOP_P).items():
        e.mistake(hint, wrong)


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
    for hint, wrong in WRONG_MIN_P.items():
        e.mistake(hint, wrong)
    e.mistake(
        "ln m is multiplied by the largest logit: it is added.",
        lambda z, m: z.masked_fill(z < best(z) * torch.tensor(m).log(), -torch.inf),
    )
    e.mistake(
        "that is the logarithm to base 10: the natural one, `log`.",
        lambda z, m: z.masked_fill(z < best(z) + torch.tensor(m).log10(), -torch.inf),
    )
    e.mistake(
        "chances come back, and -inf for what is cut: it is the logits that stay.",
        lambda z, m: z.softmax(-1).masked_fill(keep_min_p(z, m) == -torch.inf, -torch.inf),
    )


def fixed_model():
    """Return a small random model that does not fall into a rut at once."""
    held = torch.random.get_rng_state()
    torch.manual_seed(12)
    model = Llama(SMALL)
    for weight in model.parameters():
        weight.data.mul_(2.5)
    torch.random.set_rng_state(held)
    return model


def call_loop(answer, tokens, n_tokens, stop):
    """Run an answer, count what the model reads, and return both."""
    model, read = fixed_model(), []
    model.embed.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0].shape[1]))
    with torch.no_grad():
        told = answer(model, tokens, n_tokens, stop)
    if not isinstance(told, torch.Tensor):
        raise InWords(f"a tensor of shape (B, n_tokens) is expected; it is {kind(told)}: torch.stack(told, dim=1)")
    return {"tokens": told, "each token is read once": sum(read) <= tokens.shape[1] + n_tokens}


def by_tokens(choose):
    """Return a wrong loop: choose(the likeliest (B,), stop, ended (B,)) -> (token, ended)."""

    def answer(model, tokens, n_tokens, stop):
        state, new, told, ended = None, tokens, [], torch.zeros(len(tokens), dtype=torch.bool)
        for _ in range(n_tokens):
            logits, state = model(new, state)
            token, ended = choose(logits[:, -1].argmax(-1), stop, ended)
            told.append(token)
            new = token[:, None]
        return torch.stack(told, 1)

    return answer


def ended_by_prompt(model, tokens, n_tokens, stop):
    """Count a `stop` in the prompt."""
    told = continue_greedily(model, tokens, n_tokens, stop)
    return told.masked_fill((tokens == stop).any(-1, keepdim=True), stop)


def last_one_twice(model, tokens, n_tokens, stop):
    """Read the prompt, then its last token again."""
    _, state = model(tokens, None)
    return continue_greedily(lambda new, held: model(new, held or state), tokens[:, -1:], n_tokens, stop)


MORE_LOOPS = {
    "a `stop` in the prompt ends the row: only new tokens count.": ended_by_prompt,
    "the prompt's last token is read twice: its logits came with the prompt.": last_one_twice,
    "`ended` holds for one step alone: ended = ended | (token == stop).": by_tokens(
        lambda token, stop, ended: (token.masked_fill(ended, stop), token == stop)
    ),
    "a row that has ended gives 0: it gives `stop`.": by_tokens(
        lambda token, stop, ended: (token.masked_fill(ended, 0), ended | (token == stop))
    ),
}


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
    e.case("all rows end early", prompt[:1], 14, stop, hint="after the end it gives `stop` up to the last column.")
    begun = torch.cat([torch.full_like(prompt[:, :1], stop), prompt[:, 1:]], 1)
    e.case("the prompt begins with `stop`", begun, 9, stop, hint="only a new `stop` ends a row.")
    e.case("the prompt is `stop`", begun[:, :1], 9, stop, hint="a story begins behind it: a new `stop` ends a row.")

    def by_what_was_read(model, tokens, n_tokens, stop):
        made, state, new = [], None, tokens
        for _ in range(n_tokens):
            logits, state = model(new, state)
            token = logits[:, -1].argmax(-1).masked_fill(new[:, -1] == stop, stop)
            made, new = [*made, token], token[:, None]
        return torch.stack(made, 1)

    e.mistake("a row ends after the token that was read, so a prompt's last `stop` ends it: only new ones count.",
              by_what_was_read)  # fmt: skip
    for hint, wrong in (WRONG_LOOPS | MORE_LOOPS).items():
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
    e.mistake("the text grows: the prompt is read again, and so is each new token.", 400 * 100 + 400)
    e.mistake("at the first step 100 tokens are read, and `range(100, ...)` begins with them.", sum(range(101, 500)))
    e.mistake(
        "499 tokens are read for the last one, and `range` leaves its end out: range(100, 500).", sum(range(100, 499))
    )
    e.mistake(
        "half of 400 times 500: at the first step 100 are read, and the mean of 100 and 499 is more than 250.",
        400 * 500 // 2,
    )
    e.mistake("that is all pairs of 500: count what each step reads, 100, 101, ... 499.", 500**2)
    e.mistake("not 499 at each step: 100 at the first one.", 400 * 499)
    e.mistake("the prompt is read at each step, not once.", 100 + sum(range(400)))
    e.mistake("this leaves the prompt out: it is read at each step, too.", sum(range(401)))
    e.mistake(
        "half of 500 times 500 counts from 0: the prompt has 100 tokens already at the first step.", 500 * 500 // 2
    )


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
    for hint, wrong in WRONG_PENALTIES.items():
        e.mistake(hint, wrong)
    e.mistake("negative logits become positive: their sign stays.", by_sign(*[lambda z, p: z.abs() / p] * 2))
    e.mistake(
        "a share of the logit's size is subtracted: here it is divided, or multiplied.",
        by_sign(*[lambda z, p: z - z.abs() / p] * 2),
    )
    e.mistake(
        "the largest logit is subtracted first: take the logits as they are.",
        lambda z, s, p: penalised(z - best(z), s, p),
    )
    e.mistake(
        "`scatter(0, ...)` counts along the rows: the tokens are axis 1.",
        lambda z, s, p: z.scatter(0, s, penalised(z, s, p).gather(1, s)),
    )
