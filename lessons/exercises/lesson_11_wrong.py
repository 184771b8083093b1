"""Wrong forms of what lesson 11 builds, one slip each, and the parts to make them."""

import torch
import torch.nn.functional as F

from lib.layers.linear_attention import averaged, feature, linear_attention, linear_chunked, linear_recurrent


def write(k, v):
    """Return the outer product (..., N, D) of keys (..., N) and values (..., D)."""
    return k[..., :, None] * v[..., None, :]


def read(q, S):
    """Return what queries (..., N) read from (..., N, D): (..., D)."""
    return (q[..., None, :] @ S).squeeze(-2)


def nothing(k, v):
    """Return the state of a text that has not begun."""
    return k.new_zeros(*k.shape[:2], k.shape[-1], v.shape[-1])


def by_steps(step, begin=nothing):
    """Return a recurrence by step(S, q_t, k_t, v_t, t) -> (y_t, S), right or wrong."""

    def answer(q, k, v, state=None):
        S, ys = begin(k, v) if state is None or begin is not nothing else state, []
        for t, parts in enumerate(zip(q.unbind(2), k.unbind(2), v.unbind(2), strict=True)):
            y, S = step(S, *parts, t)
            ys.append(y)
        return torch.stack(ys, 2), S

    return answer


def in_place(q, k, v, state=None):
    """Write into S, which spoils the state that came in, and what the backward pass still needs."""
    S, ys = nothing(k, v) if state is None else state, []
    for q_t, k_t, v_t in zip(q.unbind(2), k.unbind(2), v.unbind(2), strict=True):
        S += write(k_t, v_t)
        ys.append(read(q_t, S))
    return torch.stack(ys, 2), S


def fade_by_steps(q, k, v, w):
    """Return the decay by the recurrence itself, where its matrix is asked for."""
    S, ys = 0, []
    for q_t, k_t, v_t in zip(q.unbind(2), k.unbind(2), v.unbind(2), strict=True):
        S = w[:, None, None] * S + write(k_t, v_t)
        ys.append(read(q_t, S))
    return torch.stack(ys, 2)


def by_all_pairs(q, k, v, state=None, chunk=64):
    """One chunk, whatever was asked for."""
    y, S = linear_attention(q, k, v), k.mT @ v
    return (y, S) if state is None else (y + q @ state, S + state)


def each(new, y=None):
    """Return a step from new(S, k, v) -> S, and y(q, S) where it is not the plain reading."""

    def step(S, q, k, v, t):
        S = new(S, k, v)
        return (y or read)(q, S), S

    return step


WRONG_STEPS = {
    "it reads before it writes: token t has to see itself.": by_steps(
        lambda S, q, k, v, t: (read(q, S), S + write(k, v))
    ),
    "the state is overwritten by each token: add to it.": by_steps(each(lambda S, k, v: write(k, v))),
    "the state that is given is ignored.": by_steps(each(lambda S, k, v: S + write(k, v)), lambda k, v: nothing(k, v)),
    "the results are divided by the number of tokens: it is a sum.": by_steps(
        lambda S, q, k, v, t: (read(q, S + write(k, v)) / (t + 1), S + write(k, v))
    ),
    "the query is divided by sqrt(N), as in softmax attention: nothing is scaled here.": by_steps(
        each(lambda S, k, v: S + write(k, v), lambda q, S: read(q, S) / q.shape[-1] ** 0.5)
    ),
    "S is returned upside down: keys are its rows, values its columns.": lambda q, k, v, state=None: (
        lambda y, S: (y, S.mT)
    )(*linear_recurrent(q, k, v, state)),
    "only y is returned: the state is needed for the next call.": lambda q, k, v, state=None: linear_recurrent(
        q, k, v, state
    )[0],
    "the results have an axis too many: `.squeeze(-2)` after the product.": by_steps(
        each(lambda S, k, v: S + write(k, v), lambda q, S: q[..., None, :] @ S)
    ),
    "the results are joined, not stacked: torch.stack(ys, dim=2) makes time the third axis.": (
        lambda q, k, v, state=None: (lambda y, S: (torch.cat(y.unbind(2), 2), S))(*linear_recurrent(q, k, v, state))
    ),
    "the query is summed over the values: it meets the rows of S, q_t[..., None, :] @ S.": by_steps(
        each(lambda S, k, v: S + write(k, v), lambda q, S: (q[..., None] * S).sum(-1))
    ),
    "y and state are swapped: y comes first.": lambda q, k, v, state=None: linear_recurrent(q, k, v, state)[::-1],
    "only the last token's result is returned.": lambda q, k, v, state=None: (lambda y, S: (y[:, :, -1], S))(
        *linear_recurrent(q, k, v, state)
    ),
    "the results are stacked along another axis: time is the third, dim=2.": lambda q, k, v, state=None: (
        lambda y, S: (y.permute(2, 0, 1, 3), S)
    )(*linear_recurrent(q, k, v, state)),
    "the texts of the batch share one state: B is an axis of S.": by_steps(
        each(lambda S, k, v: S + write(k, v).sum(0, keepdim=True).expand_as(S))
    ),
    "the state is detached between tokens: no gradient reaches the past.": by_steps(
        each(lambda S, k, v: S.detach() + write(k, v))
    ),
    "`+=` works on the state that came in: S = S + ...": in_place,
    "S begins as N by N: its columns are the value's channels, N by D.": by_steps(
        each(lambda S, k, v: S + write(k, v)), lambda k, v: k.new_zeros(*k.shape[:2], k.shape[-1], k.shape[-1])
    ),
    "query and key are swapped: the key is written, and the query reads.": lambda q, k, v, state=None: linear_recurrent(
        k, q, v, state
    ),
    "the keys are the rows of S, so the query stands before it: q_t[..., None, :] @ S.": by_steps(
        each(lambda S, k, v: S + write(k, v), lambda q, S: (S @ q[..., None]).squeeze(-1))
    ),
    "the state that is given goes into S, and the results leave it out.": lambda q, k, v, state=None: (
        linear_attention(q, k, v),
        k.mT @ v + (0 if state is None else state),
    ),
    "`.squeeze()` takes away all axes of length 1: `.squeeze(-2)`.": by_steps(
        each(lambda S, k, v: S + write(k, v), lambda q, S: (q[..., None, :] @ S).squeeze())
    ),
    "key and value are multiplied channel by channel: a column times a row.": by_steps(
        each(lambda S, k, v: S + (k * v)[..., None])
    ),
    "key and value are multiplied channel by channel and summed: a column times a row.": by_steps(
        each(lambda S, k, v: S + k.sum(-1)[..., None, None] * v[..., None, :])
    ),
}


