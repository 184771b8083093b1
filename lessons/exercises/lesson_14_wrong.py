"""Wrong ways to step, to write, and to find all answers of a chunk of the delta rule, for 14.2, 14.4 and 14.5."""

import torch


def answers(k, v, a, b):
    """Return S_{t-1} a_t for each token, (..., L, N), from an empty S and without decay."""
    return solved(k, v, a, b)


def solved(k, v, a, b, seen=-1, removed=-1, sign=-1.0):
    """Solve (1 + sign M) Z = P V; M and P keep what lies on or below a diagonal."""
    P, M = (a @ k.mT).tril(seen), (a @ b.mT).tril(removed)
    return torch.linalg.solve(torch.eye(a.shape[-2]).to(a) + sign * M, P @ v)


def one_by_one(k, v, a, b):
    """Follow the recurrence, token by token."""
    S, found = torch.zeros(*k.shape[:-2], v.shape[-1], k.shape[-1]).to(k), []
    for t in range(k.shape[-2]):
        found.append((S @ a[..., t, :, None]).squeeze(-1))
        S = S + found[-1][..., None] * b[..., t, None, :] + v[..., t, :, None] * k[..., t, None, :]
    return torch.stack(found, dim=-2)


WRONG_ANSWERS = {
    "M keeps its diagonal: a token doesn't see itself, tril(-1).": lambda k, v, a, b: solved(k, v, a, b, removed=0),
    "P keeps its diagonal: the token's own value is not in S yet, tril(-1).": lambda k, v, a, b: solved(
        k, v, a, b, seen=0
    ),
    "both keep their diagonals: a token doesn't see itself, tril(-1).": lambda k, v, a, b: solved(k, v, a, b, 0, 0),
    "the sign of M is wrong: (1 - M) Z = P V.": lambda k, v, a, b: solved(k, v, a, b, sign=1.0),
    "nothing is solved: this is P V, without what was removed before. (upper=True gives it, too.)": lambda k, v, a, b: (
        (a @ k.mT).tril(-1) @ v
    ),
    "multiplied by 1 - M, not solved.": lambda k, v, a, b: (P := (a @ k.mT).tril(-1) @ v) - (a @ b.mT).tril(-1) @ P,
    "only the first step of the solution, (1 + M) P V: later tokens need all powers of M.": lambda k, v, a, b: (
        (P := (a @ k.mT).tril(-1) @ v) + (a @ b.mT).tril(-1) @ P
    ),
    "k and b are swapped: P has the keys, M has b.": lambda k, v, a, b: solved(b, v, a, k),
    "the products are the wrong way round: row t asks with a_t, b_s and k_s are the columns.": lambda k, v, a, b: (
        torch.linalg.solve(torch.eye(a.shape[-2]).to(a) - (b @ a.mT).tril(-1), (k @ a.mT).tril(-1) @ v)
    ),
    "the mask lets the next token in: tril(1) keeps one diagonal above, tril(-1) leaves the own one out.": (
        lambda k, v, a, b: solved(k, v, a, b, 1, 1)
    ),
    "1 - M is not the number 1: it takes the identity, torch.eye.": lambda k, v, a, b: torch.linalg.solve_triangular(
        1 - (a @ b.mT).tril(-1), (a @ k.mT).tril(-1) @ v, upper=False
    ),
    "P is on the right, without V: the right side is P V.": lambda k, v, a, b: torch.linalg.solve(
        torch.eye(a.shape[-2]).to(a) - (a @ b.mT).tril(-1), (a @ k.mT).tril(-1)
    ),
    "v and k are swapped: P has the keys, and stands before V.": lambda k, v, a, b: solved(v, k, a, b),
    "-M stands alone on the left: (1 - M) Z = P V, with ones on the diagonal.": lambda k, v, a, b: (
        torch.linalg.solve_triangular(-(a @ b.mT).tril(-1), (a @ k.mT).tril(-1) @ v, upper=False)
    ),
    "V alone is on the right: the right side is P V.": lambda k, v, a, b: torch.linalg.solve(
        torch.eye(a.shape[-2]).to(a) - (a @ b.mT).tril(-1), v
    ),
    "the upper halves are kept: token t asks for those before it, tril(-1), and upper=False.": lambda k, v, a, b: (
        torch.linalg.solve(torch.eye(a.shape[-2]).to(a) - (a @ b.mT).triu(1), (a @ k.mT).triu(1) @ v)
    ),
    "with axes in front .T turns all of them: .mT turns the last two.": lambda k, v, a, b: torch.linalg.solve(
        torch.eye(a.shape[-2]).to(a) - (a @ b.T).tril(-1), (a @ k.T).tril(-1) @ v
    ),
    "a loop over tokens is right, and slow: solve for all answers at once.": one_by_one,
    "M is solved without the identity: (1 - M) Z = P V.": lambda k, v, a, b: torch.linalg.solve_triangular(
        (a @ b.mT).tril(-1), (a @ k.mT).tril(-1) @ v, upper=False
    ),
    "no causal mask: without tril the answers look ahead.": lambda k, v, a, b: torch.linalg.solve(
        torch.eye(a.shape[-2]).to(a) - a @ b.mT, a @ k.mT @ v
    ),
}


