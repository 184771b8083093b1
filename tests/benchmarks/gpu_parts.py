"""What `python3 -m lib gpu-check` measures, each part by a `python -m tests.benchmarks.gpu_parts PART` of its own.

A figure is a line of JSON on stdout as soon as it is known, so that a part which is stopped has said what it has. The
contestants are those of bench_train, bench_generate and bench_wkv.
"""

import argparse
import contextlib
import functools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch

from lessons.tools.versions import counted
from lib.run import commands, evaluate
from lib.run.measure import peak_bytes
from tests.benchmarks import bench_generate, bench_train, bench_wkv
from tests.benchmarks.race import median, race, ratios

ROOT = Path(__file__).resolve().parents[2]


class Size(NamedTuple):
    """How much is measured. `shapes`: rows and tokens a row of a step; `train`: flags of `train`."""

    shapes: tuple
    rounds: int
    new: int
    lengths: tuple
    train: tuple
    stories: int


# What is told of a training's own record, with its units.
TRAINED = {"steps": "steps", "tokens": "tokens", "validation_nats_per_token": "nats a token", "wall_seconds": "s"}
TRAINED |= {"excess_over_truth": "share", "share_stories": "share", "share_facts_hold": "share"}
FULL = Size(((8, 256), (128, 256)), 25, 256, (256, 1024), ("--minutes", "1.2"), evaluate.N_STORIES)
SMALL = Size(((2, 16),), 1, 8, (16, 24), ("--steps", "2", "--megabytes", "0.02", "--batch-size", "2"), 1)


def finished(job, device):
    """Return a job that is over when the device has done all of it: CUDA takes orders, and does them later."""
    if device != "cuda":
        return job

    def whole():
        result = job()
        torch.cuda.synchronize()
        return result

    return whole


def most_memory(job, device):
    """Return the bytes that a job held at once, beyond what was there before it."""
    if device != "cuda":
        return peak_bytes(job)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    job()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def compete(tell, jobs, size, device, conditions, work=None):
    """Race {name: job}, ours first, and tell each one's speed, or milliseconds, and how often ours is as fast."""
    jobs = {name: finished(job, device) for name, job in jobs.items()}
    times = race(jobs, size.rounds)
    ours = next(iter(jobs))
    for name, seconds in times.items():
        clock = median(seconds)
        value, unit = (1000 * clock, "ms") if work is None else (work / clock, "tokens/s")
        low, ratio, high = ratios(seconds, times[ours])
        spread = {} if name == ours else {"ratio": round(ratio, 2), "middle_half": [round(low, 2), round(high, 2)]}
        tell(name, round(value, 2 if work is None else None), unit, conditions, **spread)


def part_tests(tell, size, device, peers):
    """Run the tests that are marked `cuda`."""
    mark = "mark." + "cuda"
    files = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if mark in path.read_text(encoding="utf-8")]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider", f"--junitxml={report}"]
        subprocess.run([*command, *map(str, files)], cwd=ROOT, stdout=sys.stderr, check=False)
        found = counted(report)
    for outcome in ("passed", "failed", "skipped"):
        tell(f"tests that need CUDA, {outcome}", found[outcome], "tests", "`pytest -m cuda`")


def part_step(tell, size, device, peers):
    """Race training steps of the tiny LLaMA; the peers' losses have to be ours before any time counts."""
    names = {"ours": "ours", "transformers, sdpa": "sdpa", "transformers, eager": "eager"}
    names |= {"nanoGPT-shaped": "nanoGPT-shaped"} | ({"litgpt": "litgpt"} if peers else {})
    for rows, length in size.shapes:
        batch = {"rows": rows, "length": length, "device": device}
        jobs = {label: bench_train.make_job(name, "bfloat16", peers, **batch) for label, name in names.items()}
        first = {label: job() for label, job in jobs.items()}
        ours, theirs = first["ours"], first["transformers, sdpa"]
        if abs(ours - theirs) > 0.01 * theirs:
            raise ValueError(f"the losses differ, so no speed counts: {first}")
        conditions = f"training step, tiny LLaMA, bfloat16, {rows} x {length} tokens, fused AdamW"
        compete(tell, jobs, size, device, conditions, rows * length)
        for label, job in jobs.items():
            megabytes = most_memory(job, device) / 1e6
            tell(label, round(megabytes, 1), "MB", f"memory of a {conditions}, beyond weights and optimizer")


