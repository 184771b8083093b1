"""The pictures of a matrix memory draw what they are given, and say it in words."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from lessons.figures import lesson_13 as figures
from lib.show import theme


def colors_of(ax):
    """Return {(asker, writer): colour} of the squares in a panel."""
    squares = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    return {(round(p.get_y()), round(p.get_x())): to_hex(p.get_facecolor()).upper() for p in squares}


@pytest.mark.parametrize("chunk", [2, 3])
def test_pairs_within_a_chunk_are_told_from_those_through_the_memory(chunk):
    fig = figures.draw_chunks(n_tokens=6, chunk=chunk)
    loop, chunks = (colors_of(ax) for ax in fig.axes)
    for (t, s), color in chunks.items():
        within = s < t and t // chunk == s // chunk
        assert (color == theme.RWKV) == within
        assert (color == figures.PALE) == (s < t and not within)
        assert (color == figures.GREY) == (s > t)
        assert loop[t, s] == (figures.PALE if s < t else color)
    assert len(chunks) == 36 and f"chunks of {chunk}" in fig.alt_text
    assert [ax.get_title(loc="left") for ax in fig.axes][1] == f"chunks of {chunk}: {6 // chunk} steps"


def test_a_state_is_drawn_with_its_answers():
    torch.manual_seed(1)
    S, answers = 3 * torch.randn(5, 5), torch.tensor([[0.94, 0.03, 0.03], [0.3, 0.36, 0.34]])
    fig = figures.draw_state(S, answers, ["mina", "ball"], ["mina", "tom"], ["ball", "kite", "drum"])
    left, right = fig.axes
    assert np.allclose(left.images[0].get_array(), S) and np.allclose(right.images[0].get_array(), answers)
    limit = S.abs().max().item()
    assert left.images[0].get_clim() == (-limit, limit) and right.images[0].get_clim() == (0, 1)
    assert [text.get_text() for text in right.texts] == ["0.9", "0.3", "0.4", "0.3"]
    assert "mina ball" in fig.alt_text and fig.alt_text.endswith("half of the weight: mina ball.")


def test_an_empty_state_can_be_drawn_and_says_that_nobody_is_sure():
    fig = figures.draw_state(torch.zeros(4, 4), torch.full((2, 4), 0.25), [], ["a", "b"], list("wxyz"))
    assert fig.alt_text.endswith("none.")


def test_a_trained_memory_shows_what_each_word_wrote_and_what_is_left():
    S, sizes = torch.randn(6, 6), [(4.0, 1.0), (5.0, 4.5), (2.0, 2.0)]
    fig = figures.draw_trained(S, ["a", "golden", "drum"], sizes, 12.3)
    left, right = fig.axes
    assert np.allclose(left.images[0].get_array(), S)
    assert [bar.get_width() for bar in right.patches] == [4.0, 5.0, 2.0, 1.0, 4.5, 2.0]
    assert [label.get_text() for label in right.get_yticklabels()] == ["a", "golden", "drum"]
    assert "half-life of 12 tokens" in fig.alt_text and fig.alt_text.endswith("golden 4 of 5, drum 2 of 2, a 1 of 4.")


@pytest.mark.parametrize("words", [1, 14])
def test_all_text_is_inside(words):
    names = ["mina", "tom", "greta", "otto", "lena", "max", "ida", "paul"]
    things = ["ball", "kite", "drum", "book", "coat", "lamp", "bell", "spoon"]
    sentence = [word for pair in zip(names, things, strict=True) for word in pair][:words]
    states = torch.randn(24, 24), torch.eye(8)
    trained = figures.draw_trained(states[0], sentence, [(3.0, 1.0)] * words, 159.0)
    for fig in (figures.draw_state(*states, sentence, names, things), figures.draw_chunks(), trained):
        fig.draw_without_rendering()
        box = fig.get_tightbbox()
        width, height = fig.get_size_inches()
        assert box.x0 >= -0.01 and box.y0 >= -0.01 and box.x1 <= width + 0.01 and box.y1 <= height + 0.01