def stepwise(step):
    """Make a wkv of a step: step(S, r, k, v, w, a, b, old) -> (S, y), all but S columns (B, H, N, 1)."""

    def form(r, k, v, log_w, a, b, state=None):
        B, H, T, N = k.shape
        S, ys = k.new_zeros(B, H, N, N) if state is None else state, []
        for parts in zip(*(z.unbind(2) for z in (r, k, v, log_w.exp(), a, b)), strict=True):
            S, y = step(S, *(z[..., None] for z in parts))
            ys.append(y.squeeze(-1))
        return torch.stack(ys, dim=2), S

    return form


def new_state(S, k, v, w, a, b):
    """Return S diag(w) + (S a) b^T + v k^T, from columns."""
    return S * w.mT + (S @ a) @ b.mT + v @ k.mT


WRONG_STEPS = {
    "y is read from the old state: the token itself must be in S.": lambda S, r, k, v, w, a, b: (
        new_state(S, k, v, w, a, b),
        S @ r,
    ),
    "the decay is on the rows, the values: it belongs to the keys, the last axis.": lambda S, r, k, v, w, a, b: (
        (T := S * w + (S @ a) @ b.mT + v @ k.mT),
        T @ r,
    ),
    "what is removed is asked of the decayed state: the old one answers.": lambda S, r, k, v, w, a, b: (
        (T := S * w.mT + (S * w.mT @ a) @ b.mT + v @ k.mT),
        T @ r,
    ),
    "what is written is k v^T, the transpose: S is values by keys.": lambda S, r, k, v, w, a, b: (
        (T := S * w.mT + (S @ a) @ b.mT + k @ v.mT),
        T @ r,
    ),
    "a and b are swapped: a asks, b says where.": lambda S, r, k, v, w, a, b: (
        (T := new_state(S, k, v, w, b, a)),
        T @ r,
    ),
    "the middle term is subtracted: a has its minus in it already.": lambda S, r, k, v, w, a, b: (
        (T := new_state(S, k, v, w, -a, b)),
        T @ r,
    ),
    "the middle term is missing: nothing is removed.": lambda S, r, k, v, w, a, b: (
        (T := S * w.mT + v @ k.mT),
        T @ r,
    ),
    "the decay is missing.": lambda S, r, k, v, w, a, b: (
        (T := new_state(S, k, v, torch.ones_like(w), a, b)),
        T @ r,
    ),
    "r^T S instead of S r: that asks for a value, and gets a key.": lambda S, r, k, v, w, a, b: (
        (T := new_state(S, k, v, w, a, b)),
        T.mT @ r,
    ),
    "this is lesson 13's orientation, keys by values: S is values by keys here.": lambda S, r, k, v, w, a, b: (
        (T := S * w + b @ (a.mT @ S) + k @ v.mT),
        T.mT @ r,
    ),
    "S a is divided among the keys by a, not by b.": lambda S, r, k, v, w, a, b: (
        (T := S * w.mT + (S @ a) @ a.mT + v @ k.mT),
        T @ r,
    ),
    "b asks as well: the answer is S a, b says where it goes.": lambda S, r, k, v, w, a, b: (
        (T := S * w.mT + (S @ b) @ b.mT + v @ k.mT),
        T @ r,
    ),
    "the decay is on all of it: it belongs to the old S alone.": lambda S, r, k, v, w, a, b: (
        (T := (S + (S @ a) @ b.mT + v @ k.mT) * w.mT),
        T @ r,
    ),
    "the decay is on what is removed, too: only the old S fades.": lambda S, r, k, v, w, a, b: (
        (T := (S + (S @ a) @ b.mT) * w.mT + v @ k.mT),
        T @ r,
    ),
    "b is a column here: what S answers goes along b as a row, `b.mT`.": lambda S, r, k, v, w, a, b: (
        (T := S * w.mT + (S @ a) * b + v @ k.mT),
        T @ r,
    ),
    "a and b are multiplied channel by channel: S a first, a column, times b as a row.": lambda S, r, k, v, w, a, b: (
        (T := S * w.mT + S @ (a * b) + v @ k.mT),
        T @ r,
    ),
    "S @ w sums over the keys: the decay multiplies column by column, `S * w.mT`.": lambda S, r, k, v, w, a, b: (
        (T := S @ w + (S @ a) @ b.mT + v @ k.mT),
        T @ r,
    ),
    "the middle term lies the other way round: what S answers is a column, b a row, `(S @ a) * b.mT`.": (
        lambda S, r, k, v, w, a, b: ((T := S * w.mT + b @ (S @ a).mT + v @ k.mT), T @ r)
    ),
    "what is removed is asked of the state that holds the new value already: the old one answers, before the write.": (
        lambda S, r, k, v, w, a, b: ((U := S * w.mT + v @ k.mT), (T := U + (U @ a) @ b.mT), T @ r)[1:]
    ),
    "S @ w.mT is a product of matrices: the decay multiplies column by column, `S * w.mT`.": (
        lambda S, r, k, v, w, a, b: ((T := S @ w.mT + (S @ a) @ b.mT + v @ k.mT), T @ r)
    ),
    "S * a multiplies number by number: what S answers is a product of matrices, `S @ a`.": (
        lambda S, r, k, v, w, a, b: ((T := S * w.mT + S * a * b.mT + v @ k.mT), T @ r)
    ),
    "S * a.mT multiplies column by column: what S answers is a product of matrices, `S @ a`.": (
        lambda S, r, k, v, w, a, b: ((T := S * w.mT + S * a.mT * b.mT + v @ k.mT), T @ r)
    ),
    "S is not asked: a b^T takes the same away, whatever is there. It is `(S @ a) * b.mT`.": (
        lambda S, r, k, v, w, a, b: ((T := S * w.mT + a @ b.mT + v @ k.mT), T @ r)
    ),
    "r.mT @ S is a row of keys: y is a column of values, `S @ r`.": (
        lambda S, r, k, v, w, a, b: ((T := new_state(S, k, v, w, a, b)), r.mT @ T)
    ),
    "lesson 13's bonus is still there: the new S holds the token already.": lambda S, r, k, v, w, a, b: (
        new_state(S, k, v, w, a, b),
        S @ r + (r * k).sum(-2, keepdim=True) * v,
    ),
    "1 - w in the place of w: the decay is the share that is kept.": lambda S, r, k, v, w, a, b: (
        (T := new_state(S, k, v, 1 - w, a, b)),
        T @ r,
    ),
    "the exp comes twice: `w` is e^(log w) already.": lambda S, r, k, v, w, a, b: (
        (T := new_state(S, k, v, w.exp(), a, b)),
        T @ r,
    ),
    "the value is written first, and then removed with the old one.": lambda S, r, k, v, w, a, b: (
        (T := (S + v @ k.mT) * w.mT + ((S + v @ k.mT) @ a) @ b.mT),
        T @ r,
    ),
}


