"""The checks of lesson 13, RWKV-5 Eagle."""

import torch
import torch.nn.functional as F

from lessons.checker.check import Checks
from lessons.checker.effort import without_a_loop
from lessons.checker.limits import InWords
from lessons.exercises.lesson_13_wrong import (
    WRONG_CHUNKS,
    WRONG_LOOPS,
    Swapped,
    chunked,
    dealt_out,
    eagle,
    side_by_side,
    split_in_time,
)
from lib.layers.heads import to_heads
from lib.layers.rwkv5 import TimeMix, wkv

checks = Checks("13")
check = checks.check


def inputs(e, B, H, T, N, state=True, timed=False):
    """Return random r, k, v, log_w, u and S."""
    r, k, v = (e.randn(B, H, T, N) for _ in range(3))
    log_w = -e.randn(*((B, H, T, N) if timed else (H, 1, N))).abs()
    return r, k, v, log_w, e.randn(H, N), e.randn(B, H, N, N) if state else None


@checks.exercise("13.1", wkv, points=4, time=(2, 2), tolerance=1e-5)
def recurrence(e):
    """S <- diag(w) S + k^T v, read before, with a bonus for the token itself."""
    e.case("2 sequences, 3 heads, 5 tokens", *inputs(e, 2, 3, 5, 4))
    e.case("an empty memory", *inputs(e, 2, 2, 6, 5, state=False))
    e.case("one token", *inputs(e, 1, 2, 1, 3))
    e.case("a decay for each token", *inputs(e, 2, 2, 4, 3, timed=True))
    e.case("no decay", *inputs(e, 1, 2, 4, 3)[:3], torch.zeros(2, 1, 3), e.randn(2, 3), e.randn(1, 2, 3, 3))
    e.case("strong decay", *inputs(e, 1, 2, 4, 3)[:3], torch.full((2, 1, 3), -200.0), e.randn(2, 3))
    for hint, wrong in WRONG_LOOPS.items():
        e.mistake(hint, wrong)


def one_chunk(r, k, v, log_w, u, S):
    """Return y and S after L tokens: products of matrices, no loop."""
    return chunked()(r, k, v, log_w, u, S)


@checks.exercise("13.2", one_chunk, points=5, time=(2, 2), tolerance=1e-4)
def chunk(e):
    """A chunk of tokens at once is the recurrence."""
    e.case("2 sequences, 3 heads, 5 tokens", *inputs(e, 2, 3, 5, 4))
    e.case("one token", *inputs(e, 1, 2, 1, 3))
    e.case("a decay for each token", *inputs(e, 2, 2, 4, 3, timed=True))
    e.case("no decay", *inputs(e, 1, 2, 6, 3)[:3], torch.zeros(2, 1, 3), e.randn(2, 3), e.randn(1, 2, 3, 3))
    e.case("2 tokens", *inputs(e, 2, 2, 2, 5))
    gentle, memory = torch.full((2, 1, 4), -0.1), e.randn(1, 2, 4, 4)
    e.case("a chunk of 64", *inputs(e, 1, 2, 64, 4)[:3], gentle, e.randn(2, 4), memory, call=without_a_loop(64))
    for hint, wrong in WRONG_CHUNKS.items():
        e.mistake(hint, wrong)


def head_norm(y, weight, bias, eps=64e-5):
    """(B, H, T, N) -> (B, T, C): each head of each token by its own mean and spread."""
    B, H, T, N = y.shape
    rows = y.transpose(1, 2).reshape(B * T, H * N)  # a row for each token
    return F.group_norm(rows, H, weight, bias, eps).view(B, T, H * N)


def grouped(y, weight, bias, eps, groups=None):
    """Return the rows (B * T, C) normalised in some number of groups; None: one for each head."""
    B, H, T, N = y.shape
    return F.group_norm(y.transpose(1, 2).reshape(B * T, H * N), groups or H, weight, bias, eps)


