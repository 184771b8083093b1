"""How well a model predicts a text: nats a token, bits a byte, and how far it is from the best that can be reached.

Nats a token depend on the tokenizer: with longer tokens each is harder to guess. Bits a byte do not: they compare
models of any tokenizer with each other, and with the entropy of a corpus where that is known.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

from lib.run.device import autocast
from lib.text import tales


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
