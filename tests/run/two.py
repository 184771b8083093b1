"""What two processes do, for test_processes: torchrun starts this file twice, with a folder to work in.

Each case is trained by both together. The first process writes what came out; the test holds it against one process.
"""

import itertools
import os
import sys
from pathlib import Path

import torch

from lib.run.checkpoint import Keep
from lib.run.processes import Copies, Shards, team
from lib.run.train import Recipe, train
from tests.run.tiny import counting, tiny_llama, tiny_rwkv

RECIPE = Recipe(steps=8, warmup=3, learning_rate=0.01, accumulate=2)
CASES = {"llama": tiny_llama, "rwkv": lambda seed=0: tiny_rwkv(7, seed)}
CPU = {"device": "cpu", "dtype": "float32"}


def trained(make, stop=None, **options):
    """Train to the end, or a few steps; return the model, the numbers of each step, and its last gradients."""
    model = make()
    run = train(model, counting(), RECIPE, **CPU, **options)
    numbers = [[r.step, r.loss, r.grad_norm, r.tokens] for r in itertools.islice(run, stop)]
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    run.close()
    return model, numbers, gradients


def main(folder):
    """Train each case as copies and as shards; leave half a run for one process, and end the half that one left."""
    with team(device="cpu") as copies:
        assert type(copies) is Copies and copies.size == 2
        for kind, together in {"copies": copies, "shards": Shards()}.items():
            for name, make in CASES.items():
                out = folder / f"{name}-{kind}"
                model, numbers, gradients = trained(make, team=together)
                gradients, weights = together.gather(gradients), together.whole(model).state_dict()
                trained(make, stop=4, checkpoint=Keep(folder / f"{name}-{kind}-half.pt"), team=together)
                kept = Keep(folder / f"{name}-one-half-{kind}.pt", seconds=None)
                _, rest, _ = trained(lambda make=make: make(seed=1), checkpoint=kept, team=together)
                if together.rank == 0:
                    saved = {"numbers": numbers, "gradients": gradients, "weights": weights, "rest": rest}
                    torch.save(saved, out.with_suffix(".out"))
        try:
            trained(tiny_llama, checkpoint=folder / "foreign.pt", team=copies)
        except ValueError as error:
            (folder / f"refused-{copies.rank}").write_text(str(error))
        os.write(1, f"process {copies.rank} is done\n".encode())
        print(f"the first one speaks: {copies.rank}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
