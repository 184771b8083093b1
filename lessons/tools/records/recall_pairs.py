"""Recall of pairs: two layers of each time mixer, three sizes of the state, three seeds; for lesson 17.

A small vocabulary is a known trap: with few keys a model can give each a place of its own, and differences between
mixers come out smaller than with the 8,192 tokens of the published task (HazyResearch/zoology says so where it makes
its data). 64 keys and 64 values are what an hour of two cores allows.
"""

import time

import torch
import torch.nn.functional as F

from lessons.exercises.lesson_17 import questions
from lib.models.hybrid import Hybrid, HybridConfig
from lib.models.skeleton import head_from_embedding, n_params
from lib.run.optimizer import Optimizer
from lib.run.train import Recipe, schedule

MIXERS = {
    "attention": ("attention", "attention"),
    "linear attention": ("linear", "linear"),
    "RWKV-5": ("rwkv5", "rwkv5"),
    "RWKV-7": ("rwkv7", "rwkv7"),
    "hybrid": ("rwkv5", "attention"),
}
N_KEYS = N_VALUES = 64
PAIRS, SEEDS = (4, 8, 16, 32), (0, 1, 2)
# (d_head, n_kv_heads). A state grows with the size of a head, a cache with the number of key heads. Attention with
# heads of less than 16 channels did not learn the task at all in so few steps, so its heads stay at 16.
STATES, CACHES = ((8, 1), (16, 1), (32, 1)), ((16, 1), (16, 2), (16, 4))
ROWS, FIRST, STEPS, TESTED = 32, 180, 400, 200  # rows a step; steps with few pairs alone; all steps; test sequences
D_MODEL, D_FF, RANK = 64, 128, 8


def config(name, d_head, n_kv_heads):
    """Return the config of a model of two layers: all are alike but for the mixers and the size of a head."""
    sizes = D_MODEL, D_FF, d_head, n_kv_heads
    return HybridConfig(N_KEYS + N_VALUES, MIXERS[name], *sizes, context_length=256, rank=RANK)


def draw(generator, n_rows, n_pairs):
    """Return x, y of so many sequences, as `questions` makes them; no key comes twice in a row, values may."""
    keys = torch.rand(n_rows, N_KEYS, generator=generator).argsort(1)[:, :n_pairs]
    values = N_KEYS + torch.randint(N_VALUES, (n_rows, n_pairs), generator=generator)
    return questions(keys, values, torch.rand(n_rows, n_pairs, generator=generator).argsort(1))


def answers(model, x, n_pairs):
    """Return the logits at the questions alone, (B, P, V)."""
    hidden, _ = model.hidden(x)  # (B, 3 P, C)
    return model.head(hidden[:, 2 * n_pairs :])


def pairs_at(step):
    """Return how many pairs the sequences of a step have: few at first, so that matching is learned before holding."""
    return PAIRS[0] if step < FIRST else PAIRS[step % len(PAIRS)]


def trained(name, d_head, n_kv_heads, seed, steps=STEPS):
    """Return the trained model, and the processor's seconds that it took."""
    torch.manual_seed(seed)
    model, generator = Hybrid(config(name, d_head, n_kv_heads)), torch.Generator().manual_seed(seed)
    head_from_embedding(model, 0.3)
    plan = Recipe(steps, learning_rate=0.02, warmup=50, final_ratio=0.02, weight_decay=0.01, optimizer="muon")
    optimizer, begun = Optimizer(model, plan), time.process_time()
    for step in range(steps):
        x, y = draw(generator, ROWS, pairs_at(step))
        loss = F.cross_entropy(answers(model, x, y.shape[1]).flatten(0, 1), y.flatten())
        model.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.clip()
        optimizer.step(schedule(step, plan))
    return model, time.process_time() - begun


@torch.inference_mode()
def measured(model, n_pairs):
    """Return the share of right answers in new sequences, and the bytes that are kept when all pairs are told."""
    x, y = draw(torch.Generator().manual_seed(10**6 + n_pairs), TESTED, n_pairs)
    right = (answers(model, x, n_pairs).argmax(-1) == y).float().mean().item()
    _, state = model.hidden(x[:1, : 2 * n_pairs])
    return right, 4 * numbers_in(state.layers)


def numbers_in(state):
    """Count the numbers of a state: of all tensors in it, however deep; of a cache, keys and values."""
    if isinstance(state, torch.Tensor):
        return state.numel()
    if hasattr(state, "keys") and hasattr(state, "values"):
        return state.keys.numel() + state.values.numel()
    return sum(numbers_in(part) for part in state) if isinstance(state, list | tuple) else 0


def plan():
    """Return what is to be run: all mixers and sizes with the first seed, then with the next."""
    return [
        {"mixer": name, "d_head": d_head, "n_kv_heads": n_kv_heads, "seed": seed}
        for seed in SEEDS
        for i in range(len(STATES))
        for name, mixers in MIXERS.items()
        for d_head, n_kv_heads in [(CACHES if "attention" in mixers else STATES)[i]]
    ]


def run(mixer, d_head, n_kv_heads, seed):
    """Train and measure one model; return what the record keeps of it."""
    model, seconds = trained(mixer, d_head, n_kv_heads, seed)
    found = {n_pairs: measured(model.eval(), n_pairs) for n_pairs in PAIRS}
    return {
        "parameters": n_params(model),
        "accuracy": {str(n): round(right, 4) for n, (right, _) in found.items()},
        "state_bytes": {str(n): size for n, (_, size) in found.items()},
        "cpu_seconds": round(seconds, 1),
    }
