"""The exercises of lesson 18: where an ending begins, how likely it is, four rules, errors, a fair unit."""

import math

import torch

from lessons.checker.check import Checks
from lessons.checker.limits import InWords
from lib.run.choices import RULES
from lib.text.published import load_tokenizer

checks = Checks("18")
check = checks.check


def cut(encode, context, ending):
    """Return the ids of a context and of its ending: encoded as one text, the blank between them in the ending."""
    before = encode(context.rstrip())
    return before, encode(context + ending)[len(before) :]


def _two_lists(answer, encode, context, ending):
    """Call an answer; return the two lists of ids under their names, so that each is compared by itself."""
    result = answer(encode, context, ending)
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise InWords("two results are expected: the ids of the context, and those of the ending")
    return {"context": [int(i) for i in result[0]], "ending": [int(i) for i in result[1]]}


def cut_cases(e):
    """Add pairs whose blank stands before, between and behind."""
    encode = load_tokenizer("tales").encode
    e.case("the blank begins the ending", encode, "Little Mina had", " a golden bell")
    e.case("the blank ends the context", encode, "Little Mina had ", "a golden bell",
           hint="tokens of words begin with the blank: it has to go with the ending.")  # fmt: skip
    e.case("a new line and two blanks", encode, "They went home.\n  ", "It rained.",
           hint="all blanks at the context's end go with the ending, new lines too.")  # fmt: skip
    e.case("no context", encode, "", " Little Mina")
    e.case("one word", encode, "Little Mina lived at the quiet ", "harbour")


@checks.exercise("18.1", cut, points=3, gradients=False, call=_two_lists)
def cuts(e):
    """The blank on either side, or a new line with two; and no context at all."""
    cut_cases(e)
    for hint, wrong in {
        "the two are encoded apart: a blank at the context's end stays there, alone. It belongs to the ending.": (
            lambda encode, c, e: (encode(c), encode(e))
        ),
        "the blank is lost: what the model reads has no blank there.": lambda encode, c, e: (
            encode(c.rstrip()),
            encode(e.lstrip()),
        ),
        "the context is counted with its blank: strip it first, then count.": lambda encode, c, e: (
            encode(c),
            encode(c + e)[len(encode(c)) :],
        ),
        "the ending holds the whole text: cut it where the context ends.": lambda encode, c, e: (
            encode(c.rstrip()),
            encode(c + e),
        ),
        "the context holds the whole text: it ends where the ending begins.": lambda encode, c, e: (
            encode(c + e),
            cut(encode, c, e)[1],
        ),
        "one blank is taken off alone: take all of them, and new lines.": lambda encode, c, e: (
            cut(encode, c[:-1] if c.endswith(" ") else c, (" " if c.endswith(" ") else "") + e)
            if not c.endswith("  ")
            else (encode(c[:-1]), encode(c + e)[len(encode(c[:-1])) :])
        ),
        "the text is cut at a number of characters: count tokens.": lambda encode, c, e: (
            encode(c.rstrip()),
            encode(c + e)[len(c.rstrip()) :],
        ),
        "the two are swapped: first the context, then the ending.": lambda encode, c, e: cut(encode, c, e)[::-1],
        "a blank is put before the ending, and the context keeps its own: strip it there.": lambda encode, c, e: (
            encode(c),
            encode(f" {e.strip()}"),
        ),
        "the blank is taken from the context and never given to the ending.": lambda encode, c, e: (
            encode(c.rstrip()),
            encode(e),
        ),
        "the ending's tokens are counted without the blank: cut where the context ends instead.": lambda encode, c, e: (
            encode(c.rstrip()),
            encode(c + e)[-len(encode(e)) :],
        ),
        "a blank is put between the two, whether one is there or not.": lambda encode, c, e: cut(
            encode, c.rstrip(), f" {e}" if c.rstrip() != c else f"  {e.lstrip()}"
        ),
    }.items():
        e.mistake(hint, wrong)


def log_likelihood(logits, ids, n):
    """Return (log p of the last n of the ids, whether each of them is the likeliest). logits: (T, V) for ids (T,)."""
    own = logits[-n - 1 : -1]
    return own.log_softmax(-1).gather(1, ids[-n:, None]).sum(), bool((own.argmax(-1) == ids[-n:]).all())


