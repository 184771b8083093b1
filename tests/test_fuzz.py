"""Bad input: 100,000 cases of tests/fuzz.py in a process of their own, so that one that dies is seen."""

import json
import random
import subprocess
import sys

import pytest

from lib.text.bpe import BPE, merge_long
from tests import fuzz, fuzz_files


def fuzzed(root, cases):
    """Run so many cases; print the counts and return what the fuzzer says."""
    command = [sys.executable, "-m", "tests.fuzz", "--cases", str(cases)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=280)
    assert done.returncode in (0, 1) and done.stdout, f"died with {done.returncode}: {done.stderr[-2000:]}"
    result = json.loads(done.stdout)
    print({name: result[name] for name in ("cases", "seconds", "wrong")}, result["seen"])
    assert result["cases"] >= cases and not result["findings"], "\n".join(result["findings"])
    return result["seen"]


@pytest.mark.skipif(sys.platform == "win32", reason="the fuzzer's alarm clock is POSIX")
def test_three_thousand_bad_inputs(root):
    fuzzed(root, 3_000)


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform == "win32", reason="the fuzzer's alarm clock is POSIX")
def test_a_hundred_thousand_bad_inputs(root):
    seen = fuzzed(root, 100_000)
    never = ("bpe_specials", "characters", "long_words", "long_training")
    for name, counts in seen.items():  # a target that refuses everything, or nothing, tests little
        assert counts.get("answered"), f"{name} answered nothing"
        assert counts.get("refused") or name in never, f"{name} refused nothing"


@pytest.mark.skipif(sys.platform == "win32", reason="the fuzzer's alarm clock is POSIX")
def test_the_fuzzer_sees_what_is_wrong(monkeypatch):
    def broken(dice):
        return [].pop()

    def lost(dice):
        assert "a" == "b", "other text than was encoded"

    def unwritten(dice):
        return len(3)

    def endless(dice):
        while True:
            pass

    monkeypatch.setattr(fuzz, "SECONDS", 0.1)
    previous = fuzz.signal.signal(fuzz.signal.SIGALRM, fuzz.hang)
    timer = fuzz.signal.getitimer(fuzz.signal.ITIMER_REAL)
    try:
        said = [
            fuzz.outcome(target, None) for target in (broken, lost, unwritten, endless, lambda dice: BPE.train("a", 3))
        ]
    finally:
        fuzz.signal.signal(fuzz.signal.SIGALRM, previous)
        fuzz.signal.setitimer(fuzz.signal.ITIMER_REAL, *timer)
    beginnings = ["another kind of error", "a wrong answer", "an error that nobody wrote", "no answer after", "refused"]
    assert [text.startswith(beginning) for text, beginning in zip(said, beginnings, strict=True)] == [True] * 5, said


def test_damage_is_damage():
    dice, data = random.Random(0), bytes(range(256)) * 3
    assert sum(fuzz_files.damaged(dice, data) != data for _ in range(500)) > 450


def test_long_words_are_merged_as_short_ones_are():
    dice = random.Random(1)
    texts = ["aaaa aaaaaaaa aaaaaaaaaaaaa aaa abab ababab babab" * 20, "".join(dice.choices("ab ", k=3000))]
    tokenizers = [BPE.train(text, 330) for text in texts]
    for _ in range(2000):
        bpe, letters = dice.choice(tokenizers), dice.choice(["a", "ab", "aab", "abc"])
        ids = [bpe._first_byte + ord(letter) for letter in dice.choices(letters, k=dice.randrange(2, 190))]
        assert merge_long(ids, bpe._ranks) == bpe._merge_piece(list(ids))
