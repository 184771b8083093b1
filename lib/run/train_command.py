"""What `python3 -m lib train` does: text, tokenizer, model, training, scores, and a folder that holds the result."""

import copy
import itertools
import math
import platform
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from lib.models.presets import preset
from lib.models.skeleton import head_from_embedding, n_params
from lib.run.checkpoint import FAMILIES, Keep, discard, newest, save_bundle
from lib.run.evaluate import evaluate, evaluate_documents
from lib.run.processes import team
from lib.run.recipes import recipe
from lib.run.sample import sample
from lib.run.train import train
from lib.text import corpora, tales
from lib.text.batches import Batches, DocumentBatches, WindowBatches, encode_documents
from lib.text.bpe import BPE

MEASURED, EVERY = 24, 10.0  # steps that are measured first; seconds from one line to the next
# The share of 200 stories has a standard error of 3 %, that of 1,000 one of 1 %. They are told 200 at a time.
N_STORIES, TOGETHER, TEMPERATURE = 1000, 200, 0.8
SCORING = 30  # seconds that are left for the scores, or a quarter of all where that is less
SLOWER = 1.05  # than measured: checkpoints, lines, and whatever else the machine does in minutes
SPREAD = {"rwkv": 0.3, "hybrid": 0.3}  # of the embedding at the start, see `head_from_embedding`
LONGEST = 512  # tokens, of a document that a model of any context length gets as one


class Data(NamedTuple):
    """A corpus made ready. `longest`: the tokens of the longest document, None where the context can't hold it."""

    corpus: corpora.Corpus
    tokenizer: BPE
    batches: Batches
    bytes_per_token: float
    longest: int | None


def run(options):
    """Train, score and save; return the exit code. `options` are what `commands.train_parser` gives.

    Where torchrun started several processes, all of them come here, and `options.team` is what they share.
    """
    with team(options.shard, options.device) as options.team:
        return train_score_save(options)


def train_score_save(options):
    """Do it, in every process; the first alone reads the corpus, prints, judges and saves."""
    clock, processor = time.perf_counter(), time.process_time()
    options.preset = choose_preset(options.family, options.generation, options.preset)
    out = options.out or Path("checkpoints") / f"{options.preset.removeprefix('tiny-')}-{options.corpus}"
    kept = out / "run.pt"
    data = options.team.from_first(lambda: prepare(options))
    model = new_model(options, data)
    if options.resume:
        options.steps = options.team.from_first(lambda: kept_steps(kept))
    else:
        options.team.from_first(lambda: refuse_unfinished(kept))
    if options.steps is None:
        options.steps = steps_that_fit(model, data, options, 60 * options.minutes - (time.perf_counter() - clock))
        options.command += f" --steps {options.steps}"
    try:
        tokens, losses = follow(model, data, options, Keep(kept))
    except KeyboardInterrupt as stop:
        if options.team.rank == 0:
            print(f"\n{stop}, with --resume", file=sys.stderr)
        return 130
    model = options.team.whole(model)
    if options.team.rank > 0:
        return 0
    figures = {"steps": options.steps, "tokens": tokens, "parameters": n_params(model), **judge(model, data, options)}
    figures |= {"wall_seconds": time.perf_counter() - clock, "cpu_seconds": time.process_time() - processor}
    print("{wall_seconds:.0f} s on the clock, {cpu_seconds:.0f} s of processor time".format(**figures))
    figures |= {"bytes_per_token": data.bytes_per_token, "curve": losses}
    save(out, model, data, options, figures)
    discard(kept)
    return 0


def new_model(options, data):
    """Return the model before its first step, the same one in every process, and say what it is."""
    torch.manual_seed(options.seed)
    config = replace(preset(options.preset).config, vocab_size=data.tokenizer.vocab_size)
    model = FAMILIES[options.family][0](config)
    head_from_embedding(model, SPREAD.get(options.family))
    together = f"{options.team.size} processes, each " if options.team.size > 1 else ""
    print(f"{options.preset}, {n_params(model):,} parameters, {together}{torch.get_num_threads()} threads", flush=True)
    return model


