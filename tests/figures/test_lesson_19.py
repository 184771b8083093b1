"""The pictures of a row and of obedience draw what they are given, and say it in words."""

import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from lessons.figures import lesson_19 as figures
from lib.show import theme

TOKENS, ASKED = ["<|endoftext|>", "<|user|>", "Hm", "<|assistant|>", "So", "."], [None, None, None, "So", "."]
SHARES = {"luck": (0.06, None), "full": (0.81, 0.05), "LoRA": (0.5, 0.7), "DPO, hinge": (0.99, 0.04)}


def test_a_row_shows_what_is_asked_and_where_nothing_is():
    fig = figures.draw_row(TOKENS, ASKED)
    boxes = [patch for patch in fig.axes[0].patches if isinstance(patch, Rectangle)]
    blue = [to_hex(box.get_facecolor()).upper() == theme.LLAMA for box in boxes]
    assert blue == [False, False, False, True, True], "the last token is asked for nothing more"
    assert "6 tokens" in fig.alt_text and "first 3" in fig.alt_text and "2 times" in fig.alt_text


def test_obedience_has_its_error_where_it_is_known_and_stays_between_nothing_and_all():
    fig = figures.draw_obedience(SHARES, title="Who obeys")
    ax = fig.axes[0]
    bars = [line.get_xdata() for line in ax.lines if len(line.get_xdata()) == 2]
    assert len(bars) == 3 and min(bar[0] for bar in bars) >= 0 and max(bar[1] for bar in bars) <= 1
    assert [text.get_text() for text in ax.texts] == ["6%", "81% ± 5%", "50% ± 70%", "99% ± 4%"]
    assert [label.get_text() for label in ax.get_yticklabels()] == list(SHARES)
    assert fig.alt_text == "Who obeys: luck 6%, full 81%, LoRA 50%, DPO, hinge 99%."


@pytest.mark.parametrize("fig", [lambda: figures.draw_row(TOKENS, ASKED), lambda: figures.draw_obedience(SHARES)])
def test_all_text_is_inside(fig):
    fig = fig()
    fig.draw_without_rendering()
    box, (width, height) = fig.get_tightbbox(), fig.get_size_inches()
    assert box.x0 >= -0.01 and box.y0 >= -0.01 and box.x1 <= width + 0.01 and box.y1 <= height + 0.01
