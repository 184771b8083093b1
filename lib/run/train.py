"""Train a language model: a generator that yields a `Record` a step, so that you can look, plot or stop in between.

for record in train(model, batches, Recipe(steps=500)):
    print(record.step, record.loss)
"""

import math
import time
from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F

from lib.run.checkpoint import Keeper
from lib.run.device import autocast, pick_device, pick_dtype
from lib.run.optimizer import Optimizer
from lib.run.watch import Bar, uninterrupted


@dataclass(frozen=True)
class Recipe:
    """How to train, but for the data. The defaults are LLaMA's (arXiv 2302.13971, section 2.3), but for the rate.

    `accumulate` batches make one step, as if they were one large batch. `optimizer` is "adamw" or "muon": then Muon has
    the matrices in the blocks, at `matrix_rate`, and AdamW the rest.
    """

    steps: int
    learning_rate: float = 3e-3
    warmup: int = 100
    final_ratio: float = 0.1
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = 1.0
    accumulate: int = 1
    optimizer: str = "adamw"
    matrix_rate: float = 0.02


class Record(NamedTuple):
    """What is known after `step` steps, on `tokens` tokens, in `seconds` of training. The loss is in nats a token."""

    step: int
    loss: float
    learning_rate: float
    grad_norm: float
    tokens: int
    seconds: float


def schedule(step, recipe):
    """Return the share of the peak rate for a step from 0 on: up in a straight line, then down along half a cosine.

    (step + 1) / warmup, then r + (1 - r) (1 + cos(pi p)) / 2: p goes from 0 to 1 over the other steps, r = final_ratio.
    """
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.final_ratio + (1 - recipe.final_ratio) * (1 + math.cos(math.pi * progress)) / 2


def next_token_loss(model, x, y):
    """Return the mean of -log p(y) over all tokens, in nats; x, y: (B, T)."""
    logits, _ = model(x)  # (B, T, V)
    return F.cross_entropy(logits.flatten(0, 1).float(), y.flatten())


def gradients(model, batches, step, recipe, optimizer, context):
    """Add up the gradients of one step; return its loss in nats a token and its number of tokens."""
    device, loss, tokens = next(model.parameters()).device, 0.0, 0
    model.zero_grad(set_to_none=True)  # also what a step left that was interrupted
    for i in range(recipe.accumulate):
        x, y = (z.to(device) for z in batches[step * recipe.accumulate + i])  # (B, T)
        with context:
            part = next_token_loss(model, x, y) / recipe.accumulate
        optimizer.backward(part)
        loss, tokens = loss + part.detach(), tokens + x.numel()
    return loss.item(), tokens


def train(model, batches, recipe, *, device=None, dtype="auto", checkpoint=None, progress=False):
    """Train the model in place; yield a `Record` after each step.

    batches[i] gives x, y of shape (B, T). `checkpoint` is a path, or a `Keep` that also says how often: a run that is
    kept there goes on, with the same losses as if it had never stopped. After an interrupt the model holds the last
    finished step, the checkpoint is written, and the KeyboardInterrupt says at which step it stopped.
    """
    device = pick_device(device)
    dtype = pick_dtype(device, dtype)
    model.to(device).train()
    optimizer = Optimizer(model, recipe, dtype)
    keeper = Keeper(checkpoint, model, optimizer, recipe, batches)
    record = Record(*keeper.resume(or_else=Record(0, math.nan, 0.0, math.nan, 0, 0.0)))
    bar = Bar(recipe.steps, record.step, shown=progress)
    try:
        for step in range(record.step, recipe.steps):
            begun = time.perf_counter()
            loss, tokens = gradients(model, batches, step, recipe, optimizer, autocast(device, dtype))
            norm = optimizer.clip()
            refuse_nan(loss, norm, record, recipe, optimizer.scaler.is_enabled())
            factor = schedule(step, recipe)
            with uninterrupted():
                optimizer.step(factor)
                seconds = record.seconds + time.perf_counter() - begun
                record = Record(step + 1, loss, recipe.learning_rate * factor, norm, record.tokens + tokens, seconds)
                keeper.finished(record)
            bar.tick(f"loss {loss:.3f}")
            yield record
        keeper.save()
    except GeneratorExit:  # the caller needs no more steps
        keeper.save()
        raise
    except KeyboardInterrupt:
        keeper.save()
        raise KeyboardInterrupt(f"stopped after step {record.step} of {recipe.steps}; {keeper.advice()}") from None
    finally:
        bar.close()


def fit(model, batches, recipe, **options):
    """Train to the end and return the list of records. An interrupt ends it early, with a sentence and no error."""
    records = []
    try:
        for record in train(model, batches, recipe, **options):
            records.append(record)
    except KeyboardInterrupt as stop:
        print(stop)
    return records


def refuse_nan(loss, norm, record, recipe, scaled):
    """Stop before a step that would ruin the model. Scaled gradients may overflow: the scaler leaves that step out."""
    if math.isfinite(loss) and (scaled or math.isfinite(norm)):
        return
    raise FloatingPointError(
        f"step {record.step + 1}: the loss is {loss:.4g}, the gradients' norm {norm:.4g}. The model holds step "
        f"{record.step}, loss {record.loss:.4g}. Build it anew and take half the learning rate "
        f"({recipe.learning_rate / 2:g}), or a warm-up of more than {recipe.warmup} steps"
    )
