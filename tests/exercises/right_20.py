"""Right answers to the exercises of lesson 20, written in other ways: the check must let them through."""

import math

import torch

from lib.models.llama import LlamaConfig
from lib.run import cost
from lib.run.scaling import Law
from tests.exercises.rights import right


@right("20.1")
def _by_the_book(n_layers, d_model, d_ff, vocab_size, T, tokens):
    config = LlamaConfig(vocab_size, n_layers, d_model, 1, 1, d_model, d_ff, context_length=T)
    return cost.training_flops(config, T).products * tokens / T


@right("20.1")
def _part_by_part(n_layers, d_model, d_ff, vocab_size, T, tokens):
    total = 2 * vocab_size * d_model
    for _ in range(n_layers):
        total += sum(2 * d_model * width for width in (d_model, d_model, d_model, d_model, d_ff, d_ff, d_ff))
        total += 2 * 2 * d_model * (T + 1) / 2
    return total * tokens * 3


@right("20.1")
def _six_for_each_weight(n_layers, d_model, d_ff, vocab_size, T, tokens):
    weights = n_layers * d_model * (4 * d_model + 3 * d_ff) + vocab_size * d_model
    return 6 * weights * tokens + 6 * n_layers * d_model * (T + 1) * tokens


@right("20.2")
def _by_the_law(A, B, alpha, beta, C):
    return Law(0.0, A, B, alpha, beta).optimum(C)


@right("20.2")
def _by_halving(A, B, alpha, beta, C):
    def slope(x):  # of the loss against log N, where D = C / 6 / N
        return beta * B / (C / 6 / math.exp(x)) ** beta - alpha * A / math.exp(x) ** alpha

    low, high = 0.0, math.log(C)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return [math.exp(low), C / 6 / math.exp(low)]


@right("20.2")
def _in_logarithms(A, B, alpha, beta, C):
    log_n = (math.log(alpha * A) - math.log(beta * B) + beta * math.log(C / 6)) / (alpha + beta)
    return torch.tensor(log_n, dtype=torch.float64).exp(), C / 6 * math.exp(-log_n)


@right("20.3")
def _in_a_loop(runs):
    found = []
    for run in runs:
        tokens, nats = run["curve"][-1]
        if tokens < run["planned"]:
            continue
        found.append([run["parameters"], tokens, nats])
    return found


@right("20.3")
def _by_the_largest(runs):
    lasts = [(run, max(run["curve"])) for run in runs]
    return [(run["parameters"], last[0], last[1]) for run, last in lasts if not last[0] < run["planned"]]


@right("20.3")
def _by_filter(runs):
    ended = filter(lambda run: run["curve"][-1][0] - run["planned"] >= 0, runs)
    return [(run["parameters"],) + tuple(run["curve"][len(run["curve"]) - 1]) for run in ended]


@right("20.4")
def _by_lib(law, loss, served, sizes):
    law = Law(*law)
    pairs = [(N, law.tokens_for(N, loss)) for N in sizes]
    return min(pairs, key=lambda pair: pair[0] * (3 * pair[1] + served))


@right("20.4")
def _with_endless_tokens(law, loss, served, sizes):
    E, A, B, alpha, beta = law
    best, least = None, math.inf
    for N in reversed(sizes):
        gap = loss - (E + A * N**-alpha)
        D = math.inf if gap <= 0 else (gap / B) ** (-1 / beta)
        if 6 * N * D + 2 * N * served <= least:
            best, least = (N, D), 6 * N * D + 2 * N * served
    return best


@right("20.4")
def _side_by_side(law, loss, served, sizes):
    E, A, B, alpha, beta = law
    N = torch.tensor(sizes, dtype=torch.float64)
    gap = loss - E - A / N**alpha
    D = torch.where(gap > 0, (B / gap.clamp(min=1e-300)) ** (1 / beta), torch.inf)
    i = (6 * N * D + 2 * N * served).argmin()
    return N[i], D[i]


@right("20.5")
def _seconds_first(flops_per_token, tokens_per_second, peak):
    return (tokens_per_second / peak) * flops_per_token


@right("20.5")
def _by_time(flops_per_token, tokens_per_second, peak):
    best = flops_per_token / peak  # seconds a token at the peak
    return best / (1 / tokens_per_second)


@right("20.5")
def _at_the_peak(flops_per_token, tokens_per_second, peak):
    return tokens_per_second / (peak / flops_per_token)
