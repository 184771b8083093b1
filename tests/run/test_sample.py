"""Sampling: the filters against their definition and transformers'; cache or none, seeds, ends, whole characters."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from lib.run.sample import (
    apply_temperature,
    choose,
    keep_top_k,
    keep_top_p,
    sample,
    tell,
    tell_stream,
    tell_with_chances,
)
from lib.text.bpe import BPE
from tests.run.tiny import CONFIG, counting, tiny_llama

PROMPT = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])


def kept(logits):
    return [i for i, value in enumerate(logits.tolist()) if value > -math.inf]


def by_brute_force(p, share):
    """The smallest set with that share: try all sets, the small ones first, the likelier of two first."""
    for size in range(1, len(p) + 1):
        best = max(itertools.combinations(range(len(p)), size), key=lambda chosen: sum(p[i] for i in chosen))
        if sum(p[i] for i in best) >= share:
            return sorted(best)
    return list(range(len(p)))


@settings(max_examples=200, deadline=None)
@given(logits=st.lists(st.integers(-40, 40), min_size=1, max_size=7, unique=True), share=st.floats(0.01, 0.99))
def test_top_p_is_the_smallest_set(logits, share):
    row = torch.tensor(logits, dtype=torch.float64) / 10
    assert kept(keep_top_p(row, share)) == by_brute_force(row.softmax(0).tolist(), share)


@settings(max_examples=100, deadline=None)
@given(logits=st.lists(st.integers(-9, 9), min_size=1, max_size=9), k=st.integers(1, 12))
def test_top_k_is_the_k_largest_and_their_equals(logits, k):
    row = torch.tensor(logits, dtype=torch.float32)
    limit = sorted(logits, reverse=True)[min(k, len(logits)) - 1]
    assert kept(keep_top_k(row, k)) == [i for i, value in enumerate(logits) if value >= limit]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda x: apply_temperature(x, 0.7), TemperatureLogitsWarper(0.7)),
        (lambda x: keep_top_k(x, 13), TopKLogitsWarper(13)),
        (lambda x: keep_top_p(x, 0.8), TopPLogitsWarper(0.8)),
        (lambda x: keep_top_p(x, 1e-9), TopPLogitsWarper(1e-9)),
    ],
)
def test_filters_are_transformers(ours, theirs):
    logits = 3 * torch.randn(50, 101, generator=torch.Generator().manual_seed(0))
    before = logits.clone()
    assert torch.equal(ours(logits), theirs(None, logits))
    assert torch.equal(logits, before)


def test_the_likeliest_token_always_stays():
    flat, sharp = torch.zeros(3, 8), torch.tensor([[0.0, 90.0, 0.0]])
    assert torch.isfinite(keep_top_p(flat, 1e-6)).sum() == 3
    assert kept(keep_top_p(sharp, 0.5)[0]) == [1]
    assert torch.equal(keep_top_p(flat, 1.0), flat)


def test_choices_follow_the_filtered_probabilities():
    logits = torch.tensor([2.0, 1.0, 0.5, -1.0])
    expected = keep_top_k(logits / 0.5, 3).softmax(0)
    tokens = choose(logits.expand(20_000, 4), 0.5, top_k=3, generator=torch.Generator().manual_seed(0))
    found = torch.bincount(tokens, minlength=4) / 20_000
    assert (found - expected).abs().max() < 4 * (expected * (1 - expected) / 20_000).sqrt().max()
    assert found[3] == 0


@pytest.mark.parametrize(
    "options", [{"temperature": 0}, {}, {"temperature": 0.7, "top_k": 9}, {"top_p": 0.6}, {"top_k": 20, "top_p": 0.9}]
)
def test_the_cache_changes_no_token(options):
    model = tiny_llama().double()
    with_cache, without = (
        torch.stack(list(sample(model, PROMPT, 30, seed=2, cache=cache, **options)), 1) for cache in (True, False)
    )
    assert with_cache.shape == (2, 30) and torch.equal(with_cache, without)


def test_greedy_is_transformers_generate():
    from transformers import LlamaConfig, LlamaForCausalLM

    from lib.weights.convert import to_hugging_face

    model = tiny_llama()
    config, tensors = to_hugging_face(model)
    theirs = LlamaForCausalLM(LlamaConfig(**config)).eval()
    theirs.load_state_dict(tensors)
    expected = theirs.generate(PROMPT, max_new_tokens=30, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert torch.equal(torch.stack(list(sample(model, PROMPT, 30, temperature=0)), 1), expected[:, 5:])


def test_a_seed_repeats_and_torchs_own_state_is_used_without_one():
    model = tiny_llama()

    def told(**options):
        return torch.stack(list(sample(model, PROMPT, 20, **options))).tolist()

    before = torch.get_rng_state()
    assert told(seed=5) == told(seed=5) != told(seed=6)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(0)
    first = told()
    torch.manual_seed(0)
    assert told() == first != told()


def test_rows_end_one_by_one():
    """With a vocabulary of 29 the first token 0 comes soon; after it a row holds nothing else."""
    tokens = torch.stack(list(sample(tiny_llama(), PROMPT.repeat(4, 1), 43, temperature=2.0, seed=0, stop=0)), 1)
    for row in tokens.tolist():
        if 0 in row:
            assert not any(row[row.index(0) :])
    assert any(0 in row for row in tokens.tolist()) and not tokens[:, 0].eq(0).all()
    alone = list(sample(tiny_llama(), PROMPT[:1], 43, temperature=0, stop=None))
    stop = int(alone[2])
    ended = list(sample(tiny_llama(), PROMPT[:1], 43, temperature=0, stop=stop))
    assert [int(t) for t in ended] == [int(t) for t in alone[: [int(t) for t in alone].index(stop) + 1]]


@pytest.mark.parametrize("form", [list, tuple, set, torch.tensor])
def test_a_text_ends_at_the_first_of_several_tokens(form):
    free = torch.stack(list(sample(tiny_llama(), PROMPT, 43, seed=0)), 1)  # (B, T)
    stops = [int(free[0, 6]), int(free[1, 3])]
    ended = torch.stack(list(sample(tiny_llama(), PROMPT, 43, seed=0, stop=form(stops))), 1)
    for told, row in zip(ended.tolist(), free.tolist(), strict=True):
        at = next(i for i, token in enumerate(row) if token in stops)
        assert told[: at + 1] == row[: at + 1] and set(told[at:]) == {row[at]}
    one = [
        torch.stack(list(sample(tiny_llama(), PROMPT, 43, seed=0, stop=stop)), 1) for stop in (5, [5], torch.tensor(5))
    ]
    assert torch.equal(one[0], one[1]) and torch.equal(one[0], one[2])


def test_several_ends_are_transformers_generate():
    from transformers import LlamaConfig, LlamaForCausalLM

    from lib.weights.convert import to_hugging_face

    model = tiny_llama()
    config, tensors = to_hugging_face(model)
    theirs = LlamaForCausalLM(LlamaConfig(**config)).eval()
    theirs.load_state_dict(tensors)
    for stops in ([3, 5], [0, 12, 28], [7]):
        expected = theirs.generate(PROMPT[:1], max_new_tokens=30, do_sample=False, eos_token_id=stops, pad_token_id=0)
        ours = [int(token) for token in sample(model, PROMPT[:1], 30, temperature=0, stop=stops)]
        assert ours == expected[0, 5:].tolist()


@pytest.mark.parametrize(
    ("stop", "words"),
    [
        (-1, "stop names token -1, but the model's tokens are 0 to 28"),
        ([3, 29], "stop names token 29, but"),
        ("3", "stop is '3': give the number of a token, or a list"),
        ([3.0], r"stop is \[3.0\]"),
    ],
)
def test_a_stop_that_is_no_token_is_refused(stop, words):
    with pytest.raises(ValueError, match=words):
        next(sample(tiny_llama(), PROMPT, 3, stop=stop))


INF, NAN = math.inf, math.nan


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_logits_without_probabilities_are_refused(temperature):
    for row in ([-INF, -INF, -INF], [0.0, INF, 0.0], [0.0, NAN, 1.0]):
        with pytest.raises(
            ValueError, match=r"the largest logit of row 1 is (nan|-?inf), which gives no probabilities"
        ):
            choose(torch.tensor([[0.0, 1.0, 2.0], row]), temperature)
    masked = torch.tensor([[-INF, 1.0, -INF], [5.0, -INF, -INF]], dtype=torch.float16)
    assert choose(masked, temperature).tolist() == [1, 0]
    many = torch.full((4000, 2), 6e4, dtype=torch.float16)  # their sum is more than float16 holds
    assert len(choose(many, temperature)) == 4000


def test_it_stops_where_the_context_ends():
    model = tiny_llama()
    assert len(list(sample(model, PROMPT, 44, seed=0))) == 44  # 5 + 43 are fed; the last one is only told
    with pytest.raises(ValueError, match="5 tokens and 45 new ones, but the model was built for 48: ask for 44"):
        next(sample(model, PROMPT, 45))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": -1}, "temperature of -1"),
        ({"temperature": 1e-300}, "temperature of 1e-300: take 1e-30 or more"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_p": 0}, "top_p is 0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
    ],
)
def test_what_makes_no_sense_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        next(sample(tiny_llama(), PROMPT, 3, **options))


class Parrot(torch.nn.Module):
    """Says a fixed list of tokens after any prompt of one token."""

    def __init__(self, ids, vocab_size, context_length=64):
        super().__init__()
        self.ids, self.config = ids, CONFIG.__class__(vocab_size, 1, 4, 1, 1, 4, 4, context_length)
        self.head = torch.nn.Identity()
        self.head.weight = torch.zeros(1)

    def hidden(self, tokens, state=None):
        at = 0 if state is None else state
        logits = torch.zeros(1, tokens.shape[1], self.config.vocab_size)
        logits[0, -1, self.ids[min(at, len(self.ids) - 1)]] = 99
        return logits, at + 1


@settings(max_examples=50, deadline=None)
@given(text=st.text(max_size=12), prompt=st.text(max_size=3), extra=st.binary(max_size=3))
def test_pieces_are_whole_characters_and_join_to_the_text(text, prompt, extra):
    tokenizer = BPE([])
    said = text.encode() + extra
    parrot = Parrot([*tokenizer.encode(said), tokenizer.eot], tokenizer.vocab_size)
    pieces = list(tell_stream(parrot, tokenizer, prompt, temperature=0))
    assert "".join(pieces) == prompt + said.decode(errors="replace")
    assert pieces[0] == prompt and all(pieces[1:])
    if not extra:
        assert len(pieces) == 1 + len(text)


def test_tell_stops_at_its_limit_and_when_the_context_is_full():
    tokenizer = BPE([])
    endless = Parrot([tokenizer.encode("a")[0]], tokenizer.vocab_size, context_length=16)
    assert tell(endless, tokenizer, "bc", n_tokens=4, temperature=0) == "bcaaaa"
    assert tell(endless, tokenizer, "bc", temperature=0) == "bc" + "a" * 14


def test_a_trained_model_counts():
    from lib.run.train import Recipe, fit

    model = tiny_llama()
    fit(model, counting(length=40), Recipe(steps=150, learning_rate=0.01, warmup=10), dtype="float32")
    told = torch.stack(list(sample(model, torch.tensor([[20, 21, 22]]), 20, temperature=0)), 1)
    assert told.tolist() == [[(23 + i) % 29 for i in range(20)]]


def test_chances_are_the_models_own_and_the_text_is_the_same():
    tokenizer = BPE.train("ab " * 9, 258)
    model = tiny_llama(config=replace(CONFIG, vocab_size=tokenizer.vocab_size))
    told = list(tell_with_chances(model, tokenizer, "a", 6, n=3, temperature=0.7, seed=3))
    assert "".join(piece for piece, _ in told) == tell(model, tokenizer, "a", 6, temperature=0.7, seed=3)
    assert told[0] == ("a", []) and all(len(choices) == 3 for _, choices in told[1:])
    with torch.no_grad():
        logits, _ = model(torch.tensor([[tokenizer.eot, *tokenizer.encode("a")]]))
    chances = [chance for _, chance in told[1][1]]
    assert chances == pytest.approx(logits[0, -1].softmax(-1).topk(3).values.tolist(), abs=1e-6)
