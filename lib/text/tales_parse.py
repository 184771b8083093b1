"""Reads a text back with a story grammar: every derivation, its log-probability, and the facts that it breaks.

All derivations are followed side by side, so that a text with two of them would be seen (none should have two).
"""

import math
import re
from typing import NamedTuple

from lib.text.tales_grammar import Either, Pick, Row, Text

LETTERS = re.compile(r"[^\W\d_]*")


class Violation(NamedTuple):
    """At `position` the text says `found` where the facts told so far demand `expected`."""

    position: int
    role: str
    expected: str
    found: str


class Parse(NamedTuple):
    """One reading of a story.

    log_probability is in nats and counts the choices; where facts are broken it says what the choices alone would have.
    facts maps each role to its word; violations lists the broken facts; n_derivations is the number of readings.
    """

    log_probability: float
    facts: dict
    violations: tuple
    n_derivations: int


class _State(NamedTuple):
    position: int
    nats: float
    roles: dict
    violations: tuple


class Reader:
    """Follows every derivation of one text; `strict` drops those that break a fact."""

    def __init__(self, text, strict):
        self.text, self.strict = text, strict
        self.ran_out = False  # did some derivation agree with the text up to its very end, and want more?

    def run(self, grammar):
        """Return the states that have read the whole text."""
        states = self.follow(grammar.start, [_State(0, 0.0, {}, ())])
        return [state for state in states if state.position == len(self.text)]

    def follow(self, node, states):
        """Return every state in which `node` can leave the given ones."""
        if isinstance(node, Row):
            for part in node.parts:
                if not states:
                    break
                states = self.follow(part, states)
            return states
        if isinstance(node, Either):
            states = [state._replace(nats=state.nats + node.log_probability) for state in states]
            return [after for option in node.options for after in self.follow(option, states)]
        return [after for state in states for after in self._word(node, state)]

    def _word(self, node, state):
        if isinstance(node, Text):
            return [state._replace(position=at) for at in self._literal(node.text, state.position)]
        if isinstance(node, Pick):
            found = self._find(node.table, state.position)
            return [state._replace(position=at, nats=state.nats + node.words.logs[i]) for i, at in found]
        if node.role in state.roles:
            return self._copy(node, state)
        return self._name(node, state)

    def _literal(self, text, position):
        """Return where the text goes on after a literal: no or one place."""
        if self.text.startswith(text, position):
            return [position + len(text)]
        self.ran_out |= text.startswith(self.text[position:])
        return []

    def _find(self, table, position):
        """Return (index, end) of every word of a table that stands here."""
        start = LETTERS.match(self.text, position).group()
        found = []
        for i in _by_first_letters(table).get(start, ()):
            end = position + len(table[i])
            if self.text.startswith(table[i], position):
                found.append((i, end))
        rest = self.text[position:]
        if len(rest) <= _longest(table):
            self.ran_out |= any(text.startswith(rest) and text != rest for text in table)
        return found

    def _copy(self, node, state):
        """A later mention: the same word, or (not strict) another word of the list and a violation."""
        i = state.roles[node.role]
        same = [state._replace(position=at) for at in self._literal(node.table[i], state.position)]
        if same or self.strict:
            return same
        ends = {end: j for j, end in self._find(node.table, state.position)}
        return [
            state._replace(
                position=end,
                violations=(*state.violations, Violation(state.position, node.role, node.table[i], node.table[j])),
            )
            for end, j in ends.items()
        ]

    def _name(self, node, state):
        """A first mention: any word that no other role of the list has."""
        taken = [state.roles[r] for r in node.rivals if r in state.roles]
        left = math.log1p(-sum(node.words.probabilities[j] for j in taken))
        after = []
        for i, end in self._find(node.table, state.position):
            broken = state.violations
            if i in taken:
                if self.strict:
                    continue
                broken = (*broken, Violation(state.position, node.role, "a word not yet taken", node.table[i]))
            roles = {**state.roles, node.role: i}
            after.append(_State(end, state.nats + node.words.logs[i] - left, roles, broken))
        return after


def parse(grammar, text):
    """Read a text: the derivation with the fewest broken facts, or None where the text is no story of the grammar."""
    states = Reader(text, strict=True).run(grammar) or Reader(text, strict=False).run(grammar)
    if not states:
        return None
    best = min(states, key=lambda state: len(state.violations))
    facts = {role: grammar.lists[grammar.roles[role]].table("")[i] for role, i in best.roles.items()}
    return Parse(best.nats, facts, best.violations, len(states))


def can_begin(grammar, prefix):
    """Say whether a story whose facts hold can begin with this text."""
    reader = Reader(prefix, strict=True)
    return bool(reader.run(grammar)) or reader.ran_out


_TABLES = {}  # id of a table -> (the table, its index, its longest word); tables live as long as their grammar


def _index(table):
    if id(table) not in _TABLES or _TABLES[id(table)][0] is not table:
        index = {}
        for i, text in enumerate(table):
            index.setdefault(LETTERS.match(text).group(), []).append(i)
        _TABLES[id(table)] = (table, index, max(map(len, table)))
    return _TABLES[id(table)]


def _by_first_letters(table):
    return _index(table)[1]


def _longest(table):
    return _index(table)[2]
