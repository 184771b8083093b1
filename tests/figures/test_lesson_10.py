"""The figures of lesson 10: what is drawn is what was given."""

import numpy as np
import pytest

from lessons.figures import lesson_10 as figures
from lib.models.openelm import openelm_config

CONFIG = openelm_config(61, 5, 64, 8, multiple_of=16)


def test_a_tower_has_the_lists_as_its_bars():
    fig = figures.draw_towers({"a": CONFIG, "b": CONFIG})
    widths = [bar.get_width() for bar in fig.axes[1].patches]
    assert len(fig.axes) == 2
    assert np.allclose(widths[:5], -np.array(CONFIG.n_heads) * 8 / 64)
    assert np.allclose(widths[5:], np.array(CONFIG.d_ff) / 64)


def test_tilted_bars_add_up_and_the_words_say_the_ends():
    fig = figures.draw_tilt([1000, 1000], [1000, 7000], 5000)
    assert [bar.get_x() + bar.get_width() for bar in fig.axes[0].patches] == [1, 1, 2, 8]
    assert "first has 20% of them, the last 80%" in fig.alt_text


def test_differences_are_taken_seed_by_seed():
    fig = figures.draw_pairs({"uniform": [1.0, 2.0, 3.0], "scaled": [1.5, 2.5, 3.8]})
    left, right = fig.axes
    assert [line.get_ydata().tolist() for line in left.lines[:3]] == [[1.0, 1.5], [2.0, 2.5], [3.0, 3.8]]
    assert right.lines[0].get_ydata() == pytest.approx([0.5, 0.5, 0.8])
    low, high = right.collections[0].get_segments()[0][:, 1]
    half = 4.303 * 0.1732 / 3**0.5  # Student's t for three
    assert (low + high) / 2 == pytest.approx(0.6) and (high - low) / 2 == pytest.approx(half, abs=1e-3)


def test_costs_are_placed_by_layer():
    dots = figures.draw_costs({"attention": [0.5, 0.2], "MLP": [7.0, 0.0]}).axes[0].lines
    assert dots[0].get_xdata().tolist() == [0.5, 0.2]
    assert dots[2].get_ydata().tolist() == [1, 2] and dots[2].get_xdata()[1] > 0  # a logarithm needs more than 0


def test_all_text_is_inside():
    fig = figures.draw_pairs({"uniform": [1.0, 2.0, 3.0], "scaled": [1.5, 2.5, 3.8], "reversed": [1.2, 2.2, 3.1]})
    renderer = fig.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for ax in fig.axes for text in (ax.title, ax._left_title)]
    assert all(0 <= box.x0 and box.x1 <= fig.bbox.width for box in boxes)
