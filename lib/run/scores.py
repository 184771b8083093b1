"""The scores of a model that `python3 -m lib train` has trained: what new text costs it, and which stories it tells."""

import math

import torch

from lib.run.evaluate import document_nats, evaluate, paired_excess, score_documents
from lib.run.sample import sample
from lib.text import tales

# The share of 200 stories has a standard error of 3 %, that of 1,000 one of 1 %. They are told 200 at a time.
N_STORIES, TOGETHER, TEMPERATURE = 1000, 200, 0.8
LONGEST = 512  # tokens, of a document that a model of any context length gets as one
ALIKE = 0.02  # two texts whose tokens are of one length, but for this share, have bits a byte that can be compared


def above(bits, data):
    """Say how many bits a byte that is, and how far from the floor where one is known."""
    floor = data.corpus.floor_bits_per_byte
    return f"{bits:.4f} bits a byte" + ("" if floor is None else f" (floor {100 * (bits / floor - 1):+.1f} %)")


def judge(model, data, plan):
    """Score the validation text and, for tales, stories that the model tells; print and return the figures."""
    corpus, tokenizer = data.corpus, data.tokenizer
    if data.validation is None:
        costs = document_nats(model, tokenizer, corpus.documents_validation)
        score = score_documents(costs, corpus.documents_validation)
    else:
        costs, score = [], evaluate(model, data.validation, tokenizer=tokenizer)
    figures = {"validation_bits_per_byte": score.bits_per_byte, "validation_nats_per_token": score.nats_per_token}
    print(f"validation: {score.bits_per_byte:.4f} bits a byte, {score.nats_per_token:.4f} nats a token", flush=True)
    figures |= footing(score, data)
    if corpus.floor_bits_per_byte is not None:
        figures["floor_bits_per_byte"] = corpus.floor_bits_per_byte
    if corpus.name == "tales":
        if len(costs) > 1:
            figures |= excess([nats for nats, _ in costs], corpus.documents_validation)
        room = min(2 * (data.longest or LONGEST), model.config.context_length or LONGEST)
        figures |= judge_stories(tell_many(model, tokenizer, N_STORIES, room, plan.seed))
    return figures


def footing(score, data):
    """Say where bits a byte of the two texts can't be compared; return the bytes that a token of the new text has.

    Tokens that were learned on the training text fit it better: there one stands for more bytes than in new text. So
    the same loss a token is fewer bits a byte in training than here, and looks like overfitting.
    """
    here, there = score.nats_per_token / math.log(2) / score.bits_per_byte, data.bytes_per_token
    if abs(here / there - 1) > ALIKE:
        print(
            f"A token stands for {here:.2f} bytes of this text, and for {there:.2f} of the training text: so bits a "
            "byte here and in the lines above differ by that, too. Nats a token do not.",
            flush=True,
        )
    return {"validation_bytes_per_token": here}


def excess(nats, stories):
    """Print how far the model is above what these very stories cost by their grammar, and return the figures."""
    share, error = paired_excess(nats, stories)
    print(
        f"That is {share:.1%} (standard error {error:.1%}) above what these {len(stories):,} stories cost by their "
        "own grammar, story by story.",
        flush=True,
    )
    return {"excess_over_truth": share, "excess_standard_error": error}


def judge_stories(told):
    """Print which share of texts are stories of the grammar, and in which the facts hold; return the figures."""
    n = len(told)
    stories, true = (sum(map(asked, told)) / n for asked in (tales.is_story, tales.facts_hold))
    print(f"{n} stories told at temperature {TEMPERATURE}: {of(stories, n)} are stories of the grammar,")
    print(f"and in {of(true, n)} of all the facts hold, too. The first one:\n\n{told[0]}\n", flush=True)
    return {"stories": n, "temperature": TEMPERATURE, "share_stories": stories, "share_facts_hold": true}


def of(share, n):
    """Return a share of n in words, with its standard error."""
    return f"{share:.1%} (standard error {math.sqrt(share * (1 - share) / n):.1%})"


def tell_many(model, tokenizer, n, n_tokens, seed):
    """Return n texts of at most n_tokens tokens, told side by side in batches, each with a seed of its own."""
    rows = []
    for first in range(0, n, TOGETHER):
        start = torch.full((min(TOGETHER, n - first), 1), tokenizer.eot)
        tokens = sample(model, start, n_tokens, TEMPERATURE, seed=seed + first, stop=tokenizer.eot)
        rows += torch.stack(list(tokens), dim=1).tolist()  # rows of T tokens
    return [tokenizer.decode(row[: row.index(tokenizer.eot)] if tokenizer.eot in row else row) for row in rows]
