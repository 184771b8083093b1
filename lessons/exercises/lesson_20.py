"""The exercises of lesson 20: FLOPs of a run, the optimum of a law, which points belong in a fit, a lifetime, MFU."""

import math

from lessons.checker.check import Checks
from lessons.checker.limits import InWords

checks = Checks("20")
check = checks.check


def _pair(answer, *given):
    """Call an answer; return its two numbers under their names, so that each is compared by itself."""
    result = answer(*given)
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise InWords("two results are expected: parameters, then tokens")
    return {"parameters": float(result[0]), "tokens": float(result[1])}


def run_flops(n_layers, d_model, d_ff, vocab_size, T, tokens):
    """Return the FLOPs in matrix products of training a LLaMA on `tokens` tokens, in rows of T."""
    return _flops(n_layers, d_model, d_ff, vocab_size, T, tokens)


def _flops(L, C, F, V, T, tokens, attention=4, mlp=3, head=1, a_weight=2, passes=3, pairs=lambda T: (T + 1) / 2,
           a_pair=4, layers=True, embedding=0, one_layer=False):  # fmt: skip
    """Count with one part changed. pairs(T): the keys that a query of a row of T looks at, on average."""
    matrices = (L if layers else 1) * (attention * C * C + mlp * C * F) + (head + embedding) * V * C
    return passes * tokens * (a_weight * matrices + a_pair * (1 if one_layer else L) * C * pairs(T))


@checks.exercise("20.1", run_flops, points=4, gradients=False, tolerance=1e-6)
def flops(e):
    """Models whose embedding is most of them, and such whose attention is."""
    e.case("tiny", 4, 128, 352, 2048, 192, 1_000_000)
    e.case("one layer", 1, 32, 88, 512, 384, 1000)
    e.case("long rows", 2, 64, 176, 64, 4096, 8192, hint="a query looks at (T + 1) / 2 keys on average.")
    e.case("no attention to speak of", 6, 96, 264, 512, 1, 10)
    e.case("TinyLlama's width", 22, 2048, 5632, 32000, 2048, 3e12)
    e.case("some sizes", e.size(2, 9), 8 * e.size(4, 20), 8 * e.size(9, 50), e.size(300, 900), e.size(100, 999), 5000)
    for hint, change in {
        "the gradients are missing: a training step takes three times the forward pass.": dict(passes=1),
        "the backward pass takes two forward passes, so all takes three: here it is two.": dict(passes=2),
        "that is four times the forward pass: nothing is computed twice here.": dict(passes=4),
        "a weight multiplies and its product is added: two FLOPs a token, not one.": dict(a_weight=1),
        "the head is missing: it multiplies d_model by vocab_size for each token.": dict(head=0),
        "the embedding is counted: it looks a row up and multiplies nothing.": dict(embedding=1),
        "SwiGLU has three matrices, not two.": dict(mlp=2),
        "attention has four matrices: queries, keys, values and the output.": dict(attention=3),
        "the products of queries with keys are missing.": dict(a_pair=0),
        "each pair is used twice: query times key, and weight times value.": dict(a_pair=2),
        "a query of a causal model does not look at all T: (T + 1) / 2 on average.": dict(pairs=lambda T: T),
        "T / 2 leaves out that a query looks at itself, too: (T + 1) / 2.": dict(pairs=lambda T: T / 2),
        "one layer alone is counted.": dict(layers=False),
        "the pairs of a whole row are counted for each token: (T + 1) / 2 keys a token.": dict(
            pairs=lambda T: T * (T + 1) / 2
        ),
        "attention's products are counted for one layer alone.": dict(one_layer=True),
        "attention's products take three times as much in training, too.": dict(a_pair=4 / 3),
    }.items():
        e.mistake(hint, lambda *given, change=change: _flops(*given, **change))


def optimum(A, B, alpha, beta, C):
    """Return the N and D of the lowest A / N^alpha + B / D^beta with 6 N D = C."""
    return _optimum(A, B, alpha, beta, C)


