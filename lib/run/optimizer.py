"""Which parameters learn how: decay on matrices alone, and Muon as a choice for the matrices inside the blocks."""

import torch

from lib.models.hybrid import Hybrid
from lib.models.rwkv import Rwkv
from lib.models.rwkv_start import RATES, learning_groups
from lib.run.processes import Alone


def parameter_groups(model, recipe):
    """Return the groups for AdamW, those that decay first: what has two axes or more decays, what has one does not.

    The embedding and the head are matrices, and decay too, as in nanoGPT. A norm's weight that shrinks to zero would
    shut its channel; a matrix that shrinks a little only forgets what no gradient asks for. RWKV has vectors, and small
    matrices, that stand for something at zero; some learn at a multiple of the rate (`learning_groups`).
    """
    if isinstance(model, Rwkv | Hybrid):
        rates = RATES[5] | RATES[7] if isinstance(model, Hybrid) else None
        groups = [(group["params"], group["decays"], group["rate"]) for group in learning_groups(model, rates)]
    else:
        groups = [([p for p in model.parameters() if (p.ndim >= 2) == matrix], matrix, 1.0) for matrix in (True, False)]
    return [
        {
            "params": [p for p in params if p.requires_grad],
            "weight_decay": recipe.weight_decay if decays else 0.0,
            "lr": rate * recipe.learning_rate,
        }
        for params, decays, rate in sorted(groups, key=lambda group: not group[1])
    ]


def build_optimizers(model, recipe):
    """Return a list: AdamW for all parameters, or Muon for the matrices in the blocks and AdamW for the others."""
    if recipe.optimizer not in ("adamw", "muon"):
        raise ValueError(f"no optimizer {recipe.optimizer!r}: there is adamw, muon")
    groups, optimizers = parameter_groups(model, recipe), []
    if recipe.optimizer == "muon":
        inside = {p for p in model.blocks.parameters() if p.ndim == 2}
        matrices = [p for p in groups[0]["params"] if p in inside]
        optimizers.append(Muon(matrices, recipe.matrix_rate, recipe.weight_decay))
        groups[0]["params"] = [p for p in groups[0]["params"] if p not in inside]
    # The fused step is one pass over all parameters instead of a dozen.
    fused = all(p.device.type in ("cpu", "cuda") for p in model.parameters())
    optimizers.append(torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, eps=1e-8, fused=fused))
    return optimizers


class Optimizer:
    """The optimizers of one model as one: scaled gradients, clipping, and a rate that is set at each step.

    In float16 small gradients would become zero, so the loss is scaled up for the way back, and the gradients are
    scaled down again. In other dtypes the scaler does nothing.
    """

    def __init__(self, model, recipe, dtype=torch.float32, team=None):
        self.parameters, self.max_norm, self.team = list(model.parameters()), recipe.clip, team or Alone()
        if self.team.sharded and dtype == torch.float16:
            raise ValueError("float16 scales its gradients, and parts of them can't be: take bfloat16, or no --shard")
        self.parts = build_optimizers(model, recipe)
        self.peaks = [[group["lr"] for group in part.param_groups] for part in self.parts]
        self.scaler = torch.amp.GradScaler(self.parameters[0].device.type, enabled=dtype == torch.float16)

    def backward(self, loss):
        """Add the loss's gradients to those that are there."""
        self.scaler.scale(loss).backward()

    def clip(self):
        """Shrink all gradients together to the largest norm that is allowed; return the norm that they had."""
        for part in self.parts:
            self.scaler.unscale_(part)
        return self.team.number(torch.nn.utils.clip_grad_norm_(self.parameters, self.max_norm))

    def step(self, factor):
        """Update all parameters at `factor` times their peak rate."""
        for part, peaks in zip(self.parts, self.peaks, strict=True):
            for group, peak in zip(part.param_groups, peaks, strict=True):
                group["lr"] = factor * peak
            self.scaler.step(part)
        self.scaler.update()

    def state_dict(self):
        """Return all that the next step depends on."""
        return {"parts": [part.state_dict() for part in self.parts], "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state):
        """Take up what `state_dict` gave."""
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(saved)
        self.scaler.load_state_dict(state["scaler"])


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
    """For matrices alone: every step is equally long in all of a matrix's directions. Those of one shape step together.

    A matrix's gradient is large along few directions and small along the rest, and so are the steps of other
    optimizers. Muon takes the momentum M = U S V^T, and steps by U V^T, all singular values one. To decompose M would
    be slow; a few products of matrices come near enough.

    M <- mu M + (1 - mu) grad
    W <- (1 - lr weight_decay) W - lr sqrt(max(1, m / n)) orthogonalise((1 - mu) grad + mu M)

    W: (m, n). The direction looks one step ahead (Nesterov); a matrix with more rows than columns has a longer step.
    Source: Jordan et al. 2024, kellerjordan.github.io/posts/muon; torch.optim.Muon, which does the same to one matrix
    after the other, and takes three times as long where there are many small ones.
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
