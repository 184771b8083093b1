"""`python3 -m lib scale`: the grid of runs behind lesson 20, each with its own full schedule; and one larger run.

Five budgets of training FLOPs over two decades, four to seven sizes of a family in each. A record is written after each
run, so a call that is stopped goes on where it was. `--predict` fits the law and writes down what a run of twice
the largest budget should reach; `--run-predicted` trains it afterwards.
"""

import argparse
import functools
import json
import math
import statistics
import time
from pathlib import Path

import torch

from lessons.tools.records.recall import fill, machine, write
from lib.models.llama import LlamaConfig
from lib.models.rwkv import RwkvConfig
from lib.models.skeleton import head_from_embedding, n_params
from lib.run.checkpoint import FAMILIES
from lib.run.command_line import amount, told
from lib.run.cost import n_parameters, training_flops
from lib.run.evaluate import document_nats
from lib.run.recipes import recipe
from lib.run.scaling import fit, middle, resampled
from lib.run.train import train
from lib.run.train_command import SPREAD
from lib.text import tales
from lib.text.batches import DocumentBatches, encode_documents
from lib.text.bpe import BPE
from lib.text.published import load_tokenizer

OUT = Path(__file__).resolve().parents[3] / "data" / "records" / "scaling.json"
SIZES = [(16, 2), (32, 1), (24, 3), (32, 3), (40, 3), (48, 4), (64, 4), (80, 5), (96, 6), (128, 6)]  # d_model, n_layers
BUDGETS = [5e10 * 10 ** (i / 2) for i in range(5)]  # FLOPs
CHOSEN = [slice(0, 6), slice(0, 7), slice(1, 8), slice(2, 8), slice(4, 8)]  # the sizes that each budget trains
LARGER, BEYOND = [(144, 6), (160, 7)], 2 * BUDGETS[-1]  # sizes and the budget of the run that is predicted
# A small vocabulary, so that the embedding and the head are not most of a small model. It is the first part of the
# tales' own: BPE learns the same merges first, however many it goes on to learn.
VOCAB_SIZE, BATCH_SIZE, LENGTH = 512, 2, 384  # no story has more than 384 tokens
SEED, SCORED_SEED, N_SCORED, N_MIDDLE = 20_000_000, 20_500_000, 1500, 300
MIDDLE = (0.25, 0.5)  # the shares of a run after which it is scored before its end, for the exercise
FAMILY = {"llama": "LLaMA", "rwkv": "RWKV-5"}


def shape(family, d_model, n_layers):
    """Return the config of a model of that width and depth; d_ff is 2.75 or 3 times the width, rounded up to eight."""
    d_head = 16 if d_model % 16 == 0 else 8
    if family == "llama":
        heads, d_ff = d_model // d_head, 8 * math.ceil(2.75 * d_model / 8)
        return LlamaConfig(VOCAB_SIZE, n_layers, d_model, heads, heads, d_head, d_ff, context_length=LENGTH)
    return RwkvConfig(5, VOCAB_SIZE, n_layers=n_layers, d_model=d_model, d_ff=3 * d_model, d_head=d_head)


def rate(d_model):
    """Return the learning rate: 0.8 / d_model, at most 0.03. A short sweep at 1.3e11 FLOPs chose it."""
    return min(0.03, 0.8 / d_model)


def plan(families=FAMILY, budgets=BUDGETS):
    """Return what is to be run, the cheapest first."""
    keys = []
    for budget in budgets:
        keys += [key(family, budget, *size) for size in SIZES[CHOSEN[BUDGETS.index(budget)]] for family in families]
    return keys


def key(family, budget, d_model, n_layers):
    """Return what tells one run from another: the tokens are those that the budget pays for."""
    config = shape(family, d_model, n_layers)
    steps = max(1, round(budget / training_flops(config, LENGTH, BATCH_SIZE).total))
    return {"family": family, "budget": budget, "d_model": d_model, "n_layers": n_layers, "steps": steps, "seed": 0}


