"""The pictures of recall draw the runs that they are given, and say them in words."""

import pytest

from lessons.figures import lesson_17 as figures


def run(mixer, seed, size, few, many):
    return {
        "mixer": mixer,
        "seed": seed,
        "accuracy": {"4": few, "32": many},
        "state_bytes": {"4": size, "32": 4 * size},
    }


RUNS = [
    run("RWKV-5", 0, 1000, 0.9, 0.2),
    run("RWKV-5", 1, 1000, 1.0, 0.4),
    run("RWKV-5", 0, 2000, 1.0, 0.8),
    run("attention", 0, 3000, 1.0, 1.0),
]


def test_seeds_are_put_together_and_sizes_rise():
    found = figures.by_size([RUNS[2], *RUNS[:2], RUNS[3]], 32)
    assert found == {"RWKV-5": {4000: [0.2, 0.4], 8000: [0.8]}, "attention": {12000: [1.0]}}


def test_accuracy_is_drawn_at_its_bytes_with_the_seeds_spread():
    fig = figures.draw_accuracy(RUNS, 32, 24)
    ax = fig.axes[0]
    lines = {line.get_color(): line.get_xydata().tolist() for line in ax.lines[:2]}
    assert lines[figures.COLORS["RWKV-5"]] == [[4000, pytest.approx(0.3)], [8000, 0.8]]
    spread = ax.collections[0].get_segments()[0].tolist()
    assert spread == [[4000, 0.2], [4000, 0.4]]
    assert "RWKV-5: 30% with 4,000 bytes, 80% with 8,000 bytes." in fig.alt_text and "24 bytes" in fig.alt_text


@pytest.mark.parametrize(("most", "words"), [
    (500, "RWKV-5 has 1,000 bytes at its smallest; attention has 3,000"),
    (1500, "RWKV-5 95%, 1,000 bytes; attention has 3,000"),
    (9000, "RWKV-5 100%, 2,000 bytes; attention 100%, 3,000 bytes"),
])  # fmt: skip
def test_each_mixer_takes_its_largest_state_that_fits(most, words):
    fig = figures.draw_budget(RUNS, 4, most)
    assert words in fig.alt_text
    bars = [patch.get_width() for patch in fig.axes[0].patches]
    assert len(bars) == words.count("%")


def test_all_text_is_inside():
    for fig in (figures.draw_accuracy(RUNS, 4, 3), figures.draw_budget(RUNS, 32, 5000)):
        fig.draw_without_rendering()
        box = fig.get_tightbbox()
        width, height = fig.get_size_inches()
        assert box.x0 >= -0.01 and box.y0 >= -0.01 and box.x1 <= width + 0.01 and box.y1 <= height + 0.01
