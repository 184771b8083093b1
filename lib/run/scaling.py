"""Scaling laws: the loss that N parameters reach on D tokens, fitted to runs, and what a budget of FLOPs should buy.

L(N, D) = E + A / N^alpha + B / D^beta      Hoffmann et al. 2022, "Chinchilla", arXiv 2203.15556, approach 3

E is the loss of a model of any size after any number of tokens: the entropy of the text. Losses in nats a token.
"""

import itertools
import math
from typing import NamedTuple

import torch

DELTA = 1e-3  # of Huber's loss, on logarithms: differences beyond 0.1 % count by their size, not by their square
EXPONENTS = [0.1 * i for i in range(1, 13)]  # of the starts, alpha and beta alike
SHARES = (0.01, 0.2, 0.4, 0.6, 0.8, 0.95)  # E of the starts, as shares of the lowest loss
KEPT = 5  # starts that L-BFGS goes on from: those which fit best
FLOPS_PER_WEIGHT = 6  # a token in training: C = 6 N D; Kaplan et al. 2020, arXiv 2001.08361, section 2.1


class Law(NamedTuple):
    """The five numbers of a law; `error` is the mean Huber loss that the fit was left with."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float
    error: float = 0.0

    def loss(self, N, D):
        """Return E + A / N^alpha + B / D^beta, in nats a token, for N parameters and D tokens."""
        return self.E + self.A / N**self.alpha + self.B / D**self.beta

    def optimum(self, C, factor=FLOPS_PER_WEIGHT):
        """Return the N and D of the lowest loss that C = factor N D FLOPs can buy.

        N = G (C / factor)^(beta / (alpha + beta)), D = (C / factor)^(alpha / (alpha + beta)) / G,
        G = (alpha A / (beta B))^(1 / (alpha + beta)): equation 4 of the paper.
        """
        both, budget = self.alpha + self.beta, C / factor
        G = (self.alpha * self.A / (self.beta * self.B)) ** (1 / both)
        return G * budget ** (self.beta / both), budget ** (self.alpha / both) / G

    def tokens_for(self, N, loss):
        """Return the D with which N parameters reach a loss; infinity where they never do."""
        left = loss - self.E - self.A / N**self.alpha
        return (self.B / left) ** (1 / self.beta) if left > 0 else math.inf


def fit(N, D, losses, floor=None):
    """Return the `Law` of runs: N parameters, D tokens and the loss of each, three lists.

    Minimises the mean Huber loss of log L(N, D) - log loss with L-BFGS, from the best of a grid of starts. `floor`
    holds E at a number that is known. ValueError for fewer runs than the law needs, or losses that are not above zero.
    """
    runs = torch.tensor([list(N), list(D), list(losses)], dtype=torch.float64)
    if runs.shape[1] < 6:
        raise ValueError(f"{runs.shape[1]} runs, but the law has 5 numbers: fit 6 runs or more")
    if not (runs > 0).all():
        raise ValueError(f"the least number is {runs.min():g}: parameters, tokens and losses have to be above zero")
    return min((descend(runs.log(), start, floor) for start in starts(runs, floor)), key=error_of)


def starts(runs, floor=None):
    """Return the starts that fit best: to each alpha, beta and E of a grid A and B by least squares."""
    n, d, losses = runs
    shares = SHARES if floor is None else (floor / losses.min().item(),)
    grid = torch.tensor(list(itertools.product(EXPONENTS, EXPONENTS, shares)), dtype=torch.float64)
    alpha, beta, E = grid[:, :1], grid[:, 1:2], grid[:, 2:] * losses.min()
    columns = torch.stack([n**-alpha, d**-beta], dim=2) / losses[:, None]  # relative, as the fit itself
    factors = torch.linalg.lstsq(columns, ((losses - E) / losses)[..., None])[0].clamp(min=1e-9)
    left = ((columns @ factors)[..., 0] - (losses - E) / losses).abs().mean(dim=1)
    best = left.argsort()[:KEPT]
    return torch.cat([factors[best, :, 0].log(), E[best].log(), grid[best, :2]], dim=1).tolist()


def error_of(law):
    """Return what the fit was left with; infinity for one that went astray."""
    return law.error if math.isfinite(law.error) else math.inf


def descend(logs, start, floor=None, steps=100):
    """Return the `Law` that L-BFGS finds from one start: (log A, log B, log E, alpha, beta). logs: of N, D, losses."""
    numbers = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([numbers], max_iter=steps, line_search_fn="strong_wolfe", tolerance_change=1e-12)

    def misfit():
        a, b, e, alpha, beta = numbers
        e = e if floor is None else torch.tensor(math.log(floor), dtype=torch.float64)
        terms = torch.stack([a - alpha * logs[0], b - beta * logs[1], e.expand(logs.shape[1])])
        return torch.nn.functional.huber_loss(terms.logsumexp(0), logs[2], delta=DELTA) / DELTA

    def closure():
        optimizer.zero_grad()
        value = misfit()
        value.backward()
        return value

    optimizer.step(closure)
    a, b, e, alpha, beta = numbers.tolist()
    error = misfit().item()
    try:
        return Law(floor if floor is not None else math.exp(e), math.exp(a), math.exp(b), alpha, beta, error)
    except OverflowError:
        return Law(math.nan, math.nan, math.nan, alpha, beta, math.nan)


def resampled(N, D, losses, law, draws=100, seed=0):
    """Return the laws of `draws` samples of the runs, drawn with replacement (the bootstrap), each from `law` on."""
    logs = torch.tensor([list(N), list(D), list(losses)], dtype=torch.float64).log()
    start = (math.log(law.A), math.log(law.B), math.log(law.E), law.alpha, law.beta)
    generator = torch.Generator().manual_seed(seed)
    samples = (torch.randint(logs.shape[1], (logs.shape[1],), generator=generator) for _ in range(draws))
    laws = [descend(logs[:, sample], start) for sample in samples]
    return [law for law in laws if math.isfinite(law.error)]


def middle(values, share=0.95):
    """Return the least and the largest of the middle `share` of some values."""
    ordered = sorted(values)
    cut = round((1 - share) / 2 * (len(ordered) - 1))
    return ordered[cut], ordered[len(ordered) - 1 - cut]


class Valley(NamedTuple):
    """The lowest point of a parabola through runs of one budget, loss against log N, and whether it lies among them."""

    N: float
    loss: float
    inside: bool


def valley(N, losses):
    """Return the `Valley` of runs of equal FLOPs (approach 2). ValueError where they do not bend upward."""
    x = torch.tensor([math.log(n) for n in N], dtype=torch.float64)
    columns = torch.stack([x**2, x, torch.ones_like(x)], dim=1)
    target = torch.tensor(losses, dtype=torch.float64)[:, None]
    square, line, constant = torch.linalg.lstsq(columns, target)[0][:, 0].tolist()
    lowest = -line / (2 * square) if square > 0 else math.inf
    if abs(lowest) > 700:  # exp(710) is more than a float holds: the runs lie on a straight line
        raise ValueError("the runs do not bend upward: they have no lowest point. Add smaller or larger models")
    return Valley(math.exp(lowest), constant - line**2 / (4 * square), x.min().item() <= lowest <= x.max().item())


def lifetime(law, loss, served, steps=4000):
    """Return the N, D and FLOPs of the cheapest model that reaches `loss` and then writes or reads `served` tokens.

    It costs 6 N D to train and 2 N a token to serve (Sardana et al. 2023, arXiv 2401.00448, section 2). ValueError
    where the loss is not above E: no model reaches that.
    """
    if loss <= law.E:
        raise ValueError(f"a loss of {loss:.4f}, but no model gets below E = {law.E:.4f}: ask for more")
    least = (law.A / (loss - law.E)) ** (1 / law.alpha)  # so few parameters need endless tokens
    sizes = (least * 10 ** (4 * (i + 1) / steps) for i in range(steps))
    pairs = ((N, law.tokens_for(N, loss)) for N in sizes)
    cost = min(((6 * N * D + 2 * N * served, N, D) for N, D in pairs))
    return cost[1], cost[2], cost[0]