def training(model, data, options, plan, **others):
    """Return the generator of training steps, on the device and in the way that was asked for."""
    asked = {"device": options.device, "dtype": options.dtype, "compile": options.compile, "team": options.team}
    return train(model, data.batches, plan, **asked, **others)


def choose_preset(family, generation, name):
    """Return the preset to train: the one that was named, where it is of that family and generation, else the tiny."""
    if family != "rwkv" and generation is not None:
        raise ValueError(f"{family} has no --generation {generation}: leave it out, or train rwkv")
    name = name or (f"tiny-rwkv-{generation or 7}" if family == "rwkv" else f"tiny-{family}")
    config = preset(name).config
    other = generation is not None and config.generation != generation
    if not isinstance(config, FAMILIES[family][1]) or other:
        wanted = family if generation is None else f"{family} of generation {generation}"
        raise ValueError(f"preset {name} is no {wanted}: leave --preset out, or name one that is")
    return name


def prepare(options):
    """Load the corpus and its tokenizer, cut the text into batches, and say what there is."""
    corpus = corpora.load(options.corpus, int(1e6 * options.megabytes))
    config = preset(options.preset).config
    tokenizer = find_tokenizer(corpus, config.vocab_size)
    documents = corpus.documents_train or [corpus.train]
    tokens, starts = encode_documents(tokenizer, documents)
    longest = int(torch.cat([starts, torch.tensor([len(tokens)])]).diff().max())
    shape = {"batch_size": options.batch_size, "length": options.length, "seed": options.seed}
    if longest < (config.context_length or LONGEST):
        batches = DocumentBatches(tokens, starts, **shape)
    else:
        batches, longest = WindowBatches(tokens, **shape), None
    n_bytes = sum(len(document.encode("utf-8")) for document in documents)
    floor = corpus.floor_bits_per_byte
    known = "" if floor is None else f", entropy {floor:.4f} bits a byte"
    print(f"{corpus.name}: {n_bytes:,} bytes, {len(tokens):,} tokens{known}", flush=True)
    return Data(corpus, tokenizer, batches, n_bytes / len(tokens), longest)


def find_tokenizer(corpus, vocab_size):
    """Return the tokenizer that is kept beside the corpus, or learn one."""
    file = corpora.DATA / corpus.name / "tokenizer.json"
    if file.is_file():
        tokenizer = BPE.load(file)
        if tokenizer.vocab_size == vocab_size:
            return tokenizer
    print(f"learning {vocab_size} tokens", flush=True)
    return BPE.train(corpus.train[:5_000_000], vocab_size)


def make_recipe(options, steps):
    """Return the recipe that was asked for."""
    changes = {} if options.learning_rate is None else {"learning_rate": options.learning_rate}
    return recipe(options.recipe, steps, **changes)


def refuse_unfinished(path):
    """Start no run where another one waits to be gone on with: hours may be in it."""
    kept = newest(path)
    if kept is not None:
        done, planned = kept["record"][0], kept["identity"]["recipe"]["steps"]
        raise ValueError(
            f"{path} holds a run that was stopped after step {done} of {planned}: go on with --resume, or delete it"
        )


def kept_steps(path):
    """Return for how many steps the run was planned that is kept there."""
    kept = newest(path)
    if kept is None:
        raise ValueError(f"no run is kept in {path}: leave --resume out to start one")
    return kept["identity"]["recipe"]["steps"]


def steps_that_fit(model, data, options, seconds):
    """Measure some steps of a copy of the model; return how many fit, with some time left for the scores.

    All processes take them, and go by what the first one measured.
    """
    times, trial = [], training(copy.deepcopy(model), data, options, make_recipe(options, 10**6))
    for _, record in zip(range(MEASURED), trial, strict=False):
        times.append(record.seconds)
    trial.close()
    first = MEASURED // 2  # the first steps wait for memory and caches
    step = statistics.median(after - before for before, after in itertools.pairwise(times[first:]))
    step, left = options.team.agree((step, seconds - times[-1]))
    steps = int((left - min(SCORING, left / 4)) / (SLOWER * step))
    if steps < 1:
        raise ValueError(f"{left:.1f} s are left and a step takes {step:.2f} s: give more --minutes, or --steps")
    print(f"{1000 * step:.0f} ms a step: time for {steps} steps", flush=True)
    return steps


