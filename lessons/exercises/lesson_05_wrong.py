"""Wrong forms of lesson 05's layer and of its window, one slip each, and the parts to make them."""

import math

import torch
import torch.nn.functional as F
from einops import rearrange

from lib.layers.attention import GroupedAttention, attend, attention_weights
from lib.layers.kv_cache import KVCache
from lib.layers.rope import rope_table, rotate_half_split, rotate_interleaved


def layer(middle):
    """Return a GroupedAttention whose forward has another middle: (q, k, v, cos, sin, state) -> (y, state)."""

    class Layer(GroupedAttention):
        def forward(self, x, state, shared):
            q, k, v = (self.heads(w(x)) for w in (self.query, self.key, self.value))
            y, state = middle(q, k, v, shared.cos, shared.sin, state)
            return self.output(y.transpose(1, 2).reshape(*x.shape[:2], -1)), state

        def heads(self, z):
            return z.view(*z.shape[:2], -1, self.d_head).transpose(1, 2)

    return Layer


def store(state, k, v):
    """Return the cache with k and v behind what is there."""
    return KVCache(k, v) if state is None else state.append(k, v)


def turned(turn_q, turn_k, turn_v=None, see=attend):
    """Return a layer that turns q, k, v by these functions, or not at all."""

    def middle(q, k, v, cos, sin, state):
        q, k, v = (turn(z, cos, sin) if turn else z for turn, z in ((turn_q, q), (turn_k, k), (turn_v, v)))
        state = store(state, k, v)
        return see(q, state.keys, state.values), state

    return layer(middle)


def cached(change):
    """Return a layer with a change in how the cache is filled and read: change(q, k, v, state) -> (y, state)."""

    def middle(q, k, v, cos, sin, state):
        return change(rotate_half_split(q, cos, sin), rotate_half_split(k, cos, sin), v, state)

    return layer(middle)


def new_first(q, k, v, state):
    """The new keys stand before the old ones."""
    state = KVCache(k, v) if state is None else KVCache(k, v).append(state.keys, state.values)
    return attend(q, state.keys, state.values), state


class Beside(GroupedAttention):
    """What comes out of attention is reshaped without putting the tokens first."""

    def forward(self, x, state, shared):
        """(B, T, C) -> (B, T, C), wrong."""
        q, k, v = (self.heads(w(x)) for w in (self.query, self.key, self.value))
        q, k = (rotate_half_split(z, shared.cos, shared.sin) for z in (q, k))
        state = store(state, k, v)
        return self.finish(attend(q, state.keys, state.values), x), state

    def heads(self, z):
        """(B, T, H * N) -> (B, H, T, N)."""
        return rearrange(z, "b t (h n) -> b h t n", n=self.d_head)

    def finish(self, y, x):
        """(B, H, T, N) -> (B, T, C)."""
        return self.output(y.reshape(*x.shape[:2], -1))


class Strided(Beside):
    """The channels of a head are taken with a stride: (n h), not (h n)."""

    def heads(self, z):
        """Every head gets each H-th channel."""
        return rearrange(z, "b t (n h) -> b h t n", n=self.d_head)

    def finish(self, y, x):
        """(B, H, T, N) -> (B, T, C)."""
        return self.output(rearrange(y, "b h t n -> b t (h n)"))


class StridedEnd(Beside):
    """Only the result of the heads is taken with a stride."""

    def finish(self, y, x):
        """(B, H, T, N) -> (B, T, C)."""
        return self.output(rearrange(y, "b h t n -> b t (n h)"))


class Viewed(Strided):
    """The heads are cut out of the time axis."""

    def heads(self, z):
        """(B, T, H * N) -> (B, H, T, N), wrong."""
        return z.view(z.shape[0], -1, z.shape[1], self.d_head)


class Nameless(Strided):
    """A number is asked for that the layer does not keep."""

    def heads(self, z):
        """Fail."""
        return rearrange(z, "b t (h n) -> b h t n", h=self.n_heads)


class Residual(Beside):
    """The layer adds x, which the block around it does."""

    def finish(self, y, x):
        """(B, H, T, N) -> (B, T, C)."""
        return x + self.output(rearrange(y, "b h t n -> b t (h n)"))