def _optimum(A, B, alpha, beta, C, factor=6, G=lambda A, B, a, b: (a * A / (b * B)) ** (1 / (a + b)), swap=False,
             power=lambda a, b: b / (a + b)):  # fmt: skip
    """Solve with one part changed."""
    N = G(A, B, alpha, beta) * (C / factor) ** power(alpha, beta)
    D = C / factor / N
    return (D, N) if swap else (N, D)


@checks.exercise("20.2", optimum, points=4, gradients=False, call=_pair, tolerance=1e-6)
def optima(e):
    """Chinchilla's published law, its second fit, a law with equal exponents, and laws at random."""
    e.case("equal exponents and factors", 100.0, 100.0, 0.5, 0.5, 6e6, hint="all is equal, so N and D are, too.")
    e.case("Chinchilla's law", 406.4, 410.7, 0.34, 0.28, 5.76e23)
    e.case("the second fit", 482.01, 2085.43, 0.3478, 0.3658, 5.76e23)
    e.case("a small budget", 30.0, 900.0, 0.4, 0.45, 1e12)
    e.case("some law", e.size(20, 800) / 1.0, e.size(20, 3000) / 1.0, e.size(20, 60) / 100, e.size(20, 60) / 100, 1e18)
    for hint, change in {
        "the 6 is missing: N D is C / 6.": dict(factor=1),
        "the 2 of a forward pass stands where the 6 of training belongs.": dict(factor=2),
        "N and D are swapped: first the parameters.": dict(swap=True),
        "the exponents are swapped: N grows as (C / 6)^(beta / (alpha + beta)).": dict(power=lambda a, b: a / (a + b)),
        "N grows as the root whatever the exponents are.": dict(power=lambda a, b: 0.5),
        "G is turned over: alpha A stands above, beta B below.": dict(
            G=lambda A, B, a, b: (b * B / (a * A)) ** (1 / (a + b))
        ),
        "the exponents are missing from G: the derivative of A / N^alpha brings an alpha down.": dict(
            G=lambda A, B, a, b: (A / B) ** (1 / (a + b))
        ),
        "the factors are missing from G: alpha A over beta B.": dict(G=lambda A, B, a, b: (a / b) ** (1 / (a + b))),
        "G has no root: take it to the power 1 / (alpha + beta).": dict(G=lambda A, B, a, b: a * A / (b * B)),
        "G is left out.": dict(G=lambda A, B, a, b: 1.0),
        "G is taken to the power alpha + beta: to one over it.": dict(
            G=lambda A, B, a, b: (a * A / (b * B)) ** (a + b)
        ),
        "`** 1 / (alpha + beta)` divides last: put 1 / (alpha + beta) into brackets.": dict(
            G=lambda A, B, a, b: a * A / (b * B) / (a + b)
        ),
        "alpha and beta are swapped in G.": dict(G=lambda A, B, a, b: (b * A / (a * B)) ** (1 / (a + b))),
    }.items():
        e.mistake(hint, lambda *given, change=change: _optimum(*given, **change))
    e.mistake("D has G below, not above: what is left of C / 6 buys tokens, D = C / (6 N).", lambda A, B, a, b, C: (
        _optimum(A, B, a, b, C)[0], (a * A / (b * B)) ** (1 / (a + b)) * (C / 6) ** (a / (a + b))
    ))  # fmt: skip


def points(runs):
    """Return [(parameters, tokens, nats)], a point for each run whose schedule ended: its last one."""
    return _points(runs)


def _points(runs, ended=lambda run: run["curve"][-1][0] >= run["planned"], which=lambda curve: curve[-1:]):
    """Choose points with one part changed."""
    return [(run["parameters"], *point) for run in runs if ended(run) for point in which(run["curve"])]


def _rows(answer, runs):
    """Call an answer; return its points as plain numbers, so many as there are."""
    result = answer(runs)
    if not isinstance(result, list) or any(not isinstance(p, (tuple, list)) or len(p) != 3 for p in result):
        raise InWords("a list of (parameters, tokens, nats) is expected")
    return {"how many": len(result), "points": [[float(number) for number in point] for point in result]}


