"""Muon: an optimizer for matrices, whose every step is equally long in all of a matrix's directions.

A matrix's gradient is large along few directions and small along the rest, and so are the steps of other optimizers.
Muon takes the momentum M = U S V^T, and steps by U V^T, all singular values one. To decompose M would be slow; a few
products of matrices come near enough.
Source: Jordan et al. 2024, kellerjordan.github.io/posts/muon; torch.optim.Muon, which does the same to one matrix after
the other, and takes three times as long where there are many small ones.
"""

import torch

# Each round maps a singular value s to a s + b s^3 + c s^5, which lifts small ones fast: after five all are near one.
ROUNDS, A, B, C = 5, 3.4445, -4.7750, 2.0315


def orthogonalise(matrices, eps=1e-7):
    """Return, nearly, U V^T of each matrix U S V^T: (K, m, n) -> (K, m, n), in bfloat16.

    X <- a X + (b G + c G^2) X, G = X X^T, five times; X begins as the matrix over its norm, so that no singular value
    exceeds one. Singular values end between 0.7 and 1.2, which is near enough.
    """
    if matrices.shape[1] > matrices.shape[2]:  # G is as small as can be
        return orthogonalise(matrices.mT, eps).mT
    X = matrices.bfloat16()  # (K, m, n)
    X = X / X.norm(dim=(1, 2), keepdim=True).clamp(min=eps)
    for _ in range(ROUNDS):
        G = X @ X.mT  # (K, m, m)
        X = torch.baddbmm(X, torch.baddbmm(G, G, G, beta=B, alpha=C), X, beta=A)
    return X


class Muon(torch.optim.Optimizer):
    """For matrices alone; those of one shape take their step together.

    M <- mu M + (1 - mu) grad
    W <- (1 - lr weight_decay) W - lr sqrt(max(1, m / n)) orthogonalise((1 - mu) grad + mu M)

    W: (m, n). The direction looks one step ahead (Nesterov); a matrix with more rows than columns has a longer step.
    """

    def __init__(self, params, lr, weight_decay=0.1, momentum=0.95):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        for matrix in (p for group in self.param_groups for p in group["params"]):
            if matrix.ndim != 2:
                raise ValueError(f"Muon is for matrices, and this has shape {tuple(matrix.shape)}: give it to AdamW")

    @torch.no_grad()
    def step(self):
        """Update all matrices that have a gradient."""
        for group in self.param_groups:
            alike = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    alike.setdefault(matrix.shape, []).append(matrix)
            for shape, matrices in alike.items():
                directions = orthogonalise(torch.stack([self._ahead(m, group["momentum"]) for m in matrices]))
                length = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
                for matrix, direction in zip(matrices, directions, strict=True):
                    matrix.add_(direction, alpha=-length)

    def _ahead(self, matrix, momentum):
        """Take the gradient into the momentum; return where that will be one step from now."""
        state = self.state[matrix]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        buffer = state["momentum_buffer"].lerp_(matrix.grad, 1 - momentum)
        return matrix.grad.lerp(buffer, momentum)
