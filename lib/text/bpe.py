"""Byte-pair encoding from scratch: learn merges from bytes, encode, decode.

Text is cut into pre-tokens (words, numbers, punctuation, white space), each pre-token into bytes, and then the pair
of neighbours that is the most frequent in the training text becomes one new token, again and again. Since the 256
bytes are tokens, every text can be encoded and nothing is ever unknown.

Sources: Sennrich, Haddow and Birch 2016, section 3.2 (merges); Radford et al. 2019, section 2.2 (bytes, pre-tokens).
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import regex

from lib.text import bpe_file
from lib.text.bpe_merges import Merge, Pair, Progress, learn_merges

# GPT-2's pre-tokens: English contractions; a word, a number or other signs, each with the space before it; white
# space, but its last space is left to the word that follows. The pieces of a text always join to the text.
PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
END_OF_TEXT = "<|endoftext|>"
CACHE_SIZE = 1 << 16
LONG_PIECE = 200  # bytes of a pre-token; those of a language are shorter


def as_text(text: str | bytes) -> str:
    """The text as str; bytes that are no UTF-8 become lone surrogates, which `as_bytes` turns back (PEP 383)."""
    return text if isinstance(text, str) else bytes(text).decode("utf-8", "surrogateescape")


def as_bytes(text: str | bytes) -> bytes:
    """The text as UTF-8. ValueError where half a surrogate pair has no bytes."""
    if not isinstance(text, str):
        return bytes(text)
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        message = f"character {error.start} of {text[:20]!r}... is U+{code:04X}, half a surrogate pair, which UTF-8"
        raise ValueError(f"{message} cannot write: replace it, or pass bytes") from None


def check_ids(ids: Iterable[int], vocab_size: int) -> list[int]:
    """The ids as a list of int; ValueError on one that is not in the vocabulary."""
    ids = [int(i) for i in ids]
    for place, i in enumerate(ids):
        if not 0 <= i < vocab_size:
            message = f"id {i} at place {place}, but this tokenizer's ids are 0 to {vocab_size - 1}"
            raise ValueError(f"{message}: decode with the tokenizer that made it")
    return ids


def join(symbols: list[int], pair: Pair, new: int) -> list[int]:
    """Replace every `pair` of neighbours in `symbols` by `new`, from left to right: a a a -> aa a."""
    left, right = pair
    joined, i, last = [], 0, len(symbols) - 1
    while i <= last:
        if symbols[i] == left and i < last and symbols[i + 1] == right:
            joined.append(new)
            i += 2
        else:
            joined.append(symbols[i])
            i += 1
    return joined


def merge_long(ids: list[int], ranks: dict[Pair, tuple[int, int]]) -> list[int]:
    """Do what `BPE._merge_piece` does in O(n log n): a word of a megabyte takes seconds, not minutes.

    Symbols are a linked list; the pairs that can be joined wait in a heap, the earliest learned one first, from left to
    right. What a join puts side by side waits until all joins of that merge are done.
    """
    ids, n = list(ids), len(ids)
    after, before = list(range(1, n + 1)), list(range(-1, n - 1))
    heap = [(ranks[pair][0], i) for i, pair in enumerate(zip(ids, ids[1:], strict=False)) if pair in ranks]
    heapq.heapify(heap)
    while heap:
        rank, grown = heap[0][0], []
        while heap and heap[0][0] == rank:
            _, i = heapq.heappop(heap)
            j = after[i]
            known = ranks.get((ids[i], ids[j])) if j < n else None
            if known is None or known[0] != rank:
                continue  # one of the two was joined to another in the meantime
            ids[i], ids[j], after[i] = known[1], -1, after[j]
            if after[i] < n:
                before[after[i]] = i
            grown.append(i)
        for i in {place for new in grown for place in (before[new], new) if place >= 0}:
            known = ranks.get((ids[i], ids[after[i]])) if after[i] < n else None
            if known:
                heapq.heappush(heap, (known[0], i))
    return [symbol for symbol in ids if symbol >= 0]


class BPE:
    """A byte-level BPE tokenizer.

    Ids: first the special tokens (0 is `<|endoftext|>`), then the 256 bytes, then the token of each merge in the
    order learned. merges: pairs of bytes, each made by an earlier merge or a single byte; else ValueError.
    Deviation from GPT-2, which puts its special token last: an id here does not depend on the vocabulary's size.
    """

    def __init__(self, merges: Sequence[Merge], special: Sequence[str] = (END_OF_TEXT,)):
        self.merges, self.special = [tuple(merge) for merge in merges], list(special)
        if not all(isinstance(s, str) for s in self.special):
            raise ValueError(f"special tokens are text, but they are {self.special}: give a list of str")
        self.vocab = [s.encode("utf-8") for s in self.special] + [bytes([b]) for b in range(256)]
        n_special = len(self.special)
        if n_special != len(set(self.special)) or "" in self.special:
            raise ValueError(f"special tokens must differ and hold text, but they are {self.special}: rename some")
        number = {bytes([b]): n_special + b for b in range(256)}
        self._ranks: dict[Pair, tuple[int, int]] = {}
        for rank, (left, right) in enumerate(self.merges):
            for part in (left, right):
                if part not in number:
                    message = f"merge {rank} of {len(self.merges)} joins {left!r} and {right!r}, but no earlier one"
                    raise ValueError(f"{message} makes {part!r}: keep the order in which they were learned")
            if left + right not in number:
                number[left + right] = len(self.vocab)
                self.vocab.append(left + right)
            self._ranks.setdefault((number[left], number[right]), (rank, number[left + right]))
        self._special_ids = {s: i for i, s in enumerate(self.special)}
        self._first_byte = n_special
        self._pieces = regex.compile(PATTERN)
        self._cache: dict[str, list[int]] = {}

    @classmethod
    def train(
        cls,
        text: str | bytes,
        vocab_size: int,
        special: Sequence[str] = (END_OF_TEXT,),
        progress: Progress | None = None,
    ) -> "BPE":
        """Learn a vocabulary of `vocab_size` tokens (fewer where the text has no more pairs) from a text.

        Each distinct pre-token is kept once with its count: 5 MB of stories have a million, but a few thousand differ.
        """
        smallest = len(special) + 256
        if vocab_size < smallest:
            message = f"vocab_size is {vocab_size}, but {len(special)} special tokens and 256 bytes need {smallest}"
            raise ValueError(f"{message}: ask for {smallest} or more")
        words = Counter(regex.findall(PATTERN, as_text(text)))
        return cls(learn_merges({as_bytes(w): n for w, n in words.items()}, vocab_size - smallest, progress), special)

    @property
    def vocab_size(self) -> int:
        """How many tokens there are, the special ones among them."""
        return len(self.vocab)

    @property
    def eot(self) -> int:
        """The id of `<|endoftext|>`."""
        if END_OF_TEXT not in self._special_ids:
            raise ValueError(f"the special tokens are {self.special}: make the tokenizer with {END_OF_TEXT!r} too")
        return self._special_ids[END_OF_TEXT]

    def encode(self, text: str | bytes, allow_special: bool = False) -> list[int]:
        """Text -> ids. Special tokens that stand in the text are plain text, unless allow_special."""
        text = as_text(text)
        if not (allow_special and self.special):
            return self._encode_plain(text)
        longest_first = sorted(self.special, key=len, reverse=True)
        ids = []
        for part in regex.split("(" + "|".join(map(regex.escape, longest_first)) + ")", text):
            ids += [self._special_ids[part]] if part in self._special_ids else self._encode_plain(part)
        return ids

    def _encode_plain(self, text: str) -> list[int]:
        ids, cache = [], self._cache
        for piece in self._pieces.findall(text):
            known = cache.get(piece)
            if known is None:
                known = self._merge_piece([self._first_byte + b for b in as_bytes(piece)])
                if len(cache) >= CACHE_SIZE:
                    cache.clear()
                if len(piece) <= LONG_PIECE:
                    cache[piece] = known
            ids += known
        return ids

    def _merge_piece(self, ids: list[int]) -> list[int]:
        """Apply, again and again, the earliest learned merge that fits anywhere."""
        if len(ids) > LONG_PIECE:
            return merge_long(ids, self._ranks)
        ranks = self._ranks
        while len(ids) > 1:
            known = [ranks[pair] + (pair,) for pair in set(zip(ids, ids[1:], strict=False)) if pair in ranks]
            if not known:
                break
            _, new, pair = min(known)
            ids = join(ids, pair, new)
        return ids

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Ids -> bytes, exactly. ValueError on an id that is not in the vocabulary."""
        return b"".join([self.vocab[i] for i in check_ids(ids, len(self.vocab))])

    def decode(self, ids: Iterable[int]) -> str:
        """Ids -> text; bytes that are no UTF-8, such as half a character, become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def save(self, path: str | Path) -> None:
        """Write a tokenizer.json that the `tokenizers` and `transformers` libraries open, with the same ids."""
        bpe_file.write(Path(path), self.vocab, self.merges, self.special)

    @classmethod
    def load(cls, path: str | Path) -> "BPE":
        """Open what `save` wrote. ValueError on any other file; FileNotFoundError where there is none."""
        merges, special, vocab = bpe_file.read(Path(path))
        try:
            bpe = cls(merges, special)
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from None
        if bpe.vocab != vocab:
            message = f"{path} numbers its {len(vocab)} tokens in another way than BPE does with the same merges"
            raise ValueError(f"{message}: open it with the library that wrote it, or with lib.text.published")
        return bpe