def _some_runs(e, n, stopped=()):
    """Make n runs; those in `stopped` end before what was planned."""
    runs = []
    for i in range(n):
        planned, size = 1000 * e.size(4, 40), e.size(3, 5)
        reached = planned // 2 if i in stopped else planned
        curve = [(reached * (k + 1) // size, 5.0 - (k + 1) / size - e.size(1, 9) / 100) for k in range(size)]
        runs.append({"parameters": 1000 * e.size(9, 99), "planned": planned, "curve": curve})
    return runs


@checks.exercise("20.3", points, points=4, kind="repair", gradients=False, call=_rows, tolerance=1e-6)
def fit_points(e):
    """Runs that ended, runs that were stopped, and one whose loss rises at its end."""
    e.case("three that ended", _some_runs(e, 3))
    e.case("one was stopped", _some_runs(e, 4, stopped=(1,)),
           hint="a run that was stopped has no last point of its schedule: leave it out.")  # fmt: skip
    rising = _some_runs(e, 2)
    last = rising[1]["curve"][-1]
    rising[1]["curve"][-1] = (last[0], 9.0)
    e.case("a loss that rises", rising, hint="the last point counts, also where an earlier one is lower.")
    e.case("all were stopped", _some_runs(e, 2, stopped=(0, 1)), hint="then no point is left: [].")
    more = _some_runs(e, 2)
    more[0]["curve"][-1] = (more[0]["planned"] + 384, more[0]["curve"][-1][1])
    e.case("a step beyond what was planned", more, hint="whole steps may end a little beyond the plan: that has ended.")
    for hint, change in {
        "points from the middle of a schedule are still there: there the rate is high, and the loss with it.": dict(
            which=lambda curve: curve
        ),
        "a run that was stopped is still there: its rate never came down.": dict(ended=lambda run: True),
        "the lowest point of each run is taken: take the last one.": dict(
            which=lambda curve: [min(curve, key=lambda point: point[1])]
        ),
        "the first point of each run is taken: take the last one.": dict(which=lambda curve: curve[:1]),
        "a run that ends a step beyond its plan is left out.": dict(
            ended=lambda run: run["curve"][-1][0] == run["planned"]
        ),
        "the last two points are taken: one a run.": dict(which=lambda curve: curve[-2:]),
        "the runs that ended are left out, and those that were stopped are kept.": dict(
            ended=lambda run: run["curve"][-1][0] < run["planned"]
        ),
        "the mean over a run's points is taken: take the last one.": dict(
            which=lambda curve: [tuple(sum(column) / len(curve) for column in zip(*curve, strict=True))]
        ),
        "nothing is left: a run has ended when its last point has the planned tokens.": dict(ended=lambda run: False),
    }.items():
        e.mistake(hint, lambda runs, change=change: _points(runs, **change))
    e.mistake("the planned tokens stand where the tokens of the point belong.", lambda runs: [
        (run["parameters"], run["planned"], run["curve"][-1][1])
        for run in runs
        if run["curve"][-1][0] >= run["planned"]
    ])  # fmt: skip
    e.mistake("tokens and parameters are swapped: (parameters, tokens, nats).", lambda runs: [
        (tokens, n, nats) for n, tokens, nats in points(runs)
    ])  # fmt: skip


def cheapest(law, loss, served, sizes):
    """Return the (N, D) of the least 6 N D + 2 N served among `sizes`, with D such that the law gives that loss."""
    return _cheapest(law, loss, served, sizes)


def _cheapest(law, loss, served, sizes, cost=lambda N, D, S: 6 * N * D + 2 * N * S,
              left=lambda loss, E, n: loss - E - n, invert=lambda B, left, beta: (B / left) ** (1 / beta),
              best=min):  # fmt: skip
    """Choose with one part changed."""
    E, A, B, alpha, beta = law
    found = []
    for N in sizes:
        rest = left(loss, E, A / N**alpha)
        if rest > 0:
            found.append((N, invert(B, rest, beta)))
    return best(found, key=lambda pair: cost(*pair, served))


SECOND_FIT = (1.8172, 482.01, 2085.43, 0.3478, 0.3658)


@checks.exercise("20.4", cheapest, points=4, gradients=False, call=_pair, tolerance=1e-6)
def lifetimes(e):
    """Nothing served and very much; sizes that never reach the loss; Chinchilla's second fit."""
    sizes = [1e8 * 1.15**i for i in range(50)]
    e.case("nothing served", SECOND_FIT, 2.3, 0.0, sizes)
    e.case("some trillions served", SECOND_FIT, 2.3, 3e12, sizes, hint="each served token costs 2 N.")
    e.case("no end of serving", SECOND_FIT, 2.3, 1e18, sizes, hint="then the smallest model that can do it wins.")
    e.case("another law", (0.2856, 30.0, 900.0, 0.4, 0.45), 0.6, 1e9, [1e4 * 1.3**i for i in range(30)])
    e.case("one size", SECOND_FIT, 2.4, 1e12, [5e9])
    for hint, change in {
        "training is left out: it costs 6 N D.": dict(cost=lambda N, D, S: 2 * N * S + 1e-30 * D),
        "serving is left out: it costs 2 N a token.": dict(cost=lambda N, D, S: 6 * N * D),
        "training and serving are charged alike: 6 N a token in training, 2 N when it is served.": dict(
            cost=lambda N, D, S: 6 * N * (D + S)
        ),
        "the smallest model is taken, whatever it costs.": dict(cost=lambda N, D, S: N),
        "the fewest tokens are taken, whatever they cost.": dict(cost=lambda N, D, S: D),
        "the dearest is taken.": dict(best=max),
        "the root is missing: D = (B / rest)^(1 / beta).": dict(invert=lambda B, left, beta: B / left),
        "the power is beta where 1 / beta belongs.": dict(invert=lambda B, left, beta: (B / left) ** beta),
        "the fraction is turned over: B stands above.": dict(invert=lambda B, left, beta: (left / B) ** (1 / beta)),
        "A / N^alpha is not taken off the loss.": dict(left=lambda loss, E, n: loss - E),
        "sizes that never reach the loss stay in: where the rest is not above zero, leave them out.": dict(
            left=lambda loss, E, n: abs(loss - E - n)
        ),
        "E is not taken off the loss.": dict(left=lambda loss, E, n: loss - n),
    }.items():
        e.mistake(hint, lambda *given, change=change: _cheapest(*given, **change))


def utilisation(flops_per_token, tokens_per_second, peak):
    """Return the share of the machine's peak FLOPs a second that the training's own FLOPs are."""
    return flops_per_token * tokens_per_second / peak


@checks.exercise("20.5", utilisation, points=2, kind="measure", gradients=False, tolerance=1e-6)
def mfu(e):
    """TinyLlama, LLaMA-65B, and numbers at random."""
    e.case("TinyLlama on an A100", 6 * 1.1e9, 24_000.0, 312e12)
    e.case("LLaMA-65B on an A100", 6 * 65.2e9, 380.0, 312e12)
    e.case("a small machine", 3e6, 40_000.0, 4e11)
    e.case("some machine", e.size(1, 99) * 1e6, float(e.size(100, 9000)), e.size(2, 80) * 1e11)
    for hint, wrong in {
        "turned over: the peak stands below.": lambda f, t, p: p / (f * t),
        "the tokens a second are missing.": lambda f, t, p: f / p,
        "the FLOPs a token are missing.": lambda f, t, p: t / p,
        "divided by the tokens a second: more tokens use the machine more.": lambda f, t, p: f / t / p,
        "that is in percent: a share was asked for.": lambda f, t, p: 100 * f * t / p,
        "the FLOPs a token hold the factor 6 already: it is here twice.": lambda f, t, p: 6 * f * t / p,
        "the forward pass alone is counted: the FLOPs given are those of training.": lambda f, t, p: f * t / p / 3,
        "that is what is left unused: the share that is used was asked for.": lambda f, t, p: 1 - f * t / p,
        "the peak is taken as FLOPs a token: divide the FLOPs a second that you use by it.": lambda f, t, p: t * p / f,
    }.items():
        e.mistake(hint, wrong)
    e.mistake("the root is taken.", lambda f, t, p: math.sqrt(f * t / p))
