"""Wrong forms of lesson 13: of the recurrence and its chunk, one slip each, and the parts to make others."""

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


def bonus_kept(write):
    """Return a recurrence that writes the bonus into the memory, by write(S, kv, w)."""

    def wkv(r, k, v, log_w, u, state=None):
        return loop(reads, lambda S, kv, w: write(S, column(u) * kv, w))(r, k, v, log_w, u, state)

    return wkv


WRONG_LOOPS = {
    "the bonus is written into S: it counts for the token itself alone, when that reads.": bonus_kept(writes),
    "the bonus is written into S, and fades at once: S becomes w S + k^T v, without u.": bonus_kept(
        lambda S, kv, w: column(w) * (S + kv)
    ),
    "what is written fades at once: fade S first, then add the new pair.": loop(
        reads, lambda S, kv, w: column(w) * (S + kv)
    ),
    "the bonus is left out: the token itself counts u, not 1.": loop(lambda r, S, kv, u, w: ask(r, S + kv), writes),
    "it fades and writes before it reads: y_t sees S as the token before left it.": loop(
        lambda r, S, kv, u, w: ask(r, writes(S, kv, w) + column(u) * kv), writes
    ),
    "it reads what it has just written, without the bonus: read first, and the token itself counts u.": loop(
        lambda r, S, kv, u, w: ask(r, writes(S, kv, w)), writes
    ),
    "the bonus is added: it multiplies k^T v.": loop(lambda r, S, kv, u, w: ask(r, S + column(u) + kv), writes),
    "the token itself counts 1 + u: it counts u.": loop(
        lambda r, S, kv, u, w: ask(r, S + (1 + column(u)) * kv), writes
    ),
    "the share that is lost is taken for the share that is kept: w_t times S.": loop(
        reads, lambda S, kv, w: (1 - column(w)) * S + kv
    ),
    "what is written counts 1 - w, as in a running mean: it counts 1.": loop(
        reads, lambda S, kv, w: column(w) * S + (1 - column(w)) * kv
    ),
    "y has an axis too many: `.squeeze(-2)` after the product.": loop(
        lambda r, S, kv, u, w: row(r) @ (S + column(u) * kv), writes
    ),
    "u has lost its place: it has a number for each row, u[..., None].": loop(
        lambda r, S, kv, u, w: ask(r, S + u * kv), writes
    ),
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
    "your S is values by keys: here it is keys by values, the key a column, k_t[..., None], and the value a row.": loop(
        reads, writes, pair=lambda k, v: column(v) * row(k)
    ),
    "the memory is asked by its columns: r S, not S r.": loop(
        lambda r, S, kv, u, w: ask(r, (S + column(u) * kv).mT), writes
    ),
    "the state that was given is ignored.": lambda r, k, v, log_w, u, state=None: right_wkv(r, k, v, log_w, u),
    "only y is returned: the next call needs S.": lambda *a: right_wkv(*a)[0],
    "the state that was given is changed in place.": in_place,
}


def chunked(asks=None, leaves=None, low=-1, own=None, past=None, end=None, axis=-2, at=None):
    """Return a chunk with some of its parts changed. left: the running sum of log_w, e: the same at the chunk's end.

    at(left, log_w): what e is read from.
    """

    def one_chunk(r, k, v, log_w, u, S):
        left = log_w.expand_as(k).cumsum(axis)
        e = (at(left, log_w.expand_as(k)) if at else left)[..., -1, :, None].exp()
        a = asks(r, left, log_w) if asks else r * (left - log_w).exp()
        b = leaves(k, left, log_w) if leaves else k * (-left).exp()
        pairs = a @ b.mT if low is None else (a @ b.mT).tril(low)
        mine = own(r, u, k) if own else (r * u[:, None] * k).sum(-1)
        y = (pairs + mine.diag_embed()) @ v + (past(r, a, S, left) if past else a @ S)
        return y, end(e, S, b.mT @ v, k.mT @ v) if end else e * (S + b.mT @ v)

    return one_chunk


