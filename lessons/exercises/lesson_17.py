"""The exercises of lesson 17: a loss in parts, a share with its error, recall of pairs, what is kept, what must be."""

import math
import statistics

import torch

from lessons.checker.check import Checks
from lib.text.tales_split import KINDS

checks = Checks("17")
check = checks.check


def split_loss(nats, kinds):
    """Return {kind: nats of its tokens, divided by the number of all tokens}: parts that add up to the mean loss.

    nats: one number a token; kinds: as many words of KINDS.
    """
    return _parted(nats, kinds)


def _parted(nats, kinds, among=None, over=None, value=float):
    """Return the parts with one thing changed: which tokens are added, what they are divided by, what is added."""
    parts = {}
    for kind in KINDS:
        own = [value(n) for n, k in zip(nats, kinds, strict=True) if (among or (lambda k, kind: k == kind))(k, kind)]
        parts[kind] = sum(own) / ((over(kind, kinds, own) or 1) if over else len(kinds))
    return parts


def _as_floats(answer, nats, kinds):
    """Call an answer, with tensors or lists; numbers of any kind become floats, so that they are compared as such."""
    result = answer(nats, kinds)
    return {k: float(result[k]) for k in sorted(result)} if isinstance(result, dict) else result


@checks.exercise("17.1", split_loss, points=3, gradients=False, call=_as_floats, tolerance=1e-5)
def parts(e):
    """Stories with few and many recalled tokens, and one without any."""
    short = ["chosen", "determined", "determined", "recalled"]
    e.case("four tokens", [2.0, 0.25, 0.5, 1.5], short)
    e.case("a tensor", torch.tensor([1.0, 0.0, 0.125, 0.75]), ["recalled", "determined", "chosen", "recalled"])
    e.case("nothing was recalled", [1.0, 3.0, 0.5], ["chosen", "chosen", "determined"],
           hint="a kind without tokens has the part 0, and is in the answer.")  # fmt: skip
    words = [KINDS[int(i)] for i in e.randint(3, 40)]
    e.case("forty tokens", e.randn(40).square(), words)
    e.case("one token", [0.5], ["chosen"])
    for hint, change in {
        "each part is a mean over its own kind: such means do not add up. Divide by all tokens.": dict(
            over=lambda kind, kinds, own: len(own)
        ),
        "the parts are not divided: by the number of all tokens.": dict(over=lambda kind, kinds, own: 1),
        "tokens are counted, their nats are not added up.": dict(value=lambda n: 1.0),
        "determined tokens are left out of the count: they are tokens, too.": dict(
            over=lambda kind, kinds, own: sum(k != "determined" for k in kinds)
        ),
        "this is in bits: nats were asked for.": dict(value=lambda n: float(n) / math.log(2)),
        "every part holds all tokens: take those of its kind.": dict(among=lambda k, kind: True),
        "these are the tokens that are not of the kind.": dict(among=lambda k, kind: k != kind),
    }.items():
        e.mistake(hint, lambda nats, kinds, change=change: _parted(nats, kinds, **change))
    e.mistake("a kind without tokens is missing: its part is 0.", lambda nats, kinds: {
        kind: part for kind, part in _parted(nats, kinds).items() if kind in list(kinds)
    })  # fmt: skip
    e.mistake("these are shares of the loss: divide by the number of tokens, not by their nats.", lambda nats, kinds: {
        kind: part * len(kinds) / max(float(sum(nats)), 1e-9) for kind, part in _parted(nats, kinds).items()
    })  # fmt: skip


def share_of_gap(part_a, all_a, part_b, all_b):
    """Return (share, standard error): how much of the gap between two models lies in a part, story by story.

    Each argument has one number a story: model A's nats in the part, and in all, then B's. With p_i and g_i the gaps
    of story i, share = sum p / sum g, and the error that of a ratio of means: sqrt(sum (p_i - share g_i)^2 / (n - 1) /
    n) / |mean g|. Source: Cochran, Sampling Techniques, section 2.11.
    """
    return _ratio(part_a, all_a, part_b, all_b)


