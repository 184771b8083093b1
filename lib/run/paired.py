"""Compare models seed by seed: in one seed all read the same batches in the same order. `python3 -m lib compare`.

Two runs of one model with two seeds differ, too. So a difference counts only beside the spread of the differences.
"""

import argparse
import json
import math
import shlex
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import torch

from lib.models.openelm import OpenElm, openelm_config, reversed_layers, uniform_like
from lib.models.skeleton import n_params
from lib.run.choices import standard_error
from lib.run.command_line import amount, told, whole
from lib.run.evaluate import evaluate
from lib.run.recipes import recipe
from lib.run.train import fit
from lib.text import corpora
from lib.text.batches import DocumentBatches, encode_documents
from lib.text.published import load_tokenizer
from lib.weights.files import write_beside
from lib.weights.places import refuse_place

LARGEST = 2000.0  # of |t|: beyond every quantile that is asked for here
BATCH_SIZE, LENGTH, N_SCORED = 4, 192, 4  # rows a step, tokens a row, validation batches of 32 rows


class Outcome(NamedTuple):
    """One run: which model, which seed, its loss on new text after training, and the loss of every step, in nats."""

    name: str
    seed: int
    nats: float
    losses: list


def compare(builds, batches, validation, plan, seeds, n_scored=N_SCORED):
    """Train every model with every seed, and yield an Outcome for each run.

    builds: {name: a function that returns a fresh model}; batches: a seed -> the batches of that seed; validation:
    batches, of which the first `n_scored` score all; plan: a Recipe.
    """
    for seed in seeds:
        for name, build in builds.items():
            torch.manual_seed(seed)
            model = build()
            records = fit(model, batches(seed), plan, device="cpu", dtype="float32")
            nats = evaluate(model, validation, n_batches=n_scored).nats_per_token
            yield Outcome(name, seed, nats, [record.loss for record in records])


def paired(first, second):
    """Return the mean of second - first, taken seed by seed, and the standard error of that mean.

    d_i = second_i - first_i; the standard error is the standard deviation of d over sqrt(n), n - 1 below the root.
    """
    if len(first) != len(second) or len(first) < 2:
        raise ValueError(f"{len(first)} and {len(second)} numbers: give as many of each, two or more")
    differences = [b - a for a, b in zip(first, second, strict=True)]
    return statistics.fmean(differences), standard_error(differences)


class Interval(NamedTuple):
    """A mean, and how far its interval reaches to each side."""

    mean: float
    half: float

    @property
    def clear(self):
        """Say whether zero lies outside."""
        return abs(self.mean) > self.half


def t_interval(values, share=0.95):
    """Return the `Interval` that holds the true mean in `share` of all experiments like this one.

    mean +- t s / sqrt(n): s is the standard deviation with n - 1 below the root, t that of Student's
    distribution with n - 1 degrees of freedom. Of paired runs give the differences. The values are taken as independent
    and roughly normal. ValueError for fewer than two.
    """
    values = [float(value) for value in values]
    if len(values) < 2:
        raise ValueError(f"{len(values)} numbers have no spread: give two or more")
    return Interval(statistics.fmean(values), t_value(len(values) - 1, share) * standard_error(values))


def t_value(df, share=0.95):
    """Return the t with P(|T| <= t) = share, for `df` degrees of freedom, by halving an interval."""
    if not 0 < share <= 0.99:
        raise ValueError(f"a share of {share}: above 0 and at most 0.99")
    low, high = 0.0, LARGEST
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle, df) < share else (low, middle)
    return (low + high) / 2


def p_value(values):
    """Return the chance of a mean at least as far from zero, if the true mean were zero: the paired t test, two-sided.

    The values are the differences, not all equal.
    """
    values = [float(value) for value in values]
    return 1 - within(abs(statistics.fmean(values)) / standard_error(values), len(values) - 1)


