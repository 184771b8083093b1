"""`python3 -m lib tuning-study`: all runs that lesson 19 shows, three seeds each, into data/records/tune.json.

Full tuning, LoRA and DoRA get the same counted FLOPs; DPO goes on from the full one. What is there is not run again.
"""

import argparse
import json
import platform
import time
from functools import partial
from pathlib import Path

import torch

from lib.run.checkpoint import load_bundle
from lib.run.evaluate import tell_many
from lib.run.lora import adapt
from lib.run.tune import ROOM, Answer, make_room, obedience, own_pairs, steps_for, tuning_flops
from lib.run.tune_command import RATES, ROW, TEST_SEED, N, judged, tuned
from lib.text.corpora import DATA
from lib.text.instructions import instruct
from lib.weights.files import write_json

BATCH, RANK, PAIRS, DPO_STEPS = 8, 8, 4, 25  # PAIRS: a step of DPO
TRIED = 100  # instructions that DPO's pairs come from, each answered four times
RUNS = {
    "llama-tales": ("luck", "base", "full", "lora", "dora", "dpo sigmoid", "dpo hinge"),
    "rwkv-5-tales": ("luck", "base", "full", "lora"),
}


def main(arguments):
    """Fill in the runs that the record lacks, and write it after each; return the exit code."""
    parser = argparse.ArgumentParser("python3 -m lib tuning-study", description="Make the record of lesson 19.")
    parser.add_argument("--steps", type=int, default=60, help="of full tuning; the others get its FLOPs (default: 60)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, help="begin no run after this time; call again to go on")
    parser.add_argument("--out", type=Path, default=DATA / "records" / "tune.json")
    options = parser.parse_args(arguments)
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    record = {"command": f"python3 -m lib tuning-study --steps {options.steps}", "machine": machine, "runs": []}
    if options.out.is_file():
        kept = json.loads(options.out.read_text(encoding="utf-8"))
        if kept["command"] != record["command"]:
            parser.error(f"{options.out} holds runs of `{kept['command']}`: choose another --out")
        record["runs"] = kept["runs"]
    begun, shared = time.monotonic(), {}
    for base, method, seed in plan(options.seeds, record["runs"]):
        if options.seconds is not None and time.monotonic() - begun > options.seconds:
            break
        figures = one_run(base, method, seed, options.steps, shared)
        record["runs"].append({"base": base, "method": method, "seed": seed, **rounded(figures)})
        write_json(options.out, record)
        print(f"{base} {method} seed {seed}: {figures['demands']:.1%} of demands", flush=True)
    return 0


def plan(seeds, done):
    """Return (base, method, seed) of the runs that are not done yet, one seed of everything after the other.

    What does not learn is asked once.
    """
    there = {(run["base"], run["method"], run["seed"]) for run in done}
    every = [(base, method, seed) for seed in range(seeds) for base, methods in RUNS.items() for method in methods]
    return [run for run in every if run not in there and not (run[2] and run[1] in ("luck", "base"))]


def rounded(figures):
    """Round what is a share, to four digits."""
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}


def one_run(base, method, seed, steps, shared):
    """Tune with one method and seed, and judge; `shared` keeps a seed's full model and its pairs for DPO."""
    model, tokenizer = load_bundle(DATA / "checkpoints" / base)
    if method == "luck":  # stories that nobody asked for: how often do they happen to do what somebody asks?
        test = [item for new in (False, True) for item in instruct(TEST_SEED + new, N // 2, kept=True, new_words=new)]
        told = tell_many(model, tokenizer, len(test), ROOM, seed)
        return obedience(test, [Answer(text, [], True) for text in told])
    if method == "base":
        return judged(*make_room(model, tokenizer))
    if method.startswith("dpo"):
        return dpo(base, method.split()[1], seed, steps, shared)
    model, tokenizer, figures = by_answers(base, method, seed, steps)
    if method == "full":
        shared[base, seed] = (model, tokenizer)
    return figures | judged(model, tokenizer)


def by_answers(base, method, seed, steps):
    """Return a model that was shown as many answers as its method affords, its tokenizer, and what it took."""
    model, tokenizer = load_bundle(DATA / "checkpoints" / base)
    torch.manual_seed(seed)
    if method != "full":
        trial = adapt(make_room(model, tokenizer)[0], method, RANK)
        budget = steps * tuning_flops(make_room(model, tokenizer)[0], ROW, BATCH)
        steps = steps_for(budget, trial, ROW, BATCH)
    asked = argparse.Namespace(method=method, steps=steps, seed=seed, rank=RANK, batch_size=BATCH,
                               learning_rate=RATES[method], instructions=BATCH * steps)  # fmt: skip
    return tuned(model, tokenizer, asked, say=partial(print, base, method, seed))


def dpo(base, loss, seed, steps, shared):
    """Go on from the fully tuned model of this seed with pairs of its own answers; judge."""
    if (base, seed) not in shared:
        shared[base, seed] = by_answers(base, "full", seed, steps)[:2]
    model, tokenizer = shared[base, seed]
    if (base, seed, "pairs") not in shared:
        tried = list(instruct(500 + seed, TRIED))
        shared[base, seed, "pairs"] = own_pairs(model, tokenizer, tried, seed=seed)
    pairs = shared[base, seed, "pairs"]
    asked = argparse.Namespace(method="dpo", steps=DPO_STEPS, seed=seed, batch_size=PAIRS, beta=0.1, loss=loss,
                               learning_rate=RATES["dpo"], instructions=TRIED)  # fmt: skip
    model, tokenizer, figures = tuned(model, tokenizer, asked, say=partial(print, base, loss, seed), rows=pairs)
    return figures | {"pairs": len(pairs)} | judged(model, tokenizer)
