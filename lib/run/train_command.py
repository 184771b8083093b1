"""What `python3 -m lib train` does: text, tokenizer, model, training, scores, and a folder that holds the result."""

import contextlib
import copy
import functools
import itertools
import math
import platform
import statistics
import sys
import time
from dataclasses import replace
from typing import NamedTuple

import torch

from lib.models.skeleton import head_from_embedding, n_params
from lib.run.checkpoint import FAMILIES, Keep, discard, newest, prepare_place, save_bundle
from lib.run.cost import training_flops
from lib.run.evaluate import LONGEST, above, judge
from lib.run.processes import team
from lib.run.recipes import make_plan
from lib.run.train import train
from lib.text import corpora
from lib.text.batches import Batches, DocumentBatches, WindowBatches, encode_documents
from lib.text.bpe import BPE
from lib.text.download import sha256_of
from lib.weights.files import write_json

MEASURED, EVERY = 24, 10.0  # steps that are measured first; seconds from one line to the next
SCORING = 30  # seconds that are left for the scores, or a quarter of all where that is less
SLOWER = 1.05  # than measured: checkpoints, lines, and whatever else the machine does in minutes
SPREAD = {"rwkv": 0.3, "hybrid": 0.3}  # of the embedding at the start, see `head_from_embedding`


class Data(NamedTuple):
    """A corpus made ready. `longest`: the tokens of the longest document, None where the context can't hold it.

    `validation`: the new text in windows, None where it is scored in whole documents.
    """

    corpus: corpora.Corpus
    tokenizer: BPE
    batches: Batches
    bytes_per_token: float
    longest: int | None
    validation: Batches | None


def run(options, command):
    """Train, save and score; return the exit code. `options` are what `commands.train_parser` gives.

    Where torchrun started several processes, all of them come here. `command` is what was typed, for the record.
    """
    with team(options.shard, options.device) as together:
        return train_save_score(make_plan(options, command), together)


def train_save_score(plan, together):
    """Do it, in every process; the first alone reads the corpus, prints, saves and judges."""
    clock, processor = time.perf_counter(), time.process_time()
    steps = together.from_first(lambda: planned_steps(plan))
    data = together.from_first(lambda: prepare(plan))
    model = new_model(plan, data.tokenizer.vocab_size)
    each = f"{together.size} processes, each " if together.size > 1 else ""
    print(f"{plan.preset}, {n_params(model):,} parameters, {each}{torch.get_num_threads()} threads", flush=True)
    trainer = functools.partial(train, device=plan.device, dtype=plan.dtype, compile=plan.compile, team=together)
    if steps is None:
        step = seconds_a_step(trainer, copy.deepcopy(model), data, plan.make_recipe(10**6))
        step, left = together.agree((step, 60 * plan.minutes - (time.perf_counter() - clock)))
        steps = steps_that_fit(step, left)
    try:
        tokens, losses = follow(trainer, model, data, plan.make_recipe(steps), Keep(plan.kept))
    except KeyboardInterrupt as stop:
        if together.rank == 0:
            print(f"\n{stop}, with --resume" if str(stop) else f"\n{where_it_stopped(plan.kept)}", file=sys.stderr)
        return 130
    model = together.whole(model)
    if together.rank > 0:
        return 0

    def seconds():
        return {"wall_seconds": time.perf_counter() - clock, "cpu_seconds": time.process_time() - processor}

    begun = {"steps": steps, "tokens": tokens, "parameters": n_params(model), **counted(plan, model, tokens)}
    ended = {"bytes_per_token": data.bytes_per_token, "curve": losses, **machine(together.size)}
    save_and_score(plan, model, data, begun | seconds() | ended, seconds)
    return 0


def counted(plan, model, tokens):
    """Return what the FLOPs are counted from, and the FLOPs by lib.run.cost of all rows that were read."""
    flops = tokens // plan.length * training_flops(model.config, plan.length).total
    return {
        "seed": plan.seed,
        "batch_size": plan.batch_size,
        "length": plan.length,
        "flops": flops,
        "device": plan.device.type,
    }


