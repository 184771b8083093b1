"""Wrong forms of lesson 13: of the recurrence, its block and its layer, one slip each, and the parts to make them."""

import torch
import torch.nn.functional as F

from lib.layers.heads import to_heads
from lib.layers.rwkv5 import TimeMix
from lib.layers.rwkv5 import wkv as right_wkv
from lib.layers.shift import mix, shift


def column(z):
    """Return vectors of keys as columns, (..., N, 1)."""
    return z[..., :, None]


def row(z):
    """Return vectors of values as rows, (..., 1, N)."""
    return z[..., None, :]


def loop(read, write, of_log=torch.exp, pair=lambda k, v: column(k) * row(v)):
    """Return a recurrence by its two lines: read(r, S, kv, u, w) -> y and write(S, kv, w) -> S."""

    def wkv(r, k, v, log_w, u, state=None):
        S = k.new_zeros(*k.shape[:2], k.shape[-1], v.shape[-1]) if state is None else state
        w, ys = of_log(log_w).expand_as(k), []
        for t in range(k.shape[2]):
            kv = pair(k[:, :, t], v[:, :, t])
            ys.append(read(r[:, :, t], S, kv, u, w[:, :, t]))
            S = write(S, kv, w[:, :, t])
        return torch.stack(ys, 2), S

    return wkv


def ask(r, S):
    """Return r S for vectors r."""
    return (row(r) @ S).squeeze(-2)


def reads(r, S, kv, u, w):
    """Read the memory and the token itself with its bonus: the right line."""
    return ask(r, S + column(u) * kv)


def writes(S, kv, w):
    """Fade and write: the right line."""
    return column(w) * S + kv


def in_place(r, k, v, log_w, u, state=None):
    """Write into the state that was given."""
    y, S = right_wkv(r, k, v, log_w, u, state)
    return y, S if state is None else state.copy_(S)


WRONG_LOOPS = {
    "what is written fades at once: fade S first, then add the new pair.": loop(
        reads, lambda S, kv, w: column(w) * (S + kv)
    ),
    "the bonus is left out: the token itself counts u, not 1.": loop(lambda r, S, kv, u, w: ask(r, S + kv), writes),
    "the token itself is not read: S + diag(u) k^T v.": loop(lambda r, S, kv, u, w: ask(r, S), writes),
    "the bonus multiplies all of the memory: it belongs to the token itself alone.": loop(
        lambda r, S, kv, u, w: ask(r, column(u) * (S + kv)), writes
    ),
    "the bonus is read as e^u, as in RWKV-4: here u is taken as it is.": loop(
        lambda r, S, kv, u, w: ask(r, S + column(u.exp()) * kv), writes
    ),
    "the bonus goes along the values: u has a number for each row, u[..., None].": loop(
        lambda r, S, kv, u, w: ask(r, S + row(u) * kv), writes
    ),
    "the memory fades before it is read: y_t sees S as the token before left it.": loop(
        lambda r, S, kv, u, w: ask(r, column(w) * S + column(u) * kv), writes
    ),
    "the columns fade: w has a number for each row, w_t[..., None].": loop(reads, lambda S, kv, w: row(w) * S + kv),
    "nothing fades.": loop(reads, lambda S, kv, w: S + kv),
    "the memory is replaced, not added to.": loop(reads, lambda S, kv, w: kv),
    "log_w is taken for w: w = log_w.exp().": loop(reads, writes, of_log=lambda z: z),
    "the decay is e^(-e^log_w): that is how log_w was made; here w = log_w.exp().": loop(
        reads, writes, of_log=lambda z: (-z.exp()).exp()
    ),
    "S is values by keys: the key is the column, k_t[..., None], and the value the row.": loop(
        reads, writes, pair=lambda k, v: column(v) * row(k)
    ),
    "the memory is asked by its columns: r S, not S r.": loop(
        lambda r, S, kv, u, w: ask(r, (S + column(u) * kv).mT), writes
    ),
    "the state that was given is ignored.": lambda r, k, v, log_w, u, state=None: right_wkv(r, k, v, log_w, u),
    "only y is returned: the next call needs S.": lambda *a: right_wkv(*a)[0],
    "the state that was given is changed in place.": in_place,
}


def blocked(asks=None, leaves=None, low=-1, own=None, past=None, end=None, axis=-2):
    """Return a block with some of its parts changed. left: the running sum of log_w, e: the same at the block's end."""

    def block(r, k, v, log_w, u, S):
        left = log_w.expand_as(k).cumsum(axis)
        e = left[..., -1, :, None].exp()
        a = asks(r, left, log_w) if asks else r * (left - log_w).exp()
        b = leaves(k, left, log_w) if leaves else k * (-left).exp()
        pairs = a @ b.mT if low is None else (a @ b.mT).tril(low)
        mine = own(r, u, k) if own else (r * u[:, None] * k).sum(-1)
        y = (pairs + mine.diag_embed()) @ v + (past(r, a, S, left) if past else a @ S)
        return y, end(e, S, b.mT @ v, k.mT @ v) if end else e * (S + b.mT @ v)

    return block


