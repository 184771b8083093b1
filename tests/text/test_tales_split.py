"""The truth's cost of each token equals a count over all stories of a tiny grammar; labels are those of the grammar."""

import math

import pytest

from lib.text import tales
from lib.text.published import load_tokenizer
from lib.text.tales_grammar import Either, Grammar, Pick, Say, Text
from lib.text.tales_split import KINDS, Prefixes, split

TINY = Grammar("""
[names]
Ann/she, Anna/she, Bo/he

[look]
red, round

[noun]
hat, hats, bat

[things] = look x noun + noun

{hero friend} = names

{toy} = things

story =
- {Hero} had {toy.a}. <end>
- {Hero} and {friend} met. (Then|There) {friend.he} saw {hero}. <end>
- {Hero} slept.
- {Hero} slept. The end.

end =
- {Hero!} kept <look> things.
- {Hero.he} ran to <noun>.
""")


class Letters:
    """A tokenizer of pieces of n characters; its last token ends a text."""

    eot = 0

    def __init__(self, n):
        self.n, self.pieces = n, [""]

    def encode(self, text):
        parts = [text[i : i + self.n] for i in range(0, len(text), self.n)]
        self.pieces += [part for part in dict.fromkeys(parts) if part not in self.pieces]
        return [self.pieces.index(part) for part in parts]

    def decode_bytes(self, ids):
        return "".join(self.pieces[i] for i in ids).encode()


def everything(node, roles):
    """Return every text that a part of a grammar can write, with its probability, and who is who afterwards."""
    if isinstance(node, Text):
        return [(node.text, 1.0, roles)]
    if isinstance(node, Pick):
        return [(text, p, roles) for text, p in zip(node.table, node.words.probabilities, strict=True)]
    if isinstance(node, Say) and node.role in roles:
        return [(node.table[roles[node.role]], 1.0, roles)]
    if isinstance(node, Say):
        free = [i for i in range(len(node.table)) if i not in [roles[r] for r in node.rivals if r in roles]]
        total = sum(node.words.probabilities[i] for i in free)
        return [(node.table[i], node.words.probabilities[i] / total, {**roles, node.role: i}) for i in free]
    if isinstance(node, Either):
        return [
            (text, p / len(node.options), after) for one in node.options for text, p, after in everything(one, roles)
        ]
    rows = [("", 1.0, roles)]
    for part in node.parts:
        rows = [(text + more, p * q, after) for text, p, now in rows for more, q, after in everything(part, now)]
    return rows


@pytest.fixture(scope="module")
def world():
    found = {}
    for text, p, _ in everything(TINY.start, {}):
        found[text] = found.get(text, 0.0) + p
    assert math.isclose(sum(found.values()), 1.0) and len(found) > 200
    return found


@pytest.mark.parametrize("size", [1, 3, 50])
def test_costs_are_those_of_a_count_over_all_stories(world, size):
    starts = {}
    for text, p in world.items():
        for n in range(len(text) + 1):
            starts[text[:n]] = starts.get(text[:n], 0.0) + p
    tokenizer = Letters(size)
    for text, p in list(world.items())[::7]:
        ids, tokens = split(text, tokenizer, TINY)
        before = ""
        for i, token in zip(ids[:-1], tokens[:-1], strict=True):
            after = before + tokenizer.pieces[i]
            assert token.nats == pytest.approx(math.log(starts[before] / starts[after]), abs=1e-9)
            before = after
        assert tokens[-1].nats == pytest.approx(math.log(starts[text] / p), abs=1e-9)
        assert sum(token.nats for token in tokens) == pytest.approx(-math.log(p), abs=1e-9)


def test_labels_of_a_story_that_can_be_read():
    text = "Ann and Bo met. There he saw Ann. Ann kept red things."
    tokenizer = Letters(1)
    ids, tokens = split(text, tokenizer, TINY)
    recalled = [(i, token) for i, token in enumerate(tokens) if token.kind == "recalled"]
    places = [text.index("he saw"), text.index("Ann."), text.rindex("Ann")]
    assert [i for i, _ in recalled] == [n for at, length in zip(places, (2, 3, 3), strict=True)
                                        for n in range(at, at + length)]  # fmt: skip
    assert {token.role for i, token in recalled[:2]} == {"friend"} and recalled[2][1].role == "hero"
    bo = text.index("Bo")
    assert recalled[0][1].told == bo and recalled[0][1].ago == places[0] - bo
    assert recalled[2][1].told == 0 and recalled[2][1].ago == places[1]
    assert recalled[-1][1].told == 0 and recalled[-1][1].ago == places[2] - places[1]
    at = text.index("kept")
    assert tokens[at].kind == "determined" and tokens[text.index("red") + 1].kind == "chosen"
    assert tokens[text.index("The")].kind == "determined" and tokens[text.index("There") + 3].kind == "chosen"


def test_a_pronoun_does_not_tell_a_name_and_a_name_does():
    text = "Ann and Bo met. There he saw Ann. She ran to hat."
    _, tokens = split(text, Letters(1), TINY)
    she = tokens[text.index("She")]
    assert (she.kind, she.role, she.told) == ("recalled", "hero", 0)
    assert she.ago == text.index("She") - text.index("Ann.")


@pytest.mark.parametrize("text", ["Ann slept", "Ann and Bo met. There she saw Ann. Ann ran.", "Nobody came."])
def test_what_is_no_story_is_refused(text):
    with pytest.raises(ValueError, match="no story of the grammar"):
        split(text, Letters(2), TINY)


def test_real_stories_cost_what_the_generator_says_and_all_kinds_are_there():
    tokenizer, seen = load_tokenizer("tales"), set()
    for story in tales.stories(5, 40):
        ids, tokens = split(story.text, tokenizer)
        assert ids == [*tokenizer.encode(story.text), tokenizer.eot]
        assert sum(token.nats for token in tokens) == pytest.approx(-story.log_probability, abs=1e-9)
        assert min(token.nats for token in tokens) > -1e-9
        seen |= {token.kind for token in tokens}
        # Every place of a question is a word that was told before.
        places = {at for at, _, _ in story.marks}
        ends = [len(tokenizer.decode(ids[: n + 1])) for n in range(len(ids) - 1)]
        for at in places:
            assert tokens[next(n for n, end in enumerate(ends) if end > at)].kind == "recalled"
    assert seen == set(KINDS)


def test_the_probability_of_a_beginning_never_grows():
    text = next(tales.stories(9, 1)).text
    logs, story, _ = Prefixes(text).read(tales.grammar())
    assert logs[0] == pytest.approx(0.0, abs=1e-12) and logs[-1] >= story - 1e-12
    assert all(later <= earlier + 1e-12 for earlier, later in zip(logs, logs[1:], strict=False))
