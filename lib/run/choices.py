"""What benchmarks ask of a model: how likely is this ending, which of several is likelier, how sure is the score.

The rules are those of EleutherAI's lm-evaluation-harness (`lm_eval/api/task.py`), which made most tables in model
cards; a test holds ours against it, question by question.
"""

import math
import statistics
from typing import NamedTuple

import torch

from lib.run.evaluate import padded

RULES = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info")


class Likelihood(NamedTuple):
    """log p of an ending, in nats, and whether a greedy reader would write it: every token is the likeliest one."""

    log_p: float
    greedy: bool


def encode_pair(tokenizer, context, ending):
    """Return the ids of the context, <|endoftext|> first, and those of the ending.

    A blank between the two belongs to the ending: the tokens of words begin with it. The two are encoded as one text,
    and cut where the context alone ends.
    """
    bare = context.rstrip()
    before = tokenizer.encode(bare)
    return [tokenizer.eot, *before], tokenizer.encode(context + ending)[len(before) :]


@torch.inference_mode()
def likelihoods(model, tokenizer, pairs, batch_size=16):
    """Return the `Likelihood` of each (context, ending), in the order of the pairs.

    log p(ending | context) = sum_t log p(token t of the ending | context, tokens before t). ValueError for an ending
    without tokens, and for a pair that is longer than the model's context.
    """
    rows = [encode_pair(tokenizer, *pair) for pair in pairs]
    for (_, ending), (before, after) in zip(pairs, rows, strict=True):
        if not after:
            raise ValueError(f"the ending {ending!r} has no token of its own: give it a word")
        room = model.config.context_length
        if room is not None and len(before) + len(after) - 1 > room:
            raise ValueError(f"a pair of {len(before) + len(after) - 1} tokens, but the model was built for {room}")
    found, device = [None] * len(rows), model.head.weight.device
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]) + len(rows[i][1]))
    for first in range(0, len(rows), batch_size):
        some = order[first : first + batch_size]
        x, _ = padded([rows[i][0] + rows[i][1] for i in some])
        logits = model(x.to(device))[0].float()
        for row, i in zip(logits, some, strict=True):
            before, after = rows[i]
            own = row[len(before) - 1 : len(before) - 1 + len(after)]  # the place before a token predicts it
            wanted = torch.tensor(after, device=device)
            log_p = own.log_softmax(-1).gather(1, wanted[:, None]).double().sum().item()
            found[i] = Likelihood(log_p, bool((own.argmax(-1) == wanted).all()))
    return found


def chosen(log_ps, endings, alone=None):
    """Return {rule: number of the ending that it takes}, the first where two are equal.

    `acc`: the largest log p(ending | context). `acc_norm`: that divided by the characters of the ending. `acc_bytes`:
    by its UTF-8 bytes. `acc_mutual_info`, where `alone` has log p(ending) without the context: the largest difference.
    The blank before the ending is scored, and not counted.
    """
    values = {
        "acc": log_ps,
        "acc_norm": [log_p / len(text) for log_p, text in zip(log_ps, endings, strict=True)],
        "acc_bytes": [log_p / len(text.encode("utf-8")) for log_p, text in zip(log_ps, endings, strict=True)],
    }
    if alone is not None:
        values["acc_mutual_info"] = [with_it - without for with_it, without in zip(log_ps, alone, strict=True)]
    return {rule: max(range(len(some)), key=some.__getitem__) for rule, some in values.items()}


def standard_error(values):
    """Return s / sqrt(n), s the standard deviation of the n values, n - 1 below the root; NaN for a single one."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def measure(model, tokenizer, task, asked):
    """Return {rule: [a number a question]}: 1.0 where the rule is right, else 0.0; of "word" also the "nats" it costs.

    asked: `tales_questions.Question`s. "word" is LAMBADA's rule: right is who would write the ending greedily. All
    rules fit "ending"; two contexts with one ending are told apart by `acc` alone.
    """
    pairs = [(c, f" {e}") for q in asked for c, e in zip(q.contexts, q.endings, strict=True)]
    found = iter(likelihoods(model, tokenizer, pairs))
    if task == "word":
        words = [[next(found) for _ in q.endings][q.answer] for q in asked]
        return {"acc": [float(one.greedy) for one in words], "nats": [-one.log_p for one in words]}
    alone, rules = {}, RULES if task == "ending" else RULES[:1]
    if "acc_mutual_info" in rules:
        texts = sorted({ending for q in asked for ending in q.endings})
        bare = likelihoods(model, tokenizer, [("", f" {text}") for text in texts])
        alone = {text: one.log_p for text, one in zip(texts, bare, strict=True)}
    picked = [
        (chosen([next(found).log_p for _ in q.endings], q.endings, [alone.get(text, 0.0) for text in q.endings]), q)
        for q in asked
    ]
    return {rule: [float(numbers[rule] == q.answer) for numbers, q in picked] for rule in rules}


def perplexity(nats):
    """Return exp(mean nats) and its standard error, to first order that times the error of the mean."""
    value = math.exp(min(statistics.fmean(nats), 700))
    return value, value * standard_error(nats)
