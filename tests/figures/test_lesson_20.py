"""The pictures of budgets mark the valleys, the intervals and the cheapest size that the numbers have."""

import math

import pytest

from lessons.figures import lesson_20 as figures
from lib.run.scaling import Law

SIZES = [1e4 * 2**i for i in range(6)]
LINE = [(n, 2 + 0.2 * math.log(n / 5e4) ** 2) for n in SIZES]


def test_a_ring_stands_in_each_valley():
    fig = figures.draw_valleys({"LLaMA": {1e10: LINE}, "RWKV-5": {1e10: LINE, 1e11: LINE[:3]}}, 0.3)
    rings = [[line for line in ax.lines if line.get_markerfacecolor() == "none"] for ax in fig.axes]
    assert [len(found) for found in rings] == [1, 1]
    assert float(rings[0][0].get_xdata()[0]) == pytest.approx(5e4)
    assert "LLaMA, 1.0e+10 FLOPs" in fig.alt_text and "0.30, is dashed" in fig.alt_text


def test_a_line_that_only_falls_has_no_valley():
    assert figures.lowest(*zip(*[(n, 5 - math.log(n) / 9) for n in SIZES], strict=True)) is None
    assert figures.lowest([1e4, 2e4], [3.0, 2.0]) is None


def test_the_floors_are_drawn_with_their_intervals():
    fig = figures.draw_floors({"LLaMA, all": (0.3, 0.2, 0.4), "RWKV-5, all": (0.1, -0.1, 0.2)}, 0.2856)
    (ax,) = fig.axes
    assert [list(line.get_xdata()) for line in ax.lines[:4]] == [[0.2, 0.4], [0.3], [-0.1, 0.2], [0.1]]
    assert "LLaMA, all: 0.30, 0.20 to 0.40" in fig.alt_text


@pytest.mark.parametrize("served", [0.0, 1e12])
def test_the_cheapest_size_is_the_one_of_least_flops(served):
    law = Law(1.8172, 482.01, 2085.43, 0.3478, 0.3658)
    sizes = [1e8 * 1.1**i for i in range(60)]
    fig = figures.draw_lifetime(law, 2.3, served, sizes)
    best = min(sizes, key=lambda n: 6 * n * law.tokens_for(n, 2.3) + 2 * n * served)
    assert f"Cheapest in all: {best / 1e9:.2f} billion" in fig.alt_text
