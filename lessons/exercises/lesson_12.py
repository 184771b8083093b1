"""The checks of lesson 12, RWKV-4."""

import torch
import torch.nn.functional as F

from lessons.checker.check import Checks
from lessons.exercises.lesson_12_wrong import WRONG_SHIFT, WRONG_WKV, channel_mix, time_mix
from lib.layers.rwkv4 import ChannelMix, TimeMix, wkv
from lib.layers.shift import shift

checks = Checks("12")
check = checks.check


@checks.exercise("12.1", shift, points=2, batch=(0,), time=(0, 1))
def shifted(e):
    """The token before, and what the next call needs."""
    e.case("6 tokens", e.randn(2, 6, 4))
    e.case("a text that goes on", e.randn(2, 5, 4), e.randn(2, 4))
    e.case("one token", e.randn(3, 1, 4))
    e.case("one token that goes on", e.randn(3, 1, 4), e.randn(3, 4))
    for hint, wrong in WRONG_SHIFT.items():
        e.mistake(hint, wrong)


def two_parts(answer, k, v, log_w, u, cut):
    """Call a wkv on a text in two parts with the memory carried, so that it may keep its memory as it likes."""
    if not cut:
        return answer(k, v, log_w, u)[0]
    first, memory = answer(k[:, :cut], v[:, :cut], log_w, u)
    return torch.cat([first, answer(k[:, cut:], v[:, cut:], log_w, u, memory)[0]], dim=1)


@checks.exercise("12.2", wkv, points=6, call=two_parts, batch=(0, 1), time=(1, 1))
def memory(e):
    """The mean with decay and bonus, for any keys."""

    def case(name, T, keys=lambda k: k, w=-0.5, cut=0):
        k, v, u = keys(e.randn(2, T, 4)), e.randn(2, T, 4), e.randn(4)
        e.case(name, k, v, w * e.randn(4).exp(), u, cut)

    case("7 tokens", 7)
    case("one token", 1)
    case("in two parts", 8, cut=3)
    case("a single token after others", 6, cut=5)
    loud = torch.tensor([100.0, 1.0, 1.0, 1.0])  # in one channel; where all are loud, no gradient is left to compare
    case("loud keys", 8, lambda k: loud * k)
    case("very loud keys", 8, lambda k: loud.square() * k, cut=3)
    case("quiet keys", 6, lambda k: k - 200)
    case("a loud key, then quiet ones", 20, lambda k: k + 40 * (torch.arange(20) == 0)[:, None], w=-2.0)
    case("a very loud key, then 60 quiet ones", 60, lambda k: k + 200 * (torch.arange(60) == 0)[:, None], w=-5.0)
    case("strong decay", 9, w=-200.0)
    case("hardly any decay", 9, w=-1e-3)
    for hint, wrong in WRONG_WKV.items():
        e.mistake(hint, wrong)


def mixed_in_parts(mixer, x, cut):
    """Call a mixer on a text in two parts with its state carried; cut 0: whole."""
    if not cut:
        return mixer(x, None)[0]
    first, state = mixer(x[:, :cut], None)
    return torch.cat([first, mixer(x[:, cut:], state)[0]], dim=1)


@checks.exercise("12.3", TimeMix, points=4, call=mixed_in_parts, batch=(0,), time=(0, 1))
def mixing_time(e):
    """Shift, project, average, gate, project."""
    for name, T, C, cut in (("7 tokens", 7, 6, 0), ("one token", 1, 5, 0), ("in two parts", 8, 6, 3),
                            ("one token after others", 5, 4, 4)):  # fmt: skip
        e.case(name, e.randn(2, T, C), cut, build=(C,))
    for hint, changed in WRONG_TIME.items():
        e.mistake(hint, time_mix(**changed))