WRONG_CHUNKS = {
    "the asker has faded once too often: t reads before its own decay, left - log_w.": chunked(
        asks=lambda r, left, log_w: r * left.exp()
    ),
    "the writer has faded once too often: what s wrote fades first at s + 1, e^(-left).": chunked(
        leaves=lambda k, left, log_w: k * (log_w - left).exp()
    ),
    "the signs are turned: askers fade with e^(left - log_w), writers are raised with e^(-left).": chunked(
        asks=lambda r, left, log_w: r * (log_w - left).exp(), leaves=lambda k, left, log_w: k * left.exp()
    ),
    "the decays are left out: that is linear attention.": chunked(asks=lambda r, *_: r, leaves=lambda k, *_: k),
    "the token itself is counted twice: pairs need .tril(-1).": chunked(low=0),
    "the pairs hold the token itself, with its decays: it counts u, so .tril(-1), and r u k on the diagonal.": chunked(
        low=0, own=lambda r, u, k: 0 * (r * k).sum(-1)
    ),
    "there is no mask: tokens read what is written later.": chunked(low=None),
    "the mask is one too narrow: the token before is missing, .tril(-1).": chunked(low=-2),
    "the old memory's columns fade on the way to the end: a decay belongs to a row, left[..., -1, :, None].": chunked(
        end=lambda e, S, written, plain: e.mT * (S + written)
    ),
    "at the end stands the sum over leaves, not over k: what s wrote has faded from its own time on.": chunked(
        end=lambda e, S, written, plain: e * (S + plain)
    ),
    "the writers are lowered, too: leaves are raised, e^(-left), so that the product is what is left.": chunked(
        leaves=lambda k, left, log_w: k * left.exp()
    ),
    "u lacks the axis of time: u[:, None] is (H, 1, N).": chunked(own=lambda r, u, k: (r * u * k).sum(-1)),
    "the token itself counts 1, not u.": chunked(own=lambda r, u, k: (r * k).sum(-1)),
    "the token itself is missing.": chunked(own=lambda r, u, k: 0 * (r * k).sum(-1)),
    "the old memory is not asked: + asks @ S.": chunked(past=lambda r, a, S, left: 0 * (a @ S)),
    "the old memory is asked without decay: asks @ S, not r @ S.": chunked(past=lambda r, a, S, left: r @ S),
    "the old memory has faded once too often: t reads before its own decay.": chunked(
        past=lambda r, a, S, left: (r * left.exp()) @ S
    ),
    "the old memory does not fade on its way to the end: end * S.": chunked(
        end=lambda e, S, written, plain: S + e * written
    ),
    "what the chunk wrote is not faded to its end: end * (leaves^T v).": chunked(
        end=lambda e, S, written, plain: e * S + written
    ),
    "what the chunk wrote enters the memory as if nothing of it had faded: leaves, not k.": chunked(
        end=lambda e, S, written, plain: e * S + plain
    ),
    "what the chunk wrote is not in the memory.": chunked(end=lambda e, S, written, plain: e * S),
    "the old memory is lost: end * (S + ...).": chunked(end=lambda e, S, written, plain: e * written),
    "the memory fades by the last token's decay alone: by those of all L, left[..., -1, :, None].": chunked(
        at=lambda left, log_w: log_w
    ),
    "a loop over time is right, and slow: here the pairs of a chunk meet in products of matrices.": right_wkv,
    "the running sum goes over the channels: time is axis -2.": chunked(axis=-1),
}


def layer(middle, plain=()):
    """Return a TimeMix whose forward has another middle: (self, x_r, x_k, x_v, x_g, S) -> (what is returned, S).

    plain: which of the four are the tokens themselves, not mixed.
    """

    class Layer(TimeMix):
        def forward(self, x, state, shared=None):
            last, S = state or (None, None)
            before, last = shift(x, last)
            shares = self.mix_receptance, self.mix_key, self.mix_value, self.mix_gate
            mixed = [x if i in plain else z for i, z in enumerate(mix(x, before, *shares))]
            y, S = middle(self, *mixed, S)
            return y, (last, S)

    return Layer


def eagle(
    ask=None,
    log_w=None,
    bonus=None,
    norm=None,
    gate=F.silu,
    heads=to_heads,
    swap=None,
    carry=True,
    out=None,
    plain=(),
    axis=1,
):
    """Return a layer with some of its parts changed. axis: where log_w gets its axis of time."""

    def middle(self, x_r, x_k, x_v, x_g, S):
        x_r, x_k, x_v, x_g = swap(x_r, x_k, x_v, x_g) if swap else (x_r, x_k, x_v, x_g)
        r, k, v = (heads(z, self.n_heads) for z in (self.receptance(x_r), self.key(x_k), self.value(x_v)))
        decay = log_w(self.decay) if log_w else -self.decay.exp()
        u = bonus(self.bonus) if bonus else self.bonus
        y, S = right_wkv(ask(r) if ask else r, k, v, decay.unsqueeze(axis), u, S if carry else None)
        y, g = (norm or (lambda self, y: self.norm(y)))(self, y), gate(self.gate(x_g))
        return out(self, y, g) if out else self.output(y * g), S

    return layer(middle, plain)


def side_by_side(y):
    """Lay heads side by side: (B, H, T, N) -> (B, T, C)."""
    return y.transpose(1, 2).flatten(-2)


def split_in_time(z, n_heads):
    """Cut the heads out of the time axis."""
    B, T, C = z.shape
    return z.reshape(B, n_heads, T, C // n_heads)


def dealt_out(z, n_heads):
    """Give each head every n_heads-th channel."""
    B, T, C = z.shape
    return z.reshape(B, T, C // n_heads, n_heads).permute(0, 3, 1, 2)


class Swapped(TimeMix):
    """Returns the state as (S, last)."""

    def forward(self, x, state, shared=None):
        """Swap on the way in and on the way out."""
        y, (last, S) = super().forward(x, state and state[::-1], shared)
        return y, (S, last)
