"""What a story grammar says on average: expected nats and expected bytes, exactly, without drawing a story.

Which pattern or word comes next never depends on the words chosen before, only on which roles have a word already. So
expectations add up part by part: E[nats] of a row is the sum over its parts, of a choice the mean over its options plus
log(number of options), and of a role's first mention the entropy of the draw. Later mentions cost 0 nats and E[length]
bytes. Each is computed once per (part, roles that have a word).
"""

import functools
import math
import re

from lib.text.tales_grammar import Either, Pick, Say, Text


class Expectation:
    """Expected nats and bytes of every part of a grammar.

    H = E[nats] / E[bytes] / ln 2 is the entropy in bits per byte: no model can code a long corpus of these stories
    with fewer bits per byte (Shannon 1948, theorem 9).
    """

    def __init__(self, grammar):
        """Compute nats (expected -log p of a story, in nats) and bytes (expected UTF-8 length of a story)."""
        self._memo, self._lists = {}, grammar.roles
        outcomes = self.visit(grammar.start, ())
        self.nats = math.fsum(nats for _, nats, _ in outcomes.values())
        self.bytes = math.fsum(size for _, _, size in outcomes.values())
        self.bits_per_byte = self.nats / self.bytes / math.log(2)

    def visit(self, node, named):
        """Return {roles with a word afterwards: (probability, nats, bytes)}, the last two weighted by probability."""
        key = (id(node), named)
        if key not in self._memo:
            self._memo[key] = self._visit(node, named)
        return self._memo[key]

    def _visit(self, node, named):
        if isinstance(node, Text):
            return {named: (1.0, 0.0, _size(node.text))}
        if isinstance(node, Pick):
            return {named: (1.0, *_draw(node.words, 0, node.table))}
        if isinstance(node, Say):
            return self._say(node, named)
        if isinstance(node, Either):
            return self._either(node, named)
        return self._row(node, named)

    def _say(self, node, named):
        before = [role for role in named if role in node.rivals or role == node.role]
        if node.role in named:
            _, size = _draw(node.words, before.index(node.role), node.table)
            return {named: (1.0, 0.0, size)}
        if not node.tells:
            raise ValueError(f"role {node.role!r} is first mentioned in a form that hides its word")
        nats, size = _draw(node.words, len(before), node.table)
        after = tuple(sorted((*named, node.role), key=self._lists.get))  # the order matters only within a list
        return {after: (1.0, nats, size)}

    def _either(self, node, named):
        share = 1 / len(node.options)
        merged = {}
        for option in node.options:
            for after, (p, nats, size) in self.visit(option, named).items():
                cost = p * -node.log_probability
                _add(merged, after, (share * p, share * (nats + cost), share * size))
        return merged

    def _row(self, node, named):
        states = {named: (1.0, 0.0, 0.0)}
        for part in node.parts:
            following = {}
            for before, (p, nats, size) in states.items():
                for after, (q, more_nats, more_size) in self.visit(part, before).items():
                    _add(following, after, (p * q, nats * q + p * more_nats, size * q + p * more_size))
            states = following
        return states


def _add(merged, key, values):
    old = merged.get(key, (0.0, 0.0, 0.0))
    merged[key] = tuple(a + b for a, b in zip(old, values, strict=True))


def _size(text):
    return len(text.encode("utf-8"))


def _draw(words, position, table):
    """Entropy in nats of draw number `position` without replacement, and the mean bytes of its word in a form."""
    nats, marginal = _without_replacement(words, position)
    return nats, math.fsum(p * _size(text) for p, text in zip(marginal, table, strict=True))


@functools.cache
def _without_replacement(words, position):
    """Entropy of one draw after `position` others, and its distribution over the list, averaged over the others.

    Given that the words E are taken, with P(E) their share, q_i = p_i / (1 - P(E)), so that
    H(q) = log(1 - P(E)) - sum over i not in E of p_i log p_i / (1 - P(E)).
    """
    p, logs = words.probabilities, words.logs
    all_terms = math.fsum(a * b for a, b in zip(p, logs, strict=True))
    nats, total, lost = 0.0, 0.0, [0.0] * len(p)
    for taken, chance in _ordered(p, position):
        left = 1 - math.fsum(p[i] for i in taken)
        nats += chance * (math.log(left) - (all_terms - math.fsum(p[i] * logs[i] for i in taken)) / left)
        total += chance / left
        for i in taken:
            lost[i] += chance / left
    return nats, [share * (total - gone) for share, gone in zip(p, lost, strict=True)]


def _ordered(p, n):
    """Yield every ordered choice of n different words with its probability."""
    if n == 0:
        yield (), 1.0
        return
    for taken, chance in _ordered(p, n - 1):
        left = 1 - math.fsum(p[i] for i in taken)
        for i, share in enumerate(p):
            if i not in taken:
                yield (*taken, i), chance * share / left


def word_range(node):
    """Return the fewest and the most spaces-separated words that a part of a grammar can have.

    Counted as runs of white space, so that a whole story has one word more than its part has breaks.
    """
    if isinstance(node, Text):
        return (_breaks(node.text),) * 2
    if isinstance(node, Either):
        ranges = [word_range(option) for option in node.options]
        return min(low for low, _ in ranges), max(high for _, high in ranges)
    if isinstance(node, (Pick, Say)):
        counts = [_breaks(text) for text in node.table]
        return min(counts), max(counts)
    ranges = [word_range(part) for part in node.parts]
    return sum(low for low, _ in ranges), sum(high for _, high in ranges)


def _breaks(text):
    return len(re.findall(r"\s+", text))
