"""What a training step of a tiny RWKV costs beside one of the tiny LLaMA: equal parameters, T 512.

All do the same through `train`: forward, backward, clipping, fused AdamW, on the same random batch. Rounds go in turn,
in an order that changes; a row is the median of its paired ratios to LLaMA's step. A second LLaMA shows the noise.
"""

import statistics

import torch

from lib.models.llama import Llama
from lib.models.presets import TINY_RWKV, preset
from lib.models.rwkv import Rwkv
from lib.models.skeleton import n_params
from lib.run.device import cpu_multiplies_bfloat16
from lib.run.train import Recipe, train
from tests.benchmarks.race import timed

ROUNDS, ROWS, LENGTH = 9, 8, 512


class Batches:
    """The same random batch at every step."""

    def __init__(self, vocab_size, rows=ROWS, length=LENGTH):
        stream = torch.randint(vocab_size, (rows, length + 1))
        self.batch = stream[:, :-1], stream[:, 1:]

    def __getitem__(self, step):
        return self.batch


def models():
    """Return {name: model}: LLaMA twice, then the generations of RWKV."""
    torch.manual_seed(0)
    llamas = {name: Llama(preset("tiny-llama").config) for name in ("tiny-llama", "tiny-llama again")}
    return llamas | {name: Rwkv(entry.config) for name, entry in TINY_RWKV.items()}


def compare(dtype, rounds=ROUNDS, rows=ROWS, length=LENGTH):
    """Return (name, parameters, ms of processor, ms on the clock, ratio, ratio on the clock) for each model."""
    candidates, times = models(), {}
    batches = Batches(2048, rows, length)
    runs = {
        name: train(model, batches, Recipe(steps=10**6), dtype=dtype, device="cpu")
        for name, model in candidates.items()
    }
    for turn in range(-2, rounds):
        for name in sorted(runs, reverse=bool(turn % 2)):
            seconds = timed(lambda name=name: next(runs[name]))[1:]
            if turn >= 0:
                times.setdefault(name, []).append(seconds)
    table = []
    for name, model in candidates.items():
        pairs = list(zip(times[name], times["tiny-llama"], strict=True))
        clock, processor = (1000 * statistics.median(part) for part in zip(*times[name], strict=True))
        ratios = [statistics.median(ours[i] / base[i] for ours, base in pairs) for i in (1, 0)]
        table.append((name, n_params(model), processor, clock, *ratios))
    return table


def main():
    """Print a table for each dtype in which this processor multiplies."""
    for dtype in ["float32", "bfloat16"] if cpu_multiplies_bfloat16() else ["float32"]:
        print(f"a training step, {dtype}, {ROWS} rows of {LENGTH}, {torch.get_num_threads()} threads; times in ms")
        print(f"{'':20}{'parameters':>12}{'CPU':>9}{'clock':>9}{'x LLaMA':>9}{'clock':>9}")
        for name, size, processor, clock, ratio, on_clock in compare(dtype):
            print(f"{name:20}{size:12,}{processor:9.1f}{clock:9.1f}{ratio:9.2f}{on_clock:9.2f}", flush=True)


if __name__ == "__main__":
    main()
