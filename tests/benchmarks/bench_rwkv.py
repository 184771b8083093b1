"""What a training step of a tiny RWKV costs beside one of the tiny LLaMA: equal parameters, T 512.

All do the same through `train`: forward, backward, clipping, fused AdamW, on the same random batch. A row is the median
of its paired ratios to LLaMA's step. A second LLaMA shows the noise.
"""

import torch

from lib.models.llama import Llama
from lib.models.presets import TINY_RWKV, preset
from lib.models.rwkv import Rwkv
from lib.models.skeleton import n_params
from lib.run.device import cpu_multiplies_bfloat16
from tests.benchmarks.bench_train import Batches, our_steps
from tests.benchmarks.race import median, race, ratios

ROUNDS, ROWS, LENGTH = 9, 8, 512


def models():
    """Return {name: model}: LLaMA twice, then the generations of RWKV."""
    torch.manual_seed(0)
    llamas = {name: Llama(preset("tiny-llama").config) for name in ("tiny-llama", "tiny-llama again")}
    return llamas | {name: Rwkv(entry.config) for name, entry in TINY_RWKV.items()}


def compare(dtype, rounds=ROUNDS, rows=ROWS, length=LENGTH):
    """Return (name, parameters, ms of processor, ms on the clock, ratio, ratio on the clock) for each model."""
    candidates = models()
    batches = Batches(2048, rows, length)
    times = race({name: our_steps(model, batches, dtype) for name, model in candidates.items()}, rounds)
    table = []
    for name, model in candidates.items():
        milliseconds = [1000 * median(times[name], which) for which in (1, 0)]
        beside_llama = [ratios(times[name], times["tiny-llama"], which)[1] for which in (1, 0)]
        table.append((name, n_params(model), *milliseconds, *beside_llama))
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