WRONG_TIME = {
    "the receptance has no sigmoid.": dict(gate=lambda r: r),
    "the receptance goes through a SiLU: a sigmoid.": dict(gate=F.silu),
    "the receptance is not used.": dict(out=lambda layer, r, y: layer.output(y)),
    "the gate comes after the output matrix: output(r * y).": dict(out=lambda layer, r, y: r * layer.output(y)),
    "the output matrix is missing.": dict(out=lambda layer, r, y: r * y),
    "the decay is used as it is: log_w = -e^d.": dict(decay=lambda d: d),
    "log_w has lost its minus: it is -e^d, or the memory grows.": dict(decay=lambda d: d.exp()),
    "that is w, e^(-e^d): wkv wants its logarithm, -e^d.": dict(decay=lambda d: (-d.exp()).exp()),
    "the exp of the decay is missing: log_w = -e^d, not -d.": dict(decay=lambda d: -d),
    "the minus stands inside of the exp: log_w = -e^d, and (-d).exp() is e^-d.": dict(decay=lambda d: (-d).exp()),
    "the shares of key and value are swapped.": dict(order=(1, 0, 2)),
    "the three mixed inputs come as their shares are given, x_k, x_v, x_r: not x_r, x_k, x_v.": dict(order=(1, 2, 0)),
    "the shares of key and receptance are swapped.": dict(order=(2, 1, 0)),
    "one share for all three: each has its own.": dict(order=(0, 0, 0)),
    "x and the tokens before are swapped: share 1 is the token itself.": dict(inputs=lambda x, b, m: (b, x, m)),
    "nothing is shifted: mix x with the tokens before.": dict(inputs=lambda x, b, m: (x, x, m)),
    "the memory is not carried: it begins anew in each call.": dict(inputs=lambda x, b, m: (x, b, None)),
    "the last token is not carried: return it in the state.": dict(ends=lambda last, m: (None, m)),
    "the state is thrown away: return (last, memory).": dict(ends=lambda last, m: None),
    "the memory in the state is one tensor: hand on the second result of wkv, with its three.": dict(
        ends=lambda last, m: (last, m[0])
    ),
    "the two parts of the state are swapped: (last, memory).": dict(ends=lambda last, m: (m, last)),
}


@checks.exercise("12.4", ChannelMix, points=3, kind="repair", call=mixed_in_parts, batch=(0,), time=(0, 1))
def mixing_channels(e):
    """The channel mixer with three mistakes, mended."""
    for name, T, C, width, cut in (("7 tokens", 7, 6, 20, 0), ("one token", 1, 5, 8, 0), ("in two parts", 8, 6, 13, 3),
                                   ("one token after others", 5, 4, 16, 4)):  # fmt: skip
        e.case(name, e.randn(2, T, C), cut, build=(C, width))
    for hint, changed in WRONG_CHANNELS.items():
        e.mistake(hint, channel_mix(**changed))


WRONG_CHANNELS = {
    "this is still the broken one.": dict(inner=lambda z: z.square().relu(), gate=torch.relu, use=lambda last: None),
    "squared first: then relu does nothing.": dict(inner=lambda z: z.square().relu()),
    "the square is missing.": dict(inner=lambda z: z.relu()),
    "the gate is a relu: a sigmoid.": dict(gate=torch.relu),
    "the gate has no sigmoid.": dict(gate=lambda r: r),
    "the gate goes through a SiLU: a sigmoid.": dict(gate=F.silu),
    "the gate goes through a tanh, and can turn the sign: a sigmoid.": dict(gate=torch.tanh),
    "what is widened goes through a SiLU: relu, then the square.": dict(inner=F.silu),
    "the state is not used: hand it to shift.": dict(use=lambda last: None),
    "the state is not used, and it is squared before relu.": dict(
        use=lambda last: None, inner=lambda z: z.square().relu()
    ),
    "the gate is a relu, and it is squared before relu.": dict(gate=torch.relu, inner=lambda z: z.square().relu()),
    "the gate is a relu, and the state is not used.": dict(gate=torch.relu, use=lambda last: None),
    "the shares of key and receptance are swapped.": dict(swap=True),
    "the gate is inside the value matrix's sum: it multiplies what comes out.": dict(
        out=lambda layer, r, hidden: layer.value(hidden * r.mean(-1, keepdim=True))
    ),
    "the square comes after the value matrix: relu, square, then `self.value`.": dict(
        inner=torch.relu, out=lambda layer, r, hidden: r * layer.value(hidden).square()
    ),
    "the mixed token is handed on: the next part needs the last token itself, as `shift` returns it.": dict(
        give=lambda last, mixed: mixed
    ),
    "the receptance sees the token itself: it has a mix of its own, x_r.": dict(plain=(1,)),
    "the key sees the token itself: it has a mix of its own, x_k.": dict(plain=(0,)),
    "nothing is mixed: x_k and x_r, not x.": dict(plain=(0, 1)),
    "the gate is not used.": dict(out=lambda layer, r, hidden: layer.value(hidden)),
}


def join(first, second, n, log_w):
    """Two memories, the second of n tokens -> the memory after both."""
    return joined()(first, second, n, log_w)


def joined(fade=lambda top, n, w: top + n * w, sums=lambda a, b, x, y: a * x + b * y, order=1, top=torch.maximum,
           give=lambda *memory: memory):  # fmt: skip
    """Return a join by fade(top, n, log_w), sums(a, b, first, second), top(faded, other), give(above, below, top)."""

    def answer(first, second, n, log_w):
        first, second = (first, second)[::order]
        faded = fade(first[2], n, log_w)
        high = top(faded, second[2])
        a, b = (faded - high).exp(), (second[2] - high).exp()
        return give(sums(a, b, first[0], second[0]), sums(a, b, first[1], second[1]), high)

    return answer


