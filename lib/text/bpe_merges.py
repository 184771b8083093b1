"""How byte-pair encoding learns its merges from words: the most frequent pair first, again and again.

Source: Sennrich, Haddow and Birch 2016, section 3.2.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable

from lib.text import bpe_file

Pair = tuple[int, int]
Merge = tuple[bytes, bytes]
Progress = Callable[[int, int], None]


class PairCounts:
    """How often each pair of neighbours occurs, and where, kept up to date while symbols are joined.

    words: the symbols of each distinct word; counts: how often each word occurs. All words stand in one list of
    symbols, each linked to its neighbours in the word. A merge touches only the places that hold its pair, which
    `where` remembers: this makes training fast, be it on many words or on a single one of a megabyte. In `heap` the
    most frequent pair comes first and the pair of smaller numbers wins a tie. Its entries may be out of date;
    `pop_best` puts them right.
    """

    def __init__(self, words: list[list[int]], counts: list[int]):
        self.symbols, self.count = [], []
        self.before, self.after = [], []  # places; None at a word's ends
        self.total: dict[Pair, int] = defaultdict(int)
        self.where: dict[Pair, set[int]] = defaultdict(set)
        for word, count in zip(words, counts, strict=True):
            first, last = len(self.symbols), len(self.symbols) + len(word) - 1
            self.symbols += word
            self.count += [count] * len(word)
            self.before += [None, *range(first, last)][: len(word)]
            self.after += [*range(first + 1, last + 1), None][: len(word)]
        for place in range(len(self.symbols)):
            self._change(place, +1)
        self.heap = [(-count, pair) for pair, count in self.total.items()]
        heapq.heapify(self.heap)

    def _change(self, place: int | None, sign: int) -> Pair | None:
        # Counts the pair that begins at a place once more (+1) or no longer (-1), and returns it, if there is one.
        if place is None or self.after[place] is None:
            return None
        pair = self.symbols[place], self.symbols[self.after[place]]
        self.total[pair] += sign * self.count[place]
        (self.where[pair].add if sign > 0 else self.where[pair].discard)(place)
        return pair

    def pop_best(self) -> Pair | None:
        """The most frequent pair, or None where no pair is left."""
        while self.heap:
            count, pair = heapq.heappop(self.heap)
            now = -self.total[pair]
            if count == now < 0:
                return pair
            if now < 0:
                heapq.heappush(self.heap, (now, pair))
        return None

    def merge(self, pair: Pair, new: int) -> None:
        """Join `pair` to the symbol `new` wherever it stands, in each word from left to right: a a a -> aa a."""
        grown = set()
        for place in sorted(self.where[pair]):
            if place not in self.where[pair]:
                continue  # its first symbol went into the join before it
            right = self.after[place]
            for changed in (self.before[place], place, right):
                self._change(changed, -1)
            self.symbols[place], self.after[place] = new, self.after[right]
            if self.after[right] is not None:
                self.before[self.after[right]] = place
            grown |= {self._change(self.before[place], +1), self._change(place, +1)}
        for p in grown - {None}:
            heapq.heappush(self.heap, (-self.total[p], p))


def learn_merges(words: dict[bytes, int], n_new: int, progress: Progress | None = None) -> list[Merge]:
    """Learn merges until there are `n_new` new tokens, or no pair is left. words: pre-token -> its count.

    Ties go to the older symbols, and bytes are ordered as in GPT-2's alphabet (printable ones first): the rule of
    the `tokenizers` library, so that both learn the same list. `progress(done, n_new)` is called after each merge.
    """
    alphabet = bpe_file.byte_characters()
    tokens = [bytes([b]) for b in sorted(range(256), key=lambda b: alphabet[b])]
    symbol = {token: i for i, token in enumerate(tokens)}
    pairs = PairCounts([[symbol[bytes([b])] for b in word] for word in words], list(words.values()))
    merges = []
    while len(tokens) < 256 + n_new and (best := pairs.pop_best()):
        left, right = tokens[best[0]], tokens[best[1]]
        merges.append((left, right))
        # a+aa and aa+a are two merges, but one token
        if left + right not in symbol:
            symbol[left + right] = len(tokens)
            tokens.append(left + right)
        pairs.merge(best, symbol[left + right])
        if progress:
            progress(len(tokens) - 256, n_new)
    return merges