def _ratio(part_a, all_a, part_b, all_b, left=lambda p, g, share: p - share * g, n_of=lambda n: n - 1,
           scale=lambda n, g: 1 / n**0.5 / abs(statistics.fmean(g)), root=math.sqrt):  # fmt: skip
    """Return share and error with one part of the error changed."""
    p = [float(b) - float(a) for a, b in zip(part_a, part_b, strict=True)]
    g = [float(b) - float(a) for a, b in zip(all_a, all_b, strict=True)]
    share = sum(p) / sum(g)
    squares = sum(left(x, y, share) ** 2 for x, y in zip(p, g, strict=True))
    return share, root(squares / n_of(len(p))) * scale(len(p), g)


def _unpaired(part_a, all_a, part_b, all_b):
    share, _ = _ratio(part_a, all_a, part_b, all_b)
    n, gap = len(all_a), sum(all_b) - sum(all_a)
    noise = sum(statistics.variance(map(float, part)) for part in (part_a, part_b))
    return share, math.sqrt(noise / n) / (gap / n)


def _mean_of_shares(part_a, all_a, part_b, all_b):
    each = [(pb - pa) / (ab - aa) for pa, aa, pb, ab in zip(part_a, all_a, part_b, all_b, strict=True)]
    return statistics.fmean(each), statistics.stdev(each) / len(each) ** 0.5


def _two(answer, *stories):
    """Call an answer; return what it gives as two named numbers."""
    result = answer(*stories)
    return {i: float(x) for i, x in enumerate(result)} if isinstance(result, (tuple, list)) else result


@checks.exercise("17.2", share_of_gap, points=4, kind="measure", gradients=False, call=_two, tolerance=1e-5)
def shares(e):
    """Few and many stories, gaps of both signs within one sample, a part that is all of it or nothing."""
    e.case("three stories", [1.0, 2.0, 0.5], [60.0, 80.0, 70.0], [4.0, 7.0, 2.0], [65.0, 88.0, 76.0])
    e.case("one story goes the other way", [3.0, 1.0, 2.0, 2.5], [70.0, 66.0, 81.0, 75.0],
           [5.0, 0.5, 6.0, 3.0], [74.0, 65.0, 88.0, 79.0])  # fmt: skip
    parts = [[2 + abs(float(x)) for x in e.randn(12)] for _ in range(2)]
    wholes = [[70 + 5 * float(x) + 9 * i for x in e.randn(12)] for i in range(2)]
    e.case("twelve stories", parts[0], wholes[0], [p + 3 for p in parts[1]], wholes[1])
    e.case("B is the better one", [4.0, 7.0, 2.0], [65.0, 88.0, 76.0], [1.0, 2.0, 0.5], [60.0, 80.0, 70.0],
           hint="an error is never negative: divide by the size of the mean gap.")  # fmt: skip
    e.case("the part is half of each gap", [0.0, 0.0, 0.0], [10.0, 12.0, 9.0], [2.0, 1.0, 3.0], [14.0, 14.0, 15.0],
           hint="where the part is the same share of every gap, the share is known without error.")  # fmt: skip
    for hint, change in {
        "the error is that of the gap in the part: take `share` times the story's whole gap off first.": dict(
            left=lambda p, g, share: p - share * 0
        ),
        "divide the sum of squares by n (n - 1).": dict(n_of=lambda n: n),
        "that is how much single stories differ: a mean of n has their spread over the root of n.": dict(
            scale=lambda n, g: 1 / statistics.fmean(g)
        ),
        "the error is still in nats: divide by the mean gap.": dict(scale=lambda n, g: 1 / n**0.5),
        "divided by the sum of the gaps, not by their mean.": dict(scale=lambda n, g: 1 / n**0.5 / sum(g)),
        "the root is missing.": dict(root=lambda x: x),
    }.items():
        e.mistake(hint, lambda *stories, change=change: _ratio(*stories, **change))
    e.mistake("a mean of the stories' own shares: one with hardly any gap would decide. Divide the sums.",
              _mean_of_shares)  # fmt: skip
    e.mistake("the two models read the same stories: take differences story by story.", _unpaired)
    e.mistake("this is the part of B's loss, not of the gap: subtract A's.", lambda part_a, all_a, part_b, all_b: (
        _ratio([0.0] * len(part_a), [0.0] * len(all_a), part_b, all_b)
    ))  # fmt: skip
    e.mistake("upside down: the part's gap over the whole gap.", lambda part_a, all_a, part_b, all_b: (
        _ratio(all_a, part_a, all_b, part_b)
    ))  # fmt: skip
    e.mistake("error first: return share, then error.", lambda *stories: _ratio(*stories)[::-1])


