"""Right answers to the exercises of lesson 18, written in other ways: the check must let them through."""

import math
import re
import statistics

import numpy as np
import torch
import torch.nn.functional as F

from tests.exercises.rights import right


@right("18.1")
def _by_moving_the_blanks(encode, context, ending):
    blanks = re.search(r"\s*$", context)[0]
    context = context[: len(context) - len(blanks)]
    ids = encode(context)
    return ids, encode(context + blanks + ending)[len(ids) :]


@right("18.1")
def _as_a_list(encode, context, ending):
    whole, n = encode(context + ending), len(encode(context.rstrip()))
    return [whole[:n], whole[n:]]


@right("18.1")
def _one_at_a_time(encode, context, ending):
    while context and context[-1].isspace():
        context, ending = context[:-1], context[-1] + ending
    whole, before = torch.tensor(encode(context + ending)), encode(context)
    return before, whole[len(before) :]


@right("18.2")
def _by_cross_entropy(logits, ids, n):
    nats = F.cross_entropy(logits[:-1], ids[1:], reduction="none")
    return -nats[-n:].sum(), torch.equal(logits[:-1].argmax(-1)[-n:], ids[-n:])


@right("18.2")
def _in_a_loop(logits, ids, n):
    total, greedy = 0.0, True
    for t in range(len(ids) - n, len(ids)):
        row = logits[t - 1]
        total += (row[ids[t]] - torch.logsumexp(row, 0)).item()
        greedy = greedy and int(row.argmax()) == int(ids[t])
    return total, greedy


@right("18.2")
def _by_index(logits, ids, n):
    first = len(ids) - n
    table = torch.log(torch.softmax(logits.double(), dim=1))
    places = torch.arange(first - 1, len(ids) - 1)
    return table[places, ids[first:]].sum(), (logits[places].max(1).indices == ids[first:]).all()


@right("18.3")
def _by_arrays(log_ps, endings, alone):
    sums = np.array(log_ps)
    return {
        "acc": np.argmax(sums),
        "acc_norm": np.argmax(sums / [len(text) for text in endings]),
        "acc_bytes": np.argmax(sums / [len(text.encode()) for text in endings]),
        "acc_mutual_info": np.argmax(sums - np.array(alone)),
    }


@right("18.3")
def _by_tensors(log_ps, endings, alone):
    sums = torch.tensor(log_ps, dtype=torch.float64)
    lengths = {
        "acc": torch.ones(len(endings)),
        "acc_norm": torch.tensor([len(text) for text in endings]),
        "acc_bytes": torch.tensor([len(bytes(text, "utf-8")) for text in endings]),
    }
    found = {rule: (sums / by).argmax() for rule, by in lengths.items()}
    return found | {"acc_mutual_info": (sums - torch.tensor(alone, dtype=torch.float64)).argmax().item()}


@right("18.3")
def _by_sorting(log_ps, endings, alone):
    def first(values):
        return sorted(range(len(values)), key=lambda i: -values[i])[0]

    rows = list(zip(log_ps, endings, alone, strict=True))
    return {
        "acc_mutual_info": first([x - a for x, _, a in rows]),
        "acc_bytes": first([x / len(text.encode("utf-8")) for x, text, _ in rows]),
        "acc_norm": first([x / sum(1 for _ in text) for x, text, _ in rows]),
        "acc": first(log_ps),
    }


@right("18.4")
def _from_answers(p, n, q, m):
    def error(share, count):  # the standard deviation of the zeros and ones themselves, the root of n / (n - 1) in it
        return math.sqrt(share - share**2) * math.sqrt(count / (count - 1)) / math.sqrt(count)

    return (p - q) / math.hypot(error(p, n), error(q, m))


right("18.4")(lambda p, n, q, m: (p - q) * ((p - p * p) / (n - 1) + (q - q * q) / (m - 1)) ** -0.5)


@right("18.4")
def _by_numpy(p, n, q, m):
    shares, counts = np.array([p, q]), np.array([n, m])
    return np.diff(shares)[0] / -np.sqrt(np.sum(shares * (1 - shares) / (counts - 1)))


right("18.5")(lambda perplexity, n: math.log(perplexity) / math.log(2) / n)
right("18.5")(lambda perplexity, n: np.log2(perplexity ** (1 / n)))
right("18.5")(lambda perplexity, n: statistics.fmean([math.log(perplexity, 2)]) / n)