def follow(model, data, options, keep):
    """Train, with a line every so often; return the number of tokens, and the curve of the loss."""
    said, shown, losses, plan = time.perf_counter(), 0, [], make_recipe(options, options.steps)
    tokens = step = 0
    for record in training(model, data, options, plan, checkpoint=keep):
        losses.append(record.loss)
        tokens, step = record.tokens, record.step
        if time.perf_counter() - said > EVERY or step == plan.steps:
            bits = statistics.fmean(losses[shown:]) / math.log(2) / data.bytes_per_token
            speed = tokens / record.seconds
            print(f"step {step:5} of {plan.steps}  {above(bits, data)}  {speed:,.0f} tokens/s", flush=True)
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


def above(bits, data):
    """Say how many bits a byte that is, and how far from the floor where one is known."""
    floor = data.corpus.floor_bits_per_byte
    return f"{bits:.4f} bits a byte" + ("" if floor is None else f" (floor {100 * (bits / floor - 1):+.1f} %)")


def judge(model, data, options):
    """Score the validation text and, for tales, stories that the model tells; print and return the figures."""
    corpus, tokenizer = data.corpus, data.tokenizer
    if data.longest:
        score = evaluate_documents(model, tokenizer, corpus.documents_validation)
    else:
        tokens, _ = encode_documents(tokenizer, [corpus.validation])
        score = evaluate(model, WindowBatches(tokens, 1, options.length), tokenizer=tokenizer)
    print(f"validation: {above(score.bits_per_byte, data)}, {score.nats_per_token:.4f} nats a token", flush=True)
    figures = {"validation_bits_per_byte": score.bits_per_byte, "validation_nats_per_token": score.nats_per_token}
    if corpus.floor_bits_per_byte is not None:
        figures["floor_bits_per_byte"] = corpus.floor_bits_per_byte
    if corpus.name == "tales":
        room = min(2 * (data.longest or LONGEST), model.config.context_length or LONGEST)
        told = tell_many(model, tokenizer, N_STORIES, room, options.seed)
        stories, true = (sum(map(asked, told)) / len(told) for asked in (tales.is_story, tales.facts_hold))
        figures |= {"stories": len(told), "share_stories": stories, "share_facts_hold": true}
        error = math.sqrt(stories * (1 - stories) / len(told))
        shares = f"{stories:.1%} (standard error {error:.1%}) are stories of the grammar"
        print(f"{len(told)} stories told at temperature {TEMPERATURE}: {shares},")
        print(f"{true:.1%} are, and their facts hold. The first one:\n\n{told[0]}\n", flush=True)
    return figures


def tell_many(model, tokenizer, n, n_tokens, seed):
    """Return n texts of at most n_tokens tokens, told side by side in batches, each with a seed of its own."""
    rows = []
    for first in range(0, n, TOGETHER):
        start = torch.full((min(TOGETHER, n - first), 1), tokenizer.eot)
        tokens = sample(model, start, n_tokens, TEMPERATURE, seed=seed + first, stop=tokenizer.eot)
        rows += torch.stack(list(tokens), dim=1).tolist()  # rows of T tokens
    return [tokenizer.decode(row[: row.index(tokenizer.eot)] if tokenizer.eot in row else row) for row in rows]


def save(out, model, data, options, figures):
    """Save the model, its tokenizer, and how it was made."""
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}
    machine = {"torch": torch.__version__, "threads": torch.get_num_threads(), "machine": platform.machine()}
    machine |= {"processes": options.team.size} if options.team.size > 1 else {}
    record = {"command": options.command, "corpus": data.corpus.origin, "licence": data.corpus.licence}
    dtype = torch.float16 if options.half else None
    save_bundle(out, model, data.tokenizer, record | rounded | machine, dtype)
    print(f"saved: python3 -m lib sample {out}")
