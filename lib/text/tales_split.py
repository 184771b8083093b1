"""What the grammar itself pays for each token of a story, and why: it is chosen, recalled, or determined.

The truth's cost of a token is log P(text before it) - log P(text up to its end), P the probability that a story begins
so, summed over all stories of the grammar. Added up over a story it is -log p(story). One pass over the text finds all
of them: each derivation that leaves the text gives its probability to the place up to which it agreed.
"""

import bisect
import itertools
import math
from typing import NamedTuple

from lib.text.tales import grammar
from lib.text.tales_grammar import Pick, Text
from lib.text.tales_parse import Reader

KINDS = ("recalled", "chosen", "determined")
NOTHING = 1e-9  # nats; what costs the truth less was determined


class Token(NamedTuple):
    """What is known about one token of a story.

    nats: the truth's cost. kind: "recalled", where it writes a role's word that was told before (a pronoun, too, which
    needs to know whose); else "chosen", where it costs the truth anything; else "determined". Of a recalled token also
    the role, the number of the token that told its word first, and how many tokens ago it was last told.
    """

    nats: float
    kind: str
    role: str | None = None
    told: int | None = None
    ago: int | None = None


class Mention(NamedTuple):
    """A role's word from character `start` to `end`; whether its form shows the word; whether it is the first."""

    role: str
    start: int
    end: int
    tells: bool
    first: bool


class _Place(NamedTuple):
    position: int
    nats: float
    roles: dict
    mentions: tuple


class _Table:
    """A word list in one form, sorted, so that the probability of all words with a beginning is a difference."""

    def __init__(self, words, table):
        order = sorted(range(len(table)), key=table.__getitem__)
        self.order, self.texts = order, [table[i] for i in order]
        self.cumulative = [0.0, *itertools.accumulate(words.probabilities[i] for i in order)]

    def match(self, text, position):
        """Return the words that stand here, [(i, end)], and [(probability, position up to which words agree)]."""
        low, high, n, found, lost = 0, len(self.texts), 0, [], []
        mass = self.cumulative[-1]
        while low < high:
            while low < high and len(self.texts[low]) == n:
                found.append((self.order[low], position + n))
                mass -= self.cumulative[low + 1] - self.cumulative[low]
                low += 1
            start, before = text[position : position + n + 1], mass
            if low == high or len(start) == n:  # no words are left, or no text
                break
            low = bisect.bisect_left(self.texts, start, low, high)
            high = bisect.bisect_left(self.texts, start[:-1] + chr(ord(start[-1]) + 1), low, high)
            mass = self.cumulative[high] - self.cumulative[low]
            lost.append((before - mass, position + n))
            n += 1
        if low < high:
            lost.append((mass, position + n))
        return found, lost


class Prefixes(Reader):
    """Follows all derivations of a text; `.lost[n]` is the probability of those that agree with n characters of it."""

    tables = {}  # id of a table -> (the table, a _Table); tables live as long as their grammar

    def __init__(self, text):
        super().__init__(text, strict=True)
        self.lost = [0.0] * (len(text) + 1)

    def read(self, of):
        """Return (log P of each beginning of 0, 1, ... characters, log p of the whole story, its mentions)."""
        whole = []
        for place in self.follow(of.start, [_Place(0, 0.0, {}, ())]):
            if place.position == len(self.text):
                whole.append(place)
            else:
                self.lost[place.position] += math.exp(place.nats)
        if not whole:
            raise ValueError(f"no story of the grammar whose facts hold: {self.text[:60]!r}")
        story = math.fsum(math.exp(place.nats) for place in whole)
        masses = [*itertools.accumulate(reversed(self.lost), initial=story)][:0:-1]
        return [math.log(mass) for mass in masses], math.log(story), whole[0].mentions

    def _word(self, node, place):
        if isinstance(node, Text):
            return self._fixed(node.text, place)
        if isinstance(node, Pick):
            return self._drawn(node, place, ())
        if node.role in place.roles:
            after = self._fixed(node.table[place.roles[node.role]], place)
            return [self._mentioned(node, place, new, new.roles, False) for new in after]
        taken = [place.roles[role] for role in node.rivals if role in place.roles]
        after = self._drawn(node, place, taken)
        return [self._mentioned(node, place, new, {**new.roles, node.role: i}, True) for i, new in after]

    def _fixed(self, text, place):
        here = self.text[place.position : place.position + len(text)]
        if here == text:
            return [place._replace(position=place.position + len(text))]
        agreed = next((n for n, pair in enumerate(zip(text, here, strict=False)) if pair[0] != pair[1]), len(here))
        self.lost[place.position + agreed] += math.exp(place.nats)
        return []

    def _drawn(self, node, place, taken):
        """Return the places after each word that stands here; for a role, which has rivals, with the word's number."""
        found, lost = self._table(node).match(self.text, place.position)
        left = 1 - sum(node.words.probabilities[i] for i in taken)
        scale = math.exp(place.nats) / left
        for mass, end in lost:
            self.lost[end] += scale * mass
        for i in taken:  # they were counted among the lost, and can't come
            if not any(i == j for j, _ in found):
                self.lost[self._agreed(node.table[i], place.position)] -= scale * node.words.probabilities[i]
        after = [
            (i, place._replace(position=end, nats=place.nats + node.words.logs[i] - math.log(left)))
            for i, end in found
            if i not in taken
        ]
        return [new for _, new in after] if isinstance(node, Pick) else after

    def _agreed(self, text, position):
        n = 0
        while n < len(text) and self.text[position + n : position + n + 1] == text[n]:
            n += 1
        return position + n

    def _table(self, node):
        kept = self.tables.get(id(node.table))
        if kept is None or kept[0] is not node.table:
            kept = self.tables[id(node.table)] = (node.table, _Table(node.words, node.table))
        return kept[1]

    def _mentioned(self, node, before, after, roles, first):
        mention = Mention(node.role, before.position, after.position, node.tells, first)
        return after._replace(roles=roles, mentions=(*before.mentions, mention))


def split(text, tokenizer, of=None):
    """Return (ids, tokens): a story's ids and the closing <|endoftext|>, and a `Token` for each.

    of: a Grammar, the corpus's own where it is None. Raises ValueError for what is no story, or breaks its facts.
    """
    ids = tokenizer.encode(text)
    sizes = itertools.accumulate(len(tokenizer.decode_bytes([i])) for i in ids)
    raw = text.encode("utf-8")
    ends = [len(raw[:size].decode("utf-8", errors="ignore")) for size in sizes]
    logs, story, mentions = Prefixes(text).read(of or grammar())
    costs = [logs[start] - logs[end] for start, end in itertools.pairwise([0, *ends])]
    recalled, told, seen = {}, {}, {}
    for mention in mentions:
        first = bisect.bisect_right(ends, mention.start)
        last = bisect.bisect_left(ends, mention.end)
        if not mention.first:
            for n in range(first, last + 1):
                recalled[n] = (mention.role, told[mention.role], first - seen[mention.role])
        else:
            told[mention.role] = first
        if mention.tells or mention.first:
            seen[mention.role] = first
    tokens = [
        Token(nats, "recalled", *recalled[n]) if n in recalled else Token(nats, _kind(nats))
        for n, nats in enumerate(costs)
    ]
    closing = logs[-1] - story
    return [*ids, tokenizer.eot], [*tokens, Token(closing, _kind(closing))]


def _kind(nats):
    return "chosen" if nats > NOTHING else "determined"