def _scored(logits, ids, n, own=lambda x, n: x[-n - 1 : -1], log=lambda x: x.log_softmax(-1), add=torch.sum,
            wanted=lambda ids, n: ids[-n:], greedy=torch.all):  # fmt: skip
    """Return both with one part changed."""
    rows, ids = own(logits, n), wanted(ids, n)
    return add(log(rows).gather(1, ids[:, None])), bool(greedy(rows.argmax(-1) == ids))


def _sum_and_word(answer, logits, ids, n):
    """Call an answer; return the sum and the word under their names."""
    result = answer(logits, ids, n)
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise InWords("two results are expected: the sum, and whether each token is greedy")
    return {"log_p": torch.as_tensor(result[0]).double().reshape(()), "greedy": int(bool(result[1]))}


@checks.exercise("18.2", log_likelihood, points=4, gradients=False, call=_sum_and_word, dtypes=(), tolerance=1e-5)
def likelihood(e):
    """Endings of one token and of several; greedy ones, and such as are greedy but for one token."""
    for name, n, spoilt in (("three of eight", 3, None), ("one token", 1, None), ("all but the first", 7, 2)):
        logits, ids = 3 * e.randn(8, 11), e.randint(11, 8)
        ids[1:] = logits[:-1].argmax(-1)
        if spoilt is not None:
            ids[spoilt] = (ids[spoilt] + 1) % 11
        e.case(name, logits, ids, n)
    logits, ids = 3 * e.randn(9, 13), e.randint(13, 9)
    ids[1:] = logits[:-1].argmax(-1)
    ids[-2] = (ids[-2] + 3) % 13
    e.case("all but one token greedy", logits, ids, 4, hint="greedy means that each token is the likeliest one.")
    e.case("random tokens", 2 * e.randn(12, 7) + 40, e.randint(7, 12), 5)
    ids = ids.clone()
    ids[2] = (ids[2] + 1) % 13
    e.case("a context that nobody would write", logits, ids, 1, hint="the context's own tokens do not count.")
    for hint, change in {
        "no shift: the place before a token predicts it.": dict(own=lambda x, n: x[-n:]),
        "shifted by two: the last token is predicted by the place before it.": dict(own=lambda x, n: x[-n - 2 : -2]
                                                                                     if len(x) > n + 1 else x[:n]),
        "these are the tokens that the model reads at those rows: take those that it should write, one further.": dict(
            wanted=lambda ids, n: ids[-n - 1 : -1]
        ),
        "that is the probability: its logarithm was asked for.": dict(add=lambda x: x.sum().exp()),
        "that is the mean: the log-probability of an ending is a sum.": dict(add=torch.mean),
        "logits are added: they are no log-probabilities before a log_softmax.": dict(log=lambda x: x),
        "probabilities are added: take their logarithms.": dict(log=lambda x: x.softmax(-1)),
        "this is in bits: nats were asked for.": dict(log=lambda x: x.log_softmax(-1) / math.log(2)),
        "the softmax goes along the tokens: it belongs to the vocabulary, the last axis.": dict(
            log=lambda x: x.log_softmax(0)
        ),
        "one greedy token is enough here: each has to be the likeliest.": dict(greedy=torch.any),
        "the sign is turned: a log-probability is below zero.": dict(add=lambda x: -x.sum()),
    }.items():  # fmt: skip
        e.mistake(hint, lambda logits, ids, n, change=change: _scored(logits, ids, n, **change))
    e.mistake("the context's tokens are scored too: take the last n.", lambda logits, ids, n: _scored(
        logits, ids, len(ids) - 1
    ))  # fmt: skip


def chosen(log_ps, endings, alone):
    """Return {rule: number of the ending that it takes} for log p with the context and alone, a number each."""
    return _by_rules(log_ps, endings, alone)


def _by_rules(log_ps, endings, alone, chars=len, size=lambda text: len(text.encode("utf-8")), part=lambda x, n: x / n,
              gain=lambda x, y: x - y, best=max):  # fmt: skip
    """Return the four numbers with one part changed."""
    values = (
        list(log_ps),
        [part(x, chars(text)) for x, text in zip(log_ps, endings, strict=True)],
        [part(x, size(text)) for x, text in zip(log_ps, endings, strict=True)],
        [gain(x, y) for x, y in zip(log_ps, alone, strict=True)],
    )
    return {rule: best(range(len(row)), key=row.__getitem__) for rule, row in zip(RULES, values, strict=True)}


