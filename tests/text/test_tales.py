"""The tales: their entropy against brute force and against samples, reading back, facts, questions, seeds, English."""

import itertools
import math
import os
import random
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from lib.text import tales
from lib.text.tales_entropy import Expectation, word_range
from lib.text.tales_grammar import PARAGRAPH, Either, Grammar, Pick, Row, Text
from lib.text.tales_parse import can_begin

SMALL = """
[names]
Ada/she, Bo/he, Élo/she

[look]
red, old

[noun]
hat, egg

[toy] = look x noun + noun

{hero friend} = names

{thing} = toy

story =
- {Hero} (gave|lent) {friend} {thing.a}. <End>
- <End> {Friend} had {thing.a}.

end =
- "{Friend!}!" said {hero}. {Hero.he} saw {friend.him}.
- (Then|) <a noun> fell on {hero} and {friend}.
"""


@pytest.fixture(scope="module")
def small():
    return Grammar(SMALL)


@pytest.fixture(scope="module")
def some():
    return list(tales.stories(11, 200))


def walk(node, roles):
    """Every derivation of a part: (text, probability, roles after it); written anew, to check the others against."""
    if isinstance(node, Text):
        yield node.text, 1.0, roles
    elif isinstance(node, Either):
        for option in node.options:
            for text, p, after in walk(option, roles):
                yield text, p / len(node.options), after
    elif isinstance(node, Row):
        found = [("", 1.0, roles)]
        for part in node.parts:
            found = [(a + b, p * q, new) for a, p, old in found for b, q, new in walk(part, old)]
        yield from found
    elif isinstance(node, Pick):
        for text, p in zip(node.table, node.words.probabilities, strict=True):
            yield text, p, roles
    elif node.role in roles:
        yield node.table[roles[node.role]], 1.0, roles
    else:
        taken = {roles[r] for r in node.rivals if r in roles}
        left = 1 - sum(node.words.probabilities[i] for i in taken)
        for i, p in enumerate(node.words.probabilities):
            if i not in taken:
                yield node.table[i], p / left, {**roles, node.role: i}


def test_entropy_of_a_small_grammar_is_that_of_all_its_stories(small):
    counted = [(text, p) for text, p, _ in walk(small.start, {})]
    assert len(counted) > 500
    assert len({text for text, _ in counted}) == len(counted)  # one derivation a text
    assert math.isclose(sum(p for _, p in counted), 1)
    expected = Expectation(small)
    assert math.isclose(expected.nats, -sum(p * math.log(p) for _, p in counted), rel_tol=1e-12)
    assert math.isclose(expected.bytes, sum(p * len(text.encode()) for text, p in counted), rel_tol=1e-12)
    assert math.isclose(expected.bits_per_byte, expected.nats / expected.bytes / math.log(2))


def test_a_story_of_a_small_grammar_by_hand():
    grammar = Grammar("[a]\nx, y\n\n{one two} = a\n\nstory =\n- {one} {two}(!|?)")
    p = {"x": 2 / 3, "y": 1 / 3}  # Zipf: words of rank 0 and 1 weigh 1 and 1/2
    for first, second, mark in itertools.product("xy", "xy", "!?"):
        reading = tales.parse(f"{first} {second}{mark}", grammar)
        assert reading is not None
        if first == second:
            assert reading.violations
        else:
            assert math.isclose(reading.log_probability, math.log(p[first]) + math.log(1) + math.log(1 / 2))
    entropy = -sum(q * math.log(q) for q in p.values()) + math.log(2)
    assert math.isclose(Expectation(grammar).nats, entropy)
    assert Expectation(grammar).bytes == pytest.approx(4)


def test_samples_come_as_often_as_their_probability_says(small):
    n = 20_000
    counts = Counter(story.text for story in tales.stories(5, n, small))
    shares = {text: p for text, p, _ in walk(small.start, {})}
    assert set(counts) <= set(shares)
    chi2 = sum((counts[text] - n * p) ** 2 / (n * p) for text, p in shares.items())
    assert abs(chi2 - len(shares)) < 5 * math.sqrt(2 * len(shares))


def test_small_stories_are_read_back_with_their_probability(small):
    for text, p, _ in itertools.islice(walk(small.start, {}), 0, None, 7):
        reading = tales.parse(text, small)
        assert reading.n_derivations == 1 and not reading.violations
        assert math.isclose(reading.log_probability, math.log(p))


