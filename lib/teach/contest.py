"""The contest: rules as data, what can be checked of a submission, and its score above the truth.

A submission is a folder with a run of `python3 -m lib train` for each seed of the rules: seed-0, seed-1, seed-2. What
is read of it are numbers and weights; no code of it runs.
"""

import json
import math
import re
import shlex
import statistics
from pathlib import Path
from typing import NamedTuple

import torch

from lib.models.skeleton import n_params
from lib.run.checkpoint import load_bundle
from lib.run.commands import train_parser
from lib.run.cost import training_flops
from lib.run.evaluate import LONGEST, document_nats, paired_excess, score_documents, tell_many, true_nats
from lib.run.lora import adapt
from lib.run.paired import t_interval
from lib.run.tune_command import flops_of, judged, tune_parser
from lib.text import corpora, tales
from lib.text.download import sha256_of

CONTEST = Path(__file__).resolve().parents[2] / "data" / "contest"
LEAK = "below the floor by more than its error, which no model can be: it has seen these stories, or it sees ahead"


class Run(NamedTuple):
    """One trained run of a submission, with what its record says; `tuned` is a tuned (model, tokenizer, record)."""

    folder: Path
    model: torch.nn.Module
    tokenizer: object
    record: dict
    tuned: tuple | None = None


def load_rules(folder=CONTEST):
    """Return the rules of the board in that folder; the course's where it has none of its own."""
    path = Path(folder) / "rules.json"
    return json.loads((path if path.is_file() else CONTEST / "rules.json").read_text(encoding="utf-8"))


def load_entries(folder=CONTEST):
    """Return the entries of a board, the best first."""
    entries = [json.loads(path.read_text(encoding="utf-8")) for path in Path(folder).glob("entries/*.json")]
    return sorted(entries, key=lambda entry: entry["bits_above"])


def load_runs(folder, rules):
    """Return the runs, one a seed; ValueError or OSError where one is missing, damaged or no run of `train`."""
    runs = []
    for seed in rules["seeds"]:
        place = Path(folder) / f"seed-{seed}"
        if not (place / "record.json").is_file():
            raise FileNotFoundError(f"no run in {place}: the rules ask for the seeds {rules['seeds']}, train it too")
        model, tokenizer = load_bundle(place)
        tuned = (place / "tuned").is_dir() and (*load_bundle(place / "tuned"), read_record(place / "tuned"))
        runs.append(Run(place, model, tokenizer, read_record(place), tuned or None))
    return runs


def read_record(folder):
    """Return the record.json of a run, a dict."""
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    if not isinstance(record, dict):
        raise ValueError(f"{folder}/record.json holds a {type(record).__name__}, expected is an object")
    return record


def objections(runs, rules):
    """Return what speaks against a submission, a sentence each; an empty list where nothing does."""
    found = of_seeds(runs)
    for run in runs:
        missing = [name for name in rules["record"] if name not in run.record]
        said = [f"its record lacks {', '.join(missing)}"] if missing else of_run(run, rules)
        found += [f"{run.folder.name}: {sentence}" for sentence in said]
    return found


def of_run(run, rules):
    """Return what speaks against one run: its figures, and its weights."""
    try:
        asked = asked_for(run.record)
        if not run.record["curve"]:
            return ["its record has no curve of the loss: it was gone on with after its last step, train it again"]
        if asked.megabytes > rules["megabytes"]:
            return [f"trained on {asked.megabytes:g} MB of text, the rules allow {rules['megabytes']}"]
        found = of_figures(run, rules, asked) + of_weights(run, rules, asked)
    except (TypeError, ValueError, KeyError, IndexError) as error:
        return [f"it can't be checked: {error}"]
    return found


def command_of(record):
    """Return the command that makes the run anew: as typed, but not going on with one that was stopped."""
    return str(record.get("command")).replace(" --resume", "")


def asked_for(record):
    """Return the options of `train` that the record's command names; ValueError where it is no such command."""
    typed = shlex.split(record["command"])
    try:
        return train_parser().parse_args(typed[typed.index("train") + 1 :])
    except SystemExit:
        raise ValueError(f"{record['command']!r} is no command of train") from None


