"""Three tasks made of tales, each with a known ceiling: a reader who knows the grammar answers every question.

word      the story breaks off before a word that it has told: which word? (as LAMBADA asks)
ending    four endings, of which three contradict the story: which one is left? (as StoryCloze and HellaSwag)
context   two stories that differ in a word, one ending that only one of them allows: which? (as Winograd)
"""

import random
import re
from typing import NamedTuple

from lib.text import tales
from lib.text.tales_grammar import capitalised

TASKS = ("word", "ending", "context")
SEED = 18_000_001  # of the questions: no corpus of the course begins there
N_ENDINGS = 4
SENTENCE = re.compile(r"(?<=[.!?\"]) (?=[A-Z\"])")


class Question(NamedTuple):
    """Texts to choose from: pair i is contexts[i], a blank, endings[i]; `answer` is the number of the right pair.

    Neither a context ends with a blank nor an ending begins with one.
    """

    contexts: tuple
    endings: tuple
    answer: int


def questions(task, n, seed=SEED):
    """Return n questions of a task, the same on every platform; ValueError for a task that there is not."""
    if task not in TASKS:
        raise ValueError(f"there is no task {task!r}: there are {', '.join(TASKS)}")
    rng, found = random.Random(seed), []
    make = {"word": _word, "ending": _Endings(seed), "context": _context}[task]
    while len(found) < n:
        question = make(tales.story(rng), rng)
        found += [] if question is None else [question]
    return found


def _last_mark(story):
    """Return (text before, word, words to choose from) of the last question; None where it begins with no blank."""
    prefix, word, choices = story.questions[-1] if story.marks else ("", "", [])
    return (prefix, word[1:], choices) if word.startswith(" ") else None


def _word(story, rng):
    mark = _last_mark(story)
    return mark and Question((mark[0],), (mark[1],), 0)


class _Endings:
    """Endings of other stories, sorted by the place in the grammar that they come from: one from there mostly fits."""

    def __init__(self, seed, n=2400):
        self.pool = {}
        for story in tales.stories(seed + 1, n):
            cut = _last_sentence(story)
            if cut:
                self.pool.setdefault(story.marks[-1][1], []).append(cut[1])

    def __call__(self, story, rng):
        """Return the question about a story, or None where too few endings can stand there and contradict it."""
        cut = _last_sentence(story)
        others = self.pool.get(story.marks[-1][1], []) if cut else []
        wrong = []
        for ending in rng.sample(others, min(len(others), 8)):
            reading = tales.parse(f"{cut[0]} {ending}")
            if reading is not None and reading.violations and ending not in wrong:
                wrong.append(ending)
            if len(wrong) == N_ENDINGS - 1:
                answer = rng.randrange(N_ENDINGS)
                return Question((cut[0],) * N_ENDINGS, (*wrong[:answer], cut[1], *wrong[answer:]), answer)
        return None


def _last_sentence(story):
    """Return the story before the sentence with its last mark, and the rest, without the blank; None without one."""
    mark = _last_mark(story)
    places = [match.start() for match in SENTENCE.finditer(story.text, 0, len(mark[0]))] if mark else []
    return (story.text[: places[-1]], story.text[places[-1] + 1 :]) if places else None


def _context(story, rng):
    """Return the story and its twin, in which a word and another one of its list change places, with one ending."""
    mark = _last_mark(story)
    if mark is None:
        return None
    prefix, word, choices = mark
    other = rng.choice([choice[1:] for choice in choices if choice[1:] != word])
    twin = tales.parse(_swapped(story.text, word, other))
    ending = re.match(r"[^.!?]*[.!?]?", story.text[len(prefix) + 1 :])[0]
    false = _swapped(prefix, word, other)
    if twin is None or twin.violations or false == prefix:
        return None
    answer = rng.randrange(2)
    return Question((prefix, false) if answer == 0 else (false, prefix), (ending, ending), answer)


def _swapped(text, one, other):
    """Return a text in which two words have changed places, at the beginning of a sentence, too."""
    pairs = {one: other, other: one, capitalised(one): capitalised(other), capitalised(other): capitalised(one)}
    return re.sub(r"\b(?:" + "|".join(map(re.escape, pairs)) + r")\b", lambda found: pairs[found[0]], text)
