"""The figure of lesson 21: every weight is drawn twice, every level once, and all text is inside."""

import torch

from lessons.figures.lesson_21 import draw_levels


def test_a_block_on_its_levels():
    weights, levels = torch.linspace(-1, 1, 32), torch.arange(-4, 4) / 4
    kept = (4 * weights).round().clamp(-4, 3) / 4
    figure = draw_levels(weights, kept, levels, title="8 levels", alt="32 weights on 8 levels.")
    (ax,) = figure.axes
    before, after = (points.get_offsets() for points in ax.collections[1:])
    assert before[:, 1].tolist() == [float(w) for w in weights] and after[:, 1].tolist() == kept.tolist()
    assert sorted(line.get_ydata()[0] for line in ax.lines) == levels.tolist()
    low, high = ax.get_ylim()
    assert low < -1 and high > 1 and figure.alt_text == "32 weights on 8 levels."
    figure.canvas.draw()
    width = figure.bbox.width
    texts = [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.get_legend().get_texts()]
    assert all(0 <= t.get_window_extent().x0 and t.get_window_extent().x1 <= width for t in texts)
