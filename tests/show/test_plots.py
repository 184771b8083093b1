"""Every plot draws: all text inside the figure, no labels on top of each other, what is shown is what was given."""

import itertools

import numpy as np
import pytest
import torch
from matplotlib.text import Text

from lib.show import plots, theme

STEPS = np.arange(1, 200)
WORDS = "the bear gave her a stone".split()
FIGURES = {
    "one line": lambda: plots.draw_curves({"LLaMA": [3.0, 2.0, 1.5]}, xlabel="step", ylabel="loss", title="A title"),
    "five lines that end together": lambda: plots.draw_curves(
        {name: (STEPS, 1 + k / 1000 + 5 / STEPS) for k, name in enumerate(["LLaMA", "RWKV-7", "yours", "one", "two"])},
        floors={"floor of the corpus": 0.9}, bands={"LLaMA": (1 + 4 / STEPS, 1 + 6 / STEPS)}, xlog=True, ylog=True,
    ),
    "a long name": lambda: plots.draw_curves({"a name of many words that goes on and on": [1, 2], "b": [2, 1]}),
    "an empty end": lambda: plots.draw_curves({"a": [1.0, np.nan], "b": [np.nan] * 2}, point={"here": (0, 1.0)}),
    "one decade": lambda: plots.draw_curves({"a": ([1, 2, 3], [2.0, 3.0, 9.0])}, xlog=True, ylog=True, marks=True),
    "scatter": lambda: plots.draw_scatter({"before": torch.randn(100, 2), "after": torch.eye(2)}, xlabel="x"),
    "histogram": lambda: plots.draw_histogram({"a": torch.randn(500), "RWKV": torch.randn(500) + 2}, xlabel="value"),
    "constant histogram": lambda: plots.draw_histogram({"a": torch.zeros(5)}),
    "bars": lambda: plots.draw_bars({"Llama": 2131, "GPT-2": 3039}, xlabel="tokens"),
    "groups": lambda: plots.draw_bars({"Korean": {"Llama": 9, "World": 3}, "English": {"Llama": 2}}, floors={"b": 5}),
    "bars, log": lambda: plots.draw_bars({"a": 1e9, "b": 3e3}, log=True, xlabel="parameters"),
    "words": lambda: plots.draw_heatmap(torch.eye(6), rows=WORDS, columns=WORDS, xlabel="key", ylabel="query"),
    "signed": lambda: plots.draw_heatmap(torch.randn(24, 64), kind="signed", xlabel="channel", title="T"),
    "zeros": lambda: plots.draw_heatmap(torch.zeros(3, 30), columns=[f"word {i}" for i in range(30)]),
    "arrows": lambda: plots.draw_arrows({"q": (1, 0.2), "k": ((0, 0), (-1, -1))}, circles=[1.0], xlabel="x"),
    "blocks": lambda: plots.draw_blocks(
        {"x": (0, 0), "norm": (0, 1, "RMSNorm"), "mix": (0, 2, "grouped-query attention"), "+": (0, 3)},
        [("x", "norm"), ("norm", "mix"), ("mix", "+"), ("x", "+", "left")], colors={"mix": "LLAMA"}, title="A block",
    ),
}  # fmt: skip


def texts(fig):
    renderer = fig.canvas.get_renderer()
    found = [t for t in fig.findobj(Text) if t.get_visible() and t.get_text().strip()]
    return [(t.get_text(), t.get_window_extent(renderer)) for t in found]


@pytest.mark.parametrize("name", FIGURES)
def test_all_text_is_inside(name):
    fig = FIGURES[name]()
    fig.draw_without_rendering()
    width, height = fig.get_size_inches() * fig.dpi
    assert width == 650 and height <= 350
    shown = [(text, box) for text, box in texts(fig) if box.width > 0]
    ticks = {t for ax in fig.axes for axis in (ax.xaxis, ax.yaxis) for t in axis.get_ticklabels()}
    hidden = {t.get_text() for t in ticks}  # matplotlib keeps tick labels out of view beyond both ends
    for text, box in shown:
        inside = -1 <= box.x0 and box.x1 <= width + 1 and -1 <= box.y0 and box.y1 <= height + 1
        assert inside or text in hidden, (text, box)
    assert len(theme.png(fig)) < 150_000


@pytest.mark.parametrize("name", ["five lines that end together", "a long name"])
def test_names_at_line_ends_do_not_overlap(name):
    fig = FIGURES[name]()
    boxes = [text.get_window_extent(fig.canvas.get_renderer()) for text in fig.texts]
    assert len(boxes) >= 2
    for one, other in itertools.combinations(boxes, 2):
        assert one.y0 >= other.y1 - 1 or other.y0 >= one.y1 - 1


def test_names_stay_in_the_order_of_their_lines():
    fig = plots.draw_curves({"low": [1.0, 1.0], "high": [1.0, 1.02], "middle": [1.0, 1.01]})
    heights = {text.get_text(): text.get_position()[1] for text in fig.texts}
    assert heights["low"] < heights["middle"] < heights["high"]


def test_spread_moves_no_more_than_it_must():
    assert plots.spread([10.0, 50.0], [8, 8], 0, 100) == [10.0, 50.0]
    assert plots.spread([50.0, 50.0], [10, 10], 0, 100) == [45.0, 55.0]
    crowded = plots.spread([99.0, 99.5, 100.0], [10, 10, 10], 0, 100)
    assert crowded == pytest.approx([75, 85, 95])
    assert plots.spread([1.0, 60.0, 2.0], [10, 10, 10], 0, 100) == pytest.approx([5, 60, 15])


def test_curves_draw_what_was_given():
    fig = plots.draw_curves({"RWKV": ([1, 2, 4], torch.tensor([3.0, 2.0, 1.0]))}, floors={"floor": 0.5}, ylog=True)
    line, floor = fig.axes[0].lines
    assert line.get_xydata().tolist() == [[1, 3], [2, 2], [4, 1]] and line.get_color() == theme.RWKV
    assert floor.get_ydata()[0] == 0.5 and fig.axes[0].get_yscale() == "log"


def test_heatmap_is_centred_on_zero_and_leaves_masked_cells_empty():
    fig = plots.draw_heatmap(torch.tensor([[1.0, -3.0]]), kind="signed")
    assert fig.axes[0].images[0].get_clim() == (-3, 3)
    fig = plots.draw_heatmap(torch.tensor([[1.0, 0.0], [0.25, 0.75]]))
    assert sorted(t.get_text() for t in fig.axes[0].texts) == ["0.25", "0.75", "1.00"]


def test_an_arrow_keeps_its_angle():
    fig = plots.draw_arrows({"q": (1.0, 1.0)})
    ax = fig.axes[0]
    fig.draw_without_rendering()
    x, y = ax.transData.transform((1, 1)) - ax.transData.transform((0, 0))
    assert x == pytest.approx(y, rel=0.02)


def test_ticks_in_words():
    assert [theme.tick(v) for v in (0, 0.25, 12000, -3, 3e-6)] == ["0", "0.25", "12,000", "\u22123", "3e-06"]
    assert [theme.decade(v) for v in (1, 0.01, 1000, 1e-6, 1e12)] == [
        "1",
        "0.01",
        "1,000",
        "10\u207b\u2076",
        "10\u00b9\u00b2",
    ]


def test_bars_keep_the_axis_that_they_are_given():
    ends = [plots.draw_bars({"a": value}, xlim=(0, 1)).axes[0].get_xlim() for value in (0.1, 0.9)]
    assert ends == [(0, 1), (0, 1)]
