"""The figure of lesson 05 joins each query head to its keys."""

import torch

from lessons.figures import lesson_05 as figures


def test_each_query_head_is_joined_to_its_neighbours_key_head():
    fig = figures.draw_sharing(n_heads=6, n_kv_heads=(6, 3, 1), names=("MHA", "GQA", "MQA"))
    for ax, G in zip(fig.axes, (6, 3, 1), strict=True):
        ends = [line.get_xdata() for line in ax.lines]
        assert [start for start, _ in ends] == list(range(6))
        reached = [round(end, 6) for _, end in ends]
        assert reached == torch.arange(float(G)).add(0.5).mul(6 / G).sub(0.5).repeat_interleave(6 // G).tolist()
        assert len(ax.patches) == 6 + G
    assert "MQA: each key head is read by 6" in fig.alt_text
