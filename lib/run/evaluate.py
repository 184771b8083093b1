"""How well a model predicts a text, in nats a token and in bits a byte.

Nats a token depend on the tokenizer: with longer tokens each is harder to guess. Bits a byte do not: they compare
models of any tokenizer with each other, and with the entropy of a corpus where that is known.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

from lib.run.device import autocast


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
    rows = sorted(([tokenizer.eot, *tokenizer.encode(text), tokenizer.eot] for text in documents), key=len)
    room = model.config.context_length
    if rows and room is not None and len(rows[-1]) - 1 > room:
        raise ValueError(f"a document of {len(rows[-1]) - 1} tokens, but the model was built for {room}: leave it out")
    nats = 0.0
    for i in range(0, len(rows), batch_size):
        x, y = padded(rows[i : i + batch_size])
        nats += token_nats(model, x, y, dtype).double().sum().item()
    n_bytes = sum(len(text.encode("utf-8")) for text in documents)
    return score(nats, sum(len(row) - 1 for row in rows), n_bytes)


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
