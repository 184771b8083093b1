"""Instructions made of tales: what is asked for, in which words, and whether a story does it.

An instruction demands one to three of hero, place, thing and kind. No other model has to judge the answer: the grammar
reads the story, and says what its hero is called and where it plays. One combination of demands in eight, and some
wordings, are kept for the test.

A conversation is written with two marks, which are tokens of their own: <|endoftext|><|user|>instruction<|assistant|>
story<|endoftext|>. The next turn follows the last mark.
"""

import functools
import random
import zlib
from typing import NamedTuple

from lib.text import tales
from lib.text.bpe import BPE, END_OF_TEXT
from lib.text.tales_grammar import Grammar

USER, ASSISTANT = "<|user|>", "<|assistant|>"
TEMPLATE = (  # for `apply_chat_template` of transformers: what `chat_ids` does
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '" + END_OF_TEXT + USER + "' + message['content'] }}"
    "{% else %}{{ '" + ASSISTANT + "' + message['content'] }}{% endif %}{% endfor %}"
    "{{ '" + ASSISTANT + "' if add_generation_prompt else '" + END_OF_TEXT + "' }}"
)
KINDS = {  # a rule of the grammar -> how an instruction names it
    "lost": "something lost",
    "gift": "a present",
    "promise": "a promise",
    "treasure hunt": "a treasure",
    "rescue": "an animal",
    "journey": "a journey",
    "building": "something that they build",
    "trouble": "the truth",
    "password": "a password",
    "planting": "seeds",
    "newcomer": "a new child",
    "noise in the night": "a noise in the night",
}
NO_THING = ("rescue", "planting", "noise in the night")  # these tell of no golden thing
# The first three wordings of each are trained, the last one is kept for the test.
FRAMES = ("Tell me a story {}.", "I want a story {}.", "Please tell a story {}.", "Let us have a story {}!")
CLAUSES = {
    "hero": ("about Little {}", "with Little {}", "whose hero is Little {}", "in which we meet Little {}"),
    "place": ("at the quiet {}", "near the quiet {}", "by the quiet {}", "that takes us to the quiet {}"),
    "thing": ("with a golden {}", "about a golden {}", "in which there is a golden {}", "that shows us a golden {}"),
    "kind": ("about {}", "that tells of {}", "in which there is {}", "that must have {} in it"),
}
KEPT = 8  # one in so many combinations is kept for the test


class Instruction(NamedTuple):
    """What is asked for in words, the demands {"hero", "place", "thing", "kind": word}, and a story that meets them."""

    text: str
    demands: dict
    story: str


@functools.cache
def grammar_of(kind):
    """Return the tales' grammar with one kind of story alone."""
    if kind not in KINDS:
        raise ValueError(f"no kind of story {kind!r}: there is {', '.join(KINDS)}")
    text = "\n\n".join(file.read_text(encoding="utf-8") for file in sorted(tales.FOLDER.glob("*.txt")))
    every = "tale =\n" + "\n".join(f"- {rule}" for rule in tales.grammar().rules["tale"])
    return Grammar(text.replace(every, f"tale =\n- <{kind}>"))


def words_of(part):
    """Return all that can be demanded of one part: the names of the grammar's list, or the kinds."""
    of = tales.grammar()
    return list(KINDS) if part == "kind" else of.lists[of.roles[part]].table("")


def is_kept(demands):
    """Say whether this combination of demands is kept for the test."""
    return zlib.crc32("|".join(f"{part}={demands[part]}" for part in sorted(demands)).encode()) % KEPT == 0


def write(demands, rng):
    """Return a story that meets the demands, drawn by the grammar; `rng` is a random.Random."""
    if "thing" in demands and demands.get("kind") in NO_THING:
        raise ValueError(f"a story of kind {demands['kind']!r} has no golden thing: demand one of the two")
    of = grammar_of(demands["kind"]) if "kind" in demands else tales.grammar()
    asked = {role: words_of(role).index(word) for role, word in demands.items() if role != "kind"}
    while True:
        page = tales.Page(rng.random)
        page.roles.update(asked)
        of.start.write(page)
        text = "".join(page.out)
        if "thing" not in demands or f"golden {demands['thing']}" in text:  # else it is a kind without a thing
            return text


def instruct(seed, n, kept=False, new_words=False, n_demands=(1, 2, 3)):
    """Yield n instructions with a story each; words are drawn evenly, so that the rare ones count as much.

    kept: combinations that no training set has; new_words: wordings that no training set has.
    """
    rng, found = random.Random(seed), 0
    while found < n:
        parts = rng.sample(sorted(CLAUSES), rng.choice(n_demands))
        demands = {part: rng.choice(words_of(part)) for part in parts}
        impossible = "thing" in demands and demands.get("kind") in NO_THING
        if impossible or is_kept(demands) != kept:
            continue
        found += 1
        yield Instruction(word(demands, rng, new_words), demands, write(demands, rng))


def word(demands, rng, new=False):
    """Say the demands in words, in their order."""
    drawn = slice(-1, None) if new else slice(None, -1)
    clauses = [
        rng.choice(CLAUSES[part][drawn]).format(KINDS[value] if part == "kind" else value)
        for part, value in demands.items()
    ]
    return rng.choice(FRAMES[drawn]).format(", ".join(clauses))


def met(demands, text):
    """Return {part: whether the story does what is asked}, by parsing it; what is no story of the grammar does nothing.

    A role that a later sentence contradicts is not met.
    """
    reading = tales.parse(text)
    if reading is None:
        return dict.fromkeys(demands, False)
    broken = {violation.role for violation in reading.violations}
    facts = {part: reading.facts.get(part) for part in demands.keys() - broken}
    if "kind" in demands and tales.parse(text, grammar_of(demands["kind"])) is not None:
        facts["kind"] = demands["kind"]
    return {part: facts.get(part) == value for part, value in demands.items()}


def with_marks(tokenizer):
    """Return the tokenizer with the two marks; special tokens come first, so all others move up by two ids."""
    new = [mark for mark in (USER, ASSISTANT) if mark not in tokenizer.special]
    return BPE(tokenizer.merges, [*tokenizer.special, *new])


def chat_ids(tokenizer, turns):
    """Return the ids of a conversation; turns are texts, the user's first. It ends where the other side's turn begins.

    A mark that somebody types is plain text here: only the format itself has marks.
    """
    user, assistant = (tokenizer.encode(mark, allow_special=True) for mark in (USER, ASSISTANT))
    if len(user) != 1 or len(assistant) != 1:
        raise ValueError(f"the tokenizer does not know {USER} and {ASSISTANT}: tune the model, or take `with_marks`")
    ids = []
    for i, text in enumerate(turns):
        ids += [*assistant, *tokenizer.encode(text)] if i % 2 else [tokenizer.eot, *user, *tokenizer.encode(text)]
    return ids + ([tokenizer.eot] if len(turns) % 2 == 0 else assistant)
