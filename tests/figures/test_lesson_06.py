"""The figures of lesson 06 draw what they are given, and say it in words."""

import pytest
import torch

from lessons.figures import lesson_06 as figures


def steps_of(scores, values, block):
    """The running maximum, sum and mean by torch's softmax over each beginning of the row."""
    ends = range(block, len(scores) + 1, block)
    return [(scores[:n].max().item(), (scores[:n] - scores[:n].max()).exp().sum().item(),
             (scores[:n].softmax(0) @ values[:n]).item()) for n in ends]  # fmt: skip


def test_a_block_holds_its_columns_alone():
    fig = figures.draw_tiles(n_tokens=12, block=3)
    held = [ax.patches[2].get_xy()[:, 0] for ax in fig.axes]
    assert [(xs.min(), xs.max()) for xs in held] == [(0, 12), (0, 3), (3, 6), (9, 12)]
    assert "12 queries" in fig.alt_text


@pytest.mark.parametrize("done", [1, 3, 6])
def test_a_stream_is_drawn_up_to_the_block(done):
    torch.manual_seed(1)
    scores, values = torch.randn(2, 24)
    steps = steps_of(scores, values, 4)
    fig = figures.draw_stream(scores, 4, steps, done, result=steps[-1][2])
    left, right = fig.axes
    assert len(left.patches) - 1 == 24
    assert right.lines[1].get_ydata().tolist() == [step[2] for step in steps[:done]]
    low, high = right.get_ylim()
    assert all(low < step[2] < high for step in steps)
    assert f"After {done} of 6 blocks" in fig.alt_text
