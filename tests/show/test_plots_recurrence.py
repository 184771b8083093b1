"""The pictures of recurrences draw what they are given, and say it in words."""

import math

import numpy as np
import pytest
import torch

from lib.show import plots_recurrence


def area(patch):
    """The area of a polygon, by the shoelace formula."""
    x, y = patch.get_xy()[:-1].T
    return abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2


@pytest.mark.parametrize(("T", "chunk"), [(12, 4), (10, 4)])
def test_the_pairs_that_are_drawn_are_the_pairs_that_are_counted(T, chunk):
    fig = plots_recurrence.draw_chunks(n_tokens=T, chunk=chunk)
    sizes = [min(chunk, T - s) for s in range(0, T, chunk)]
    pairs = [T * (T + 1) // 2, 0, sum(n * (n + 1) // 2 for n in sizes)]
    for ax, expected in zip(fig.axes, pairs, strict=True):
        blue = [patch for patch in ax.patches[2:-1]]
        assert sum(map(area, blue)) == expected
        assert area(ax.patches[1]) == pairs[0]
    said = [ax.texts[-1 if i else -2].get_text() for i, ax in enumerate(fig.axes)]
    assert said == [f"{pairs[0]} pairs", f"{T} steps of S", f"{pairs[2]} pairs, {len(sizes)} steps of S"]


def test_weights_are_bars_and_the_wanted_one_is_named():
    torch.manual_seed(0)
    rows = {"softmax attention": torch.randn(9).softmax(0), "linear attention": torch.rand(9).div(5)}
    fig = plots_recurrence.draw_weights(rows, wanted=4)
    for ax, weights in zip(fig.axes, rows.values(), strict=True):
        assert [bar.get_height() for bar in ax.patches] == pytest.approx(weights.tolist())
        assert ax.texts[0].get_text() == f"{weights[4]:.2f}"
    assert f"the next one {rows['softmax attention'].sort()[0][-2]:.2f}" in fig.alt_text


@pytest.mark.parametrize("n_layers", [1, 3])
def test_a_layer_of_shift_sees_one_word_further(n_layers):
    fig = plots_recurrence.draw_shifts(list("abcdefg"), n_layers)
    dots = [line for line in fig.axes[0].lines if line.get_marker() == "o"]
    marked = [(d.get_xdata()[0], d.get_ydata()[0]) for d in dots if d.get_color() == plots_recurrence.RWKV]
    assert sorted(marked) == sorted(
        (6 - i, layer) for layer in range(n_layers + 1) for i in range(n_layers - layer + 1)
    )
    assert f"{n_layers + 1} words" in fig.alt_text


def test_what_fades_is_drawn_as_given():
    shares = torch.exp(-torch.rand(7, 1) * torch.arange(30))
    fig = plots_recurrence.draw_fading({"one": shares, "two": shares.square()})
    assert np.allclose(fig.axes[0].images[0].get_array(), shares)
    assert np.allclose(fig.axes[1].images[0].get_array(), shares.square())


@pytest.mark.parametrize(("log_w", "bonus", "ago"), [(-0.1, 0.0, 10), (-20.0, 3.0, 1), (-0.007, -2.0, 200)])
def test_a_memory_shows_what_is_left_and_the_weights(log_w, bonus, ago):
    fig = plots_recurrence.draw_memory(log_w, bonus, ago)
    left, right = fig.axes
    assert left.lines[1].get_ydata() == pytest.approx([math.exp((ago - 1) * log_w)])
    scores = torch.cat([torch.tensor([bonus]), torch.arange(300) * log_w])  # by age: the token itself, then the past
    weights = scores.softmax(0)
    assert [bar.get_height() for bar in right.patches] == pytest.approx(weights[:17].tolist(), abs=1e-6)
    assert f"has the weight {weights[0]:.2f}" in fig.alt_text