def questions(keys, values, order):
    """Return (x, y): P pairs, key and value in turn, then all keys once more; and the values that are due there.

    keys, values: (B, P) tokens; order: (B, P), row by row the numbers of the pairs in the order in which they are asked
    for. x: (B, 3 P); y: (B, P). It is multi-query associative recall: Arora et al. 2023, arXiv 2312.04927.
    """
    told = torch.stack([keys, values], dim=2).flatten(1)  # (B, 2 P)
    return torch.cat([told, keys.gather(1, order)], dim=1), values.gather(1, order)


def _wrong_questions(told=None, asked=None, due=None):
    def wrong(keys, values, order):
        x, y = questions(keys, values, order)
        P = keys.shape[1]
        first = told(keys, values) if told else x[:, : 2 * P]
        last = asked(keys, values, order) if asked else x[:, 2 * P :]
        return torch.cat([first, last], 1), due(keys, values, order) if due else y

    return wrong


@checks.exercise("17.3", questions, points=4, gradients=False)
def recall(e):
    """One pair and many, one row and many; orders that differ from row to row."""
    order = torch.tensor([[2, 0, 1], [1, 2, 0]])
    e.case("two rows of three pairs", torch.tensor([[1, 2, 3], [7, 5, 6]]), torch.tensor([[11, 12, 13], [14, 11, 12]]),
           order, hint="each row has an order of its own.")  # fmt: skip
    e.case("one pair", torch.tensor([[4]]), torch.tensor([[19]]), torch.tensor([[0]]))
    e.case("asked as told", torch.tensor([[4, 5, 6, 7]]), torch.tensor([[10, 11, 10, 12]]), torch.arange(4)[None])
    mixed = torch.stack([torch.tensor([3, 1, 4, 0, 2]), torch.tensor([1, 3, 0, 4, 2]), torch.tensor([4, 2, 0, 1, 3])])
    e.case("three rows of five", e.randint(9, 3, 5) + 20 * torch.arange(5), e.randint(9, 3, 5) + 200, mixed)
    for hint, wrong in {
        "all keys come first, then all values: a value stands right after its key.": _wrong_questions(
            told=lambda k, v: torch.cat([k, v], 1)
        ),
        "each value stands before its key: the key comes first.": _wrong_questions(
            told=lambda k, v: torch.stack([v, k], 2).flatten(1)
        ),
        "the keys are asked in the order in which they were told.": _wrong_questions(asked=lambda k, v, o: k),
        "the values are asked for, and so the answer stands in the text: ask with the keys.": _wrong_questions(
            asked=lambda k, v, o: v.gather(1, o)
        ),
        "y has the values in the order of the pairs: the order of the questions is meant.": _wrong_questions(
            due=lambda k, v, o: v
        ),
        "y holds the keys: the values are due.": _wrong_questions(due=lambda k, v, o: k.gather(1, o)),
        "all rows take the order of the first: `gather` takes each row's own.": lambda k, v, o: questions(
            k, v, o[:1].expand_as(o)
        ),
        "`order` is used the other way round: order[j] is the number of the pair that question j asks for.": (
            lambda k, v, o: questions(k, v, o.argsort(1))
        ),
        "y has a place for every token of x: only the questions have answers, (B, P).": lambda k, v, o: (
            questions(k, v, o)[0],
            torch.cat([k, k, questions(k, v, o)[1]], 1),
        ),
    }.items():
        e.mistake(hint, wrong)


def numbers_kept(mixers, C, N, G, T):
    """Return how many numbers a hybrid of ours keeps after T tokens.

    "attention" keeps keys and values, 2 G N a token; a layer of RWKV-5, 6 or 7 its matrices, C N, and the last token,
    C. The channel mixer of every layer keeps the last token, C.
    """
    return _kept(mixers, C, N, G, T)