def within(t, df):
    """Return P(|T| <= t) for whole degrees of freedom, in closed form (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    if not (isinstance(df, int) and df >= 1):
        raise ValueError(f"{df!r} degrees of freedom: a whole number of 1 or more")
    angle = math.atan(t / math.sqrt(df))
    square, term, total = math.cos(angle) ** 2, 1.0, 1.0
    if df % 2 == 0:
        for k in range(1, df // 2):
            term *= square * (2 * k - 1) / (2 * k)
            total += term
        return math.sin(angle) * total
    for k in range(1, (df - 1) // 2):
        term *= square * 2 * k / (2 * k + 1)
        total += term
    rest = math.sin(angle) * math.cos(angle) * total if df > 1 else 0.0
    return 2 / math.pi * (angle + rest)


def shapes(n_layers=6, d_model=48, d_head=8, vocab_size=2048):
    """Return three tiny OpenELMs of one size: uniform, scaled by Apple's rule, and with the scaled lists reversed."""
    scaled = openelm_config(vocab_size, n_layers, d_model, d_head, context_length=256, group=2, multiple_of=8)
    return {"uniform": uniform_like(scaled), "scaled": scaled, "reversed": reversed_layers(scaled)}


def main(arguments):
    """Run `compare`; return the exit code."""
    parser = argparse.ArgumentParser(
        "python3 -m lib compare", description="Train uniform, scaled and reversed OpenELMs of one size on the tales."
    )
    parser.add_argument("--steps", type=whole(), default=1000)
    parser.add_argument("--seeds", type=whole(), default=5)
    parser.add_argument("--learning-rate", type=amount(most=100), default=0.005)
    parser.add_argument("--seconds", type=amount(), help="begin no run after this time; call again to go on")
    parser.add_argument("--out", type=Path, default=Path("checkpoints/widths.json"))
    options = parser.parse_args(arguments)
    return told("compare", lambda: fill_in(options))


def fill_in(options):
    """Fill in the runs that the record lacks, and write it after each; return the exit code."""
    plan = recipe("adamw", options.steps, learning_rate=options.learning_rate)
    command = ["python3", "-m", "lib", "compare", "--steps", options.steps, "--learning-rate", options.learning_rate]
    refuse_place(options.out)
    record = {"command": shlex.join([*map(str, command), "--seeds", str(options.seeds)]), "runs": []}
    if options.out.is_file():
        kept = kept_runs(options.out)
        if kept["command"].split(" --seeds")[0] != record["command"].split(" --seeds")[0]:
            raise ValueError(f"{options.out} holds runs of `{kept['command']}`: choose another --out")
        record["runs"] = kept["runs"]
    began, configs, (batches, validation) = time.monotonic(), shapes(), tales_batches()
    record["parameters"] = {name: n_params(OpenElm(config)) for name, config in configs.items()}
    for seed in range(options.seeds):
        for name, config in configs.items():
            late = options.seconds is not None and time.monotonic() - began > options.seconds
            if late or any((run["name"], run["seed"]) == (name, seed) for run in record["runs"]):
                continue
            builds = {name: lambda config=config: OpenElm(config)}
            (outcome,) = compare(builds, batches, validation, plan, [seed])
            losses = outcome.losses
            means = [round(statistics.fmean(losses[i : i + 25]), 4) for i in range(0, len(losses), 25)]
            record["runs"].append({"name": name, "seed": seed, "nats": round(outcome.nats, 4), "losses_by_25": means})
            write_beside(options.out, lambda path: path.write_text(json.dumps(record) + "\n", encoding="utf-8"))
            print(f"seed {seed}, {name:8} {outcome.nats:.4f} nats a token", flush=True)
    return 0


def kept_runs(path):
    """Return the record that a call of `compare` left; ValueError where the file is none."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {"command": kept["command"], "runs": kept["runs"]}
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} holds no runs of `compare`: choose another --out, or delete it") from None


def tales_batches(n_documents=4000, batch_size=BATCH_SIZE, length=LENGTH):
    """Return (a seed -> training batches, validation batches of 32 rows) of the tales, rows of `length` tokens."""
    tokenizer, corpus = load_tokenizer("tales"), corpora.load("tales")
    text = encode_documents(tokenizer, corpus.documents_train[:n_documents])
    new = encode_documents(tokenizer, corpus.documents_validation)
    return lambda seed: DocumentBatches(*text, batch_size, length, seed), DocumentBatches(*new, 32, length)