def _whole_numbers(answer, *given):
    """Call an answer; return its numbers as Python's own."""
    result = answer(*given)
    if not isinstance(result, dict) or set(result) != set(RULES):
        raise InWords(f"a dict with a number for each of {', '.join(RULES)} is expected")
    return {rule: int(result[rule]) for rule in RULES}


@checks.exercise("18.3", chosen, points=4, gradients=False, call=_whole_numbers)
def rules(e):
    """Endings on which the rules disagree, among them one whose letters take two bytes each."""
    words = ["oak", "a wide oak", "æøåæøåæøå", "the mill"]
    e.case("three of one length", [-4.0, -6.0, -9.0], ["oak", "elm", "ash"], [-2.0, -3.5, -6.9])
    e.case("blanks inside", [-6.0, -7.0], ["a b c d e", "abcdefghij"], [-7.0, -7.0])
    e.case("all four differ", [-4.0, -9.0, -8.5, -9.5], words, [-3.0, -9.0, -6.0, -20.0])
    e.case("no rule differs", [-1.0, -30.0], ["the mill", "the park"], [-9.0, -9.5])
    e.case("three", [-5.0, -5.5, -20.0], ["at sea", "at the quiet sea", "so"], [-8.0, -4.0, -30.0])
    e.case("one blank more", [-4.9, -9.07], ["abc", "abcdef"], [-1.0, -1.0],
           hint="the blank before an ending is scored, and not counted.")  # fmt: skip
    for number in range(4):
        texts = ["x" * e.size(2, 30) + "é" * e.size(0, 9) for _ in range(4)]
        log_ps = [-float(e.size(10, 90)) / 7 for _ in texts]
        e.case(f"four at random, {number}", log_ps, texts, [-float(e.size(10, 90)) / 7 for _ in texts])
    for hint, change in {
        "divided by the number of words: acc_norm counts characters, acc_bytes bytes.": dict(
            chars=lambda text: len(text.split()), size=lambda text: len(text.split())
        ),
        "a blank more is counted for each ending: it is scored, and not counted.": dict(
            chars=lambda text: len(text) + 1, size=lambda text: len(text.encode("utf-8")) + 1
        ),
        "acc_bytes counts characters here: take `text.encode()`.": dict(size=len),
        "acc_norm counts bytes here: it counts characters.": dict(chars=lambda text: len(text.encode("utf-8"))),
        "characters and bytes are swapped.": dict(chars=lambda text: len(text.encode("utf-8")), size=len),
        "the unlikeliest is taken: log-probabilities are below zero, the largest is nearest to it.": dict(best=min),
        "multiplied by the length: divide by it.": dict(part=lambda x, n: x * n),
        "the mutual information is a difference of logarithms, not their ratio.": dict(gain=lambda x, y: x / y),
        "the two logarithms are added: subtract the one without the context.": dict(gain=lambda x, y: x + y),
        "turned round: with the context minus without it.": dict(gain=lambda x, y: y - x),
        "the sign of the difference is lost: it may be above or below zero.": dict(gain=lambda x, y: abs(x - y)),
        "letters alone are counted: blanks inside an ending are characters, too.": dict(
            chars=lambda text: len(text.replace(" ", "")), size=lambda text: len(text.replace(" ", "").encode("utf-8"))
        ),
    }.items():
        e.mistake(hint, lambda *given, change=change: _by_rules(*given, **change))


def errors_apart(p, n, q, m):
    """Return (p - q) in standard errors of that difference: p of n questions right, q of m, asked independently.

    The error of one share is sqrt(p (1 - p) / (n - 1)); errors of independent numbers add up as squares.
    """
    return _apart(p, n, q, m)


def _apart(p, n, q, m, error=lambda p, n: p * (1 - p) / (n - 1), join=lambda a, b: math.sqrt(a + b),
           over=lambda p, q: p - q):  # fmt: skip
    return over(p, q) / join(error(p, n), error(q, m))