def part_generate(tell, size, device, peers):
    """Race generation, batch 1; whether all wrote the same tokens is a figure, too."""
    jobs = bench_generate.jobs(size.new, device)
    conditions = f"{size.new} tokens, batch 1, greedy, float32"
    told = [job() for job in jobs.values()]
    same = min((told[0] == other).float().mean().item() for other in told[1:])
    tell("tokens that are the same", round(same, 4), "share", conditions)
    few = size._replace(rounds=min(size.rounds, bench_generate.ROUNDS))
    compete(tell, jobs, few, device, conditions, size.new)


def part_wkv(tell, size, device, peers):
    """Race the forms of WKV, forward and backward; a form that is off does not count."""
    N, few = 64, size._replace(rounds=min(size.rounds, 3))
    for T in size.lengths:
        for generation in (4, 5, 6, 7):
            tensors = [z.to(device) for z in bench_wkv.inputs(generation, N, T)]
            known, _ = bench_wkv.forms(generation, T, peers and Path(peers), compiled=False)
            if T == max(size.lengths):  # the slow ones take long here
                known = {name: known[name] for name in ("chunked", "loop")}
            jobs = {name: bench_wkv.job(form, tensors) for name, form in known.items()}
            truth = jobs["loop"]()
            for name, run in jobs.items():
                error = ((run() - truth).abs().max() / truth.abs().max()).item()
                if not error < 1e-3:
                    raise ValueError(f"RWKV-{generation}, {name}: off by {error:.1e}, so its speed does not count")
            channels = f"B {bench_wkv.B}, D {bench_wkv.D}" + (f", head size {N}" if generation > 4 else "")
            compete(tell, jobs, few, device, f"WKV of RWKV-{generation}, float32, T {T}, {channels}")


def part_train(family, tell, size, device, peers):
    """Train with the course's own command, and tell its figures."""
    evaluate.N_STORIES = size.stories  # this process is ours
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--device", device, "--dtype", "bfloat16", *size.train, "--out", folder + "/out"]
        arguments = ["train", *family.split(), *flags]
        if commands.main(arguments):
            raise ValueError(f"`{' '.join(arguments[:-2])}` failed: see above")
        record = json.loads(Path(folder, "out", "record.json").read_text(encoding="utf-8"))
    about = f"`train {' '.join(arguments[1:-2])}`"
    for name, unit in TRAINED.items():
        tell(name.replace("_", " "), record[name], unit, about)
    if device == "cuda":
        tell("most memory", round(torch.cuda.max_memory_allocated() / 1e6, 1), "MB", about)


# Each part with its limit in seconds: less than eight minutes together.
PARTS = {
    "tests": (part_tests, 90),
    "step": (part_step, 70),
    "generate": (part_generate, 50),
    "wkv": (part_wkv, 70),
    "llama": (functools.partial(part_train, "llama"), 95),
    "rwkv": (functools.partial(part_train, "rwkv --generation 7 --recipe muon"), 95),
}


def main(argv=None):
    """Measure one part."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks.gpu_parts")
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--peers")
    options = parser.parse_args(argv)
    out, begun = sys.stdout, time.perf_counter()

    def tell(name, value, unit, conditions, **more):
        row = {"name": name, "value": value, "unit": unit, "conditions": conditions, **more}
        print(json.dumps(row), file=out, flush=True)

    with contextlib.redirect_stdout(sys.stderr):
        PARTS[options.part][0](tell, SMALL if options.small else FULL, options.device, options.peers)
        print(f"{options.part}: {time.perf_counter() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
