"""Peak memory: counted by hand on a few tensors, and for torch's own kernels."""

import torch

from lib.teach.memory import peak_bytes


def test_what_is_alive_at_once_is_counted():
    assert peak_bytes(lambda: torch.zeros(1000)) == 4000
    assert peak_bytes(lambda: torch.zeros(1000) + 1) == 8000
    assert peak_bytes(lambda: [torch.zeros(1000) for _ in range(3)]) == 12000


def test_what_is_freed_counts_no_more():
    def chain():
        x = torch.zeros(1000, dtype=torch.float64)
        for _ in range(20):
            x = x + 1
        return x

    assert peak_bytes(chain) == 16000


def test_views_work_in_place_and_inputs_cost_nothing():
    x = torch.zeros(1000)
    assert peak_bytes(lambda: x.view(10, 100).T[2:5]) == 0
    assert peak_bytes(lambda: x.add_(1)) == 0
    assert peak_bytes(lambda: torch.zeros(1000).add_(1).view(10, 100)) == 4000


def test_the_backward_pass_is_seen():
    x = torch.randn(1000, requires_grad=True)
    forward = peak_bytes(lambda: x.exp().sin().sum())
    assert forward >= 8000  # both are kept for the backward pass
    assert peak_bytes(lambda: x.exp().sin().sum().backward()) > forward


def test_an_error_inside_comes_out_and_counting_stops():
    try:
        peak_bytes(lambda: torch.zeros(2) @ torch.zeros(3))
    except RuntimeError:
        pass
    else:
        raise AssertionError("the error of the function must come out")
    assert peak_bytes(lambda: torch.zeros(10)) == 40
