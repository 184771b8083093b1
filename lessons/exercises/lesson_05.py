"""The checks of lesson 05, grouped attention."""

import math

import torch

from lessons.checker.check import Checks
from lessons.checker.limits import InWords
from lessons.exercises.lesson_05_wrong import WRONG_LAYERS, joined, joined_with_none
from lib.layers.attention import GroupedAttention, attention_weights
from lib.layers.rope import rope_table
from lib.layers.shared import Shared
from lib.models.presets import PRESETS

checks = Checks("05")
check = checks.check


def scores_of(q, k):
    """Return the scaled scores, (B, H, T, S), before any mask."""
    return q @ k.repeat_interleave(q.shape[1] // k.shape[1], 1).transpose(-1, -2) / math.sqrt(q.shape[-1])


def below(a, diagonal=None):
    """Return the mask of what lies on or below a diagonal of a's last two axes; by default the right one."""
    T, S = a.shape[-2:]
    return torch.ones(T, S, dtype=torch.bool).tril(S - T if diagonal is None else diagonal)


def hide(a, diagonal=None):
    """Return the scores with -inf above a diagonal."""
    return a.masked_fill(~below(a, diagonal), -torch.inf)


def of_scores(formula):
    """Return weights by formula(scores), right or wrong."""
    return lambda q, k: formula(scores_of(q, k))


@checks.exercise("05.1", attention_weights, points=4, dtypes=(torch.float64, torch.bfloat16), batch=(0, 1))
def weights(e):
    """softmax(q k^T / sqrt(N)) under a mask that knows where the queries stand."""
    e.case("a whole text", e.randn(2, 4, 5, 6), e.randn(2, 4, 5, 6))
    e.case("2 queries, 7 keys", e.randn(2, 3, 2, 6), e.randn(2, 3, 7, 6))
    e.case("one new token, 9 keys", e.randn(1, 2, 1, 4), e.randn(1, 2, 9, 4))
    e.case("6 query heads on 3 key heads", e.randn(2, 6, 4, 10), e.randn(2, 3, 5, 10))
    e.case("large scores", 300 * e.randn(1, 2, 6, 8), e.randn(1, 2, 6, 8))
    for hint, formula in WRONG_WEIGHTS.items():
        e.mistake(hint, of_scores(formula))
    e.mistake("the scores are not divided by sqrt(N).", lambda q, k: attention_weights(q, k * math.sqrt(q.shape[-1])))
    e.mistake("divided by N: it is the root of N.", lambda q, k: attention_weights(q, k / math.sqrt(q.shape[-1])))
    e.mistake(
        "key heads are tiled, 0 1 0 1, not shared by neighbours, 0 0 1 1.",
        lambda q, k: attention_weights(q, k.repeat(1, q.shape[1] // k.shape[1], 1, 1)),
    )
    e.mistake(
        "scaled by all heads' channels: N is the size of one head.",
        lambda q, k: attention_weights(q, k / q.shape[1] ** 0.5),
    )
    e.mistake("multiplied by sqrt(N), not divided.", lambda q, k: attention_weights(q, k * q.shape[-1]))
    for axis, name in ((2, "T"), (1, "H")):
        e.mistake(
            f"divided by sqrt({name}): N is the size of a head, the last axis.",
            lambda q, k, axis=axis: attention_weights(q, k * (q.shape[-1] / q.shape[axis]) ** 0.5),
        )
    late = lambda q, k: attention_weights(q, k * math.sqrt(q.shape[-1])) / math.sqrt(q.shape[-1])  # noqa: E731
    e.mistake("it is the scores that are divided, before the softmax.", late)
    finite = "a finite number leaves later tokens a little weight, or all of it: masked scores are -torch.inf."
    for number in (-10.0, -100.0):
        e.mistake(finite, of_scores(lambda a, number=number: a.masked_fill(~below(a), number).softmax(-1)))
    e.mistake(
        "the wrong axes are swapped (`.T` turns all round): `k.transpose(-1, -2)` swaps the last two.",
        lambda q, k: q @ k.permute(3, 2, 1, 0),
    )
    e.mistake("`~` needs a mask of True and False: `dtype=torch.bool`.", lambda q, k: ~scores_of(q, k))


WRONG_WEIGHTS = {
    "there is no mask: a token sees later ones.": lambda a: a.softmax(-1),
    "the mask ignores that the queries are the last T of S tokens: the diagonal is S - T.": lambda a: hide(
        a, 0
    ).softmax(-1),
    "the diagonal is S - T, not T - S.": lambda a: hide(a, a.shape[-2] - a.shape[-1]).softmax(-1),
    "the mask is T by T: it has S columns, one a key.": lambda a: a.masked_fill(
        ~below(a[..., : a.shape[-2]]), -torch.inf
    ).softmax(-1),
    "masked scores are +inf: that takes all of the weight. It is -inf.": lambda a: a.masked_fill(
        ~below(a), torch.inf
    ).softmax(-1),
    "`triu` keeps what lies above the diagonal: `tril` it is.": lambda a: a.masked_fill(
        ~torch.ones(a.shape[-2:], dtype=torch.bool).triu(a.shape[-1] - a.shape[-2]), -torch.inf
    ).softmax(-1),
    "masked after the softmax: all that may be seen can be 0, and 0/0 is NaN. Mask the scores.": lambda a: (
        (a.softmax(-1) * below(a)) / (a.softmax(-1) * below(a)).sum(-1, keepdim=True)
    ),
    "the mask is one too far: a token sees the next one.": lambda a: hide(a, a.shape[-1] - a.shape[-2] + 1).softmax(-1),
    "a token can't see itself: s = t is allowed.": lambda a: hide(a, a.shape[-1] - a.shape[-2] - 1).softmax(-1),
    "the mask is upside down: the past is hidden, the future seen.": lambda a: a.masked_fill(
        below(a), -torch.inf
    ).softmax(-1),
    "the weights are masked after the softmax, so that rows don't sum to one: mask the scores.": lambda a: (
        a.softmax(-1) * below(a)
    ),
    "masked scores are 0, and e^0 is 1: they must be -inf.": lambda a: (a * below(a)).softmax(-1),
    "the softmax runs over the queries: the last axis holds the keys.": lambda a: hide(a).softmax(-2),
    "the softmax runs over the heads: the last axis holds the keys.": lambda a: hide(a).softmax(1),
    "the softmax is missing: these are scores.": hide,
    "divided by the sum without exp: a share is e^a over the sum of e^a.": lambda a: (
        (a * below(a)) / (a * below(a)).sum(-1, keepdim=True)
    ),
    "large scores overflow in exp: use softmax, which subtracts the largest first.": lambda a: (
        hide(a).exp() / hide(a).exp().sum(-1, keepdim=True)
    ),
}


def in_pieces(module, x, cos, sin, sizes):
    """Run a layer over x in pieces; return all outputs, and the keys and values of the last cache."""
    state, outputs = None, []
    for part, c, s in zip(x.split(sizes, 1), cos.split(sizes), sin.split(sizes), strict=True):
        before = state and (state.keys, state.values)
        result = module(part, state, Shared(c, s))
        if before and (state.keys is not before[0] or state.values is not before[1]):
            raise InWords("it changed the cache that came in: another text may go on from there, make a new cache")
        if not isinstance(result, tuple) or len(result) != 2:
            raise InWords("forward must return two things, y and the cache")
        y, state = result
        if not hasattr(state, "keys") or not hasattr(state, "values"):
            raise InWords("the second thing that forward returns must be the KVCache")
        outputs.append(y)
    return torch.cat(outputs, 1), state.keys, state.values


@checks.exercise("05.2", GroupedAttention, points=5, call=in_pieces, batch=(0,))
def grouped(e):
    """The layer: heads, RoPE, cache, attention."""
    for name, heads, sizes, first in (
        ("6 query heads on 2 key heads", (6, 2), [5], 0),
        ("as many key heads as query heads", (3, 3), [4], 0),
        ("one key head", (4, 1), [4], 0),
        ("positions from 7 on", (4, 2), [5], 7),
        ("in pieces of 3, 1 and 2 tokens", (4, 2), [3, 1, 2], 0),
        ("token by token", (4, 2), [1] * 4, 2),
    ):
        T = sum(sizes)
        e.case(name, e.randn(2, T, 20), *rope_table(6, T, offset=first), sizes, build=(20, *heads, 6))
    for hint, wrong in WRONG_LAYERS.items():
        e.mistake(hint, wrong)


def shared_keys(k, n_heads):
    """(B, G, S, N) -> (B, H, S, N): neighbours share."""
    return k.repeat_interleave(n_heads // k.shape[1], dim=1)


@checks.exercise("05.3", shared_keys, points=2, kind="repair")
def shared(e):
    """A key head for each query head."""
    e.case("8 query heads on 2 key heads", e.randn(3, 2, 5, 4), 8)
    e.case("6 on 3", e.randn(2, 3, 4, 5), 6)
    e.case("as many as query heads", e.randn(2, 3, 4, 5), 3)
    e.case("one key head", e.randn(2, 1, 3, 5), 4)
    e.mistake("this is the tiled one as it was, 0 1 0 1.", lambda k, H: k.repeat(1, H // k.shape[1], 1, 1))
    e.mistake("each key head is repeated H times: H / G are enough.", lambda k, H: k.repeat_interleave(H, 1))
    e.mistake(
        "query head h reads key head h // (H / G), not h // G.", lambda k, H: k[:, [h // k.shape[1] for h in range(H)]]
    )
    e.mistake("each key head is repeated G times: H / G it is.", lambda k, H: k.repeat_interleave(k.shape[1], 1))
    e.mistake(
        "the sequences are repeated, not the heads: axis 1.", lambda k, H: k.repeat_interleave(H // k.shape[1], 0)
    )
    e.mistake("the tokens are repeated, not the heads: axis 1.", lambda k, H: k.repeat_interleave(H // k.shape[1], 2))
    e.mistake("the copies have an axis of their own: `(g r)` joins it with the heads.", apart)
    e.mistake("without an axis all is laid in one row: `dim=1`.", lambda k, H: k.repeat_interleave(H // k.shape[1]))
    e.mistake("r is not always 4: it is n_heads // G.", lambda k, H: k.repeat_interleave(4, 1))
    e.mistake("`expand` can only widen an axis of length 1.", lambda k, H: k.expand(-1, H, -1, -1))
    e.mistake("all query heads read key head 0.", lambda k, H: k[:, :1].expand(-1, H, -1, -1))
    e.mistake("the groups come in the wrong order, the last first.", lambda k, H: shared_keys(k.flip(1), H))


def apart(k, n_heads):
    """(B, G, S, N) -> (B, G, R, S, N)."""
    return k[:, :, None].expand(-1, -1, n_heads // k.shape[1], -1, -1)


def recent(old, new, window):
    """(B, G, S, N) or None, (B, G, T, N) -> the last window - 1 + T of both."""
    everything = new if old is None else torch.cat([old, new], dim=2)
    return everything[:, :, -(window - 1 + new.shape[2]) :]


KEPT = {
    "it keeps W keys: with T > 1 the first new token looks further back, W - 1 + T.": lambda W, T: W,
    "it keeps W + T keys, one more than can be seen.": lambda W, T: W + T,
    "it keeps W - 1 keys: the token itself counts as one of W.": lambda W, T: W - 1 or 1000,
    "nothing is thrown away.": lambda W, T: 1000,
    "only the new keys are left.": lambda W, T: T,
    "brackets are missing: the slice begins at -(W - 1 + T).": lambda W, T: W + 1 - T,
}


@checks.exercise("05.4", recent, points=3)
def sliding(e):
    """A cache that keeps what the window can reach."""
    e.case("one new token, a full window", e.randn(2, 3, 6, 5), e.randn(2, 3, 1, 5), 4)
    e.case("the window is not full yet", e.randn(2, 3, 2, 5), e.randn(2, 3, 1, 5), 6)
    e.case("the first token", None, e.randn(2, 3, 1, 5), 4)
    e.case("3 new tokens", e.randn(2, 3, 6, 5), e.randn(2, 3, 3, 5), 4)
    e.case("a beginning longer than the window", None, e.randn(1, 2, 9, 5), 4)
    e.case("a window of 1", e.randn(1, 2, 4, 5), e.randn(1, 2, 1, 5), 1)
    for hint, count in KEPT.items():
        e.mistake(hint, joined(lambda a, W, T, count=count: a[:, :, -count(W, T) :]))
    e.mistake("it keeps the oldest, not the latest.", joined(lambda a, W, T: a[:, :, : W - 1 + T]))
    e.mistake(
        "for a window of 1 the slice is [-0:], which is all: cut after joining, or count from the front.",
        lambda old, new, W: new if old is None else torch.cat([old[:, :, -(W - 1) :], new], 2),
    )
    e.mistake(
        "a beginning has no old keys, but its tokens see each other: keep W - 1 + T of it.",
        lambda old, new, W: new[:, :, -W:] if old is None else recent(old, new, W),
    )
    e.mistake("at the beginning `old` is None: there is nothing to join.", joined_with_none)
    e.mistake(
        "`[:, -k:]` cuts the heads: the tokens are axis 2, `[:, :, -k:]`.", joined(lambda a, W, T: a[:, -(W - 1 + T) :])
    )
    e.mistake(
        "with fewer tokens than W - 1 + T the slice begins below 0, and cuts: max(0, ...), or count from the end.",
        joined(lambda a, W, T: a[:, :, a.shape[2] - (W - 1 + T) :]),
    )
    e.mistake(
        "the heads are joined, not the tokens: `dim=2`.",
        lambda old, new, W: new if old is None else torch.cat([old, new], dim=1),
    )
    front = "the new keys stand before the old ones: oldest first."
    e.mistake(front, joined(lambda a, W, T: a.roll(T, 2)[:, :, : W - 1 + T]))
    e.mistake(front, joined(lambda a, W, T: a.roll(T, 2)[:, :, -(W - 1 + T) :]))
    e.mistake("`[..., -k:]` cuts the channels: the tokens are axis 2.", joined(lambda a, W, T: a[..., -(W - 1 + T) :]))
    e.mistake(
        "`len(new)` counts the texts: the new tokens are `new.shape[2]`.",
        lambda old, new, W: joined(lambda a, W, T: a[:, :, -(W - 1 + len(new)) :])(old, new, W),
    )
    e.mistake(
        "ask `old is None`: a tensor of many numbers is neither true nor false.",
        lambda old, new, W: new if not old else old,
    )
    e.mistake(
        "the heads are joined, not the tokens: axis 2.",
        lambda old, new, W: new if old is None else torch.cat([old, new[:, :, :1].expand_as(old)], 1),
    )


def cache_bytes(config, length, bytes_per_number=2):
    """Return the bytes of the keys and values of `length` tokens."""
    seen = length if config.window is None else min(length, config.window)
    return 2 * config.n_layers * config.n_kv_heads * config.d_head * seen * bytes_per_number


@checks.exercise("05.5", cache_bytes, points=2)
def counted(e):
    """The bytes of a cache."""
    for name, length, size in (
        ("llama-7b", 2048, 2),
        ("llama-2-70b", 4096, 2),
        ("tinyllama-1.1b", 100, 4),
        ("mistral-7b-v0.1", 1000, 2),
        ("mistral-7b-v0.1", 32768, 2),
    ):
        e.case(f"{name}, {length:,} tokens, {size} bytes", PRESETS[name].config, length, size)
    e.case("bytes left out of the call", PRESETS["litellama-460m"].config, 7)
    e.case("some length", PRESETS["llama-2-70b"].config, e.size(2, 4000), 4)
    for hint, factor in {
        "keys and values: 2 of each size.": lambda c: 1 / 2,
        "n_heads counts the queries: n_kv_heads are kept.": lambda c: c.n_heads / c.n_kv_heads,
        "every layer has a cache of its own.": lambda c: 1 / c.n_layers,
        "the heads are missing.": lambda c: 1 / c.n_kv_heads,
        "H / G queries share a key head: it is n_kv_heads that are kept.": lambda c: (
            c.n_heads // c.n_kv_heads / c.n_kv_heads
        ),
        "the size of a head is missing.": lambda c: 1 / c.d_head,
    }.items():
        e.mistake(hint, lambda c, n, size=2, factor=factor: round(cache_bytes(c, n, size) * factor(c)))
    e.mistake(
        "`window` is None where a token sees everything, and None has no minimum: ask for that first.",
        lambda c, n, size=2: cache_bytes(c, min(n, c.window), size),
    )
    e.mistake(
        "a key has d_head numbers, not d_model.", lambda c, n, size=2: cache_bytes(c, n, size) // c.d_head * c.d_model
    )
    e.mistake("these are GiB: return bytes.", lambda c, n, size=2: cache_bytes(c, n, size) / 2**30)
    e.mistake("the window is forgotten: older keys are thrown away.", lambda c, n, size=2: cache_bytes(c, 1, size) * n)
    e.mistake(
        "the window counts the token itself: W are kept, not W - 1.",
        lambda c, n, size=2: cache_bytes(c, n if c.window is None else min(n, c.window - 1), size),
    )
    e.mistake("the bytes of a number are always 2: use the argument.", lambda c, n, size=2: cache_bytes(c, n, 2))
    e.mistake("these are numbers, not bytes.", lambda c, n, size=2: cache_bytes(c, n, 1))
    e.mistake(
        "a model with a window keeps it all from the beginning: min(length, window).",
        lambda c, n, size=2: cache_bytes(c, c.window or n, size),
    )
