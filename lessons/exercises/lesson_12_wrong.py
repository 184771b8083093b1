"""Wrong forms of lesson 12's memory, of its shift and of its mixers, one slip each, and the parts to make them."""

import torch

from lib.layers.rwkv4 import ChannelMix, TimeMix, empty_memory, wkv
from lib.layers.shift import mix, shift


def read(m, k, v, log_w, u):
    """Return the mean that a token takes from the memory m = (above, below, top) and from itself."""
    return read_by(lambda top, own: torch.maximum(top, own))(m, k, v, log_w, u)


def read_by(largest, sums=None, own=None):
    """Return a reading by largest(top, own exponent), sums(past, own, above, below, v) -> (above, below), own(u, k)."""

    def answer(m, k, v, log_w, u):
        exponent = (own or torch.add)(u, k)
        high = largest(m[2], exponent)
        past, self = (m[2] - high).exp(), (exponent - high).exp()
        above, below = (sums or plain_sums)(past, self, m[0], m[1], v)
        return above / below

    return answer


def plain_sums(past, own, above, below, v):
    """Return both sums with the token in them."""
    return past * above + own * v, past * below + own


def write(m, k, v, log_w, u):
    """Return the memory after a token."""
    return write_by()(m, k, v, log_w, u)


def write_by(fade=None, sums=None, new=None, largest=torch.maximum):
    """Return a writing by fade(top, log_w), sums as in read_by, new(k, u) and largest(faded top, new exponent)."""

    def answer(m, k, v, log_w, u):
        faded, exponent = (fade or torch.add)(m[2], log_w), (new(k, u) if new else k)
        high = largest(faded, exponent)
        past, own = (faded - high).exp(), (exponent - high).exp()
        return (*(sums or plain_sums)(past, own, m[0], m[1], v), high)

    return answer


def top_stays(m, k, v, log_w, u):
    """Fade the sums, and leave the top where it is."""
    above, below, top = m
    high = torch.maximum(top, k)
    past, own = (top + log_w - high).exp(), (k - high).exp()
    return (*plain_sums(past, own, above, below, v), high)


def top_forgotten(m, k, v, log_w, u):
    """Bring the sums to the new top, and go on with the old one."""
    above, below, _ = write(m, k, v, log_w, u)
    return above, below, m[2]


def top_replaced(m, k, v, log_w, u):
    """Fade the past from the new top, not from its own."""
    high = torch.maximum(m[2] + log_w, k)
    return (*plain_sums(log_w.exp() + 0 * high, (k - high).exp(), m[0], m[1], v), high)


def by(reading=read, writing=write, begin=empty_memory, order=0, keep=True):
    """Return a wkv of a reading and a writing; order 1 writes first; keep False forgets the state that is given."""

    def answer(k, v, log_w, u, state=None):
        m, ys = state if keep and state is not None else begin(k), []
        for k_t, v_t in zip(k.unbind(1), v.unbind(1), strict=True):
            after = writing(m, k_t, v_t, log_w, u)
            ys.append(reading(after if order else m, k_t, v_t, log_w, u))
            m = after
        return torch.stack(ys, 1), m

    return answer


def zero_top(k):
    """Return a memory whose top begins at 0."""
    above, below, top = empty_memory(k)
    return above, below, 0 * top


def unmeasured(k, v, log_w, u, state=None):
    """No exponent is taken off: the sums as they are."""
    above, below, top = zero_top(k) if state is None else state
    ys = []
    for k_t, v_t in zip(k.unbind(1), v.unbind(1), strict=True):
        own = (u + k_t).exp()
        ys.append((above + own * v_t) / (below + own))
        above, below = log_w.exp() * above + k_t.exp() * v_t, log_w.exp() * below + k_t.exp()
    return torch.stack(ys, 1), (above, below, top)


