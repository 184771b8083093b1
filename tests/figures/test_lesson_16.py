"""The pictures of costs draw what they are given, and say it in words."""

import numpy as np
import pytest

from lessons.figures import lesson_16 as figures
from lib.show import theme


def test_each_law_is_a_straight_line_of_its_slope_through_the_middle_of_its_points():
    x = [100, 1000, 10000]
    series = {"attention": (x, [1e-6 * n**2 for n in x]), "RWKV": (x, [2e-4, 3e-3, 2e-2])}
    fig = figures.draw_growth(series, {"attention": (2.0, 0.0), "RWKV": (1.0, 0.11)}, ylabel="seconds")
    line, points, other, _ = fig.axes[0].lines
    assert np.allclose(line.get_ydata(), points.get_ydata())
    assert np.allclose(np.diff(np.log(other.get_ydata())), np.diff(np.log(x)))
    assert np.isclose(np.log(other.get_ydata()).mean(), np.log([2e-4, 3e-3, 2e-2]).mean())
    assert line.get_color() == figures.LLAMA and other.get_color() == theme.RWKV
    words = " ".join(text.get_text() for text in fig.texts)
    assert "RWKV:\n1.00\u00a0\u00b1\u00a00.11" in words or "RWKV: 1.00\u00a0\u00b1\u00a00.11" in words


def test_a_law_of_the_last_points_leaves_the_others_alone():
    series = {"RWKV": ([1, 10, 100, 1000], [5.0, 5.0, 50.0, 500.0])}
    line, points = figures.draw_growth(series, {"RWKV": (1.0, 0.0)}, last=3).axes[0].lines
    assert line.get_xdata().tolist() == [10, 100, 1000] and np.allclose(line.get_ydata(), [5, 50, 500])
    assert len(points.get_xdata()) == 4


def test_two_series_of_one_colour_look_different():
    x = [1, 10]
    fig = figures.draw_growth({"RWKV a": (x, x), "RWKV b": (x, [2, 20])}, {"RWKV a": (1, 0), "RWKV b": (1, 0)})
    looks = [(line.get_linestyle(), line.get_marker()) for line in fig.axes[0].lines]
    assert looks[0] != looks[2] and looks[1] != looks[3]


@pytest.mark.parametrize(("weights", "state", "fit"), [(3, 0.5, [4, 16, 24, 80]), (13, 4, [24, 80]), (90, 0, [])])
def test_a_card_says_whether_it_is_enough(weights, state, fit):
    fig = figures.draw_shares(weights * 2**30, state * 2**30, "a model")
    said = [text.get_text() for text in fig.axes[0].texts]
    assert [card for card, words in zip(figures.CARDS, said, strict=True) if words.startswith("fits")] == fit
    for card, words in zip(figures.CARDS, said, strict=True):
        assert f"{abs(card - weights - state):,.1f} GiB" in words and f"{card} GiB: {words}" in fig.alt_text


def test_a_recurrence_has_a_state_and_its_colour():
    fig = figures.draw_shares(2**31, 2**20, "an RWKV", recurrent=True)
    assert "state" in fig.axes[0].get_title("left") and "KV cache" not in fig.axes[0].get_title("left")
    assert any(bar.get_facecolor()[:3] == (213 / 255, 94 / 255, 0) for bar in fig.axes[0].patches)
