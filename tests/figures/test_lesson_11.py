"""The figures of lesson 11 draw what they are given, and say it in words."""

import numpy as np
import pytest
import torch
from matplotlib.patches import Polygon

from lessons.figures import lesson_11 as figures


def area(patch):
    """The area of a polygon, by the shoelace formula."""
    x, y = patch.get_xy()[:-1].T
    return abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2


@pytest.mark.parametrize(("T", "chunk"), [(12, 4), (10, 4)])
def test_the_pairs_that_are_drawn_are_the_pairs_that_are_counted(T, chunk):
    fig = figures.draw_chunks(n_tokens=T, chunk=chunk)
    sizes = [min(chunk, T - s) for s in range(0, T, chunk)]
    pairs = [T * (T + 1) // 2, 0, sum(n * (n + 1) // 2 for n in sizes)]
    for ax, expected in zip(fig.axes, pairs, strict=True):
        grey, orange, *blue = [patch for patch in ax.patches if isinstance(patch, Polygon)]
        assert sum(map(area, blue)) == expected
        assert area(orange) == pairs[0] and area(grey) == T * T - pairs[0]
    said = [ax.texts[1].get_text() for ax in fig.axes]
    assert said == [f"{pairs[0]} pairs", f"{T} steps of S", f"{pairs[2]} pairs, {len(sizes)} steps of S"]


def test_weights_are_bars_and_the_wanted_one_is_named():
    torch.manual_seed(0)
    rows = {"softmax attention": torch.randn(9).softmax(0), "linear attention": torch.rand(9).div(5)}
    fig = figures.draw_weights(rows, wanted=4)
    for ax, weights in zip(fig.axes, rows.values(), strict=True):
        assert [bar.get_height() for bar in ax.patches] == pytest.approx(weights.tolist())
        assert ax.texts[0].get_text() == f"{weights[4]:.2f}"
    assert f"the next one {rows['softmax attention'].sort()[0][-2]:.2f}" in fig.alt_text
