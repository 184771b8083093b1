"""How fast a training step is beside transformers' Llama (sdpa) of the same shape: float32, and bfloat16 by autocast.

Both get the same weights, batch and AdamW (fused); a step is forward, backward, clipping, update. Rounds go in turn,
in an order that changes; the median of their paired ratios counts. Above 1 means that we are faster.
"""

import statistics

import torch

from lib.models.llama import Llama
from lib.models.presets import preset
from lib.run.device import autocast, cpu_multiplies_bfloat16, pick_device
from lib.run.train import Recipe, train
from tests.benchmarks.bench_generate import peer_of, show, timed

ROUNDS, ROWS, LENGTH = 15, 8, 256


class Batches:
    """The same random batch at every step."""

    def __init__(self, vocab_size):
        stream = torch.randint(vocab_size, (ROWS, LENGTH + 1))
        self.batch = stream[:, :-1], stream[:, 1:]

    def __getitem__(self, step):
        return self.batch


def our_steps(model, batches, dtype):
    """Return a function that does one step of `train`."""
    run = train(model, batches, Recipe(steps=10**6), dtype=dtype, device="cpu")
    return lambda: next(run).loss


def peer_steps(peer, batches, dtype):
    """Return a function that does what a user of transformers writes for one step."""
    peer.train()
    optimizer = torch.optim.AdamW(peer.parameters(), lr=3e-5, betas=(0.9, 0.95), weight_decay=0.1, fused=True)

    def step():
        x, y = batches[0]
        with autocast(pick_device("cpu"), dtype):
            logits = peer(input_ids=x, use_cache=False).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), y.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(peer.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def compare(dtype, rounds=ROUNDS):
    """Return (name, ours, peer, ratio, ratio of processor time); ours and peer in tokens a second."""
    torch.manual_seed(0)
    model = Llama(preset("tiny-llama").config)
    batches = Batches(model.config.vocab_size)
    peer = peer_of(model)
    steps = our_steps(model, batches, dtype), peer_steps(peer, batches, dtype)
    first = [step() for step in steps]
    assert abs(first[0] - first[1]) < 0.01 * first[1], f"the losses differ, {first}, so the speeds do not compare"
    pairs = []
    for turn in range(-2, rounds):
        order = (0, 1) if turn % 2 else (1, 0)
        times = {which: timed(steps[which])[1:] for which in order}
        if turn >= 0:
            pairs.append((times[0], times[1]))
    clock = statistics.median(b[0] / a[0] for a, b in pairs)
    processor = statistics.median(b[1] / a[1] for a, b in pairs)
    speeds = [ROWS * LENGTH / statistics.median(pair[i][0] for pair in pairs) for i in (0, 1)]
    return (f"training step, {dtype}", *speeds, clock, processor)


def rows(rounds=ROUNDS):
    """Return a row for each dtype in which this processor multiplies."""
    dtypes = ["float32", "bfloat16"] if cpu_multiplies_bfloat16() else ["float32"]
    return [compare(dtype, rounds) for dtype in dtypes]


def main():
    """Print the table."""
    show(f"tokens/s; the peer is transformers, sdpa; {ROWS} rows of {LENGTH}", rows())


if __name__ == "__main__":
    main()