WRONG_WKV = {
    "the bonus makes no difference: it is missing (the token's own exponent is u + k), or it is written into the memory"
    " as well, so that every token has it (what is written has the exponent k).": by(
        read_by(torch.maximum, own=lambda u, k: k)
    ),
    "it writes before it reads: the token is in the mean twice.": by(order=1),
    "it writes, then reads above / below: read the memory as the token before left it, with the bonus for the token"
    " itself.": by(lambda m, k, v, log_w, u: m[0] / m[1], order=1),
    "the token itself is not in the mean: only the memory is read.": by(
        read_by(torch.maximum, lambda past, own, above, below, v: (past * above, past * below))
    ),
    "the memory is not in the mean: only the token itself is.": by(
        read_by(torch.maximum, lambda past, own, above, below, v: (own * v, own))
    ),
    "the past is not brought to the new top when it is read: above and below both get the factor `past`.": by(
        read_by(torch.maximum, lambda past, own, above, below, v: (above + own * v, below + own))
    ),
    "the past is not brought to the new top when it is written.": by(
        writing=write_by(sums=lambda past, own, above, below, v: (above + own * v, below + own))
    ),
    "nothing fades: the top falls by |log_w| at each step, top + log_w.": by(writing=write_by(fade=lambda top, w: top)),
    "the token before has faded once too often: fade what was there before, then add it as it is.": by(
        writing=lambda m, k, v, w, u: write(m, k + w, v, w, u)
    ),
    "the top never falls: a memory that was loud once is lost in rounding. Fade it in the exponent, top + log_w.": by(
        writing=top_stays
    ),
    "the new top is computed, and not kept: the memory is three things, (above, below, top).": by(
        writing=top_forgotten
    ),
    "the top is replaced before the past is faded: `past` needs the old one.": by(writing=top_replaced),
    "the top that is kept is not the one that was taken off the sums: the new top is `largest`.": by(
        writing=lambda m, k, v, w, u: (*write(m, k, v, w, u)[:2], torch.maximum(m[2], k))
    ),
    "the sums are written as in `naive`, and the top stays where it began: take the new top off both exponents.": by(
        writing=lambda m, k, v, w, u: (w.exp() * m[0] + k.exp() * v, w.exp() * m[1] + k.exp(), m[2])
    ),
    "it fades by the share itself, w: in the exponent stands its logarithm, log_w.": by(
        writing=write_by(fade=lambda top, w: top + w.exp())
    ),
    "only `above` gets the factor `past` when it is read: `below` needs it, too.": by(
        read_by(torch.maximum, lambda past, own, above, below, v: (past * above + own * v, below + own))
    ),
    "it fades by e^w, as if w were log_w: log_w is the exponent already.": by(
        writing=write_by(fade=lambda top, w: top - w.exp())
    ),
    "it grows instead of fading: log_w is below zero, so add it.": by(writing=write_by(fade=lambda top, w: top - w)),
    "the top begins at 0: quiet keys are all zero beside it. It begins at -1e38.": by(begin=zero_top),
    "`below` adds the values: it is the sum of the powers alone.": by(
        writing=write_by(
            sums=lambda past, own, above, below, v: (past * above + own * v, past * below + own * v.square())
        )
    ),
    "above is not divided by below.": by(lambda m, k, v, w, u: read(m, k, v, w, u) * (m[1] + 1)),
    "the state that is given is ignored.": by(keep=False),
    "the memory is detached between tokens: no gradient reaches the past.": by(
        writing=lambda m, k, v, w, u: write(tuple(z.detach() for z in m), k, v, w, u)
    ),
    # What makes NaN agrees with any answer in those places, so these stand last.
    "the largest is always the token's own exponent when it is read: a loud memory overflows.": by(
        read_by(lambda top, own: own)
    ),
    "the top is always the new key: what is louder in the memory overflows.": by(
        writing=write_by(largest=lambda top, new: new)
    ),
    "nothing is taken off: e^k overflows for loud keys, and is zero for quiet ones.": unmeasured,
}

