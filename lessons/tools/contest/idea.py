"""`python3 -m lib idea`: the worked example of lesson 22, two ideas held against what they would replace, seed by seed.

PLAN was written before the first run. What is there is not run again, and the record is written after each run.
"""

import argparse
import json
import platform
import shlex
import time
from pathlib import Path

import torch

from lib.run.commands import train_parser
from lib.run.recipes import make_plan
from lib.run.train import train
from lib.run.train_command import new_model, prepare
from lib.teach.contest import above_truth
from lib.text import tales
from lib.text.corpora import DATA
from lib.weights.files import write_json

SIZES = "--set n_layers=2 --set d_model=64 --set n_heads=4 --set n_kv_heads=4 --set d_head=16 --set d_ff=176"
BASE = f"llama --recipe muon --flops 2e11 --megabytes 2 --stories 0 --device cpu --dtype float32 {SIZES}"
ARMS = {"base": "", "one key head": "--set n_kv_heads=1", "batches of 16": "--batch-size 16"}
PLAN = {
    "question": "At 2e11 FLOPs, does a change take the tiny LLaMA nearer to the floor?",
    "ideas": {
        "one key head": "all four query heads share one key and one value head; the FLOPs saved buy more steps",
        "batches of 16": "twice as many rows a step give a quieter gradient; the FLOPs pay for half as many steps",
    },
    "measure": "bits a byte above the truth, 200 stories of a seed that no run was chosen by",
    "seeds": [0, 1, 2, 3, 4, 5, 6, 7],
    "decision": "an idea is taken if the t interval of 95 % of its paired difference lies below zero",
    "test_seed": 271_828_182,
    "stories": 200,
}


def main(arguments):
    """Fill in the runs that the record lacks; return 0."""
    parser = argparse.ArgumentParser("python3 -m lib idea", description="Make the record of lesson 22.")
    parser.add_argument("--seconds", type=float, help="begin no run after this time; call again to go on")
    parser.add_argument("--out", type=Path, default=DATA / "records" / "idea.json")
    options = parser.parse_args(arguments)
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    record = {
        "command": "python3 -m lib idea",
        "machine": machine,
        "base": BASE,
        "arms": ARMS,
        "plan": PLAN,
        "runs": [],
    }
    if options.out.is_file():
        record["runs"] = json.loads(options.out.read_text(encoding="utf-8"))["runs"]
    done, begun = {(run["arm"], run["seed"]) for run in record["runs"]}, time.monotonic()
    for arm, seed in [(arm, seed) for seed in PLAN["seeds"] for arm in ARMS if (arm, seed) not in done]:
        if options.seconds is not None and time.monotonic() - begun > options.seconds:
            break
        record["runs"].append({"arm": arm, "seed": seed, **run(arm, seed, options.out.parent / "idea.tmp")})
        write_json(options.out, record)
        print(arm, seed, record["runs"][-1], flush=True)
    return 0


def run(arm, seed, folder):
    """Train one arm with one seed by the command that `train` would be given; return its figures."""
    asked = train_parser().parse_args(shlex.split(f"{BASE} {ARMS[arm]} --seed {seed} --out {shlex.quote(str(folder))}"))
    plan = make_plan(asked, "idea")
    data = prepare(plan)
    folder.rmdir()  # prepare made it, to see whether it can be written
    model, begun = new_model(plan, data.tokenizer.vocab_size), time.process_time()
    for _ in train(model, data.batches, plan.make_recipe(plan.steps), device=plan.device, dtype=plan.dtype):
        pass
    seconds = time.process_time() - begun
    stories = [story.text for story in tales.stories(PLAN["test_seed"], PLAN["stories"])]
    above = above_truth(model.eval(), data.tokenizer, stories)
    figures = {"bits_above": above.bits, "error": above.error, "cpu_seconds": seconds}
    return {"steps": plan.steps} | {name: round(value, 5) for name, value in figures.items()}
