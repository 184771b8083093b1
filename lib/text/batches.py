"""A stream of tokens becomes batches x, y of shape (B, T); y is x moved by one, so that each token predicts the next.

Both kinds are stateless: `batches[step]` depends on the step and the seed alone. So a run that stops at any step goes
on with exactly the batches that it would have had, and nothing about them needs saving.
"""

import zlib
from functools import cached_property

import torch


def encode_documents(tokenizer, documents):
    """Return all documents as one stream of tokens, with <|endoftext|> BEFORE each, and where each begins.

    tokens: (n,) int64; starts: (n_documents,), tokens[starts] are all <|endoftext|>. A document ends where the next one
    begins, and the stream is a ring: the last one ends at the first one's <|endoftext|>.
    """
    ids, starts = [], []
    for document in documents:
        starts.append(len(ids))
        ids.append(tokenizer.eot)
        ids.extend(tokenizer.encode(document))
    return torch.tensor(ids, dtype=torch.long), torch.tensor(starts, dtype=torch.long)


class Batches:
    """What both kinds share: an epoch visits every row once, in a seeded order of its own.

    `rows(epoch, generator)` says where the rows of an epoch begin. `len()` is the number of steps in an epoch, but
    `batches[step]` goes on for ever. The rows that fill no whole batch are left out, other ones in each epoch.
    """

    def __init__(self, tokens, batch_size, length, seed=0):
        for name, value in (("batch_size", batch_size), ("length", length)):
            if not isinstance(value, int) or isinstance(value, bool) or (name == "length" and value < 1):
                raise ValueError(f"{name} is {value!r}: give a whole number of at least 1")
        if length >= len(tokens):
            raise ValueError(f"rows of {length} tokens, but there are {len(tokens)}: take shorter rows or more text")
        self.tokens, self.batch_size, self.length, self.seed = tokens, batch_size, length, seed
        self._epoch = (None, None)  # the order of one epoch is kept, since its steps come one after the other
        if not 1 <= batch_size <= self.n_rows:
            raise ValueError(f"batches of {batch_size} rows, but there are {self.n_rows} rows: take from 1 to that")

    def __len__(self):
        return self.n_rows // self.batch_size

    def __getitem__(self, step):
        """Return x, y, each (B, T) int64, of a step from 0 on."""
        epoch, step = divmod(step, len(self))
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self.rows(epoch, torch.Generator().manual_seed(1_000_003 * self.seed + epoch)))
        begin = self._epoch[1][step * self.batch_size : (step + 1) * self.batch_size]  # (B,)
        place = begin[:, None] + torch.arange(self.length + 1)  # (B, T + 1)
        row = self.tokens[place % len(self.tokens)]
        return row[:, :-1], row[:, 1:]

    @cached_property
    def description(self):
        """What has to be equal for the same batches to come: a checkpoint keeps it."""
        return {
            "kind": type(self).__name__,
            "batch_size": self.batch_size,
            "length": self.length,
            "seed": self.seed,
            "n_tokens": len(self.tokens),
            "checksum": zlib.crc32(self.tokens.numpy().tobytes()),
        }


class DocumentBatches(Batches):
    """Rows that begin at a document's <|endoftext|> and run on into the documents after it.

    Where facts in a document's beginning decide its end, a row that is cut out of the middle asks for what can't be
    known, and the corpus's entropy can't be reached.
    """

    def __init__(self, tokens, starts, batch_size, length, seed=0):
        self.starts = starts
        super().__init__(tokens, batch_size, length, seed)

    @property
    def n_rows(self):
        """One row a document."""
        return len(self.starts)

    def rows(self, epoch, generator):
        """All documents in a random order."""
        return self.starts[torch.randperm(self.n_rows, generator=generator)]


class WindowBatches(Batches):
    """Rows cut anywhere, for text without documents: an epoch's rows lie side by side, from a random place on."""

    @property
    def n_rows(self):
        """As many rows as lie side by side."""
        return len(self.tokens) // self.length

    def rows(self, epoch, generator):
        """Every token once (but for less than a row), cut at other places in every epoch."""
        offset = torch.randint(self.length, (1,), generator=generator)
        return offset + self.length * torch.randperm(self.n_rows, generator=generator)
