"""Muon: torch's own, matrix by matrix, is the truth; and its steps are what they are meant to be."""

import pytest
import torch

from lib.run.optimizer import Muon, orthogonalise

SHAPES = [(16, 16), (16, 40), (40, 16), (16, 16), (40, 16)]


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 16, 40), (4, 40, 16)])
def test_all_directions_become_alike(shape):
    torch.manual_seed(0)
    U, S, V = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    matrices = U @ torch.diag_embed(S.clamp(min=0.1)) @ V
    near = orthogonalise(1000 * matrices).float()
    assert near.shape == shape
    values = torch.linalg.svdvals(near)
    assert 0.6 < values.min() and values.max() < 1.3
    # The directions are those of U V^T: what is left over is singular values alone.
    inside = U.mT @ near @ V.mT
    assert (inside - torch.diag_embed(inside.diagonal(dim1=1, dim2=2))).abs().max() < 0.05


def test_no_gradient_at_all_gives_no_direction():
    assert orthogonalise(torch.zeros(2, 4, 6)).abs().max() == 0


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch has Muon from 2.9 on")
def test_steps_are_torchs():
    torch.manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    before = [p.detach().clone() for p in ours]
    options = {"lr": 0.02, "weight_decay": 0.1}
    optimizers = Muon(ours, **options), torch.optim.Muon(theirs, momentum=0.95, **options)
    for _ in range(6):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for start, a, b in zip(before, ours, theirs, strict=True):
        moved = (b - start).abs().max()
        assert moved > 0.02 and (a - b).abs().max() < 0.02 * moved  # products are in bfloat16


def test_what_has_no_gradient_stays():
    moved, still = (torch.nn.Parameter(torch.ones(4, 4)) for _ in range(2))
    moved.grad = torch.randn(4, 4)
    optimizer = Muon([moved, still], lr=0.1)
    optimizer.step()
    assert torch.equal(still, torch.ones(4, 4)) and not torch.equal(moved, still)


def test_a_vector_is_refused():
    with pytest.raises(ValueError, match=r"Muon is for matrices, and this has shape \(3,\): give it to AdamW"):
        Muon([torch.nn.Parameter(torch.ones(3))], lr=0.1)
