"""The loss of the course's checkpoints in parts: recalled, chosen, determined, on new stories; for lesson 17."""

import functools
import math
import time

import torch

from lessons.exercises.lesson_17 import share_of_gap
from lib.run.checkpoint import load_bundle
from lib.run.evaluate import padded, token_nats
from lib.run.paired import paired
from lib.text import corpora, tales
from lib.text.tales_split import KINDS, split

N_STORIES, SEED, TOGETHER = 3000, 17_000_003, 32
BOUNDS = (1, 8, 16, 32, 64, 128, 10**6)  # tokens since a word was last told: 1 to 7, 8 to 15, ...


def plan():
    """Return the checkpoints that are there, LLaMA's first: the others are compared with it."""
    folders = sorted(path.parent.name for path in (corpora.DATA / "checkpoints").glob("*-tales/record.json"))
    return [{"checkpoint": name} for name in folders if name.split("-")[0] in ("llama", "rwkv", "hybrid")]


def run(checkpoint):
    """Return one checkpoint's parts, and its gap to LLaMA with the share of each part."""
    begun = time.process_time()
    stories, nats = read_by(checkpoint)
    figures = parts_of(nats, stories)
    if checkpoint != "llama-tales":
        figures["gap_to_llama"] = gaps(read_by("llama-tales")[1], nats, stories)
    return {"stories": N_STORIES, "seed": SEED, **figures, "cpu_seconds": round(time.process_time() - begun, 1)}


@functools.cache
def read_by(checkpoint):
    """Return the stories of the record, and a checkpoint's nats for each of their tokens."""
    model, tokenizer = load_bundle(corpora.DATA / "checkpoints" / checkpoint)
    stories = told(tokenizer, N_STORIES, SEED)
    return stories, losses(model, stories)


def told(tokenizer, n, seed):
    """Return n new stories: (ids, tokens) each, as `split` gives them."""
    return [split(story.text, tokenizer) for story in tales.stories(seed, n)]


def losses(model, stories):
    """Return the model's nats for each token of each story, the closing one included: a list of lists."""
    found = [None] * len(stories)
    order = sorted(range(len(stories)), key=lambda i: len(stories[i][0]))
    for first in range(0, len(order), TOGETHER):
        rows = order[first : first + TOGETHER]
        eot = stories[0][0][-1]
        x, y = padded([[eot, *stories[i][0]] for i in rows])
        for i, row in zip(rows, token_nats(model, x, y).tolist(), strict=True):
            found[i] = row[: len(stories[i][0])]
    return found


def sums(nats, stories, kind):
    """Return the nats of one kind of tokens, a number a story."""
    return [
        math.fsum(n for n, token in zip(row, tokens, strict=True) if token.kind == kind)
        for row, (_, tokens) in zip(nats, stories, strict=True)
    ]


def parts_of(nats, stories):
    """Return the sums over all stories, by kind and, for what was recalled, by how long ago it was told."""
    pairs = [pair for row, (_, tokens) in zip(nats, stories, strict=True) for pair in zip(row, tokens, strict=True)]
    parts = {
        kind: {
            "tokens": sum(token.kind == kind for _, token in pairs),
            "nats": round(math.fsum(n for n, token in pairs if token.kind == kind), 4),
            "truth": round(math.fsum(token.nats for _, token in pairs if token.kind == kind), 4),
        }
        for kind in KINDS
    }
    far = []
    for low, high in zip(BOUNDS, BOUNDS[1:], strict=False):
        here = [n - token.nats for n, token in pairs if token.kind == "recalled" and low <= token.ago < high]
        if len(here) < 2:
            continue
        error = torch.tensor(here).std().item() / len(here) ** 0.5
        far.append({"from": low, "tokens": len(here), "excess": round(math.fsum(here) / len(here), 5),
                    "error": round(error, 5)})  # fmt: skip
    return {"parts": parts, "far": far}


def gaps(first, second, stories):
    """Return the gap between two models in nats a token, with its error, and the same for each kind; and the shares.

    A share is of nothing where the gap is not clearly there, four errors at least: then there is none.
    """
    tokens = sum(len(ids) for ids, _ in stories) / len(stories)
    whole = [[math.fsum(row) for row in nats] for nats in (first, second)]
    found = {"all": mean_and_error(*whole, tokens)}
    for kind in KINDS:
        parts = sums(first, stories, kind), sums(second, stories, kind)
        found[kind] = mean_and_error(*parts, tokens)
        if abs(found["all"]["nats"]) > 4 * found["all"]["error"]:
            share, error = share_of_gap(parts[0], whole[0], parts[1], whole[1])
            found[kind] |= {"share": round(share, 4), "share_error": round(error, 4)}
    return found


def mean_and_error(first, second, tokens):
    """Return the mean difference second - first in nats a token, paired over stories, and its standard error."""
    mean, error = paired(first, second)
    return {"nats": round(mean / tokens, 6), "error": round(error / tokens, 6)}