def test_entropy_is_the_mean_of_ten_thousand_samples():
    told = list(tales.stories(3, 10_000))
    for exact, measured in [
        (tales.expectation().nats, [-story.log_probability for story in told]),
        (tales.expectation().bytes, [len(story.text.encode()) for story in told]),
    ]:
        error = statistics.stdev(measured) / math.sqrt(len(measured))
        assert error < 0.005 * exact
        assert abs(statistics.mean(measured) - exact) < 4 * error
    assert math.isclose(
        tales.entropy_bits_per_byte(), tales.expectation().nats / tales.expectation().bytes / math.log(2)
    )


def test_every_story_is_read_back(some):
    for story in some:
        reading = tales.parse(story.text)
        assert reading is not None, story.text
        assert reading.n_derivations == 1, story.text
        assert not reading.violations
        assert math.isclose(reading.log_probability, story.log_probability, rel_tol=1e-9)
        assert reading.facts == story.facts


def test_a_corrupted_story_is_none(some):
    rng = random.Random(0)
    for story in some[:40]:
        words = story.text.split(" ")
        i = rng.randrange(1, len(words) - 1)
        for wrong in (
            words[:i] + words[i + 1 :],
            words[:i] + [words[i], words[i]] + words[i + 1 :],
            words[:i] + ["zebra"] + words[i + 1 :],
            words[:i],
        ):
            text = " ".join(wrong)
            assert not tales.is_story(text) or _is_another(text), text
    assert not tales.is_story("")
    assert not tales.is_story(some[0].text + " ")
    assert not tales.is_story(some[0].text + some[1].text)


def _is_another(text):
    """A word more or less can make another story (`very`); then it has a probability of its own."""
    return tales.facts_hold(text) and tales.parse(text).log_probability < 0


def test_a_broken_fact_leaves_a_story_whose_facts_do_not_hold(some):
    n = 0
    for story in some[:60]:
        assert tales.facts_hold(story.text)
        for prefix, answer, choices in story.questions:
            for other in set(choices) - {answer}:
                text = prefix + other + story.text[len(prefix + answer) :]
                reading = tales.parse(text)
                assert reading is not None, text
                assert [v.found.strip() for v in reading.violations if v.position >= len(prefix)], text
                assert not tales.facts_hold(text)
                n += 1
    assert n > 100


def test_the_wrong_pronoun_breaks_a_fact(small):
    assert tales.facts_hold('Ada gave Bo a hat. "Bo!" said Ada. She saw him.', small)
    for wrong in ("He saw him.", "She saw her."):
        text = 'Ada gave Bo a hat. "Bo!" said Ada. ' + wrong
        assert tales.is_story(text, small) and not tales.facts_hold(text, small)
    assert tales.is_story('Ada gave Ada a hat. "Ada!" said Ada. She saw her.', small)
    assert not tales.facts_hold('Ada gave Ada a hat. "Ada!" said Ada. She saw her.', small)


def test_only_the_answer_can_follow_the_prefix(some):
    grammar = tales.grammar()
    asked = 0
    for story in some[:100]:
        for prefix, answer, choices in story.questions:
            asked += 1
            assert story.text.startswith(prefix + answer)
            assert answer in choices and 2 <= len(choices) == len(set(choices))
            possible = [choice for choice in choices if can_begin(grammar, prefix + choice)]
            assert possible == [answer], (prefix, possible)
    assert asked > 100
    assert not can_begin(grammar, "Xylophones")
    assert can_begin(grammar, some[0].text[:40]) and can_begin(grammar, "")


def test_the_answer_lies_far_back_in_many_questions(some):
    distances = []
    for story in some:
        for prefix, answer, _ in story.questions:
            distances.append(len(prefix.split()) - len(prefix[: prefix.lower().rindex(answer.strip().lower())].split()))
    assert statistics.median(distances) > 12 and max(distances) > 60


def test_size_of_stories_and_vocabulary(some):
    low, high = word_range(tales.grammar().start)
    assert 60 <= low + 1 and high + 1 <= 200
    lengths = [len(story.text.split()) for story in some]
    assert low + 1 <= min(lengths) and max(lengths) <= high + 1
    assert 100 <= statistics.mean(lengths) <= 150
    words = Counter(word for story in tales.stories(1, 5000) for word in re.findall(r"[^\W\d_]+", story.text.lower()))
    assert len(words) >= 1000
    assert sum(count >= 10 for count in words.values()) >= 1000