WRONG_BLOCKS = {
    "the asker has faded once too often: t reads before its own decay, left - log_w.": blocked(
        asks=lambda r, left, log_w: r * left.exp()
    ),
    "the writer has faded once too often: what s wrote fades first at s + 1, e^(-left).": blocked(
        leaves=lambda k, left, log_w: k * (log_w - left).exp()
    ),
    "the signs are turned: askers fade with e^(left - log_w), writers are raised with e^(-left).": blocked(
        asks=lambda r, left, log_w: r * (log_w - left).exp(), leaves=lambda k, left, log_w: k * left.exp()
    ),
    "the decays are left out: that is linear attention.": blocked(asks=lambda r, *_: r, leaves=lambda k, *_: k),
    "the token itself is counted twice: pairs need .tril(-1).": blocked(low=0),
    "there is no mask: tokens read what is written later.": blocked(low=None),
    "the mask is one too narrow: the token before is missing, .tril(-1).": blocked(low=-2),
    "the token itself counts 1, not u.": blocked(own=lambda r, u, k: (r * k).sum(-1)),
    "the token itself is missing.": blocked(own=lambda r, u, k: 0 * (r * k).sum(-1)),
    "the old memory is not asked: + asks @ S.": blocked(past=lambda r, a, S, left: 0 * (a @ S)),
    "the old memory is asked without decay: asks @ S, not r @ S.": blocked(past=lambda r, a, S, left: r @ S),
    "the old memory has faded once too often: t reads before its own decay.": blocked(
        past=lambda r, a, S, left: (r * left.exp()) @ S
    ),
    "the old memory does not fade on its way to the end: end * S.": blocked(
        end=lambda e, S, written, plain: S + e * written
    ),
    "what the block wrote is not faded to its end: end * (leaves^T v).": blocked(
        end=lambda e, S, written, plain: e * S + written
    ),
    "what the block wrote enters the memory as if nothing of it had faded: leaves, not k.": blocked(
        end=lambda e, S, written, plain: e * S + plain
    ),
    "what the block wrote is not in the memory.": blocked(end=lambda e, S, written, plain: e * S),
    "the old memory is lost: end * (S + ...).": blocked(end=lambda e, S, written, plain: e * written),
    "the running sum goes over the channels: time is axis -2.": blocked(axis=-1),
}


def layer(middle):
    """Return a TimeMix whose forward has another middle: (self, x_r, x_k, x_v, x_g, S) -> (what is returned, S)."""

    class Layer(TimeMix):
        def forward(self, x, state, shared=None):
            last, S = state or (None, None)
            before, last = shift(x, last)
            shares = self.mix_receptance, self.mix_key, self.mix_value, self.mix_gate
            y, S = middle(self, *mix(x, before, *shares), S)
            return y, (last, S)

    return Layer


def eagle(ask=None, log_w=None, bonus=None, norm=None, gate=F.silu, heads=to_heads, swap=None, carry=True, out=None):
    """Return a layer with some of its parts changed."""

    def middle(self, x_r, x_k, x_v, x_g, S):
        x_r, x_k, x_v, x_g = swap(x_r, x_k, x_v, x_g) if swap else (x_r, x_k, x_v, x_g)
        r, k, v = (heads(z, self.n_heads) for z in (self.receptance(x_r), self.key(x_k), self.value(x_v)))
        decay = log_w(self.decay) if log_w else -self.decay.exp()
        u = bonus(self.bonus) if bonus else self.bonus
        y, S = right_wkv(ask(r) if ask else r, k, v, decay[:, None], u, S if carry else None)
        y, g = (norm or (lambda self, y: self.norm(y)))(self, y), gate(self.gate(x_g))
        return out(self, y, g) if out else self.output(y * g), S

    return layer(middle)


def side_by_side(y):
    """Lay heads side by side: (B, H, T, N) -> (B, T, C)."""
    return y.transpose(1, 2).flatten(-2)


def split_in_time(z, n_heads):
    """Cut the heads out of the time axis."""
    B, T, C = z.shape
    return z.reshape(B, n_heads, T, C // n_heads)


WRONG_LAYERS = {
    "the receptance has a sigmoid, as in RWKV-4: here it is a question and may be negative.": eagle(ask=torch.sigmoid),
    "log_w is the parameter itself: log_w = -e^decay.": eagle(log_w=lambda d: -d.abs()),
    "log_w has lost its minus: log_w = -e^decay.": eagle(log_w=torch.exp),
    "that is w, and wkv takes its logarithm: log_w = -e^decay.": eagle(log_w=lambda d: (-d.exp()).exp()),
    "the bonus is taken as e^bonus: take it as it is.": eagle(bonus=torch.exp),
    "the norm by heads is left out.": eagle(norm=lambda self, y: side_by_side(y)),
    "all channels are normalised together: each head by itself.": eagle(
        norm=lambda self, y: F.group_norm(side_by_side(y).flatten(0, 1), 1, self.norm.weight, self.norm.bias,
                                          self.norm.eps).view_as(side_by_side(y))
    ),
    "the norm's eps is 1e-5: the layer was built with another, self.norm.eps.": eagle(
        norm=lambda self, y: F.group_norm(side_by_side(y).flatten(0, 1), self.n_heads, self.norm.weight,
                                          self.norm.bias, 1e-5).view_as(side_by_side(y))
    ),
    "the gate is a sigmoid: it is silu.": eagle(gate=torch.sigmoid),
    "the gate has no silu.": eagle(gate=lambda z: z),
    "the gate is left out.": eagle(out=lambda self, y, g: self.output(y)),
    "gated after the output matrix: first the gate, then output.": eagle(out=lambda self, y, g: self.output(y) * g),
    "the output matrix is left out.": eagle(out=lambda self, y, g: y * g),
    "the mixed inputs are swapped: keys are made of x_k, values of x_v.": eagle(
        swap=lambda r, k, v, g: (r, v, k, g)
    ),
    "the gate is made of x_r: it has an input of its own, x_g.": eagle(swap=lambda r, k, v, g: (r, k, v, r)),
    "(B, T, C) is cut into heads as (B, H, T, N) at once, so that tokens and heads mix: to_heads.": eagle(
        heads=split_in_time
    ),
    "S is not handed on: the memory is empty at each call.": eagle(carry=False),
}  # fmt: skip