def _kept(mixers, C, N, G, T, cache=lambda C, N, G, T: 2 * G * N * T, memory=lambda C, N, T: C * N + C, last=1):
    sizes = [cache(C, N, G, T) if name == "attention" else memory(C, N, T) for name in mixers]
    return sum(sizes) + last * C * len(mixers)


@checks.exercise("17.5", numbers_kept, points=3)
def kept(e):
    """Pure ones and mixed ones, few key heads and many, short texts and long."""
    e.case("RWKV alone", ("rwkv5", "rwkv7"), 64, 16, 4, 100)
    e.case("attention alone, one key head", ("attention",) * 3, 48, 8, 1, 70)
    e.case("three to one", ("rwkv5", "rwkv5", "attention", "rwkv5"), 128, 32, 4, 500)
    e.case("the same at the start", ("rwkv6", "attention"), 40, 8, 5, 1)
    e.case("some text", ("attention", "rwkv7", "attention"), 96, 12, 2, e.size(20, 4000))
    for hint, change in {
        "the channel mixers are forgotten: each keeps the last token.": dict(last=0),
        "the time mixer of an RWKV keeps the last token, too.": dict(memory=lambda C, N, T: C * N),
        "keys or values: attention keeps both.": dict(cache=lambda C, N, G, T: G * N * T),
        "the cache has G heads: several queries share one.": dict(cache=lambda C, N, G, T: 2 * C * T),
        "one key head is counted: there are G.": dict(cache=lambda C, N, G, T: 2 * N * T),
        "the cache of one token is counted: it grows with every token.": dict(cache=lambda C, N, G, T: 2 * G * N),
        "one head's matrix is counted, N x N: there are C / N of them.": dict(memory=lambda C, N, T: N * N + C),
        "the memory is taken for C x C: a head sees N channels alone.": dict(memory=lambda C, N, T: C * C + C),
        "the memory grows with the text here: it has one size.": dict(memory=lambda C, N, T: (C * N + C) * T),
    }.items():
        e.mistake(hint, lambda *z, change=change: _kept(*z, **change))
    e.mistake("one layer of each kind is counted: add up all layers.", lambda mixers, *z: _kept(
        sorted(set(mixers)), *z
    ))  # fmt: skip
    e.mistake("these are bytes: numbers were asked for.", lambda *z: 4 * _kept(*z))


def pairs_at_most(n_bytes, n_values):
    """Return the most pairs whose values a state of n_bytes can tell apart: P log2(n_values) <= 8 n_bytes."""
    return math.floor(8 * n_bytes / math.log2(n_values))


@checks.exercise("17.4", pairs_at_most, points=3)
def bound(e):
    """Small states and large, few values and many; where the division goes up evenly, and where not."""
    for n_bytes, n_values in ((2, 4), (24, 64), (1, 3), (100, 2), (2048, 8192), (5, 1000)):
        e.case(f"{n_bytes} bytes, {n_values} values", n_bytes, n_values)
    e.case("some state", e.size(100, 9000), e.size(3, 90))
    for hint, wrong in {
        "a byte has 8 bits.": lambda n, v: math.floor(n / math.log2(v)),
        "the logarithm is to base 2: bits were counted.": lambda n, v: math.floor(8 * n / math.log(v)),
        "rounded up: one pair more does not fit.": lambda n, v: math.ceil(8 * n / math.log2(v)),
        "a value is given whole bits: together they share the fractions.": lambda n, v: (
            8 * n // math.ceil(math.log2(v))
        ),
        "divided by the number of values: it is their logarithm that counts.": lambda n, v: 8 * n // v,
        "a part of a pair comes back: round down.": lambda n, v: 8 * n / math.log2(v) + 1e-3,
        "that is the number of different states: of pairs there are fewer, take the logarithm.": lambda n, v: (
            2 ** (min(8 * n, 60))
        ),
        "multiplied: the more values there are, the fewer pairs fit.": lambda n, v: math.floor(8 * n * math.log2(v)),
    }.items():
        e.mistake(hint, wrong)