def test_english(some):
    for story in some:
        text = story.text
        assert text == text.strip() and not re.search(r"(?<!\n)  |\n(?!  \S)", text)
        assert not re.search(r"[<>{}()|_!]{2}| [,.!?]|\.\.|,,|[a-z][A-Z]", text.replace("Mc", "")), text
        assert not re.search(r"\b[Aa] [aeiou]", text), text
        assert not re.search(r"\b[Aa]n (?!hour)[^aeiou]", text), text
        assert not re.search(r"[.!?] [a-z]", text.replace('"', "").replace("? No", "")) or '"' in text, text
        assert text.count('"') % 2 == 0
        assert all(part[0].isupper() or part[0] == '"' for part in text.split(PARAGRAPH))
        assert all(part[-1] in '.!?"' for part in text.split(PARAGRAPH))
    assert len({story.text for story in some}) == len(some)


def test_no_sentence_comes_often(some):
    """Nobody should see a form: the openings of 250 stories differ, and no sentence is told in one story of twenty."""
    sentences = Counter(s for story in some for s in set(re.split(r"(?<=[.!?\"]) |\n", story.text)) if s.count(" ") > 5)
    assert max(sentences.values()) < len(some) / 20, sentences.most_common(3)
    assert len({" ".join(story.text.split()[:12]) for story in some}) > 0.9 * len(some)


def test_the_same_seed_gives_the_same_bytes():
    code = "from lib.text import tales; print(hash('a'), *[s.text for s in tales.stories(9, 20)], sep='|')"
    outputs = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            cwd=Path(tales.__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
        )
        outputs.append(done.stdout.decode("utf-8").partition("|"))
    assert outputs[0][0] != outputs[1][0]  # the processes did hash differently
    assert outputs[0][2] == outputs[1][2] and outputs[0][2]
    assert [s.text for s in tales.stories(9, 5)] != [s.text for s in tales.stories(10, 5)]


def test_generate_stops_at_the_size_and_is_fast():
    begin = time.process_time()
    told = tales.generate(4, 1_000_000)
    seconds = time.process_time() - begin
    sizes = [len(story.text.encode()) for story in told]
    assert sum(sizes) >= 1_000_000 > sum(sizes[:-1])
    assert seconds < 3  # 10 MB in under 30 s


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a]\nx\n\nrule =\n- <a>", "no rule named story"),
        ("story =\n- <b>", "neither a rule nor a list"),
        ("story =\n- {b}", "no role 'b'"),
        ("story =\n- (a|b", "not closed"),
        ("story =\n- a)b", "bracket too many"),
        ("[a]\nx, x\n\nstory =\n- <a>", "twice"),
        ("story =\n- <story> a", "leads to itself"),
        ("[a]\nx\n\nstory =\n- <a>s", "touches the word"),
        ("story\n- a", "neither a list, roles nor a rule"),
        ("[a]\n\nstory =\n- <a>", "has no words"),
    ],
)
def test_a_wrong_grammar_is_answered_in_words(text, message):
    with pytest.raises(ValueError, match=message):
        Grammar(text)


def test_the_full_form_of_a_word():
    grammar = Grammar("[a]\nAda/she/of the hill, Bo/he, mill//by the sea\n\n{x} = a\n\nstory =\n- {x.full} and {x!}.")
    told = {tales.story(random.Random(seed), grammar).text for seed in range(40)}
    assert told == {"Ada of the hill and Ada.", "Bo and Bo.", "mill by the sea and mill."}
    assert tales.facts_hold("mill by the sea and mill.", grammar)
    wrong = "mill by the sea and Bo."
    assert tales.is_story(wrong, grammar) and not tales.facts_hold(wrong, grammar)
    assert not tales.is_story("mill of the hill and mill.", grammar)


def test_a_role_must_be_named_before_its_pronoun():
    grammar = Grammar("[a]\nAda/she, Bo/he, Cy/he\n\n{hero} = a\n\nstory =\n- {hero.he} ran.")
    with pytest.raises(ValueError, match="hero"):
        tales.story(random.Random(0), grammar)
    with pytest.raises(ValueError, match="hero"):
        Expectation(grammar)


def test_no_grammar_no_stories(tmp_path):
    with pytest.raises(FileNotFoundError, match="no grammar"):
        Grammar.load(tmp_path)
