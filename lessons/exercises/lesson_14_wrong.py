"""The right and wrong ways to find all answers of a chunk of the delta rule, for the check of 14.4."""

import torch


def answers(k, v, a, b):
    """Return S_{t-1} a_t for each token, (..., L, N), from an empty S and without decay."""
    return solved(k, v, a, b)


def solved(k, v, a, b, seen=-1, removed=-1, sign=-1.0):
    """Solve (1 + sign M) Z = P V; M and P keep what lies on or below a diagonal."""
    P, M = (a @ k.mT).tril(seen), (a @ b.mT).tril(removed)
    return torch.linalg.solve(torch.eye(a.shape[-2]).to(a) + sign * M, P @ v)


WRONG_ANSWERS = {
    "M keeps its diagonal: a token doesn't see itself, tril(-1).": lambda k, v, a, b: solved(k, v, a, b, removed=0),
    "P keeps its diagonal: the token's own value is not in S yet, tril(-1).": lambda k, v, a, b: solved(
        k, v, a, b, seen=0
    ),
    "both keep their diagonals: a token doesn't see itself, tril(-1).": lambda k, v, a, b: solved(k, v, a, b, 0, 0),
    "the sign of M is wrong: (1 - M) Z = P V.": lambda k, v, a, b: solved(k, v, a, b, sign=1.0),
    "nothing is solved: P V forgets what the earlier tokens removed.": lambda k, v, a, b: (a @ k.mT).tril(-1) @ v,
    "multiplied by 1 - M, not solved.": lambda k, v, a, b: (P := (a @ k.mT).tril(-1) @ v) - (a @ b.mT).tril(-1) @ P,
    "only the first step of the solution, (1 + M) P V: later tokens need all powers of M.": lambda k, v, a, b: (
        (P := (a @ k.mT).tril(-1) @ v) + (a @ b.mT).tril(-1) @ P
    ),
    "k and b are swapped: P has the keys, M has b.": lambda k, v, a, b: solved(b, v, a, k),
    "the products are the wrong way round: row t asks with a_t, b_s and k_s are the columns.": lambda k, v, a, b: (
        torch.linalg.solve(torch.eye(a.shape[-2]).to(a) - (b @ a.mT).tril(-1), (k @ a.mT).tril(-1) @ v)
    ),
    "no causal mask: without tril the answers look ahead.": lambda k, v, a, b: torch.linalg.solve(
        torch.eye(a.shape[-2]).to(a) - a @ b.mT, a @ k.mT @ v
    ),
}
