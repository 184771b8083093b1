"""Tune a trained model to do as it is told: by answers that are shown to it, or by pairs of its own answers (DPO).

Rows of an instruction and its answer are read whole, but the loss counts the answer alone: y is -100 in the prompt.
"""

import copy
import math
import random
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from lib.run.cost import prefill_flops
from lib.run.evaluate import padded
from lib.run.lora import DirectedUpdate, LowRankUpdate
from lib.run.loss import HeadCrossEntropy
from lib.run.sample import sample
from lib.text import tales
from lib.text.instructions import chat_ids, met, with_marks

ROOM = 256  # tokens of an answer at most; the longest tales have some 210
TOGETHER = 256  # answers that are sampled side by side


def make_room(model, tokenizer, seed=0):
    """Return a copy of the model, and its tokenizer, with two more tokens: the marks of a conversation.

    Their embeddings are drawn like the others', mean and spread by channel, so that they can be told apart. In an
    untied head both get the mean row: nobody is to write them, and a row of zeros might beat all that are negative.
    """
    new = with_marks(tokenizer)
    n, at = new.vocab_size - tokenizer.vocab_size, len(tokenizer.special)
    if n == 0:
        return copy.deepcopy(model), tokenizer
    generator, weights = torch.Generator().manual_seed(seed), model.state_dict()
    for name in ("embed.weight", "head.weight"):
        old = weights[name].cpu()  # (V, C)
        drawn = old.mean(0) + old.std(0) * torch.randn(n, old.shape[1], generator=generator)
        if name == "head.weight":
            drawn = weights["embed.weight"][at : at + n] if model.config.tied else old.mean(0).expand(n, -1)
        weights[name] = torch.cat([old[:at], drawn, old[at:]])
    roomy = type(model)(replace(model.config, vocab_size=model.config.vocab_size + n))
    roomy.load_state_dict(weights)
    return roomy.train(model.training), new


def answers_only(rows, prompts):
    """Return x, y, each (B, T): y is -100 behind a row's end, and where a token of its prompt would be due.

    rows: lists of ids, prompt and answer; prompts: how many of them are the prompt. The first token of the answer is
    the target of the prompt's last.
    """
    x, y = padded(rows)
    place = torch.arange(y.shape[1])
    return x, y.masked_fill(place < torch.tensor(prompts)[:, None] - 1, -100)


class AnswerBatches:
    """Batches of (prompt, answer, ...) ids: `batches[step]` is x, y of (B, T), (2 B, T) where a row has two answers.

    Then the better answers come first. A seeded order in each epoch; the step decides the batch.
    """

    def __init__(self, rows, batch_size, seed=0):
        if not 1 <= batch_size <= len(rows):
            raise ValueError(f"batches of {batch_size} rows, but there are {len(rows)} rows: take from 1 to that")
        self.rows, self.batch_size, self.seed = rows, batch_size, seed
        self.description = {"kind": "answers", "rows": len(rows), "batch_size": batch_size, "seed": seed}

    def __len__(self):
        return len(self.rows) // self.batch_size

    def __getitem__(self, step):
        """Return x, y of a step from 0 on."""
        epoch, step = divmod(step, len(self))
        order = list(range(len(self.rows)))
        random.Random(1_000_003 * self.seed + epoch).shuffle(order)
        drawn = [self.rows[i] for i in order[step * self.batch_size : (step + 1) * self.batch_size]]
        both = [(prompt, answer) for answers in zip(*(row[1:] for row in drawn), strict=True)
                for (prompt, *_), answer in zip(drawn, answers, strict=True)]  # fmt: skip
        return answers_only([prompt + answer for prompt, answer in both], [len(prompt) for prompt, _ in both])


def encoded(tokenizer, instructions):
    """Return (prompt ids, answer ids) of each instruction; the answer ends with <|endoftext|>, or nobody learns to."""
    found = []
    for item in instructions:
        prompt = chat_ids(tokenizer, [item.text])
        found.append((prompt, chat_ids(tokenizer, [item.text, item.story])[len(prompt) :]))
    return found


class AnswerLoss(nn.Module):
    """The mean of -log p over the tokens of answers, in nats: (x, y) -> a scalar."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x, y):
        """x, y: (B, T), y is -100 where nothing is asked."""
        hidden, _ = self.model.hidden(x)  # (B, T, C)
        asked = y != -100
        return HeadCrossEntropy.apply(hidden[asked], self.model.head.weight, y[asked])


def answer_log_probs(model, x, y):
    """Return the log-probability of each row's answer, (B,): the sum over its tokens. x, y: (B, T)."""
    logits, _ = model(x)
    return -F.cross_entropy(logits.transpose(1, 2).float(), y, reduction="none").sum(1)


