"""Wrong forms of lesson 11's recurrence and of its chunks, one slip each, and the parts to make them."""

import torch

from lib.layers.linear_attention import linear_attention, linear_chunked, linear_recurrent


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
    """A right result, but the state that came in is spoiled."""
    y, S = linear_recurrent(q, k, v, state)
    if state is not None:
        with torch.no_grad():
            state.copy_(S)
    return y, S


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
    "key and value are multiplied channel by channel and summed: a column times a row.": by_steps(
        each(lambda S, k, v: S + k.sum(-1)[..., None, None] * v[..., None, :])
    ),
}


def by_chunks(part, after=True, begin=nothing):
    """Return a chunked form by part(q, k, v, S) -> (y, what is added to S), right or wrong."""

    def answer(q, k, v, state=None, chunk=64):
        S, ys = begin(k, v) if state is None or begin is not nothing else state, []
        for parts in zip(*(z.split(chunk, 2) for z in (q, k, v)), strict=True):
            y, S = part(*parts, S)
            ys.append(y)
        return torch.cat(ys, 2), S

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
    "the state is carried on without gradient.": by_chunks(
        lambda q, k, v, S: (inside(q, k, v) + q @ S.detach(), S.detach() + k.mT @ v)
    ),
    "a chunk that is not full is left out.": lambda q, k, v, state=None, chunk=64: linear_chunked(
        *(z[:, :, : z.shape[2] // min(chunk, z.shape[2]) * min(chunk, z.shape[2])] for z in (q, k, v)), state
    ),
}
