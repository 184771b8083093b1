"""How well a model predicts a text: nats a token, bits a byte, and how far it is from the best that can be reached.

Nats a token depend on the tokenizer: with longer tokens each is harder to guess. Bits a byte do not: they compare
models of any tokenizer with each other, and with the entropy of a corpus where that is known. `judge` and what follows
it are the scores of a model that `python3 -m lib train` has trained.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

from lib.run.device import autocast
from lib.run.sample import sample
from lib.text import tales

# The share of 200 stories has a standard error of 3 %, that of 1,000 one of 1 %. They are told 200 at a time.
N_STORIES, TOGETHER, TEMPERATURE = 1000, 200, 0.8
LONGEST = 512  # tokens, of a document that a model of any context length gets as one
ALIKE = 0.02  # two texts whose tokens are of one length, but for this share, have bits a byte that can be compared


class Excess(NamedTuple):
    """How many nats a model needs above what documents cost by their grammar, as a share of that, and its error."""

    share: float
    standard_error: float


class Score(NamedTuple):
    """The mean of -log p a token (nats), its exponential, and the sum of -log2 p over the bytes (None: not known)."""

    nats_per_token: float
    perplexity: float
    bits_per_byte: float | None
    n_tokens: int


def score(nats, n_tokens, n_bytes=None):
    """Turn a sum of nats into a `Score`."""
    if n_tokens == 0:
        raise ValueError("0 tokens to score: pass a text that is not empty")
    mean = nats / n_tokens
    bits = nats / math.log(2) / n_bytes if n_bytes else None
    return Score(mean, math.exp(min(mean, 700)), bits, n_tokens)


@torch.inference_mode()
def token_nats(model, x, y, dtype="float32"):
    """Return -log p of each target, (B, T) float32, and 0 where y is -100; the model is left as it was."""
    training, device = model.training, model.head.weight.device
    model.eval()
    try:
        with autocast(device, dtype):
            logits, _ = model(x.to(device))  # (B, T, V)
    finally:
        model.train(training)
    return F.cross_entropy(logits.float().transpose(1, 2), y.to(device), reduction="none")  # (B, T)


def evaluate(model, batches, n_batches=None, tokenizer=None, dtype="float32"):
    """Score the first n_batches of `batches` (all, where None), which give x, y of shape (B, T) each.

    With the tokenizer the bytes of the targets are counted too, <|endoftext|> as none.
    """
    nats, n_tokens, n_bytes = 0.0, 0, 0
    lengths = None if tokenizer is None else byte_lengths(tokenizer)
    for i in range(len(batches) if n_batches is None else n_batches):
        x, y = batches[i]
        nats += token_nats(model, x, y, dtype).double().sum().item()
        n_tokens += y.numel()
        n_bytes += 0 if lengths is None else int(lengths[y].sum())
    return score(nats, n_tokens, n_bytes)


def evaluate_documents(model, tokenizer, documents, batch_size=16, dtype="float32"):
    """Score whole documents, each alone: bits per byte = sum of -log2 p(document) / sum of its UTF-8 bytes.

    p(document) is the probability that the model, after <|endoftext|>, writes this document and <|endoftext|> again. So
    it sums to one over all documents of any length, as the probabilities of a generator of whole documents do: their
    entropy in bits per byte is the floor that no model can get below. n_tokens counts the closing <|endoftext|> too.
    """
    return score_documents(document_nats(model, tokenizer, documents, batch_size, dtype), documents)


def score_documents(costs, documents):
    """Turn what `document_nats` gives for these documents into a `Score`."""
    n_bytes = sum(len(text.encode("utf-8")) for text in documents)
    return score(sum(nats for nats, _ in costs), sum(n_tokens for _, n_tokens in costs), n_bytes)


def document_nats(model, tokenizer, documents, batch_size=16, dtype="float32"):
    """Return [(-log p, number of tokens)] of each document, in nats, with its closing <|endoftext|>.

    ValueError where one is longer than the model's context.
    """
    rows = [[tokenizer.eot, *tokenizer.encode(text), tokenizer.eot] for text in documents]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))  # rows of about one length need little padding
    room = model.config.context_length
    if rows and room is not None and len(rows[order[-1]]) - 1 > room:
        raise ValueError(
            f"a document of {len(rows[order[-1]]) - 1} tokens, but the model was built for {room}: leave it out"
        )
    costs = [None] * len(rows)
    for first in range(0, len(rows), batch_size):
        some = order[first : first + batch_size]
        nats = token_nats(model, *padded([rows[i] for i in some]), dtype).double().sum(dim=1).tolist()
        for i, cost in zip(some, nats, strict=True):
            costs[i] = (cost, len(rows[i]) - 1)
    return costs


def excess_over_truth(model, tokenizer, documents, batch_size=16, dtype="float32"):
    """Return by which share the model needs more nats for tales than their own grammar, an `Excess`, story by story.

    See `paired_excess`. Two or more stories whose facts hold, such as `corpora.load("tales").documents_validation`.
    """
    costs = document_nats(model, tokenizer, documents, batch_size, dtype)
    return paired_excess([nats for nats, _ in costs], documents)


def paired_excess(nats, documents):
    """Return the `Excess` of a model that needs `nats` for these tales, one number a story.

    With t_i = -log p(story i) by the grammar, exactly, and d_i = nats_i - t_i: share = sum d / sum t, and its standard
    error sqrt(sum (d_i - share t_i)^2 / (n (n - 1))) / mean t, that of a ratio of sums (Cochran 1977, chapter 6).

    Some stories are harder than others, for the model and for the grammar alike. Where a mean over a few hundred of
    them is held against the entropy of the whole corpus, that luck is in the difference; pair by pair it cancels.
    """
    if len(documents) < 2 or len(nats) != len(documents):
        raise ValueError(f"{len(nats)} numbers for {len(documents)} stories: give one for each of two stories or more")
    truths = [true_nats(i, text) for i, text in enumerate(documents)]
    above = [cost - truth for cost, truth in zip(nats, truths, strict=True)]
    n, whole = len(truths), sum(truths)
    share = sum(above) / whole
    left = sum((d - share * t) ** 2 for d, t in zip(above, truths, strict=True))
    return Excess(share, math.sqrt(left / (n * (n - 1))) / (whole / n))


def true_nats(i, text):
    """Return -log p of document i by the grammar of the tales; ValueError where it is none that they write."""
    reading = tales.parse(text)
    if reading is None or reading.violations:
        wrong = "is no story of the tales' grammar" if reading is None else "breaks its own facts"
        raise ValueError(f"document {i}, {text[:40]!r}..., {wrong}: its true cost is known for the tales alone")
    return -reading.log_probability


def padded(rows):
    """Return x, y, each (B, T), of rows of different lengths: short ones are filled up, and not counted (-100 in y)."""
    longest = max(len(row) for row in rows)
    x = torch.tensor([row[:-1] + [row[-1]] * (longest - len(row)) for row in rows])  # (B, T)
    y = torch.tensor([row[1:] + [-100] * (longest - len(row)) for row in rows])  # (B, T)
    return x, y


def byte_lengths(tokenizer):
    """Return how many bytes each token stands for, (V,); <|endoftext|> for none."""
    lengths = torch.tensor([len(tokenizer.decode_bytes([i])) for i in range(tokenizer.vocab_size)])
    lengths[tokenizer.eot] = 0
    return lengths


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
        n = N_STORIES if plan.stories is None else plan.stories
        figures |= judge_stories(tell_many(model, tokenizer, n, room, plan.seed)) if n else {}
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