def of_seeds(runs):
    """Return what speaks against the runs together: one command with every seed, and a model of its own each time."""
    found = []
    hashes = [sha256_of(run.folder / "model.safetensors") for run in runs]
    if len(set(hashes)) < len(hashes):
        found.append("two seeds have the same weights: one run was handed in twice")
    if len({repr(run.model.config) for run in runs}) > 1:
        found.append("the seeds have models of different sizes: train one model with every seed")
    plain = {re.sub(r" --(seed|out) \S+", "", command_of(run.record)) for run in runs}
    if len(plain) > 1:
        found.append(f"the commands differ by more than seed and folder: {' | '.join(sorted(plain))}")
    return found


def of_figures(run, rules, asked):
    """Return which of the record's figures break a rule, or don't add up."""
    record, config = run.record, run.model.config
    step = record["batch_size"] * record["length"] * record.get("processes", 1)
    flops = record["tokens"] // record["length"] * training_flops(config, record["length"]).total
    spent = flops + tuning(run)
    seconds = max(record["wall_seconds"], record["cpu_seconds"] / max(1, record["threads"]))
    last_step, last_loss = record["curve"][-1]
    fast = flops / seconds / max(1, record["threads"]) > rules["flops_a_second"] and record["device"] == "cpu"
    size, seed = n_params(run.model), int(run.folder.name.removeprefix("seed-"))
    checks = [
        (size > rules["parameters"], f"{size:,} parameters, the rules allow {rules['parameters']:,}"),
        (size != record["parameters"], f"it has {size:,} parameters, its record says {record['parameters']:,}"),
        (spent > rules["flops"], f"{spent:.4g} FLOPs of training, the rules allow {rules['flops']:.4g}"),
        (flops != record["flops"], f"its tokens take {flops:.6g} FLOPs, its record says {record['flops']:.6g}"),
        (record["tokens"] != record["steps"] * step, f"{record['steps']} x {step} tokens are not {record['tokens']}"),
        (last_step != record["steps"], f"the curve ends at step {last_step}, the record at {record['steps']}"),
        ({record["seed"], asked.seed} != {seed}, f"it is seed {record['seed']}, and {asked.seed} in its command"),
        (asked.corpus != rules["corpus"], f"trained on {asked.corpus}, the rules say {rules['corpus']}"),
        ((asked.batch_size, asked.length) != (record["batch_size"], record["length"]), "its command has other batches"),
        (asked.steps not in (None, record["steps"]), f"its command has {asked.steps} steps, its record others"),
        (fast, f"{flops / seconds:.3g} FLOPs a second are more than {record['threads']} threads of a CPU can do"),
        (not math.isfinite(last_loss), f"its last loss is {last_loss}"),
    ]  # fmt: skip
    return [sentence for is_wrong, sentence in checks if is_wrong]


def tuning(run):
    """Return the FLOPs that went into the tuned form of a run, counted anew from its command; 0 where it has none."""
    if run.tuned is None:
        return 0
    model, _, record = run.tuned
    typed = shlex.split(record["command"])
    asked = tune_parser().parse_args(typed[typed.index("tune") + 1 :])
    model, _ = load_bundle(run.folder / "tuned")
    model = adapt(model, asked.method, asked.rank) if asked.method in ("lora", "dora") else model
    return asked.steps * flops_of(model, asked.method, asked.batch_size)


def of_weights(run, rules, asked):
    """Return whether the weights are those of the record: their hash, and the loss that they have on public stories."""
    record, digest = run.record, sha256_of(run.folder / "model.safetensors")
    found = []
    if digest != record["weights_sha256"]:
        found.append(f"the weights' SHA-256 is {digest[:12]}..., the record says {record['weights_sha256'][:12]}...")
    if sees_ahead(run.model):
        found.append("a later token changes what it says of an earlier one: it sees ahead")
    public = corpora.load("tales", int(1e6 * asked.megabytes)).documents_validation
    if not all(run.tokenizer.decode(run.tokenizer.encode(text)) == text for text in public[:50]):
        return [*found, "its tokenizer does not give back the text that it was given"]
    nats, said = remeasured(run, public), record["validation_nats_per_token"]
    if not abs(nats / said - 1) <= rules["loss_apart"]:
        found.append(f"on the public new stories it needs {nats:.4f} nats a token, its record says {said:.4f}")
    last = record["curve"][-1][1]
    if not abs(last / nats - 1) <= rules["curve_apart"]:
        found.append(f"its curve ends at {last:.4f} nats a token, and it needs {nats:.4f} on new stories")
    return found


def remeasured(run, documents):
    """Return the nats a token of a run's model on documents."""
    return score_documents(document_nats(run.model, run.tokenizer, documents), documents).nats_per_token


