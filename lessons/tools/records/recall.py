"""`python3 -m lib recall pairs|split|tales`: what stands on record for lesson 17, each run anew where it is missing.

A record is written after each run, so a call that is stopped goes on where it was.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import torch

from lessons.tools.records import recall_pairs, recall_split, recall_tales
from lib.weights.files import write_beside

ROOT = Path(__file__).resolve().parents[3]
RECORDS = ROOT / "data" / "records"
FILES = {"pairs": "recall.json", "split": "recall_split.json", "tales": "hybrid.json"}


def main(arguments, records=RECORDS):
    """Fill in what one record lacks; return 0."""
    parser = argparse.ArgumentParser("python3 -m lib recall", description="Measure what lesson 17 has on record.")
    help_text = "recall of pairs by six mixers; the loss of our checkpoints in parts; a hybrid trained beside others"
    parser.add_argument("part", choices=FILES, help=help_text)
    parser.add_argument("--seconds", type=float, help="begin no run after this time; call again to go on")
    parser.add_argument("--out", type=Path, help="the record (default: in data/records)")
    options = parser.parse_args(arguments)
    out = options.out or records / FILES[options.part]
    record = {"command": f"python3 -m lib recall {options.part}", **machine(), "runs": []}
    if out.is_file():
        record["runs"] = json.loads(out.read_text(encoding="utf-8"))["runs"]
    module = {"pairs": recall_pairs, "split": recall_split, "tales": recall_tales}[options.part]
    planned = module.plan()
    fill(record, planned, planned, module.run, out, options.seconds)
    return 0


def fill(record, planned, order, run, out, seconds=None):
    """Make the runs of `planned`, dicts, that the record lacks; write it after each, its runs as in `order`.

    run(**key) gives a run's figures. seconds: begin no run after this time.
    """
    began = time.monotonic()
    for key in missing(planned, record["runs"]):
        if seconds is not None and time.monotonic() - began > seconds:
            break
        done = {**key, **run(**key)}
        record["runs"] = in_order(order, [*record["runs"], done])
        write(out, record)
        print(json.dumps(done)[:240], flush=True)


def write(out, record):
    """Write the record beside its place, then rename it."""
    write_beside(out, lambda path: path.write_text(as_lines(record), encoding="utf-8"))


def missing(plan, runs):
    """Return the keys of `plan`, dicts, that no run has."""
    return [key for key in plan if not any(key.items() <= run.items() for run in runs)]


def in_order(plan, runs):
    """Return the runs in the order of the plan, however often it was stopped; those of another plan come last."""
    places = [next((i for i, key in enumerate(plan) if key.items() <= run.items()), len(plan)) for run in runs]
    return [run for _, run in sorted(zip(places, runs, strict=True), key=lambda pair: pair[0])]


def as_lines(record):
    """Return a record as JSON, a run a line."""
    head = json.dumps({name: value for name, value in record.items() if name != "runs"}, indent=1)
    runs = ",\n  ".join(json.dumps(run) for run in record["runs"])
    return f'{head[:-2]},\n "runs": [\n  {runs}\n ]\n}}\n'


def machine():
    """Return what a figure may depend on beside the seed."""
    return {"torch": torch.__version__, "threads": torch.get_num_threads(), "machine": platform.machine()}
