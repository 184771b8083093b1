"""Train a language model: a generator that yields a `Record` a step, so that you can look, plot or stop in between.

for record in train(model, batches, Recipe(steps=500)):
    print(record.step, record.loss)
"""

import math
import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from lib.run.checkpoint import Keeper
from lib.run.device import autocast, compiled, keep_memory, pick_device, pick_dtype
from lib.run.loss import next_token_loss
from lib.run.optimizer import Optimizer
from lib.run.processes import Alone


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


class Stopped(KeyboardInterrupt):
    """An interrupt between two steps of a run. `record` is the last step's, or None where none was done.

    The interrupt may come when that step is finished and its record is not yet yielded: so it is here, too.
    """

    def __init__(self, sentence, record):
        super().__init__(sentence)
        self.record = record


def schedule(step, recipe):
    """Return the share of the peak rate for a step from 0 on: up in a straight line, then down along half a cosine.

    (step + 1) / warmup, then r + (1 - r) (1 + cos(pi p)) / 2: p goes from 0 to 1 over the other steps, r = final_ratio.
    """
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.final_ratio + (1 - recipe.final_ratio) * (1 + math.cos(math.pi * progress)) / 2


class NextToken(nn.Module):
    """The loss as a module of its own, (x, y) -> nats a token, so that it can be compiled or spread over processes."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x, y):
        """x, y: (B, T)."""
        return next_token_loss(self.model, x, y)


def gradients(loss_of, batches, step, recipe, optimizer, context):
    """Add up the gradients of one step; return its loss in nats a token, a tensor, and its number of tokens."""
    device, loss, tokens = next(loss_of.parameters()).device, 0.0, 0
    loss_of.zero_grad(set_to_none=True)  # also what a step left that was interrupted
    for i in range(recipe.accumulate):
        x, y = (z.to(device) for z in batches[step * recipe.accumulate + i])  # (B, T)
        with context:
            part = loss_of(x, y) / recipe.accumulate
        optimizer.backward(part)
        loss, tokens = loss + part.detach(), tokens + x.numel()
    return loss, tokens


def train(model, batches, recipe, *, device=None, dtype="auto", checkpoint=None, progress=False, compile=False,
          team=None, loss=NextToken):  # fmt: skip
    """Train the model in place; yield a `Record` after each step.

    batches[i] gives x, y of shape (B, T). `checkpoint` is a path, or a `Keep` that also says how often: a run that is
    kept there goes on, with the same losses as if it had never stopped. After an interrupt the model holds the last
    finished step, the checkpoint is written, and `Stopped` says at which step. `compile` has
    torch.compile rewrite the loss and its gradient; `team`: the processes that share the batches (lib.run.processes).
    `loss(model)` is a module (x, y) -> a scalar; y is the next token, where no other loss is given.
    """
    device, team = pick_device(device), team or Alone()
    dtype = pick_dtype(device, dtype)
    if device.type == "cpu":
        keep_memory()
    loss_of = compiled(team.spread(loss(model.to(device).train())), device, compile)
    optimizer = Optimizer(model, recipe, dtype, team)
    keeper = Keeper(checkpoint, model, optimizer, recipe, batches, team)
    batches = team.share(batches)
    first = record = Record(*keeper.resume(or_else=Record(0, math.nan, 0.0, math.nan, 0, 0.0)))
    bar = Bar(recipe.steps, first.step, shown=progress)
    try:
        for step in range(first.step, recipe.steps):
            begun = time.perf_counter()
            loss, tokens = gradients(loss_of, batches, step, recipe, optimizer, autocast(device, dtype))
            loss, norm, tokens = team.mean(loss), optimizer.clip(), team.size * tokens
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
    except (GeneratorExit, FloatingPointError):  # the caller needs no more steps, or the next one would ruin the model
        keeper.save()
        raise
    except KeyboardInterrupt:
        keeper.save(interrupted=True)
        sentence = f"stopped after step {record.step} of {recipe.steps}; {keeper.advice()}"
        raise Stopped(sentence, None if record is first else record) from None
    finally:
        bar.close()


def fit(model, batches, recipe, **options):
    """Train to the end and return the list of records. An interrupt ends it early, with a sentence and no error."""
    records, run = [], train(model, batches, recipe, **options)
    try:
        for record in run:
            records.append(record)
    except KeyboardInterrupt as interrupt:
        try:
            run.throw(interrupt)  # it may have come here, between two steps; what is over raises it again
        except Stopped as stop:
            print(stop)
            records += [stop.record] if stop.record not in (None, *records[-1:]) else []
    return records


def refuse_nan(loss, norm, record, recipe, scaled):
    """Stop before a step that would ruin the model. Scaled gradients may overflow: the scaler leaves that step out."""
    if math.isfinite(loss) and (scaled or math.isfinite(norm)):
        return
    first, last = record.step * recipe.accumulate, (record.step + 1) * recipe.accumulate - 1
    read = f"batches[{first}]" if first == last else f"batches[{first}] to batches[{last}]"
    raise FloatingPointError(
        f"step {record.step + 1}: the loss is {loss:.4g}, the gradients' norm {norm:.4g}, after {read}. The model "
        f"holds step {record.step}, loss {record.loss:.4g}. Look at what it read; then build it anew and take half the "
        f"learning rate ({recipe.learning_rate / 2:g}), or a warm-up of more than {recipe.warmup} steps"
    )


class Bar:
    """A progress bar of tqdm's, in a notebook or a terminal; not shown, it does nothing."""

    def __init__(self, steps, done, shown):
        self.bar = None
        if shown:
            from tqdm.auto import tqdm  # here, since it is slow to import and most callers want none

            self.bar = tqdm(total=steps, initial=done, unit="step")

    def tick(self, text):
        """One more step is done; `text` stands behind the bar."""
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update()

    def close(self):
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()


@contextmanager
def uninterrupted():
    """Let Ctrl-C (a notebook's stop button is one too) wait until the block is done: half an update is no model."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is ever interrupted
        return
    waiting = []
    usual = signal.signal(signal.SIGINT, lambda *call: waiting.append(call))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual or signal.SIG_DFL)
    if waiting and callable(usual):
        usual(*waiting[0])