@torch.inference_mode()
def sees_ahead(model, T=40, apart=1e-3):
    """Say whether the last of T tokens changes a logit before it. Rounding changes some by less than `apart`."""
    generator, T = torch.Generator().manual_seed(0), min(T, model.config.context_length or T)
    tokens = torch.randint(model.config.vocab_size, (2, T), generator=generator)
    tokens[1, :-1] = tokens[0, :-1]
    tokens[1, -1] = (tokens[0, -1] + 1) % model.config.vocab_size
    one, other = (model(row[None])[0][0, :-1] for row in tokens)
    return not bool((one - other).abs().max() <= apart)  # NaN sees ahead, too


class Above(NamedTuple):
    """Bits a byte above what some stories cost by their own grammar, and the standard error of that."""

    bits: float
    error: float


def above_truth(model, tokenizer, stories):
    """Return an `Above`: the excess of `paired_excess`, times the true bits a byte of these stories."""
    share, error = paired_excess([nats for nats, _ in document_nats(model, tokenizer, stories)], stories)
    truth = sum(true_nats(i, text) for i, text in enumerate(stories)) / math.log(2)
    truth /= sum(len(text.encode("utf-8")) for text in stories)
    return Above(share * truth, error * truth)


def leaks(above, errors):
    """Say whether a score is below zero by more than so many of its standard errors, or is no number at all."""
    return not above.bits + errors * above.error >= 0


def knows_better(known, new, errors):
    """Say whether a model is nearer to the truth on known stories than on new ones, by more than the errors of both."""
    return known.bits - new.bits < -errors * math.hypot(known.error, new.error)


def score(runs, rules, seed):
    """Return the figures of each run, a dict: its score on stories of `seed`, and what it tells.

    ValueError with the sentence that refuses it: a leak, or public new stories that the model knows better than others.
    """
    stories = [story.text for story in tales.stories(seed, rules["scored_stories"])]
    return [score_run(run, rules, stories) for run in runs]


def score_run(run, rules, stories):
    """Return the figures of one run; see `score`."""
    new = above_truth(run.model, run.tokenizer, stories)
    refuse_leak(new, rules, run.folder.name)
    megabytes, second = asked_for(run.record).megabytes, rules["public_seeds"]["validation"]
    public = corpora.load("tales", int(1e6 * megabytes)).documents_validation[: rules["scored_stories"]]
    known = above_truth(run.model, run.tokenizer, public)
    if knows_better(known, new, rules["errors_below"]):
        raise ValueError(
            f"{run.folder.name}: {known.bits:.4f} bits a byte above the truth on the public new stories, "
            f"{new.bits:.4f} on drawn ones: it was trained on the stories of seed {second}"
        )
    room = min(LONGEST, run.model.config.context_length or LONGEST)
    texts = tell_many(run.model, run.tokenizer, rules["told_stories"], room, run.record["seed"])
    kept = ("seed", "steps", "tokens", "weights_sha256", "cpu_seconds", "validation_bits_per_byte")
    return {
        "command": command_of(run.record),
        **{name: run.record[name] for name in kept},
        "bits_above": round(new.bits, 5),
        "error": round(new.error, 5),
        "facts": statistics.fmean(map(tales.facts_hold, texts)),
        "obeys": round(judged(*run.tuned[:2])["demands"], 4) if run.tuned else None,
    }


def refuse_leak(above, rules, name):
    """Raise the ValueError that refuses a score below the floor."""
    if leaks(above, rules["errors_below"]):
        raise ValueError(f"{name}: {above.bits:+.4f} ± {above.error:.4f} bits a byte is {LEAK}")


def entry_of(name, by, runs, figures, scored):
    """Return an entry of the board: the mean over the seeds with its t interval of 95 %, and every run.

    scored: {"seed", "stories", "told"}, how it was scored.
    """
    first = runs[0]
    interval = t_interval([run["bits_above"] for run in figures])
    obeys = [run["obeys"] for run in figures]
    return {
        "name": name,
        "by": by,
        "bits_above": round(interval.mean, 5),
        "half": round(interval.half, 5),
        "facts": round(statistics.fmean(run["facts"] for run in figures), 4),
        "obeys": None if None in obeys else round(statistics.fmean(obeys), 4),
        "parameters": n_params(first.model),
        "flops": max(run.record["flops"] + tuning(run) for run in runs),
        "scored": scored,
        "versions": {part: first.record[part] for part in ("torch", "machine", "threads")},
        "runs": figures,
    }