def unfaded_top(first, second, n, log_w):
    """Take the larger of both tops as they came."""
    top = torch.maximum(first[2], second[2])
    past, new = (first[2] + n * log_w - top).exp(), (second[2] - top).exp()
    return past * first[0] + new * second[0], past * first[1] + new * second[1], top


def both_tops(first, second, n, log_w):
    """Bring the sums to one top, and return another: that of the first before it fades."""
    above, below, _ = join(first, second, n, log_w)
    return above, below, torch.maximum(first[2], second[2])


def true_sums(first, second, n, log_w):
    """Multiply each sum by e^top, so that the new top is 0."""
    one, two = (first[2] + n * log_w).exp(), second[2].exp()
    return one * first[0] + two * second[0], one * first[1] + two * second[1], torch.zeros_like(one)


def remembered(answer, k1, v1, k2, v2, log_w):
    """Join the memories of two texts; return the mean and the logarithm of the sum, whatever top was taken."""
    zero = torch.zeros_like(log_w)
    first, second = wkv(k1, v1, log_w, zero)[1], wkv(k2, v2, log_w, zero)[1]
    above, below, top = answer(first, second, k2.shape[1], log_w)
    return above / below, top + below.log()


@checks.exercise("12.5", join, points=4, call=remembered, batch=(0, 1, 2, 3))
def joining(e):
    """The memory of two texts, one after the other."""

    def case(name, first, second, size=1.0, w=-0.3):
        texts = [z for T in (first, second) for z in (size * e.randn(2, T, 4), e.randn(2, T, 4))]
        e.case(name, *texts, w * e.randn(4).exp())

    case("5 and 3 tokens", 5, 3)
    case("3 and 1", 3, 1)
    case("1 and 6", 1, 6)
    case("loud keys", 5, 4, size=300.0)
    case("strong decay", 4, 4, w=-60.0)
    case("hardly any decay", 4, 7, w=-1e-3)
    loud = 200 + e.randn(2, 3, 4)
    e.case(
        "what was loud has faded", loud, e.randn(2, 3, 4), e.randn(2, 4, 4), e.randn(2, 4, 4), -60 - e.randn(4).abs()
    )
    for hint, changed in WRONG_JOINS.items():
        e.mistake(hint, joined(**changed))
    e.mistake("the top that comes back is not the one that was taken off the sums: the first one has faded.", both_tops)
    e.mistake(
        "e^top makes true sums of both, and overflows: bring both to the larger top, exp(faded - top).", true_sums
    )
    e.mistake(
        "the tops are compared before the first one has faded: what is left of both can be lost in rounding.",
        unfaded_top,
    )


WRONG_JOINS = {
    "the first memory does not fade: n tokens go by, n * log_w.": dict(fade=lambda top, n, w: top),
    "it fades for one token only: n of them go by.": dict(fade=lambda top, n, w: top + w),
    "it fades once too often: n times, not n + 1.": dict(fade=lambda top, n, w: top + (n + 1) * w),
    "it fades once too seldom: n times, not n - 1.": dict(fade=lambda top, n, w: top + (n - 1) * w),
    "it grows: log_w is below zero, add it.": dict(fade=lambda top, n, w: top - n * w),
    "the second memory fades, not the first.": dict(order=-1),
    "the top is multiplied by w^n: it is an exponent, so n * log_w is added to it.": dict(
        fade=lambda top, n, w: top * (n * w).exp()
    ),
    "the sums are added as they are: each is relative to a top of its own.": dict(sums=lambda a, b, x, y: x + y),
    "above and below are swapped: the order is above, below, top.": dict(
        give=lambda above, below, top: (below, above, top)
    ),
    "log_w is the logarithm of the share already: it is not exponentiated before it meets the top.": dict(
        fade=lambda top, n, w: top - n * w.exp()
    ),
    "the tops are taken off, and never put together: the new top is the larger of the two, the first one faded.": dict(
        sums=lambda a, b, x, y: a * x + b * y, give=lambda above, below, top: (above, below, 0 * top)
    ),
    "the order is: above, below, top.": dict(give=lambda above, below, top: (top, above, below)),
    "only the first is brought to the new top.": dict(sums=lambda a, b, x, y: a * x + y),
    "only the second is brought to the new top.": dict(sums=lambda a, b, x, y: x + b * y),
    "the factors are swapped.": dict(sums=lambda a, b, x, y: b * x + a * y),
    "the second memory alone is left.": dict(sums=lambda a, b, x, y: b * y),
    "the top of the first is always taken: louder keys of the second overflow.": dict(top=lambda a, b: a),
    "the top of the second is always taken: louder keys of the first overflow.": dict(top=lambda a, b: b),
}