def planned_steps(plan):
    """Return the steps of the run that --resume goes on with, else those that were asked for: None where time decides.

    ValueError where there is no such run, or where without --resume one is in the way.
    """
    if plan.resume:
        return kept_steps(plan.kept)
    refuse_unfinished(plan.kept)
    return plan.steps


def new_model(plan, vocab_size):
    """Return the model before its first step, the same one in every process."""
    torch.manual_seed(plan.seed)
    model = FAMILIES[plan.family][0](replace(plan.config, vocab_size=vocab_size))
    head_from_embedding(model, SPREAD.get(plan.family))
    return model


def prepare(plan):
    """Load the corpus and its tokenizer, cut the text into batches, and say what there is.

    What would fail only when all is trained fails here: new text that is too short to score, a folder that can't be
    written.
    """
    corpus = corpora.load(plan.corpus, int(1e6 * plan.megabytes))
    tokenizer = find_tokenizer(corpus, plan.config.vocab_size)
    documents = corpus.documents_train or [corpus.train]
    tokens, starts = encode_documents(tokenizer, documents)
    longest = longest_document(tokens, starts)
    new = encode_documents(tokenizer, corpus.documents_validation or [corpus.validation])
    shape = {"batch_size": plan.batch_size, "length": plan.length, "seed": plan.seed}
    if max(longest, longest_document(*new)) < (plan.config.context_length or LONGEST):
        batches, validation = DocumentBatches(tokens, starts, **shape), None
    else:
        batches, longest, validation = WindowBatches(tokens, **shape), None, windows(tokenizer, corpus, plan.length)
    n_bytes = sum(len(document.encode("utf-8")) for document in documents)
    floor = corpus.floor_bits_per_byte
    known = "" if floor is None else f", entropy {floor:.4f} bits a byte"
    print(f"{corpus.name}: {n_bytes:,} bytes, {len(tokens):,} tokens{known}", flush=True)
    prepare_place(plan.out)
    return Data(corpus, tokenizer, batches, n_bytes / len(tokens), longest, validation)


def longest_document(tokens, starts):
    """Return the tokens of the longest document, with its <|endoftext|>."""
    return int(torch.cat([starts, torch.tensor([len(tokens)])]).diff().max())


def windows(tokenizer, corpus, length):
    """Return the validation text as rows of `length` tokens; ValueError where it is too short for one."""
    tokens, _ = encode_documents(tokenizer, [corpus.validation])
    try:
        return WindowBatches(tokens, 1, length)
    except ValueError as error:
        raise ValueError(f"the validation text of {corpus.name}: {error}") from error


def find_tokenizer(corpus, vocab_size):
    """Return the tokenizer that is kept beside the corpus, or learn one."""
    file = corpora.DATA / corpus.name / "tokenizer.json"
    if file.is_file():
        tokenizer = BPE.load(file)
        if tokenizer.vocab_size == vocab_size:
            return tokenizer
    print(f"learning {vocab_size} tokens", flush=True)
    return BPE.train(corpus.train[:5_000_000], vocab_size)


def refuse_unfinished(path):
    """Start no run where another one waits to be gone on with: hours may be in it."""
    kept = newest(path)
    if kept is not None:
        done, planned = kept["record"][0], kept["identity"]["recipe"]["steps"]
        state = "is trained but not scored" if done == planned else f"was stopped after step {done} of {planned}"
        raise ValueError(f"{path} holds a run that {state}: go on with --resume, or delete it")


def where_it_stopped(path):
    """Return a sentence for a Ctrl-C outside of the steps: after which one the run is kept there, or that none is."""
    kept = newest(path)
    if kept is None:
        return "stopped before its first step: nothing is kept, start it anew"
    done, planned = kept["record"][0], kept["identity"]["recipe"]["steps"]
    return f"stopped after step {done} of {planned}; {path} holds it: the same call goes on from there, with --resume"


def kept_steps(path):
    """Return for how many steps the run was planned that is kept there."""
    kept = newest(path)
    if kept is None:
        raise ValueError(f"no run is kept in {path}: leave --resume out to start one")
    return kept["identity"]["recipe"]["steps"]