def normed(dims, eps=None, unbiased=False, last=lambda y: y.transpose(1, 2).flatten(-2)):
    """Return a norm over other axes, with another eps or another spread."""

    def norm(y, weight, bias, given=64e-5):
        y = y - y.mean(dims, keepdim=True)
        var = y.var(dims, unbiased=unbiased, keepdim=True)
        return last(y / (var + (given if eps is None else eps)).sqrt()) * weight + bias

    return norm


def eps_outside(y, weight, bias, eps=64e-5, correction=0):
    """Return a norm that adds eps behind the root."""
    y = y - y.mean(-1, keepdim=True)
    y = y / (y.std(-1, keepdim=True, correction=correction) + eps)
    return y.transpose(1, 2).flatten(-2) * weight + bias


@checks.exercise("13.3", head_norm, points=3, kind="repair")
def norms(e):
    """The norm by heads, and no token sees another."""
    for name, (B, H, T, N), size in (
        ("2 sequences, 3 heads, 5 tokens", (2, 3, 5, 8), 1.0),
        ("one token", (2, 2, 1, 6), 1.0),
        ("quiet heads", (1, 2, 4, 6), 0.01),
        ("loud heads", (1, 3, 4, 4), 1e3),
    ):
        e.case(name, size * e.randn(B, H, T, N), e.randn(H * N), e.randn(H * N))
    e.case("another eps", 0.1 * e.randn(1, 2, 3, 4), e.randn(8), e.randn(8), 0.1)
    e.mistake(
        "this is still the leak: the mean goes over time, too. Make a row of C channels for each token.",
        normed((-2, -1)),
    )
    e.mistake("all channels of a token are normalised together: each head by itself.", normed((1, 3)))
    e.mistake("the mean goes over time alone: over the N channels of a head.", normed(-2))
    e.mistake("the mean goes over the heads: over the N channels of a head.", normed(1))
    e.mistake("eps is always 64e-5: take the argument.", normed(-1, 64e-5))
    e.mistake("eps is 1e-5: quiet heads come out too loud.", normed(-1, 1e-5))
    e.mistake("the spread divides by N - 1: GroupNorm divides by N.", normed(-1, unbiased=True))
    e.mistake(
        "the heads come in turns, channel by channel: lay them side by side.",
        normed(-1, last=lambda y: y.permute(0, 2, 3, 1).flatten(-2)),
    )
    e.mistake(
        "tokens and heads are mixed: transpose first, then reshape.",
        normed(-1, last=lambda y: y.reshape(len(y), y.shape[2], -1)),
    )
    e.mistake(
        "weight and bias are not handed on to F.group_norm.",
        lambda y, w, b, eps=64e-5: head_norm(y, torch.ones_like(w), 0 * b, eps),
    )
    e.mistake("the weight is left out.", lambda y, weight, bias, eps=64e-5: head_norm(y, 0 * weight + 1, bias, eps))
    e.mistake("the bias is left out.", lambda y, weight, bias, eps=64e-5: head_norm(y, weight, 0 * bias, eps))
    for hint, wrong in WRONG_ROWS.items():
        e.mistake(hint, wrong)


WRONG_ROWS = {
    "there are H groups, one a head, not N.": lambda y, w, b, eps=64e-5: grouped(y, w, b, eps, groups=y.shape[-1]).view(
        len(y), y.shape[2], -1
    ),
    "the rows come back in the wrong order: (b t), as they went.": lambda y, w, b, eps=64e-5: (
        grouped(y, w, b, eps).view(y.shape[2], len(y), -1).transpose(0, 1)
    ),
    "the rows are not cut again: back to (B, T, C).": lambda y, w, b, eps=64e-5: grouped(y, w, b, eps),
    "the channels lie as (n h), so that a group holds some of each head: (h n), side by side.": (
        lambda y, w, b, eps=64e-5: F.group_norm(y.permute(0, 2, 3, 1).reshape(-1, len(w)), y.shape[1], w, b, eps).view(
            len(y), -1, len(w)
        )
    ),
    "eps is added to the spread: it stands under the root, (variance + eps).sqrt().": lambda *z: eps_outside(*z),
    "eps is added to the spread, and that divides by N - 1: (variance + eps).sqrt(), with correction=0.": (
        lambda *z: eps_outside(*z, correction=1)
    ),
}


