"""Which parameters learn how: decay on matrices alone, and Muon as a choice for the matrices inside the blocks."""

import torch

from lib.models.hybrid import Hybrid
from lib.models.rwkv import Rwkv
from lib.models.rwkv_start import RATES, learning_groups
from lib.run.muon import Muon
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
