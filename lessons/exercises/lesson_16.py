"""The exercises of lesson 16: an exponent with its error, bytes a token, a fair comparison, what fits, and a hybrid."""

import math

from lessons.checker.check import Checks
from lessons.exercises.lesson_16_wrong import WRONG_FITS
from lib.models.presets import preset
from lib.run import cost
from lib.run.measure import fit_power

checks = Checks("16")
check = checks.check


def pair(answer, *inputs):
    """Call an answer, and name the two numbers that it returns, so that they are compared as numbers."""
    result = answer(*inputs)
    return dict(enumerate(result)) if isinstance(result, (tuple, list)) else result


@checks.exercise("16.1", fit_power, points=4, gradients=False, call=pair)
def exponent(e):
    """Power laws with noise, lengths that are not evenly spread, and a cost that stays."""
    e.case("squares with noise", [100, 200, 400, 800], [1.1, 3.8, 17.0, 62.0])
    e.case("three points", [10, 100, 1000], [2.0, 21.0, 190.0])
    e.case("some costs", [8, 20, 70, 150, 400], [e.size(5, 400) / 10 for _ in range(5)])
    e.case("uneven lengths", [128, 1000, 1500, 9000, 10000], [0.02, 0.3, 0.7, 23.0, 26.0])
    e.case("a cost that falls", [1, 2, 4, 8, 16], [16.0, 8.5, 3.9, 2.1, 1.0])
    e.case("nearly flat", [10, 50, 300, 900, 4000], [5.0, 5.6, 4.9, 5.3, 5.4])
    for hint, wrong in WRONG_FITS.items():
        e.mistake(hint, wrong)


def bytes_per_token(config, context, batch=1):
    """Return the bytes that move for each token written, weights of 16 bits; the embedding's one row is left out."""
    return _moved(config, context, batch)


def _moved(config, context, batch=1, table=False, width=2, share=True, past=1, written=True, whole=False, grows=False):
    """Return the bytes with something changed; as it stands, they are right."""
    weights = cost.n_parameters(config)
    if not (config.tied or table):
        weights -= config.vocab_size * config.d_model
    state = cost.state_bytes(config, context)
    new = state if hasattr(config, "generation") and not grows else cost.state_bytes(config, 1)
    if whole:
        new = state
    return width * weights / (batch if share else 1) + past * state + (new if written else 0)


def moved_cases(e):
    """Add models with a cache, with a window, with a state; alone and many at a time."""
    for name, context, batch in (
        ("llama-7b", 2000, 1),
        ("llama-7b", 100, 64),
        ("eagle-7b", 2000, 32),
        ("mistral-7b-v0.1", 9000, 16),
        ("smollm2-135m", 300, 8),
        ("rwkv-4-169m", 10, 4),
    ):
        e.case(f"{name}, {context:,} tokens, {batch} texts", preset(name).config, context, batch)
    e.case("TinyLlama, some texts", preset("tinyllama-1.1b").config, e.size(100, 9000), e.size(2, 40))


