"""Scaling laws: published constants give published answers; a law that made the losses is found again."""

import math
import random

import pytest
import torch

from lib.run.measure import fit_power
from lib.run.scaling import Law, fit, lifetime, middle, resampled, starts, valley

TRUE = Law(0.2856, 30.0, 900.0, 0.4, 0.45)
# Hoffmann et al. 2022 as printed, with two more digits, and Besiroglu et al. 2024: tokens a parameter at 5.76e23 FLOPs
PUBLISHED = [
    (Law(1.69, 406.4, 410.7, 0.34, 0.28), 92.6),
    (Law(1.69, 406.4, 410.7, 0.3392, 0.2849), 59.1),
    (Law(1.8172, 482.01, 2085.43, 0.3478, 0.3658), 18.4),
]


def grid(noise=0.0, seed=0):
    """N, D and losses of five budgets with six sizes each, by TRUE."""
    generator, N, D, losses = random.Random(seed), [], [], []
    for i in range(5):
        for k in range(6):
            N.append(6e3 * 1.8 ** (k + i))
            D.append(5e10 * 10 ** (i / 2) / 6 / N[-1])
            losses.append(TRUE.loss(N[-1], D[-1]) * math.exp(generator.gauss(0, noise)))
    return N, D, losses


@pytest.mark.parametrize(("law", "tokens_a_parameter"), PUBLISHED)
def test_published_laws_give_the_published_optimum(law, tokens_a_parameter):
    N, D = law.optimum(5.76e23)
    assert D / N == pytest.approx(tokens_a_parameter, abs=0.06)
    assert 6 * N * D == pytest.approx(5.76e23)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_no_other_size_is_better_than_the_optimum(factor):
    N, D = TRUE.optimum(1e13)
    assert TRUE.loss(N * factor, D / factor) > TRUE.loss(N, D)


def test_the_law_that_made_the_losses_is_found():
    found = fit(*grid())
    assert found[:5] == pytest.approx(TRUE[:5], rel=0.02)


def test_noise_moves_the_law_by_little_and_its_interval_holds_the_truth():
    runs = grid(noise=0.003)
    found = fit(*runs)
    low, high = middle([law.E for law in resampled(*runs, found, draws=40)])
    assert low < TRUE.E < high and high - low < 0.2


def test_one_wrong_run_of_thirty_hardly_counts():
    N, D, losses = grid()
    losses[17] *= 1.5
    assert fit(N, D, losses).E == pytest.approx(TRUE.E, rel=0.1)


def test_a_floor_that_is_known_is_kept():
    assert fit(*grid(0.003), floor=TRUE.E).E == TRUE.E


def test_the_best_start_fits_nearly():
    a, b, e, alpha, beta = starts(torch.tensor(grid(), dtype=torch.float64))[0]
    law = Law(math.exp(e), math.exp(a), math.exp(b), alpha, beta)
    misfits = [abs(law.loss(n, d) / loss - 1) for n, d, loss in zip(*grid(), strict=True)]
    assert sum(misfits) / len(misfits) < 0.05


@pytest.mark.parametrize("broken", [5, 0, -1.0])
def test_too_few_runs_and_losses_that_are_none_are_refused(broken):
    N, D, losses = grid()
    with pytest.raises(ValueError, match="6 runs or more|above zero"):
        fit(N[:5], D[:5], losses[:5]) if broken == 5 else fit(N, D, [*losses[:-1], broken])


def test_a_parabola_has_its_lowest_point_where_it_was_put():
    N = [1e4 * 2**i for i in range(5)]
    low = valley(N, [3 + 0.1 * (math.log(n) - math.log(5e4)) ** 2 for n in N])
    assert low == (pytest.approx(5e4), pytest.approx(3), True)
    assert not valley(N[3:] + [3e5, 6e5], [3 + 0.1 * math.log(n / 5e4) ** 2 for n in N[3:] + [3e5, 6e5]]).inside
    with pytest.raises(ValueError, match="bend upward"):
        valley(N, [5 - 0.1 * math.log(n) ** 2 for n in N])


def test_an_exponent_is_a_slope_in_logarithms():
    assert fit_power([1, 10, 100], [2, 2 * 10**0.5, 20])[0] == pytest.approx(0.5)


def test_the_more_is_served_the_smaller_the_cheapest_model():
    loss = TRUE.loss(*TRUE.optimum(1e13))
    (n0, d0, c0), (n1, d1, c1) = lifetime(TRUE, loss, 0), lifetime(TRUE, loss, 1e10)
    assert (n0, d0) == pytest.approx(TRUE.optimum(1e13), rel=0.02) and c0 == pytest.approx(1e13, rel=1e-4)
    assert n1 < n0 and d1 > d0 and TRUE.loss(n1, d1) == pytest.approx(loss) and c1 > c0
    with pytest.raises(ValueError, match="below E"):
        lifetime(TRUE, 0.2, 0)
