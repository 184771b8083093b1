"""The pictures of scores draw the numbers that they are given, with their errors, and say them in words."""

import statistics

import pytest
import torch

from lessons.figures import lesson_18 as figures

GROUPS = {"word": {"LLaMA": (90.0, 2.0), "RWKV-4": (60.0, 3.0)}, "ending": {"LLaMA": (50.0, 1.0)}}
LEAK = [(0, {"asked": (0.5, 0.1), "new": (0.5, 0.1)}), (4, {"asked": (1.0, -0.5), "new": (0.25, 0.75)})]


def test_each_score_stands_at_its_place_with_its_interval():
    fig = figures.draw_scores(GROUPS, lines={"ending": 25})
    containers = fig.axes[0].containers
    assert [float(c[0].get_xdata()[0]) for c in containers] == [90.0, 60.0, 50.0]
    (low, y), (high, _) = containers[1][2][0].get_segments()[0]
    assert (low, high) == (pytest.approx(60 - 1.96 * 3), pytest.approx(60 + 1.96 * 3)) and y == pytest.approx(0.3)
    assert "word, RWKV-4: 60.0 ± 5.9" in fig.alt_text and "Dashed at 25 % in the row ending" in fig.alt_text


def test_a_leak_is_drawn_in_percent_beside_the_floor():
    fig = figures.draw_leak(LEAK)
    lines = [line.get_ydata() for ax in fig.axes for line in ax.lines]
    assert list(map(list, lines[:4])) == [[50, 100], [50, 25], [10, -50], [10, 75]] and list(lines[4]) == [0, 0]
    assert "the leaked stories: 50, 100" in fig.alt_text and "new stories: 10, 75" in fig.alt_text


@pytest.mark.parametrize(("n", "gap"), [(100, 2), (2000, 5)])
def test_how_often_the_better_model_is_behind_is_what_chance_says(n, gap):
    draws = torch.distributions.Binomial(n, torch.tensor([0.5, 0.5 + gap / 100])).sample((40_000,))
    behind = (draws[:, 1] < draws[:, 0]).float().mean() + 0.5 * (draws[:, 1] == draws[:, 0]).float().mean()
    title = figures.draw_apart(n, gap).axes[0].get_title(loc="left")
    said = float(title.split("in ")[1].split("%")[0]) / 100
    assert said == pytest.approx(behind.item(), abs=0.01)
    assert title.startswith(f"{n:,} questions")


def test_the_curves_are_where_the_models_are():
    ax = figures.draw_apart(400, 6).axes[0]
    peaks = [line.get_xdata()[line.get_ydata().argmax()] for line in ax.lines]
    assert peaks == pytest.approx([50, 56], abs=0.1) and statistics.fmean(peaks) > 50


def test_all_text_is_inside():
    for fig in (figures.draw_scores(GROUPS), figures.draw_leak(LEAK), figures.draw_apart(50, 10)):
        fig.draw_without_rendering()
        box = fig.get_tightbbox()
        width, height = fig.get_size_inches()
        assert box.x0 >= -0.01 and box.y0 >= -0.01 and box.x1 <= width + 0.01 and box.y1 <= height + 0.01