def in_pieces(module, x, sizes):
    """Run a layer over x in pieces; return all outputs, the last token and the last S."""
    state, outputs = None, []
    for part in x.split(sizes, 1):
        result = module(part, state)
        if not isinstance(result, tuple) or len(result) != 2:
            raise InWords("forward must return two things, y and the state")
        y, state = result
        if not isinstance(state, tuple) or len(state) != 2:
            raise InWords("the state must be the pair (last token, S)")
        outputs.append(y)
    return torch.cat(outputs, 1), *state


@checks.exercise("13.4", TimeMix, points=5, call=in_pieces, batch=(0,), tolerance=1e-4)
def layer(e):
    """Shift, project, remember, norm by heads, gate, project back."""
    for name, build, sizes in (
        ("3 heads of 4", (12, 4), [5]),
        ("one head", (6, 6), [4]),
        ("in pieces of 3, 1 and 2 tokens", (8, 4), [3, 1, 2]),
        ("token by token", (8, 2), [1] * 4),
        ("another eps", (8, 4, 0.3), [4]),
    ):
        e.case(name, e.randn(2, sum(sizes), build[0]), sizes, build=build)
    for hint, changed in WRONG_LAYERS.items():
        e.mistake(hint, eagle(**changed))
    e.mistake("the two parts of the state are swapped: (last, S).", Swapped)


WRONG_LAYERS = {
    "the receptance has a sigmoid, as in RWKV-4: here it is a question and may be negative.": dict(ask=torch.sigmoid),
    "log_w is the parameter itself: log_w = -e^decay.": dict(log_w=lambda d: -d.abs()),
    "log_w is d as it is learned: log_w = -e^decay.": dict(log_w=lambda d: d),
    "the channels of a head lie side by side, (h n), and are not dealt out in turns, (n h).": dict(heads=dealt_out),
    "the mixed inputs come in the order of RWKV-4: here it is x_r, x_k, x_v, x_g.": dict(
        swap=lambda r, k, v, g: (k, v, r, g)
    ),
    "log_w has lost its minus: log_w = -e^decay.": dict(log_w=torch.exp),
    "that is w, and wkv takes its logarithm: log_w = -e^decay.": dict(log_w=lambda d: (-d.exp()).exp()),
    "the bonus is taken as e^bonus: take it as it is.": dict(bonus=torch.exp),
    "the norm by heads is left out.": dict(norm=lambda self, y: side_by_side(y)),
    "all channels are normalised together: each head by itself.": dict(
        norm=lambda self, y: F.group_norm(side_by_side(y).flatten(0, 1), 1, self.norm.weight, self.norm.bias,
                                          self.norm.eps).view_as(side_by_side(y))
    ),
    "the norm's eps is 1e-5: the layer was built with another, self.norm.eps.": dict(
        norm=lambda self, y: F.group_norm(side_by_side(y).flatten(0, 1), self.n_heads, self.norm.weight,
                                          self.norm.bias, 1e-5).view_as(side_by_side(y))
    ),
    "the gate is a sigmoid: it is silu.": dict(gate=torch.sigmoid),
    "the gate has no silu.": dict(gate=lambda z: z),
    "the gate is left out.": dict(out=lambda self, y, g: self.output(y)),
    "gated after the output matrix: first the gate, then output.": dict(out=lambda self, y, g: self.output(y) * g),
    "the output matrix is left out.": dict(out=lambda self, y, g: y * g),
    "the mixed inputs are swapped: keys are made of x_k, values of x_v.": dict(
        swap=lambda r, k, v, g: (r, v, k, g)
    ),
    "the gate is made of x_r: it has an input of its own, x_g.": dict(swap=lambda r, k, v, g: (r, k, v, r)),
    "(B, T, C) is cut into heads as (B, H, T, N) at once, so that tokens and heads mix: to_heads.": dict(
        heads=split_in_time
    ),
    "the gate sees the token itself: it has a mix of its own, x_g.": dict(plain=(3,)),
    "nothing is mixed: x_r, x_k, x_v and x_g, not x.": dict(plain=(0, 1, 2, 3)),
    "the key is made of x_r: it has an input of its own, x_k.": dict(swap=lambda r, k, v, g: (r, r, v, g)),
    "gated before the norm, which takes the gate's size out again: first the norm, then the gate.": dict(
        norm=lambda self, y: y, out=lambda self, y, g: self.output(self.norm(y * to_heads(g, self.n_heads)))
    ),
    "log_w has its axis of time in the wrong place: (H, 1, N), so [:, None].": dict(axis=-1),
    "S is not handed on: the memory is empty at each call.": dict(carry=False),
}  # fmt: skip


