"""A hybrid beside a LLaMA and an RWKV-5 of its size: the same stories, the same recipe, three seeds; for lesson 17."""

import math
import time
from pathlib import Path

import torch

from lessons.tools.records import recall_split
from lib.models.presets import preset
from lib.models.skeleton import head_from_embedding, n_params
from lib.run.checkpoint import FAMILIES, Keep, discard, load_bundle, save_bundle
from lib.run.paired import tales_batches
from lib.run.recipes import BATCH_SIZE, LENGTH, recipe
from lib.run.sample import sample
from lib.run.train import train
from lib.run.train_command import SPREAD
from lib.text import tales
from lib.text.published import load_tokenizer

ROOT = Path(__file__).resolve().parents[3]
STEPS, SEEDS, FOLDER = 1000, (0, 1, 2), ROOT / "checkpoints" / "recall"
MODELS = {"LLaMA": "tiny-llama", "RWKV-5": "tiny-rwkv-5", "hybrid": "tiny-hybrid"}


N_TOLD, TEMPERATURE, ROOM = 200, 0.8, 300  # stories that are told, at most so many tokens each
N_SCORED = 1000  # new stories that are scored


def plan():
    """Return what is to be run: all models with the first seed, then with the next."""
    return [{"model": name, "seed": seed, "steps": STEPS} for seed in SEEDS for name in MODELS]


def run(model, seed, steps):
    """Train a model where it is not kept yet, score it on new stories, let it tell some; return the figures."""
    trained_model = trained(model, seed, steps, FOLDER / f"{model}-{seed}-{steps}")
    tokenizer = load_tokenizer("tales")
    stories = recall_split.told(tokenizer, N_SCORED, recall_split.SEED)
    nats = recall_split.losses(trained_model, stories)
    n_bytes = sum(len(tokenizer.decode_bytes(ids[:-1])) for ids, _ in stories)
    texts = tell(trained_model, tokenizer, seed)
    return {
        "parameters": n_params(trained_model),
        "bits_per_byte": round(math.fsum(map(math.fsum, nats)) / math.log(2) / n_bytes, 5),
        **recall_split.parts_of(nats, stories),
        "told": N_TOLD,
        "share_stories": sum(map(tales.is_story, texts)) / N_TOLD,
        "share_facts_hold": sum(map(tales.facts_hold, texts)) / N_TOLD,
    }


def tell(model, tokenizer, seed):
    """Return the texts that a model tells from nothing, side by side."""
    start = torch.full((N_TOLD, 1), tokenizer.eot)
    rows = torch.stack(list(sample(model, start, ROOM, TEMPERATURE, seed=seed, stop=tokenizer.eot)), 1).tolist()
    return [tokenizer.decode(row[: row.index(tokenizer.eot)] if tokenizer.eot in row else row) for row in rows]


def trained(name, seed, steps, folder):
    """Return the model of that name, trained with that seed on `steps` batches, each story once; from `folder` if kept.

    What is stopped goes on at the last step that was kept.
    """
    if (folder / "record.json").is_file():
        return load_bundle(folder)[0]
    config = preset(MODELS[name]).config
    family = next(family for family, (_, kind) in FAMILIES.items() if type(config) is kind)
    torch.manual_seed(seed)
    model = FAMILIES[family][0](config)
    head_from_embedding(model, SPREAD.get(family))
    batches, _ = tales_batches(steps * BATCH_SIZE, BATCH_SIZE, LENGTH)
    begun = time.process_time()
    run = train(model, batches(seed), recipe("muon", steps), device="cpu", checkpoint=Keep(folder / "run.pt"))
    for record in run:
        if record.step % 100 == 0:
            print(f"{name}, seed {seed}, step {record.step}: {record.loss:.3f} nats a token", flush=True)
    seconds = time.process_time() - begun
    save_bundle(folder, model, load_tokenizer("tales"), {"steps": steps, "seed": seed, "cpu_seconds": seconds})
    discard(folder / "run.pt")
    return model.eval()