WRONG_SHIFT = {
    "the last token stands before the first: a roll brings the future in. There stands zero.": lambda x, last=None: (
        x.roll(1, 1),
        x[:, -1],
    ),
    "`last` is ignored: a text that goes on begins at zero again.": lambda x, last=None: shift(x),
    "it is shifted the other way: each token gets the next one.": lambda x, last=None: (
        torch.cat([x[:, 1:], torch.zeros_like(x[:, :1])], 1),
        x[:, -1],
    ),
    "the first token is before itself: there stands zero, or `last`.": lambda x, last=None: (
        torch.cat([x[:, :1], x[:, :-1]], 1),
        x[:, -1],
    ),
    "the first token is before itself: at the start of a text there stands zero.": lambda x, last=None: (
        torch.cat([x[:, :1] if last is None else last[:, None], x[:, :-1]], 1),
        x[:, -1],
    ),
    "`last` is given, and the first token itself stands there: a text that goes on begins with `last`.": (
        lambda x, last=None: (torch.cat([0 * x[:, :1] if last is None else x[:, :1], x[:, :-1]], 1), x[:, -1])
    ),
    "the first token is returned as the last.": lambda x, last=None: (shift(x, last)[0], x[:, 0]),
    "the last of the tokens before is returned: the next call needs x[:, -1].": lambda x, last=None: (
        lambda before: (before, before[:, -1])
    )(shift(x, last)[0]),
    "the last token keeps an axis for time: (B, C), so x[:, -1].": lambda x, last=None: (shift(x, last)[0], x[:, -1:]),
    "it is shifted along the channels: time is the second axis.": lambda x, last=None: (x.roll(1, 2), x[:, -1]),
    "the first token is dropped: the tokens before are x[:, :-1].": lambda x, last=None: (
        torch.cat([torch.zeros_like(x[:, :1]) if last is None else last[:, None], x[:, 1:]], 1),
        x[:, -1],
    ),
    "there is one token too many: the last one is before none, x[:, :-1].": lambda x, last=None: (
        torch.cat([torch.zeros_like(x[:, :1]) if last is None else last[:, None], x], 1),
        x[:, -1],
    ),
    "`last` lacks the axis of time: last[:, None] is (B, 1, C).": lambda x, last=None: (
        torch.cat([torch.zeros_like(x[:, :1]) if last is None else last, x[:, :-1]], 1),
        x[:, -1],
    ),
    "nothing is shifted.": lambda x, last=None: (x, x[:, -1]),
    "the two results are swapped: the tokens before come first.": lambda x, last=None: shift(x, last)[::-1],
}


def time_mix(gate=torch.sigmoid, decay=lambda d: -d.exp(), order=(0, 1, 2), inputs=None, ends=None, out=None):
    """Return a class of time mixers that differs from lib's in one part of its forward pass.

    gate(r); decay(d) -> log_w; order: which share mixes for key, value, receptance; inputs(x, before, last);
    ends(last, memory) -> what is given on; out(layer, r, y).
    """

    class Answer(TimeMix):
        def forward(self, x, state, shared=None):
            last, memory = state or (None, None)
            before, last = shift(x, last)
            x, before, memory = (inputs or (lambda *z: z))(x, before, memory)
            shares = self.mix_key, self.mix_value, self.mix_receptance
            x_k, x_v, x_r = mix(x, before, *(shares[i] for i in order))
            r = gate(self.receptance(x_r))
            y, memory = wkv(self.key(x_k), self.value(x_v), decay(self.decay), self.bonus, memory)
            y = out(self, r, y) if out else self.output(r * y)
            return y, (ends or (lambda *z: z))(last, memory)

    return Answer


def channel_mix(inner=None, gate=torch.sigmoid, swap=False, use=lambda last: last, out=None, give=None, plain=()):
    """Return a class of channel mixers that differs from lib's in one part of its forward pass.

    give(last, x_k): what is handed on; plain: which of key (0) and receptance (1) sees x itself, not mixed.
    """

    class Answer(ChannelMix):
        def forward(self, x, state=None, shared=None):
            before, last = shift(x, use(state))
            shares = self.mix_key, self.mix_receptance
            mixed = mix(x, before, *(shares[::-1] if swap else shares))
            x_k, x_r = (x if i in plain else z for i, z in enumerate(mixed))
            hidden = (inner or (lambda z: z.relu().square()))(self.key(x_k))
            r = gate(self.receptance(x_r))
            y = out(self, r, hidden) if out else r * self.value(hidden)
            return y, give(last, x_k[:, -1]) if give else last

    return Answer
