"""Our World tokenizer against the one in the rwkv package."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rwkv.rwkv_tokenizer import TRIE_TOKENIZER

from lib.text.languages import paragraphs
from lib.text.packages import package_file
from lib.text.trie import WorldTokenizer, build_trie, longest_match, read_vocabulary

VOCABULARY = package_file("rwkv", "rwkv_vocab_v20230424.txt")


@pytest.fixture(scope="module")
def world() -> WorldTokenizer:
    return WorldTokenizer()


@pytest.fixture(scope="module")
def peer() -> TRIE_TOKENIZER:
    return TRIE_TOKENIZER(str(VOCABULARY))


def test_the_published_vocabulary(world):
    # the facts of the World vocabulary: 65,529 tokens, id i + 1 is byte i, the longest has 128 bytes
    assert world.vocab_size == 65529 + 1
    assert world.vocab[1:257] == [bytes([b]) for b in range(256)]
    assert max(map(len, world.vocab)) == 128
    assert world.eot == 0


def test_equals_the_rwkv_package_in_over_600_languages(world, peer):
    samples = paragraphs()
    assert len({code.split("_")[0] for code in samples}) > 600
    wrong = [code for code, text in samples.items() if world.encode(text) != peer.encode(text)]
    assert not wrong
    assert all(world.decode(world.encode(text)) == text for text in samples.values())


@pytest.mark.parametrize(
    "text", ["", "👩‍👩‍👧‍👦 🏳️‍🌈 e\u0301", "a  b\t\t\r\n\n   \x00", " " * 300, "=" * 300, "\ufeff\u200b"]
)
def test_equals_the_rwkv_package_on_odd_text(world, peer, text):
    assert world.encode(text) == peer.encode(text)
    assert world.decode(world.encode(text)) == text


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_come_back_and_equal_the_rwkv_package(world, peer, data):
    ids = world.encode(data)
    assert ids == peer.encodeBytes(data)
    assert world.decode_bytes(ids) == data
    assert world.decode(ids) == data.decode("utf-8", errors="replace")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=100))
def test_any_text_equals_the_rwkv_package(world, peer, text):
    assert world.encode(text) == peer.encode(text)


def test_the_longest_match_wins_also_where_the_path_goes_on():
    root = build_trie({1: b"a", 2: b"ab", 3: b"abcd", 4: b"b"})
    assert longest_match(root, b"abcx") == (2, 2)  # abc is on the way to abcd, but no token
    assert longest_match(root, b"abcd") == (3, 4)
    assert longest_match(root, b"ab") == (2, 2)
    assert longest_match(root, b"x") == (-1, 0)


def test_line_ends_do_not_matter(world, tmp_path):
    # read as text, so that Python turns \r\n to \n
    text = VOCABULARY.read_text(encoding="utf-8")
    for name, end in (("unix.txt", "\n"), ("windows.txt", "\r\n")):
        path = tmp_path / name
        path.write_bytes(text.replace("\n", end).encode("utf-8"))
        assert list(read_vocabulary(path).values()) == world.vocab[1:]


def test_a_broken_vocabulary_is_named(tmp_path):
    path = tmp_path / "v.txt"
    lines = VOCABULARY.read_text(encoding="utf-8").splitlines(keepends=True)[:400]
    for broken, match in (
        (["1 'a' 2\n"], "line 1 of .*1 bytes, but the line says 2"),
        (["1 __import__('os') 1\n"], "line 1 of"),
        (["nonsense\n"], "line 1 of"),
        ([*lines[:300], *lines[301:]], "has 399 tokens"),
        (lines[1:], "has 399 tokens"),
        ([], "has 0 tokens"),
    ):
        path.write_text("".join(broken), encoding="utf-8")
        with pytest.raises(ValueError, match=match):
            WorldTokenizer(path)
    with pytest.raises(FileNotFoundError):
        WorldTokenizer(tmp_path / "absent.txt")


def test_unknown_ids_are_named(world):
    for wrong in (65530, -1):
        with pytest.raises(ValueError, match=f"id {wrong} at place 2.*0 to 65529"):
            world.decode([1, 2, wrong])
    assert world.decode(torch.tensor([33 + 1, 0])) == "!<|endoftext|>"