@checks.exercise("18.4", errors_apart, points=4, kind="measure", gradients=False, tolerance=1e-5)
def apart(e):
    """Few questions and many, the same number for both and not, nearer to the coin and further off."""
    for p, n, q, m in (
        (0.5, 10, 0.3, 20),
        (0.59, 1267, 0.55, 1267),
        (0.25, 14042, 0.2113, 14042),
        (0.9, 12, 0.95, 300),
    ):
        e.case(f"{p} of {n} and {q} of {m}", p, n, q, m)
    e.case("some shares", e.size(20, 80) / 100, e.size(8, 90), e.size(20, 80) / 100 + 0.005, e.size(8, 90))
    for hint, change in {
        "n stands below the root where n - 1 belongs: these are sample deviations.": dict(
            error=lambda p, n: p * (1 - p) / n
        ),
        "the root is missing: below the difference stands its error, not the error's square.": dict(
            join=lambda a, b: a + b
        ),
        "the two errors are added: their squares are, and then the root is taken.": dict(
            join=lambda a, b: math.sqrt(a) + math.sqrt(b)
        ),
        "one error alone is used: both scores have one.": dict(join=lambda a, b: math.sqrt(a)),
        "the squares are subtracted: the difference of two scores is less sure than each.": dict(
            join=lambda a, b: math.sqrt(abs(a - b)) + 1e-12
        ),
        "the sign is turned: p - q.": dict(over=lambda p, q: q - p),
        "the sign is lost: below zero means that the first is the lower one.": dict(over=lambda p, q: abs(p - q)),
        "the deviation is not divided by the number of questions.": dict(error=lambda p, n: p * (1 - p)),
        "1 - p is missing: the deviation of right and wrong answers is sqrt(p (1 - p)).": dict(
            error=lambda p, n: p / (n - 1)
        ),
        "the two errors are averaged, not joined.": dict(join=lambda a, b: math.sqrt((a + b) / 2)),
        "the square of each error is p (1 - p) / (n - 1) already: it is squared once more.": dict(
            join=lambda a, b: math.hypot(a, b)
        ),
        "that is in percent: shares were given.": dict(over=lambda p, q: 100 * (p - q)),
    }.items():
        e.mistake(hint, lambda *given, change=change: _apart(*given, **change))
    e.mistake("the questions are put into one pot: each score has an error of its own.", lambda p, n, q, m: (
        (p - q) / math.sqrt((p * (1 - p) + q * (1 - q)) / (n + m - 2))
    ))  # fmt: skip
    e.mistake("multiplied by the error: divide by it.", lambda p, n, q, m: (p - q) ** 2 / _apart(p, n, q, m))


def bits_per_byte(perplexity, bytes_per_unit):
    """Return log2(perplexity) / bytes_per_unit: the fair unit, whatever the perplexity counts, tokens or words."""
    return math.log2(perplexity) / bytes_per_unit


@checks.exercise("18.5", bits_per_byte, points=2, gradients=False, tolerance=1e-6)
def bits(e):
    """Tokens and words, and a perplexity of 1."""
    for perplexity, size in ((8.0, 4.0), (14.0, 5.5), (1.0, 3.0), (300.0, 6.1)):
        e.case(f"perplexity {perplexity}, {size} bytes", perplexity, size)
    e.case("some numbers", float(e.size(2, 99)), e.size(11, 70) / 10)
    for hint, wrong in {
        "the natural logarithm gives nats: bits are to base 2.": lambda p, n: math.log(p) / n,
        "multiplied by the bytes: the bits of one unit are shared among its bytes.": lambda p, n: math.log2(p) * n,
        "these are bits a token or a word: divide by its bytes.": lambda p, n: math.log2(p),
        "the perplexity is divided, and then its logarithm taken: the other way round.": lambda p, n: math.log2(p / n),
        "no logarithm is taken: the perplexity is an exponential.": lambda p, n: p / n,
        "a byte has 8 bits, and that does not matter here: it is the text's bytes that are counted.": lambda p, n: (
            math.log2(p) / (8 * n)
        ),
        "that is a perplexity a byte: bits are its logarithm.": lambda p, n: p ** (1 / n),
        "this is to base 10.": lambda p, n: math.log10(p) / n,
    }.items():
        e.mistake(hint, wrong)