WRONG_WRITING = {  # the key from (k, rate, boost), the value from (v, first, share); None is the right one
    "the boost is missing from the key.": (lambda k, r, c: k * r, None),
    "1 + rate boost: one is taken from the rate first.": (lambda k, r, c: k * (1 + r * c), None),
    "the 1 is missing: at a boost of 0 the key would vanish.": (lambda k, r, c: k * (r - 1) * c, None),
    "the boost is on all of it: it belongs to rate - 1 alone.": (lambda k, r, c: k * (1 + (r - 1)) * c, None),
    "1 + rate - 1 * boost: brackets around rate - 1.": (lambda k, r, c: k * (1 + r - c), None),
    "1 - rate boost: at a rate of 1 the key must stay as it is.": (lambda k, r, c: k * (1 - r * c), None),
    "the share multiplies v alone: brackets around first - v.": (None, lambda v, f, s: v + f - v * s),
    "the share multiplies v, too: only first - v is scaled.": (None, lambda v, f, s: (v + (f - v)) * s),
    "1 - rate in the place of rate - 1: a low rate would write more.": (lambda k, r, c: k * (1 + (1 - r) * c), None),
    "(rate - 1) boost is added to the key: it scales it, k (1 + ...).": (lambda k, r, c: k + (r - 1) * c, None),
    "the key is left as it is: the rate scales what is written.": (lambda k, r, c: k, None),
    "the value moves away from the first layer's: first - v.": (None, lambda v, f, s: v + (v - f) * s),
    "v and first are swapped: share 0 must leave v.": (None, lambda v, f, s: f + (v - f) * s),
    "first is added: move towards it, (first - v) share.": (None, lambda v, f, s: v + f * s),
    "v is missing in front: this is only how far it moves.": (None, lambda v, f, s: (f - v) * s),
    "the value is left as it is.": (None, lambda v, f, s: v),
    "the value is the first layer's, whatever the share.": (None, lambda v, f, s: f),
    "the mean of the two, whatever the share.": (None, lambda v, f, s: (v + f) / 2),
}