def preference(margin, beta=0.1, kind="sigmoid"):
    """Return DPO's loss of each pair, (B,).

    margin = log p(better) / q(better) - log p(worse) / q(worse), q the model before: by how much more the better answer
    has gained. sigmoid: -log sigmoid(beta margin); hinge: max(0, 1 - beta margin).
    Sources: Rafailov et al. 2023, arXiv 2305.18290, equation 7; hinge: Zhao et al. 2023 (SLiC), arXiv 2305.10425.
    """
    if kind not in ("sigmoid", "hinge"):
        raise ValueError(f"no loss {kind!r}: there is sigmoid, hinge")
    return -F.logsigmoid(beta * margin) if kind == "sigmoid" else F.relu(1 - beta * margin)


class PreferenceLoss(nn.Module):
    """The mean of `preference` over a batch whose first half are the better answers: (x, y) -> a scalar."""

    def __init__(self, model, before, beta=0.1, kind="sigmoid"):
        super().__init__()
        self.model, self.before, self.beta, self.kind = model, before.requires_grad_(False), beta, kind

    def forward(self, x, y):
        """x, y: (B, T), B / 2 pairs."""
        with torch.no_grad():
            q = answer_log_probs(self.before, x, y)  # (B,)
        better, worse = (answer_log_probs(self.model, x, y) - q).chunk(2)  # (B/2,), (B/2,)
        return preference(better - worse, self.beta, self.kind).mean()


class Answer(NamedTuple):
    """What a model wrote: its text, its ids, and whether it stopped by itself."""

    text: str
    ids: list
    stopped: bool


def answer(model, tokenizer, instructions, temperature=0.5, seed=0, room=ROOM):
    """Return the Answer to each instruction, a text; prompts of one length are answered side by side."""
    prompts, found = [chat_ids(tokenizer, [text]) for text in instructions], {}
    for length in sorted(set(map(len, prompts))):
        here = [i for i, prompt in enumerate(prompts) if len(prompt) == length]
        for first in range(0, len(here), TOGETHER):
            some = here[first : first + TOGETHER]
            tokens = sample(model, torch.tensor([prompts[i] for i in some]), room, temperature,
                            seed=seed + some[0], stop=tokenizer.eot)  # fmt: skip
            for i, row in zip(some, torch.stack(list(tokens), 1).tolist(), strict=True):
                stopped = tokenizer.eot in row
                ids = row[: row.index(tokenizer.eot)] if stopped else row
                found[i] = Answer(tokenizer.decode(ids), ids + [tokenizer.eot] * stopped, stopped)
    return [found[i] for i in range(len(prompts))]


def obedience(instructions, answers):
    """Return what share of the demands is met, of the instructions that are met whole, and of answers that stop.

    `parts`: {part: [how many were met, how many were demanded]}.
    """
    done = [met(item.demands, reply.text) for item, reply in zip(instructions, answers, strict=True)]
    parts = {}
    for one in done:
        for part, is_met in one.items():
            n, of = parts.get(part, (0, 0))
            parts[part] = [n + is_met, of + 1]
    n_met, n_demands = map(sum, zip(*parts.values(), strict=True))
    return {
        "demands": n_met / n_demands,
        "instructions": sum(all(one.values()) for one in done) / len(done),
        "stopped": sum(reply.stopped for reply in answers) / len(done),
        "stories": sum(tales.is_story(reply.text) for reply in answers) / len(done),
        "n_demands": n_demands,
        "parts": dict(sorted(parts.items())),
    }


def own_pairs(model, tokenizer, instructions, tries=4, temperature=1.0, seed=0):
    """Return (prompt, better, worse) ids: two of the model's own answers, where one does all and another does not."""
    asked = [item for item in instructions for _ in range(tries)]
    replies, pairs = answer(model, tokenizer, [item.text for item in asked], temperature, seed), []
    for i, item in enumerate(instructions):
        mine = replies[i * tries : (i + 1) * tries]
        good = [all(met(item.demands, reply.text).values()) and reply.stopped for reply in mine]
        if any(good) and not all(good):
            better, worse = mine[good.index(True)], mine[good.index(False)]
            pairs.append((chat_ids(tokenizer, [item.text]), better.ids, worse.ids))
    return pairs


def n_trained(model):
    """Count the parameters that learn."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def tuning_flops(model, T, batch=1):
    """Return the FLOPs of one step on `batch` rows of T tokens, by the rules of lib.run.cost.

    Full tuning: three forward passes. An adapted model needs no gradients of its matrices: two, and three times the
    work of the updates; DoRA also makes V = W + s up down once a step, and takes the length of its rows.
    """
    updates = [part for part in model.modules() if isinstance(part, LowRankUpdate)]
    forward = prefill_flops(model.config, T).total * batch
    if not updates:
        return 3 * forward
    beside = sum(2 * (part.down.numel() + part.up.numel()) for part in updates) * T * batch
    lengths = sum(
        2 * part.linear.weight.numel() * (len(part.down) + 1) for part in updates if isinstance(part, DirectedUpdate)
    )
    return 2 * forward + 3 * beside + lengths


def steps_for(flops, model, T, batch):
    """Return how many steps of this model fit into a budget of FLOPs, at least one."""
    return max(1, math.floor(flops / tuning_flops(model, T, batch)))