@checks.exercise("16.2", bytes_per_token, points=4)
def moved(e):
    """Models with a cache, with a window, with a state; alone and many at a time."""
    moved_cases(e)
    for hint, change in {
        "the embedding table is counted, but only a row of it is read. (A tied one is read whole, by the head.)": dict(
            table=True
        ),
        "the weights are read once for all texts: divide them by the batch.": dict(share=False),
        "weights of four bytes: 16 bits are two.": dict(width=4),
        "nothing is written: a token's keys and values, or the whole new state.": dict(written=False),
        "the whole cache is written anew. A cache is appended to: one token's keys and values.": dict(whole=True),
        "the past is not read.": dict(past=0),
    }.items():
        e.mistake(hint, _with(**change))
    e.mistake(
        "the past is divided by the batch. Each text has its own; `state_bytes` of one text is one token's share.",
        lambda c, n, b=1: bytes_per_token(c, n, b) - cost.state_bytes(c, n) * (1 - 1 / b),
    )
    e.mistake(
        "all is divided by the batch: only the weights are shared, a text's past is its own.",
        lambda c, n, b=1: (b * (bytes_per_token(c, n, b) - _past(c, n)) + _past(c, n)) / b,
    )
    e.mistake(
        "the pasts of all texts are counted for one token: ask `state_bytes` for one text.",
        lambda c, n, b=1: bytes_per_token(c, n, b) + (b - 1) * _past(c, n),
    )
    e.mistake("weights of one byte: 16 bits are two.", _with(width=1))
    e.mistake("only RWKV writes here: a cache gets one token's keys and values, too.", lambda c, n, b=1: (
        bytes_per_token(c, n, b) - (0 if hasattr(c, "generation") else cost.state_bytes(c, 1))))  # fmt: skip
    e.mistake("`state_bytes` of one token more is all: RWKV writes its whole state as well.", lambda c, n, b=1: (
        bytes_per_token(c, n, b) - _past(c, n) + cost.state_bytes(c, n + 1)))  # fmt: skip
    e.mistake("the table is taken out where it is tied, and left in where it is not.", lambda c, n, b=1: (
        bytes_per_token(c, n, b) + (-2 if c.tied else 2) * c.vocab_size * c.d_model / b))  # fmt: skip
    e.mistake(
        "all texts' bytes come back: a token's share is that, divided by the batch.",
        lambda c, n, b=1: b * bytes_per_token(c, n, b),
    )
    e.mistake(
        "`context` times one token's bytes is no past of a state, nor of a full window: `cost.state_bytes` knows both.",
        lambda c, n, b=1: bytes_per_token(c, n, b) - cost.state_bytes(c, n) + n * cost.state_bytes(c, 1),
    )
    e.mistake(
        "RWKV writes its whole state anew, not one token's part: its state has no such parts.",
        lambda c, n, b=1: bytes_per_token(c, n, b) - (cost.state_bytes(c, n) // 2 if hasattr(c, "generation") else 0),
    )
    e.mistake(
        "a table that is shared with the head is read whole: take it out only where `config.tied` is False.",
        lambda c, n, b=1: bytes_per_token(c, n, b) - (2 * c.vocab_size * c.d_model / b if c.tied else 0),
    )


def _past(config, context):
    # What is read and written of one text's past.
    return cost.state_bytes(config, context) + cost.state_bytes(config, 1)


def _with(**change):
    return lambda config, context, batch=1: _moved(config, context, batch, **change)


def fair(other, ours, context, batch):
    """Return how many times the FLOPs and the bytes of `ours` the other model needs for a token."""
    flops = cost.decode_flops(other, context).total / cost.decode_flops(ours, context).total
    return flops, cost.bytes_per_token(other, context, batch) / cost.bytes_per_token(ours, context, batch)


def _reread(other, ours, context, **how):
    return cost.prefill_flops(other, context + 1, **how).total / cost.decode_flops(ours, context).total


def _alone(other, ours, context, batch):
    return cost.bytes_per_token(other, context) / cost.bytes_per_token(ours, context, batch)


@checks.exercise("16.3", fair, points=3, kind="repair", call=pair)
def comparison(e):
    """Two models under the same conditions: each with its memory, each with the same number of texts."""
    seven, eagle, mistral = (preset(name).config for name in ("llama-7b", "eagle-7b", "mistral-7b-v0.1"))
    e.case("LLaMA-7B and Eagle, 200 tokens, 64 texts", seven, eagle, 200, 64)
    e.case("LLaMA-7B and Eagle, 100,000 tokens, 4 texts", seven, eagle, 100_000, 4)
    e.case("Mistral and Eagle, 8,000 tokens, 16 texts", mistral, eagle, 8000, 16)
    e.case("Mistral and LLaMA-7B, 1,000 tokens, 2 texts", mistral, seven, 1000, 2)
    e.case("LLaMA-7B and Eagle, some texts", seven, eagle, e.size(300, 9000), e.size(2, 40))
    for hint, wrong in {
        "this is still the broken one: one side reads its text again, and it has no company.": lambda o, u, n, b: (
            _reread(o, u, n),
            _alone(o, u, n, b),
        ),
        "FLOPs are fair now. Bytes: how many texts does each side write at a time?": lambda o, u, n, b: (
            fair(o, u, n, b)[0],
            _alone(o, u, n, b),
        ),
        "bytes are fair now. FLOPs: the other model has a KV cache, and reads one token.": lambda o, u, n, b: (
            _reread(o, u, n),
            fair(o, u, n, b)[1],
        ),
        "it still reads the whole text, only with one token's logits: `decode_flops`.": lambda o, u, n, b: (
            _reread(o, u, n, all_logits=False),
            fair(o, u, n, b)[1],
        ),
        "both read their whole text again now. That is fair, and not how anybody writes.": lambda o, u, n, b: (
            cost.prefill_flops(o, n + 1).total / cost.prefill_flops(u, n + 1).total,
            fair(o, u, n, b)[1],
        ),
        "both alone: that is fair, too, but the question has a batch.": lambda o, u, n, b: fair(o, u, n, 1),
        "this is a mean over the whole text as it is read: the next token alone, `decode_flops`.": lambda o, u, n, b: (
            _reread(o, u, n) / (n + 1),
            fair(o, u, n, b)[1],
        ),
        "upside down: how many times as much the *other* needs.": lambda o, u, n, b: fair(u, o, n, b),
        "FLOPs of all texts on one side, of one on the other: a token of each.": lambda o, u, n, b: (
            b * fair(o, u, n, b)[0],
            fair(o, u, n, b)[1],
        ),
        "FLOPs of matrix products alone: the state's other work counts, `.total`.": lambda o, u, n, b: (
            cost.decode_flops(o, n).products / cost.decode_flops(u, n).products,
            fair(o, u, n, b)[1],
        ),
        "`context` tokens lie before on both sides: not context + 1 on one.": lambda o, u, n, b: (
            cost.decode_flops(o, n + 1).total / cost.decode_flops(u, n).total,
            fair(o, u, n, b)[1],
        ),
        "bytes first: return FLOPs, then bytes.": lambda o, u, n, b: fair(o, u, n, b)[::-1],
    }.items():
        e.mistake(hint, wrong)


def longest_context(config, room, batch=1):
    """Return how long `batch` texts may get within `room` bytes; None where they may go on without end."""
    return _longest(config, room, batch)


def _longest(config, room, batch, endless=True, least=True, weights=True, dtype="float16", half=False):
    left = room - (cost.weight_bytes(config, dtype) if weights else 0)
    if endless and cost.state_bytes(config, 2**40, batch) <= left:
        return None
    tokens = left // cost.state_bytes(config, 1, batch) + (1 if half else 0)
    return max(0, tokens) if least else tokens


@checks.exercise("16.4", longest_context, points=4)
def fits(e):
    """Caches, windows that fill or do not, states that fit or do not, weights that do not."""
    for name, gib, batch in (
        ("llama-7b", 24, 1),
        ("llama-7b", 80, 8),
        ("llama-7b", 4, 1),
        ("eagle-7b", 16, 10),
        ("eagle-7b", 16, 100),
        ("eagle-7b", 4, 1),
        ("mistral-7b-v0.1", 24, 2),
        ("mistral-7b-v0.1", 24, 40),
        ("mistral-7b-v0.1", 24, 60),
        ("tinyllama-1.1b", 4, 3),
    ):
        e.case(f"{name}, {gib} GiB, {batch} texts", preset(name).config, gib * 2**30, batch)
    eagle = preset("eagle-7b").config
    e.case("eagle-7b, full to the last byte", eagle, cost.weight_bytes(eagle) + cost.state_bytes(eagle, 1, 6), 6)
    e.case("LLaMA-13B, some room", preset("llama-13b").config, e.size(26 * 2**30, 90 * 2**30), 3)
    for hint, change in {
        "a state that does not grow, or a full window, lets a text go on without end: None.": dict(endless=False),
        "weights that do not fit leave a negative number: 0 tokens, then.": dict(least=False),
        "the weights need room, too.": dict(weights=False),
        "the weights are counted with four bytes: 16 bits are two.": dict(dtype="float32"),
        "rounded up: the last token must fit whole.": dict(half=True),
    }.items():
        e.mistake(hint, lambda c, r, b=1, change=change: _longest(c, r, b, **change))
    e.mistake("the batch is forgotten: every text has a memory of its own.", lambda c, r, b=1: longest_context(c, r))
    e.mistake(
        "RWKV gets None even where weights or states do not fit: 0 tokens.",
        lambda c, r, b=1: None if hasattr(c, "generation") else longest_context(c, r, b),
    )
    e.mistake("Mistral's window is forgotten: a rolling cache stops growing at W tokens.", _no_window)
    e.mistake("a window gets None even where it does not fit when it is full.", _always_window)
    e.mistake("a fraction of a token comes back: `//`.", _fraction)
    e.mistake("no end is None here, not infinity.", lambda c, r, b=1: (
        math.inf if longest_context(c, r, b) is None else longest_context(c, r, b)))  # fmt: skip
    e.mistake("whether it ever ends is asked for one text: all of `batch` must fit.", lambda c, r, b=1: (
        None if longest_context(c, r) is None else longest_context(c, r, b)))  # fmt: skip
    e.mistake("state or window, and None at once: ask first whether it fits, with the weights.", lambda c, r, b=1: (
        None if hasattr(c, "generation") or c.window else longest_context(c, r, b)))  # fmt: skip
    e.mistake("full to the last byte still fits: `<=`, not `<`.", lambda c, r, b=1: (
        _longest(c, r, b, endless=cost.state_bytes(c, 2**40, b) < r - cost.weight_bytes(c))))  # fmt: skip
    e.mistake("whether it ever ends is asked without the weights: they need room, too.", lambda c, r, b=1: (
        None if cost.state_bytes(c, 2**40, b) <= r else longest_context(c, r, b)))  # fmt: skip
    e.mistake(
        "the weights are counted once for every text: they are there once.",
        lambda c, r, b=1: longest_context(c, r // b),
    )


def _no_window(config, room, batch=1):
    return (
        longest_context(config, room, batch) if hasattr(config, "generation") else _longest(config, room, batch, False)
    )


def _always_window(config, room, batch=1):
    return None if getattr(config, "window", None) else longest_context(config, room, batch)


def _fraction(config, room, batch=1):
    if longest_context(config, room, batch) is None:
        return None
    return max(0.0, (room - cost.weight_bytes(config)) / cost.state_bytes(config, 1, batch))


@checks.exercise("16.5", 18_980, points=3, kind="predict", tolerance=1e-3)
def hybrid(e):
    """From which context on is a hybrid's memory ten times Eagle's? 9.125 x 34,078,720 / 16,384."""
    e.mistake("the 4 layers that became attention have no state of Eagle's any more: 28 of 32 are left.", 18_720)
    e.mistake("the 28 layers that stay have a state, too: take it off the ten times first.", 20_800)
    e.mistake("a token adds 16,384 bytes, not 8,192: keys and values, and two bytes a number.", 37_960)
    e.mistake("16 bits are two bytes a number: you counted four.", 9_490)
    e.mistake("a token adds 16,384 bytes, not 65,536: 8 key heads, not 32, and two bytes a number.", 4_745)
    e.mistake("8 key heads of 128 are all counted: a token adds 16,384 bytes, not 2,048.", 151_840)
    e.mistake("only 4 layers have a cache, not 32.", 2_372.5)
    e.mistake("4 layers have a cache and 28 a state, not the other way round.", 2_934.3)
    e.mistake("the state that stays is part of the ten times: take it off, 10 - 28/32.", 22_620)
    e.mistake("one layer's cache: there are 4 of them.", 75_920)
    e.mistake("Eagle's memory is in MiB here and the cache in bytes: take both in bytes.", 0.018100)
    e.mistake("that is where the cache is ten times as large as what is left of the state.", 18_200)
