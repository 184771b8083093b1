"""The pictures of attention draw what they are given, and say it in words."""

import pytest
import torch

from lib.show import plots_attention


def steps_of(scores, values, block):
    """The running maximum, sum and mean by torch's softmax over each beginning of the row."""
    ends = range(block, len(scores) + 1, block)
    return [(scores[:n].max().item(), (scores[:n] - scores[:n].max()).exp().sum().item(),
             (scores[:n].softmax(0) @ values[:n]).item()) for n in ends]  # fmt: skip


def test_each_query_head_is_joined_to_its_neighbours_key_head():
    fig = plots_attention.draw_sharing(n_heads=6, n_kv_heads=(6, 3, 1), names=("MHA", "GQA", "MQA"))
    for ax, G in zip(fig.axes, (6, 3, 1), strict=True):
        ends = [line.get_xdata() for line in ax.lines]
        assert [start for start, _ in ends] == list(range(6))
        reached = [round(end, 6) for _, end in ends]
        assert reached == torch.arange(float(G)).add(0.5).mul(6 / G).sub(0.5).repeat_interleave(6 // G).tolist()
        assert len(ax.patches) == 6 + G
    assert "MQA: each key head is read by 6" in fig.alt_text


def test_a_block_holds_its_columns_alone():
    fig = plots_attention.draw_tiles(n_tokens=12, block=3)
    held = [ax.patches[2].get_xy()[:, 0] for ax in fig.axes]
    assert [(xs.min(), xs.max()) for xs in held] == [(0, 12), (0, 3), (3, 6), (9, 12)]
    assert "12 queries" in fig.alt_text


@pytest.mark.parametrize("done", [1, 3, 6])
def test_a_stream_is_drawn_up_to_the_block(done):
    torch.manual_seed(1)
    scores, values = torch.randn(2, 24)
    steps = steps_of(scores, values, 4)
    fig = plots_attention.draw_stream(scores, 4, steps, done, result=steps[-1][2])
    left, right = fig.axes
    assert len(left.patches) - 1 == 24
    assert right.lines[1].get_ydata().tolist() == [step[2] for step in steps[:done]]
    low, high = right.get_ylim()
    assert all(low < step[2] < high for step in steps)
    assert f"After {done} of 6 blocks" in fig.alt_text
