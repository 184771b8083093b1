"""The built-in corpus: a seeded generator of short children's stories whose entropy is known exactly.

Every random choice shows in the text, so log p(text) is the sum of the log-probabilities of the choices. The grammar is
data: data/tales/*.txt, in the format that tales_grammar describes.
"""

import functools
import itertools
import random
import zlib
from pathlib import Path
from typing import NamedTuple

from lib.text import tales_entropy, tales_parse
from lib.text.tales_grammar import Grammar

FOLDER = Path(__file__).resolve().parents[2] / "data" / "tales"
N_CHOICES = 4  # possible answers to a question about a thing or a place; for a person, the people of the story


class Page:
    """A story while it is written."""

    def __init__(self, random_number):
        self.random = random_number
        self.out, self.marks, self.roles, self.log_probability = [], [], {}, 0.0


class Story(NamedTuple):
    """A story, its log-probability in nats, its facts (role -> word), and the marks from which questions are made."""

    text: str
    log_probability: float
    facts: dict
    marks: tuple

    @property
    def questions(self):
        """Return (prefix, answer, choices): the word that must follow the prefix, by the facts that it tells.

        prefix + answer is text of the story (the blank belongs to the answer). The choices are sorted; they are the
        words of the same list that the story has named, or, where it has named no other, N_CHOICES of that list.
        """
        return [_question(self, at, say, i) for at, say, i in self.marks]


@functools.cache
def grammar():
    """Return the corpus's own grammar, read once."""
    return Grammar.load(FOLDER)


def story(rng, of=None):
    """Write one story with a random.Random (only its random() is used: the same on every platform)."""
    of = of or grammar()
    page = Page(rng.random)
    of.start.write(page)
    marks = tuple((sum(map(len, page.out[:piece])), say, i) for piece, say, i in page.marks)
    facts = {role: of.lists[of.roles[role]].table("")[i] for role, i in page.roles.items()}
    return Story("".join(page.out), page.log_probability, facts, marks)


def stories(seed, n, of=None):
    """Yield n stories; the same seed gives the same stories on every platform."""
    rng = random.Random(seed)
    for _ in range(n):
        yield story(rng, of)


def generate(seed, n_bytes, of=None):
    """Return the first stories of a seed that have at least n_bytes of UTF-8 together."""
    rng, found, size = random.Random(seed), [], 0
    while size < n_bytes:
        found.append(story(rng, of))
        size += len(found[-1].text.encode("utf-8"))
    return found


def parse(text, of=None):
    """Read a text back: a Parse (log-probability, facts, violations), or None where it is no story of the grammar."""
    return tales_parse.parse(of or grammar(), text)


def is_story(text, of=None):
    """Say whether a text is a story of the grammar, whether or not its facts hold."""
    return parse(text, of) is not None


def facts_hold(text, of=None):
    """Say whether a text is a story and no later mention contradicts an earlier one (who, what, where, said what)."""
    reading = parse(text, of)
    return reading is not None and not reading.violations


@functools.cache
def expectation():
    """Return the corpus's expected nats and bytes per story (exact)."""
    return tales_entropy.Expectation(grammar())


def entropy_bits_per_byte():
    """Return the floor: expected nats / expected bytes / ln 2; no model can be better on a long corpus."""
    return expectation().bits_per_byte


def _question(told, at, say, i):
    blank = " " if told.text[at - 1 : at] == " " else ""
    words = say.words.table("")
    named = [words.index(told.facts[role]) for role in say.rivals if role in told.facts]
    answers = {blank + say.table[j] for j in (i, *named)}
    first = zlib.crc32(told.text.encode("utf-8"))  # any number that the text alone decides
    others = (blank + say.table[(first + k * 7919) % len(words)] for k in range(len(words)))
    if len(answers) == 1:
        answers.update(itertools.islice((text for text in others if text not in answers), N_CHOICES - 1))
    return told.text[: at - len(blank)], blank + say.table[i], sorted(answers)