class Unmixed(Beside):
    """The heads side by side, without the output matrix."""

    def finish(self, y, x):
        """(B, H, T, N) -> (B, T, H * N)."""
        return rearrange(y, "b h t n -> b t (h n)")


class TurnedWhole(Strided):
    """All channels of a token are turned as one large head."""

    def forward(self, x, state, shared):
        """(B, T, C) -> (B, T, C), wrong."""
        q, k, v = self.query(x), self.key(x), self.value(x)
        q, k = (rotate_half_split(z, *self.wide(z, shared)) for z in (q, k))
        q, k, v = (Beside.heads(self, z) for z in (q, k, v))
        state = store(state, k, v)
        return self.finish(attend(q, state.keys, state.values), x), state

    def wide(self, z, shared):
        """The table once for each head."""
        return (table.repeat(1, z.shape[-1] // self.d_head) for table in (shared.cos, shared.sin))


class TurnedEarly(TurnedWhole):
    """All channels are turned before they are cut into heads, by the table of one head: it does not fit."""

    def wide(self, z, shared):
        """The table as it is."""
        return shared.cos, shared.sin


def grown(q, k, v, state):
    """The caller's cache itself is made longer."""
    if state is not None:
        state.keys, state.values = torch.cat([state.keys, k], 2), torch.cat([state.values, v], 2)
    state = state or KVCache(k, v)
    return attend(q, state.keys, state.values), state


def dropped(q, k, v, state):
    """What append returns is not kept."""
    state = KVCache(k, v) if state is None else state
    return attend(q, state.keys, state.values), state


def twice(q, k, v, state):
    """A first cache is made, and then the same tokens are appended."""
    state = (KVCache(k, v) if state is None else state).append(k, v)
    return attend(q, state.keys, state.values), state


def kept_old(q, k, v, state):
    """The longer cache is read, and the old one returned."""
    longer = store(state, k, v)
    return attend(q, longer.keys, longer.values), longer if state is None else state


def swapped(q, k, v, state):
    """Values are kept as keys."""
    state = store(state, v, k)
    return attend(q, state.keys, state.values), state


def late(again):
    """Return a layer that turns the new keys after the cache; again: whether they were turned before it, too."""

    def middle(q, k, v, cos, sin, state):
        k = rotate_half_split(k, cos, sin) if again else k
        state, new = store(state, k, v), k.shape[2]
        keys = torch.cat([state.keys[:, :, :-new], rotate_half_split(state.keys[:, :, -new:], cos, sin)], 2)
        return attend(rotate_half_split(q, cos, sin), keys, state.values), state

    return layer(middle)


def all_turned():
    """Return a layer that turns all of the cache by the new tokens' table, which fits the new tokens alone."""

    def middle(q, k, v, cos, sin, state):
        state = store(state, k, v)
        keys = rotate_half_split(state.keys, cos, sin)
        return attend(rotate_half_split(q, cos, sin), keys, state.values), state

    return layer(middle)


def see(mask):
    """Return attention by torch with a mask made by mask(T, S)."""

    def attend_masked(q, k, v):
        seen = mask(q.shape[2], k.shape[2]).expand(q.shape[2], k.shape[2])
        return F.scaled_dot_product_attention(q, k, v, seen, enable_gqa=True)

    return attend_masked


def tiled(q, k, v):
    """Attention with key heads 0 1 0 1."""
    return attend(q, *(z.repeat(1, q.shape[1] // z.shape[1], 1, 1) for z in (k, v)))


def joined_with_none(old, new, window):
    """No word on the beginning."""
    return torch.cat([old, new], dim=2)[:, :, -(window - 1 + new.shape[2]) :]


def joined(cut):
    """Return a window's cache that is cut otherwise: cut(old and new keys, window, T) -> keys."""

    def wrong(old, new, window):
        everything = new if old is None else torch.cat([old, new], dim=2)
        return cut(everything, window, new.shape[2])

    return wrong


HALF = rotate_half_split
WRONG_LAYERS = {
    "q and k are not turned: positions don't count.": turned(None, None),
    "only q is turned: k needs the angle of its own position, too.": turned(HALF, None),
    "only k is turned: q needs the angle of its own position, too.": turned(None, HALF),
    "v is turned, too: only q and k are.": turned(HALF, HALF, HALF),
    "pairs (2j, 2j + 1) are turned: that is Meta's order, here it is rotate_half_split.": turned(
        rotate_interleaved, rotate_interleaved
    ),
    "turned the other way round: -sin for sin.": turned(*[lambda z, cos, sin: HALF(z, cos, -sin)] * 2),
    "cos and sin are swapped: `rotate_half_split(q, shared.cos, shared.sin)`.": turned(
        *[lambda z, cos, sin: HALF(z, sin, cos)] * 2
    ),
    "the angles are made anew, from position 0 on: they come in `shared.cos` and `shared.sin`.": turned(
        *[lambda z, cos, sin: HALF(z, *rope_table(z.shape[-1], z.shape[2], dtype=cos.dtype))] * 2
    ),
    "(B, T, H * N) is viewed as (B, H, T, N) at once, so that tokens and heads mix: view, then transpose.": Viewed,
    "the old cache is ignored: state.append(k, v).": cached(lambda q, k, v, state: (attend(q, k, v), KVCache(k, v))),
    "it attends to the new keys alone, not to state.keys and state.values.": cached(
        lambda q, k, v, state: (attend(q, k, v), store(state, k, v))
    ),
    "the cache has the new keys before the old ones: append them at the end.": cached(new_first),
    "keys and values are mixed up.": cached(
        lambda q, k, v, state: (attend(q, store(state, k, v).values, store(state, k, v).keys), store(state, k, v))
    ),
    "`append` changes nothing in place: keep what it returns, state = state.append(k, v).": cached(dropped),
    "at the beginning `state` is None: then the cache is `KVCache(k, v)`.": cached(
        lambda q, k, v, state: (None, state.append(k, v))
    ),
    "the cache that came in is written into: `append` makes a longer one and leaves it as it is.": cached(grown),
    "a new cache holds k and v already: they are appended a second time.": cached(twice),
    "keys and values are swapped in the cache: KVCache(keys, values).": cached(swapped),
    "the old cache is returned: return the longer one.": cached(kept_old),
    "the new keys are turned after the cache: turn each once, before it is put there.": late(again=False),
    "keys are turned twice, before the cache and after it: once is enough.": late(again=True),
    "the whole cache is turned by the table of the new tokens: turn the new keys, before they are put there.": (
        all_turned()
    ),
    "heads and tokens mix at the end: (B, H, T, N) must become (B, T, H, N) before the heads are joined.": Beside,
    "the channels of a head lie side by side: (h n), not (n h).": Strided,
    "at the end, too, the channels of a head lie side by side: (h n), not (n h).": StridedEnd,
    "the layer keeps `d_head` alone: with `n=self.d_head` the number of heads follows.": Nameless,
    "x is added to the result. The block around the layer does that: x + f(x).": Residual,
    "the heads are not mixed: self.output is missing.": Unmixed,
    "q and k are turned before they are cut into heads: each head has pairs of its own.": TurnedWhole,
    "q and k are turned before they are cut into heads: cut first, the table is for one head.": TurnedEarly,
    "scaled twice: `attend` divides by sqrt(N) already.": turned(
        HALF, HALF, None, lambda q, k, v: attend(q / math.sqrt(q.shape[-1]), k, v)
    ),
    "values have G heads, weights H: `attend` repeats the values.": turned(
        HALF, HALF, None, lambda q, k, v: attention_weights(q, k) @ v
    ),
    "key heads are tiled, 0 1 0 1: neighbours share, 0 0 1 1.": turned(HALF, HALF, None, tiled),
    "there is no causal mask.": turned(HALF, HALF, None, see(lambda T, S: torch.ones(T, S, dtype=torch.bool))),
    "the mask ignores the cache: query t stands at position S - T + t (torch's is_causal counts from 0).": turned(
        HALF, HALF, None, see(lambda T, S: torch.ones(T, S, dtype=torch.bool).tril())
    ),
    "the scores are not divided by sqrt(N).": turned(
        HALF, HALF, None, lambda q, k, v: attend(q * math.sqrt(q.shape[-1]), k, v)
    ),
}
