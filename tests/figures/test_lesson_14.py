"""The pictures of lesson 14 draw what they are given, and say it in words."""

import pytest
import torch

from lessons.figures import lesson_14 as figures


def written(ax):
    return [text.get_text() for text in ax.texts]


def test_each_memory_is_drawn_with_its_numbers():
    before = torch.tensor([[1.0, 0.0], [0.0, -0.5]])
    states = {"before": before, "after": before + torch.tensor([[0.0, 0.0], [2.0, 0.0]])}
    fig = figures.draw_rewrite(states, keys=["A", "B"], values=["red", "gold"])
    assert [ax.get_title() for ax in fig.axes] == ["before", "after"]
    assert written(fig.axes[0]) == ["1", "0", "0", "−0.5"] and written(fig.axes[1]) == ["1", "0", "2", "−0.5"]
    for ax, state in zip(fig.axes, states.values(), strict=True):
        assert ax.images[0].get_array().tolist() == state.tolist()
    assert "before: under A 1 red, under B -0.5 gold." in fig.alt_text
    assert "after: under A 1 red and 2 gold, under B -0.5 gold." in fig.alt_text


def test_one_colour_means_one_number_in_all_memories():
    fig = figures.draw_rewrite({"a": [[1.0]], "b": [[3.0]]}, keys=["A"], values=["red"])
    assert len({ax.images[0].get_clim() for ax in fig.axes}) == 1
    low, high = fig.axes[0].images[0].get_clim()
    assert low == -high and high >= 3


def test_an_empty_memory_says_nothing():
    fig = figures.draw_rewrite({"new": torch.zeros(1, 2)}, keys=["A", "B"], values=["red"])
    assert "under A nothing, under B nothing" in fig.alt_text


@pytest.mark.parametrize("share", [-3.0, -0.25, 0.0, 1.0, 5.0])
def test_answers_are_drawn_on_an_axis_that_stays(share):
    asked = {"A": {"red": torch.tensor(share), "gold": 0.5}, "B": {"red": 0.0, "gold": 1.0}}
    fig = figures.draw_answers(asked, low=-1, high=2)
    first, second = fig.axes
    assert first.get_xlim() == second.get_xlim() == (-1.75, 2.75)
    widths = [bar.get_width() for bar in first.patches]
    assert widths == [min(max(share, -1), 2), 0.5]
    assert written(first)[0] == f"{share:.2f}".replace("-", "−")
    assert f"Asked for A, the memory answers {share:.2f} red, 0.50 gold." in fig.alt_text


def test_decays_have_a_column_for_each_word():
    kept = torch.tensor([[0.9, 0.0], [1.0, 0.5], [0.8, 0.3]])  # (T, C)
    fig = figures.draw_decays(kept, ["hall", "she", "porch"], ["hall", "porch"])
    ax = fig.axes[0]
    assert ax.images[0].get_array().round(decimals=6).tolist() == [
        [0.0, 0.5, 0.3],
        [0.9, 1.0, 0.8],
    ]  # the faster on top
    assert ax.images[0].get_clim() == (0, 1)
    weights = {label.get_text(): label.get_weight() for label in ax.get_xticklabels()}
    assert weights == {"hall": "bold", "she": "normal", "porch": "bold"}
    assert "0.50 at the places (hall, porch) and 0.75 at all other words" in fig.alt_text


def test_every_arrow_of_goose_ends_at_a_box():
    fig = figures.draw_goose()
    words = written(fig.axes[0])
    assert {label for _, _, label in figures.GOOSE.values()} == set(words)
    places = [place[:2] for place in figures.GOOSE.values()]
    for start, end in figures.GOOSE_ARROWS:
        for x, y in (start, end):
            assert min(abs(y - row) + 0.2 * abs(x - column) for column, row in places) < 0.9, (start, end)
    assert len(fig.axes[0].patches) == len(figures.GOOSE) + len(figures.GOOSE_ARROWS)


def test_what_a_word_erased_stands_beside_what_is_left():
    S, words = torch.randn(8, 8), ["kite", "and", "drum"]
    fig = figures.draw_erasing(
        S, words, [4.0, 2.0, 3.0], torch.tensor([1.0, 1.5, 3.0]), torch.tensor([0.64, 0.04, 0.0])
    )
    memory, kept, taken = fig.axes
    assert memory.images[0].get_array().shape == (8, 8)
    assert [bar.get_width() for bar in kept.patches] == [4.0, 2.0, 3.0, 1.0, 1.5, 3.0]
    assert [round(bar.get_width(), 2) for bar in taken.patches] == [0.64, 0.04, 0.0] and taken.get_xlim() == (0, 1)
    assert written(taken) == ["64%"] and "drum" in taken.get_title(loc="left")
    assert "the last one, drum, has erased: kite (word 1) 64%, and (word 2) 4%." in fig.alt_text
    for ax in fig.axes:
        box = ax.get_tightbbox(fig.canvas.get_renderer())
        assert box.x0 >= 0 and box.x1 <= fig.get_figwidth() * fig.dpi
