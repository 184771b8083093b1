"""The figures of lesson 12 draw what they are given, and say it in words."""

import math

import numpy as np
import pytest
import torch

from lessons.figures import lesson_12 as figures


@pytest.mark.parametrize("n_layers", [1, 3])
def test_a_layer_of_shift_sees_one_word_further(n_layers):
    fig = figures.draw_shifts(list("abcdefg"), n_layers)
    dots = [line for line in fig.axes[0].lines if line.get_marker() == "o"]
    marked = [(d.get_xdata()[0], d.get_ydata()[0]) for d in dots if d.get_color() == figures.RWKV]
    assert sorted(marked) == sorted(
        (6 - i, layer) for layer in range(n_layers + 1) for i in range(n_layers - layer + 1)
    )
    assert f"{n_layers + 1} words" in fig.alt_text


def test_what_fades_is_drawn_as_given():
    shares = torch.exp(-torch.rand(7, 1) * torch.arange(30))
    fig = figures.draw_fading({"one": shares, "two": shares.square()})
    assert np.allclose(fig.axes[0].images[0].get_array(), shares)
    assert np.allclose(fig.axes[1].images[0].get_array(), shares.square())


@pytest.mark.parametrize(("log_w", "bonus", "ago"), [(-0.1, 0.0, 10), (-20.0, 3.0, 1), (-0.007, -2.0, 200)])
def test_a_memory_shows_what_is_left_and_the_weights(log_w, bonus, ago):
    fig = figures.draw_memory(log_w, bonus, ago)
    left, right = fig.axes
    assert left.lines[1].get_ydata() == pytest.approx([math.exp((ago - 1) * log_w)])
    scores = torch.cat([torch.tensor([bonus]), torch.arange(300) * log_w])  # by age: the token itself, then the past
    weights = scores.softmax(0)
    assert [bar.get_height() for bar in right.patches] == pytest.approx(weights[:17].tolist(), abs=1e-6)
    assert f"has the weight {weights[0]:.2f}" in fig.alt_text