def run(family, d_model, n_layers, steps, seed, budget=None, learning_rate=None):
    """Train one model from nothing on stories that come once each; score it on new ones, also in its middle."""
    config = shape(family, d_model, n_layers)
    torch.manual_seed(seed)
    model = FAMILIES[family][0](config)
    head_from_embedding(model, SPREAD.get(family))
    plan = recipe("adamw", steps, learning_rate=learning_rate or rate(d_model))
    batches, begun = fresh_batches(steps, seed), time.process_time()
    halfway, losses = [], []
    at = {max(1, round(share * steps)): share for share in MIDDLE}
    for record in train(model, batches, plan, device="cpu", dtype="float32"):
        losses.append(record.loss)
        if record.step in at and steps > 1:
            halfway.append({"tokens": record.tokens, "nats": round(scored(model, N_MIDDLE)[0], 5)})
    nats, error, truth = scored(model, N_SCORED)
    table = config.vocab_size * config.d_model
    return {
        "parameters": n_params(model),
        "without_tables": n_params(model) - 2 * table,
        "flops": steps * training_flops(config, LENGTH, BATCH_SIZE).total,
        "tokens": record.tokens,
        "learning_rate": round(plan.learning_rate, 6),
        "nats": round(nats, 5),
        "truth": round(truth, 5),
        "excess": round(nats - truth, 5),
        "excess_error": round(error, 5),
        "train_nats": round(statistics.fmean(losses[-max(1, steps // 20) :]), 5),
        "middle": halfway,
        "cpu_seconds": round(time.process_time() - begun, 1),
    }


@functools.cache
def tokenizer():
    """Return the tokenizer: the first 255 merges of the tales' own."""
    whole = load_tokenizer("tales")
    return BPE(list(whole.merges)[: VOCAB_SIZE - len(whole.special) - 256])


def fresh_batches(steps, seed):
    """Return batches whose rows begin with a story and share no token: nothing is read twice."""
    n_rows, found = steps * BATCH_SIZE, []
    tokens, starts = encode_documents(tokenizer(), [s.text for s in tales.stories(SEED + seed, 2 * n_rows + 8)])
    end = 0
    for start in starts.tolist():
        if start >= end and start + LENGTH + 1 <= len(tokens):
            found.append(start)
            end = start + LENGTH
    return DocumentBatches(tokens, torch.tensor(found[:n_rows]), BATCH_SIZE, LENGTH, seed)


@functools.cache
def new_stories(n):
    """Return stories that no run reads, and what each costs the truth, in nats."""
    stories = list(tales.stories(SCORED_SEED, n))
    return [story.text for story in stories], [-story.log_probability for story in stories]


def scored(model, n):
    """Return the nats a token on n new stories, the standard error of what it is above the truth, and the truth."""
    texts, truths = new_stories(n)
    costs = document_nats(model, tokenizer(), texts, batch_size=50)
    count = sum(tokens for _, tokens in costs)
    above = [nats - truth for (nats, _), truth in zip(costs, truths, strict=True)]
    error = statistics.stdev(above) * n**0.5 / count
    return sum(nats for nats, _ in costs) / count, error, sum(truths) / count


def main(arguments):
    """Run `scale`; return the exit code."""
    parser = argparse.ArgumentParser("python3 -m lib scale", description="Train the grid of runs of lesson 20.")
    parser.add_argument("--family", choices=FAMILY, help="one family alone (default: both)")
    parser.add_argument("--max-flops", type=amount(), default=math.inf, help="leave out budgets above this")
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--predict", action="store_true", help="write down what a larger run should reach; train nothing")
    part.add_argument("--run-predicted", action="store_true", help="train what was predicted, and write what came out")
    parser.add_argument("--seconds", type=amount(), help="begin no run after this time; call again to go on")
    parser.add_argument("--out", type=Path, default=OUT, help="the record (default: in data/records)")
    options = parser.parse_args(arguments)
    call = predict if options.predict else run_predicted if options.run_predicted else fill_in
    return told("scale", lambda: call(options))


def fill_in(options):
    """Fill in the runs that the record lacks, and write it after each; return the exit code."""
    families = [options.family] if options.family else list(FAMILY)
    planned = plan(families, [budget for budget in BUDGETS if budget <= options.max_flops])
    record = {**kept(options.out), **machine()}
    fill(record, planned, plan(), run, options.out, options.seconds)
    return 0


def kept(out):
    """Return the record that is there, or one without runs."""
    empty = {"command": "python3 -m lib scale", "predicted": [], "runs": []}
    return {**empty, **(json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {})}


def predict(options):
    """Write down, for each family, what the best size should reach for twice the largest budget; return 0.

    What is predicted already stays as it is: a prediction is worth something because it came first.
    """
    record = kept(options.out)
    for family in [options.family] if options.family else FAMILY:
        if any(one["family"] == family for one in record["predicted"]):
            continue
        runs = [run for run in record["runs"] if run["family"] == family]
        columns = [[run[name] for run in runs] for name in ("parameters", "tokens", "nats")]
        law = fit(*columns)
        sizes = [(law.loss(*size_of(family, *size)), size) for size in (*SIZES, *LARGER)]
        nats, size = min(sizes)
        likely = [other.loss(*size_of(family, *size)) for other in resampled(*columns, law)]
        interval = dict(zip(("low", "high"), (round(value, 5) for value in middle(likely)), strict=True))
        when = {"runs": len(runs), "made": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())}
        one = {**key(family, BEYOND, *size), "predicted_nats": round(nats, 5), **interval, **when}
        record["predicted"].append(one)
        print(json.dumps(one), flush=True)
        write(options.out, record)
    return 0


def size_of(family, d_model, n_layers):
    """Return the parameters of a model, and the tokens that the larger budget pays for."""
    steps = key(family, BEYOND, d_model, n_layers)["steps"]
    return n_parameters(shape(family, d_model, n_layers)), steps * BATCH_SIZE * LENGTH


def run_predicted(options):
    """Train what was predicted and not yet run, and write beside each prediction what came out; return 0."""
    record = kept(options.out)
    for one in record["predicted"]:
        if "outcome" not in one and options.family in (None, one["family"]):
            asked = {name: one[name] for name in ("family", "budget", "d_model", "n_layers", "steps", "seed")}
            one["outcome"] = run(**asked)
            write(options.out, record)
            print(json.dumps(one), flush=True)
    return 0