def seconds_a_step(trainer, model, data, recipe):
    """Train some steps, and return the seconds that one takes."""
    times, trial = [], trainer(model, data.batches, recipe)
    for _, record in zip(range(MEASURED), trial, strict=False):
        times.append(record.seconds)
    trial.close()
    first = MEASURED // 2  # the first steps wait for memory and caches
    return statistics.median(after - before for before, after in itertools.pairwise(times[first:]))


def steps_that_fit(step, left):
    """Return how many steps of `step` seconds fit into `left` seconds, with some time for the scores."""
    steps = int((left - min(SCORING, left / 4)) / (SLOWER * step))
    if steps < 1:
        raise ValueError(f"{left:.1f} s are left and a step takes {step:.2f} s: give more --minutes, or --steps")
    print(f"{1000 * step:.0f} ms a step: time for {steps} steps", flush=True)
    return steps


def follow(trainer, model, data, recipe, keep):
    """Train, with a line every so often; return the number of tokens, and the curve of the loss."""
    said, shown, losses = time.perf_counter(), 0, []
    tokens = step = 0
    with contextlib.closing(trainer(model, data.batches, recipe, checkpoint=keep)) as run:  # what ends it saves the run
        for record in run:
            losses.append(record.loss)
            tokens, step = record.tokens, record.step
            if time.perf_counter() - said > EVERY or step == recipe.steps:
                nats, speed = statistics.fmean(losses[shown:]), tokens / record.seconds
                bits = above(nats / math.log(2) / data.bytes_per_token, data)
                line = f"step {step:5} of {recipe.steps}  {bits}, {nats:.4f} nats a token  {speed:,.0f} tokens/s"
                print(line, flush=True)
                said, shown = time.perf_counter(), len(losses)
    return tokens, curve(losses, step - len(losses))


def curve(losses, before=0, points=200):
    """Return [step, mean loss in nats a token since the point before], the steps evenly spaced on a logarithmic axis.

    before: the steps of a run that was resumed, whose losses are gone.
    """
    ends = sorted({round(len(losses) ** (i / points)) for i in range(points + 1)} if losses else [])
    starts = [0, *ends]
    return [
        [before + end, round(statistics.fmean(losses[start:end]), 4)] for start, end in zip(starts, ends, strict=False)
    ]


def save_and_score(plan, model, data, figures, seconds):
    """Save the model, then score it, and save the scores beside it; `seconds` tells the time that all took.

    The run's checkpoint goes at the very end: where the scores fail or are interrupted, --resume makes up for them.
    """
    save(plan, model, data, figures)
    figures["weights_sha256"] = sha256_of(plan.out / "model.safetensors")
    try:
        figures |= judge(model, data, plan) | seconds()
    except BaseException:
        sentence = f"the model is trained and saved in {plan.out}, but not scored: --resume scores it"
        print(f"\npython3 -m lib train: {sentence}", file=sys.stderr)
        raise
    print("{wall_seconds:.0f} s on the clock, {cpu_seconds:.0f} s of processor time".format(**figures))
    write_json(plan.out / "record.json", describe(plan, data, figures))
    discard(plan.kept)
    print(f"saved: python3 -m lib sample {plan.out}")


def save(plan, model, data, figures):
    """Save the model, its tokenizer, and how it was made."""
    dtype = torch.float16 if plan.half else None
    save_bundle(plan.out, model, data.tokenizer, describe(plan, data, figures), dtype)


def describe(plan, data, figures):
    """Return the record of a run: the command that makes it again, the text, and the figures, rounded."""
    again = "" if plan.steps or plan.resume else f" --steps {figures['steps']}"
    record = {"command": plan.command + again, "corpus": data.corpus.origin, "licence": data.corpus.licence}
    return record | {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}


def machine(n_processes):
    """Return what the figures depend on beside the code."""
    about = {"torch": torch.__version__, "threads": torch.get_num_threads(), "machine": platform.machine()}
    return about | ({"processes": n_processes} if n_processes > 1 else {})
