"""The pictures of the board, of pairs and of studies draw the numbers that they are given, and say them in words."""

import statistics

import pytest

from lessons.figures import lesson_22 as figures

ENTRIES = [
    {"name": "LLaMA, Muon", "bits_above": 0.3, "half": 0.05, "runs": [{"bits_above": x} for x in (0.29, 0.3, 0.31)]},
    {"name": "RWKV-7", "bits_above": 0.5, "half": 0.1, "runs": [{"bits_above": x} for x in (0.45, 0.5, 0.55)]},
]


def test_an_entry_stands_at_its_mean_with_its_runs_and_its_interval():
    ax = figures.draw_board(ENTRIES).axes[0]
    rings = [list(line.get_xdata()) for line in ax.lines if line.get_fillstyle() == "none"]
    assert rings == [[0.29, 0.3, 0.31], [0.45, 0.5, 0.55]]
    (low, y), (high, _) = ax.containers[1][2][0].get_segments()[0]
    assert (low, high, y) == (pytest.approx(0.4), pytest.approx(0.6), 1)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["LLaMA, Muon", "RWKV-7"] and ax.yaxis_inverted()
    assert "RWKV-7 0.500 ± 0.100" in figures.draw_board(ENTRIES).alt_text


@pytest.mark.parametrize(("further", "words"), [(0.0, "is dashed"), (5.0, "lies far to the left")])
def test_a_far_floor_does_not_press_the_entries_into_a_corner(further, words):
    moved = [entry | {"bits_above": entry["bits_above"] + further} for entry in ENTRIES]
    fig = figures.draw_board(moved)
    low, high = fig.axes[0].get_xlim()
    assert words in fig.alt_text and (low < 0) == (further == 0)
    assert high - low < 3 * (0.6 - 0.25)


def test_each_seed_is_a_line_from_base_to_idea_and_the_mean_is_thick():
    fig = figures.draw_pairs([1.0, 2.0, 3.0], {"better": [0.9, 1.8, 2.9], "mixed": [1.1, 1.9, 3.3]})
    first = [list(line.get_ydata()) for line in fig.axes[0].lines]
    assert first[:3] == [[1.0, 0.9], [2.0, 1.8], [3.0, 2.9]]
    assert first[3] == pytest.approx([2.0, statistics.fmean([0.9, 1.8, 2.9])])
    assert fig.axes[0].lines[3].get_linewidth() > fig.axes[0].lines[0].get_linewidth()
    assert "better: mean 2.000 to 1.867, lower with 3 of 3 seeds" in fig.alt_text
    assert "mixed: mean 2.000 to 2.100, lower with 1 of 3" in fig.alt_text


def test_more_seeds_see_more_and_the_same_slider_gives_the_same_picture():
    titles = [figures.draw_seeds(20, 30, seeds).axes[0].get_title(loc="left") for seeds in (3, 12, 24, 3)]
    seen = [int(title.split(": ")[1].split(" of")[0]) for title in titles]
    assert titles[0] == titles[3] and seen[0] < seen[1] <= seen[2] and seen[2] > 9
    assert titles[0].startswith("3 seeds")


def test_a_study_without_an_effect_worth_the_name_sees_little():
    title = figures.draw_seeds(0, 30, 8).axes[0].get_title(loc="left")
    assert int(title.split(": ")[1].split(" of")[0]) <= 2


def test_all_text_is_inside():
    for fig in (figures.draw_board(ENTRIES), figures.draw_pairs([1, 2], {"a": [1, 3]}), figures.draw_seeds(20, 30, 4)):
        fig.draw_without_rendering()
        box = fig.get_tightbbox()
        width, height = fig.get_size_inches()
        assert box.x0 >= -0.01 and box.y0 >= -0.01 and box.x1 <= width + 0.01 and box.y1 <= height + 0.01
