"""`python3 -m lib entries`: train what the course's own board opens with, or any other list of commands, seed by seed.

A run that is there is not run again, one that was stopped goes on.
"""

import argparse
import json
import shlex
import time
from pathlib import Path

from lib.run.commands import main as lib_command
from lib.teach.contest import CONTEST, load_rules

ROOT = Path(__file__).resolve().parents[3]
SAME = "--flops {flops:g} --megabytes 1 --stories 0 --device cpu --dtype float32 --seed {seed} --out {out}"


def main(arguments):
    """Train the runs that are missing; return the exit code of the first that fails, else 0."""
    parser = argparse.ArgumentParser("python3 -m lib entries", description="Train the entries of a board.")
    parser.add_argument("--list", type=Path, default=CONTEST / "ours.json", help="{name: arguments of train}")
    parser.add_argument("--board", type=Path, default=CONTEST, help="whose rules (default: the course's)")
    parser.add_argument("--out", type=Path, default=Path("checkpoints/contest"), help="a folder for each entry in it")
    parser.add_argument("--seconds", type=float, help="begin no run after this time; call again to go on")
    options = parser.parse_args(arguments)
    rules, begun = load_rules(options.board), time.monotonic()
    for folder, command in plan(json.loads(options.list.read_text(encoding="utf-8")), rules, options.out):
        if options.seconds is not None and time.monotonic() - begun > options.seconds:
            break
        code = 0 if is_scored(folder) else lib_command(["train", *command, *["--resume"] * is_stopped(folder)])
        if code:
            return code
    return 0


def plan(entries, rules, out):
    """Return [(folder, arguments of train)] of all runs, all entries with the first seed, then with the next."""
    runs = []
    for seed in rules["seeds"]:
        for name, arguments in entries.items():
            folder = out / folder_name(name)
            same = SAME.format(flops=rules["flops"], seed=seed, out=shlex.quote(str(folder / f"seed-{seed}")))
            runs.append((folder / f"seed-{seed}", shlex.split(f"{arguments} {same}")))
    return runs


def folder_name(name):
    """Return an entry's name as a folder has it: "LLaMA, Muon" is llama-muon."""
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def is_scored(folder):
    """Say whether the run is done, scores and all."""
    record = folder / "record.json"
    return record.is_file() and "validation_bits_per_byte" in json.loads(record.read_text(encoding="utf-8"))


def is_stopped(folder):
    """Say whether a run waits there to be gone on with."""
    return (folder / "run.pt").is_file()
