"""A published byte-level BPE under its own numbers equals the `tokenizers` library on the same vocabulary."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from lib.text.bpe import BPE
from lib.text.bpe_file import to_characters
from lib.text.renumbered import RenumberedBPE, render_chat, tokenizer_of_gguf

LEARNED = "One day in 1999 Anna saw 12 birds, and they're singing.\n\n  Größe 한국어 <b>x</b> don't " * 20
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEXTS = [
    "",
    " ",
    "One day  in 12345, Größe²½ 한국어!",
    "a\n\n 7\t8  9 \n",
    "<|im_start|>user\nHi 2u<|im_end|>\n",
    "<|im_start",
]
CHATML = (
    "{% for message in messages %}\n"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' }}\n"
    "{% endfor %}\n{% if add_generation_prompt %}\n{{ '<|im_start|>assistant\n' }}\n{% endif %}\n"
)


def parts():
    """Tokens in an order of their own: special ones first, then all others backwards."""
    learned = BPE.train(LEARNED, 400, special=())
    tokens = SPECIAL + [to_characters(token) for token in reversed(learned.vocab)]
    return tokens, [f"{to_characters(left)} {to_characters(right)}" for left, right in learned.merges]


def theirs(tokens, merges, digits):
    pairs = [tuple(merge.split(" ")) for merge in merges]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, pairs))
    cut = [pre_tokenizers.Digits(individual_digits=True)] if digits else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*cut, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return tokenizer


@pytest.fixture(scope="module", params=[False, True], ids=["gpt-2", "digits"])
def both(request):
    tokens, merges = parts()
    return RenumberedBPE(tokens, merges, range(3), request.param), theirs(tokens, merges, request.param)


@pytest.mark.parametrize("text", TEXTS)
def test_equals_the_tokenizers_library(both, text):
    ours, other = both
    ids = ours.encode(text, allow_special=True)
    assert ids == other.encode(text).ids
    assert ours.decode(ids) == text == other.decode(ids, skip_special_tokens=False)
    assert ours.decode(ours.encode(text)) == text


@settings(max_examples=100)
@given(text=st.text(st.sampled_from("a Z1²½٣\n\té한<|'s."), max_size=30))
def test_equals_the_tokenizers_library_on_any_text(both, text):
    ours, other = both
    assert ours.encode(text, allow_special=True) == other.encode(text).ids


def test_special_tokens_in_a_text_are_text_unless_allowed(both):
    ours, _ = both
    assert ours.encode("<|im_end|>", allow_special=True) == [2] and ours.eot == 0
    assert 2 not in ours.encode("<|im_end|>") and ours.decode(ours.encode("<|im_end|>")) == "<|im_end|>"


def test_a_byte_that_the_vocabulary_lacks_is_refused():
    tokens, merges = parts()
    without = [token for token in tokens if token != to_characters(b"\x07")]
    tokenizer = RenumberedBPE(without, merges, range(3))
    assert tokenizer.decode(tokenizer.encode("the bell")) == "the bell"
    with pytest.raises(ValueError, match="lacks a byte"):
        tokenizer.encode("the bell \x07")


def test_metadata_of_another_kind_is_refused():
    tokens, merges = parts()
    metadata = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.token_type": [3] * 3 + [1] * (len(tokens) - 3),
    }
    tokenizer = tokenizer_of_gguf(metadata)
    assert len(tokenizer.encode("12")) == 2 and tokenizer.special["<|im_end|>"] == 2
    for change in ({"tokenizer.ggml.model": "llama"}, {"tokenizer.ggml.pre": "qwen2"}):
        with pytest.raises(ValueError, match="the tokenizer is "):
            tokenizer_of_gguf(metadata | change)


def test_a_chat_template_is_rendered_as_transformers_does():
    from transformers.utils.chat_template_utils import render_jinja_template

    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}]
    for answer in (True, False):
        rendered, _ = render_jinja_template([messages], chat_template=CHATML, add_generation_prompt=answer)
        assert render_chat(CHATML, messages, answer) == rendered[0]
    assert rendered[0].startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n2 + 2?<|im_end|>\n")


def test_a_template_that_reaches_out_of_its_sandbox_is_stopped():
    from jinja2.exceptions import SecurityError

    with pytest.raises(SecurityError):
        render_chat("{{ messages.__class__.__mro__[1].__subclasses__() }}", [])