def join(first, second, log_w):
    """(B, H, N, N) twice and the second half's decays (B, H, T, N) -> the memory of the whole text."""
    return log_w.sum(-2).exp()[..., None] * first + second


@checks.exercise("13.5", join, points=3)
def two_readers(e):
    """The memories of two halves make that of the whole."""
    for name, (B, H, T, N) in (
        ("5 tokens in the second half", (2, 3, 5, 4)),
        ("one token", (1, 2, 1, 3)),
        ("30 tokens", (2, 2, 30, 4)),
    ):
        log_w = -e.randn(B, H, T, N).abs() * (0.1 if T > 5 else 1)
        e.case(name, e.randn(B, H, N, N), e.randn(B, H, N, N), log_w)
    e.case("a row that forgets all", e.randn(1, 1, 2, 2), e.randn(1, 1, 2, 2), torch.tensor([[[[-300.0, -0.5]] * 4]]))
    for hint, wrong in {
        "the first memory does not fade while the second half is read.": lambda a, b, w: a + b,
        "the second memory fades, too: it has done so by itself.": lambda a, b, w: (
            join(a, 0 * b, w) * 1.0 + w.sum(-2).exp()[..., None] * b
        ),
        "the wrong one fades: the first half was written earlier.": lambda a, b, w: join(b, a, w),
        "the columns fade: a decay belongs to a row, [..., None].": lambda a, b, w: (
            w.sum(-2).exp()[..., None, :] * a + b
        ),
        "only the last token's decay is taken: the logs of all add up.": lambda a, b, w: join(a, b, w[:, :, -1:]),
        "the decays lack an axis for the columns: [..., None].": lambda a, b, w: w.sum(-2).exp() * a + b,
        "only one token's decay is taken: the logs of all add up.": lambda a, b, w: join(a, b, w[:, :, :1]),
        "the last token's decay is left out: S fades at that one, too.": lambda a, b, w: join(a, b, w[:, :, :-1]),
        "the first token's decay is left out: the first memory fades at that one, too.": lambda a, b, w: join(
            a, b, w[:, :, 1:]
        ),
        "the first token's decay is taken for all: each has its own.": lambda a, b, w: join(
            a, b, w[:, :, :1].expand_as(w)
        ),
        "the last token's decay is taken for all: each has its own.": lambda a, b, w: join(
            a, b, w[:, :, -1:].expand_as(w)
        ),
        "the sum goes over the rows, too: each row fades by itself, so over time alone, dim=2.": lambda a, b, w: (
            w.sum((2, 3)).exp()[..., None, None] * a + b
        ),
        "these are logarithms: exp of their sum.": lambda a, b, w: w.sum(-2)[..., None] * a + b,
        "the decays are added, not multiplied: exp of the sum of the logs.": lambda a, b, w: (
            w.exp().sum(-2)[..., None] * a + b
        ),
        "the mean of the decays is taken: each token fades once, so it is the sum.": lambda a, b, w: join(
            a, b, w.mean(-2, keepdim=True)
        ),
        "the second memory is left out.": lambda a, b, w: join(a, 0 * b, w),
        "the first memory is left out.": lambda a, b, w: b + 0 * a,
    }.items():
        e.mistake(hint, wrong)