def by_chunks(part, cut=torch.split, begin=nothing, join=torch.cat):
    """Return a chunked form by part(q, k, v, S) -> (y, the new S) and cut(z, chunk, axis), right or wrong."""

    def answer(q, k, v, state=None, chunk=64):
        S, ys = begin(k, v) if state is None or begin is not nothing else state, []
        for parts in zip(*(cut(z, chunk, 2) for z in (q, k, v)), strict=True):
            y, S = part(*parts, S)
            ys.append(y)
        return join(ys, 2), S

    return answer


def inside(q, k, v):
    """Return what the chunk's own tokens give."""
    return linear_attention(q, k, v)


WRONG_CHUNKS = {
    "there is no mask within the chunk: a token sees later ones of its chunk.": by_chunks(
        lambda q, k, v, S: (q @ k.mT @ v + q @ S, S + k.mT @ v)
    ),
    "the mask hides the token itself: the diagonal belongs to it.": by_chunks(
        lambda q, k, v, S: ((q @ k.mT).tril(-1) @ v + q @ S, S + k.mT @ v)
    ),
    "the chunk writes before it reads: its own tokens count twice, later ones too.": by_chunks(
        lambda q, k, v, S: (inside(q, k, v) + q @ (S + k.mT @ v), S + k.mT @ v)
    ),
    "what came before the chunk is not read: q_m @ S is missing.": by_chunks(
        lambda q, k, v, S: (inside(q, k, v), S + k.mT @ v)
    ),
    "the pairs within the chunk are missing: only the state is read.": by_chunks(
        lambda q, k, v, S: (q @ S, S + k.mT @ v)
    ),
    "the state is overwritten by each chunk: add to it.": by_chunks(
        lambda q, k, v, S: (inside(q, k, v) + q @ S, k.mT @ v)
    ),
    "the state never changes: add the chunk's own part.": by_chunks(lambda q, k, v, S: (inside(q, k, v) + q @ S, S)),
    "the state that is given is ignored.": by_chunks(
        lambda q, k, v, S: (inside(q, k, v) + q @ S, S + k.mT @ v), begin=lambda k, v: nothing(k, v)
    ),
    "only y is returned: the state is needed for the next call.": lambda q, k, v, state=None, chunk=64: linear_chunked(
        q, k, v, state, chunk=chunk
    )[0],
    "the pieces are cut out of the heads: time is axis 2, split(chunk, dim=2).": by_chunks(
        lambda q, k, v, S: (inside(q, k, v) + q @ S, S + k.mT @ v), cut=lambda z, chunk, axis: z.split(chunk, 1)
    ),
    "what a chunk adds is k^T v: transpose the keys, not the values.": by_chunks(
        lambda q, k, v, S: (inside(q, k, v) + q @ S, S + k @ v.mT)
    ),
    "the chunks are stacked: they follow each other in time, torch.cat(ys, dim=2).": by_chunks(
        lambda q, k, v, S: (inside(q, k, v) + q @ S, S + k.mT @ v), join=torch.stack
    ),
    "the chunks are joined along the batch: torch.cat(ys, dim=2).": by_chunks(
        lambda q, k, v, S: (inside(q, k, v) + q @ S, S + k.mT @ v), join=lambda ys, axis: torch.cat(ys)
    ),
    "this adds v^T k: the keys are the rows of S, k^T v.": by_chunks(
        lambda q, k, v, S: (inside(q, k, v) + q @ S, S + v.mT @ k)
    ),
    "`split(chunk)` cuts the batch into pieces: time is axis 2, split(chunk, dim=2).": by_chunks(
        lambda q, k, v, S: (inside(q, k, v) + q @ S, S + k.mT @ v), cut=lambda z, chunk, axis: z.split(chunk)
    ),
    "64 is only what `chunk` is if nobody says it: split(chunk, dim=2).": by_chunks(
        lambda q, k, v, S: (inside(q, k, v) + q @ S, S + k.mT @ v), cut=lambda z, chunk, axis: z.split(64, axis)
    ),
    "the state is carried on without gradient.": by_chunks(
        lambda q, k, v, S: (inside(q, k, v) + q @ S.detach(), S.detach() + k.mT @ v)
    ),
    "the pieces are too small: `q.split(chunk, dim=2)` gives pieces of `chunk` tokens. The recurrence takes single"
    " ones, and `q.chunk(chunk)` makes `chunk` pieces, whatever their size.": by_chunks(
        lambda q, k, v, S: (inside(q, k, v) + q @ S, S + k.mT @ v), cut=torch.chunk
    ),
    "the whole text is one chunk: its matrix grows with T^2. Cut it with `split(chunk, dim=2)`.": by_all_pairs,
    "a chunk that is not full is left out.": lambda q, k, v, state=None, chunk=64: linear_chunked(
        *(z[:, :, : z.shape[2] // min(chunk, z.shape[2]) * min(chunk, z.shape[2])] for z in (q, k, v)), state
    ),
}


def itself(q, k, v):
    """Return what each token reads of itself."""
    return (q * k).sum(-1, keepdim=True) * v


def half_repaired(k, kept):
    """Read by unbind, write by index."""
    means, m = torch.zeros_like(k), 0
    for t, k_t in enumerate(k.unbind(2)):
        m = kept * m + (1 - kept) * k_t
        means[:, :, t] = m
    return means


def ones_first(form, q, k, v):
    """Pad on the wrong side."""
    y = form(q, k, F.pad(v, (1, 0), value=1.0))
    y = y[0] if isinstance(y, tuple) else y
    return y[..., :-1] / y[..., -1:]


def padded_all(form, q, k, v):
    """Give queries and keys a one as well."""
    return averaged(form, *(F.pad(z, (0, 1), value=1.0) for z in (q, k)), v)


def fed_twice(form, q, k, v):
    """Apply the feature map a second time."""
    return averaged(form, feature(q), feature(k), v)


def always_a_pair(form, q, k, v):
    """Unpack what need not be a pair."""
    y, _ = form(q, k, F.pad(v, (0, 1), value=1.0))
    return y[..., :-1] / y[..., -1:]


WRONG_SHARES = {
    "divided by the number of tokens: by the sum of the weights.": lambda w, v, q, k: (
        w @ v / torch.arange(1, v.shape[2] + 1)[:, None]
    ),
    "divided by the sum over all tokens, later ones too.": lambda w, v, q, k: w @ v / (q @ k.mT).sum(-1, keepdim=True),
    "divided by the sum over the queries: each row has a sum of its own.": lambda w, v, q, k: (
        w @ v / w.sum(-2)[..., None]
    ),
    "that is a softmax of the weights: divide by their sum.": lambda w, v, q, k: (
        (q @ k.mT).masked_fill(torch.ones_like(w).triu(1) == 1, -torch.inf).softmax(-1) @ v
    ),
    "divided by the sum of the keys alone: the query weighs them.": lambda w, v, q, k: (
        w @ v / k.sum(-1, keepdim=True).cumsum(2)
    ),
    "divided by the root of the sum.": lambda w, v, q, k: w @ v / w.sum(-1, keepdim=True).sqrt(),
    "divided by the length of the result.": lambda w, v, q, k: w @ v / (w @ v).norm(dim=-1, keepdim=True),
    "the values' own sum is divided by.": lambda w, v, q, k: w @ v / v.sum(-1, keepdim=True),
}

WRONG_FADING = {
    "one step too many: token t reads its own value unfaded.": lambda age, w: w ** (age + 1).clamp(min=0),
    "one step too few: the token before has faded once.": lambda age, w: w ** (age - 1).clamp(min=0),
    "the age is upside down: t - s, with t in the rows.": lambda age, w: w ** (-age),
    "nothing fades.": lambda age, w: torch.ones_like(w) + 0 * age,
    "every past token fades once: its age is the power.": lambda age, w: w ** (age > 0).long(),
    "w is multiplied by the age: it is a power.": lambda age, w: w * age,
    "the share that is lost is taken for the share that is kept.": lambda age, w: (1 - w) ** age.clamp(min=0),
    "that fades like e^(-w * age): it is w^age.": lambda age, w: (-w * age.clamp(min=0)).exp(),
}
