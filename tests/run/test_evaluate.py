"""Evaluation: models whose probabilities are known by construction, and documents against a count by hand."""

import math
import random
import statistics

import pytest
import torch

from lib.run.evaluate import document_nats, evaluate, evaluate_documents, excess_over_truth, paired_excess
from lib.text import tales
from lib.text.batches import WindowBatches
from lib.text.bpe import BPE
from tests.run.tiny import CONFIG, counting, tiny_llama


class Known(torch.nn.Module):
    """A model that gives every token the same distribution, whatever came before."""

    def __init__(self, probabilities):
        super().__init__()
        self.logits = torch.tensor(probabilities).log()
        self.config = CONFIG
        self.head = torch.nn.Linear(1, 1)

    def forward(self, tokens, state=None):
        return self.logits.expand(*tokens.shape, -1), state


def test_an_even_guess_costs_ln_v():
    score = evaluate(Known([1 / 29] * 29), counting())
    assert score.nats_per_token == pytest.approx(math.log(29), rel=1e-6)
    assert score.perplexity == pytest.approx(29, rel=1e-5)
    assert score.bits_per_byte is None and score.n_tokens == len(counting()) * 4 * 12


def test_a_known_distribution_costs_its_cross_entropy():
    """Tokens 0 to 3 in the shares 1/2, 1/4, 1/8, 1/8, coded as such: 1.75 bits a token, the entropy."""
    tokens = torch.tensor([0, 0, 0, 0, 1, 1, 2, 3]).repeat(50)
    score = evaluate(Known([1 / 2, 1 / 4, 1 / 8, 1 / 8]), WindowBatches(tokens, 5, 8))
    assert score.nats_per_token == pytest.approx(1.75 * math.log(2), rel=1e-6)


def test_bytes_of_tokens_are_counted_and_the_end_is_none():
    tokenizer = BPE([(b"a", b"b")])  # id 257 is "ab"; "a" is 98, the end 0
    tokens = torch.tensor([257, 98, 0]).repeat(10)
    score = evaluate(Known([1 / 258] * 258), WindowBatches(tokens, 2, 9), tokenizer=tokenizer)
    assert score.bits_per_byte == pytest.approx(math.log2(258), rel=1e-6)  # three tokens, three bytes


def test_documents_count_their_end_and_their_bytes_not_their_padding():
    tokenizer, texts = BPE([]), ["a", "bcd", "é", ""]
    probabilities = [0.5 / 256] * 257
    probabilities[tokenizer.eot] = 0.5
    score = evaluate_documents(Known(probabilities), tokenizer, texts, batch_size=3)
    bits = 6 * (8 + 1) + 4 * 1  # six bytes at 9 bits each, four ends at 1 bit
    assert score.bits_per_byte == pytest.approx(bits / 6, rel=1e-5)
    assert score.n_tokens == 10
    assert score.nats_per_token == pytest.approx(bits * math.log(2) / 10, rel=1e-5)


def test_probabilities_of_all_documents_sum_to_one():
    """Two letters and an end: p over all texts of up to n letters tends to one, so bits a byte have a floor."""
    tokenizer = BPE([])
    probabilities = [1e-12] * 257
    a, b = (tokenizer.encode(c)[0] for c in "ab")
    probabilities[a], probabilities[b], probabilities[tokenizer.eot] = 0.3, 0.2, 0.5
    model, total = Known(probabilities), 0.0
    texts = [""]
    for _ in range(6):
        for text in texts:
            score = evaluate_documents(model, tokenizer, [text])
            total += math.exp(-score.nats_per_token * score.n_tokens)
        texts = [text + letter for text in texts for letter in "ab"]
    assert total == pytest.approx(1 - 0.5**6, rel=1e-4)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_each_document_is_alone_whatever_its_neighbours(batch_size):
    tokenizer, model = BPE([]), tiny_llama(config=CONFIG.__class__(257, 2, 24, 4, 2, 6, 40, 48))
    texts = ["one", "a longer one, really", "x", "and then the end", "two"]
    nats = 0.0
    for text in texts:
        row = torch.tensor([[tokenizer.eot, *tokenizer.encode(text), tokenizer.eot]])
        logits = model(row[:, :-1])[0].log_softmax(-1)
        nats -= logits.gather(2, row[:, 1:, None]).sum().item()
    score = evaluate_documents(model, tokenizer, texts, batch_size)
    assert score.bits_per_byte == pytest.approx(nats / math.log(2) / sum(map(len, texts)), rel=1e-5)


def test_the_model_is_left_as_it_was():
    for training in (True, False):
        model = tiny_llama().train(training)
        evaluate(model, counting(), n_batches=1)
        assert model.training is training and all(p.grad is None for p in model.parameters())


def test_what_can_not_be_scored_is_refused():
    with pytest.raises(ValueError, match="0 tokens to score"):
        evaluate_documents(Known([1.0]), BPE([]), [])
    with pytest.raises(ValueError, match="a document of 50 tokens, but the model was built for 48"):
        evaluate_documents(Known([1 / 257] * 257), BPE([]), ["x" * 49])


def told(n, seed=3):
    """Return texts of tales, and what each costs: the generator counts its own choices while it writes."""
    stories = list(tales.stories(seed, n))
    return [story.text for story in stories], [-story.log_probability for story in stories]


def test_the_cost_of_each_document_comes_in_its_place():
    tokenizer, model = BPE([]), tiny_llama(config=CONFIG.__class__(257, 2, 24, 4, 2, 6, 40, 48))
    texts = ["and then the end", "x", "a longer one, really", "two"]
    for text, (nats, n_tokens) in zip(texts, document_nats(model, tokenizer, texts, batch_size=3), strict=True):
        alone = evaluate_documents(model, tokenizer, [text])
        assert (nats, n_tokens) == (pytest.approx(alone.nats_per_token * alone.n_tokens, rel=1e-5), alone.n_tokens)


def test_who_pays_a_share_more_for_each_story_is_that_share_above():
    texts, truths = told(20)
    for share in (0.0, 0.04, 1.5):
        found = paired_excess([(1 + share) * truth for truth in truths], texts)
        assert found == (pytest.approx(share, abs=1e-9), pytest.approx(0, abs=1e-9))


def test_the_luck_of_the_stories_cancels_and_the_error_covers_what_is_left():
    """Each story costs 4 % more, and some noise: found from 40 stories, the share is as far off as the error says."""
    texts, truths = told(4000)
    rng, shares, errors, unpaired = random.Random(0), [], [], []
    mean = statistics.fmean(truths)
    for i in range(0, 4000, 40):
        nats = [1.04 * truth + rng.gauss(0, 2) for truth in truths[i : i + 40]]
        share, error = paired_excess(nats, texts[i : i + 40])
        shares.append(share)
        errors.append(error)
        unpaired.append(statistics.fmean(nats) / mean - 1)
    spread = statistics.stdev(shares)
    assert abs(statistics.fmean(shares) - 0.04) < 4 * spread / 10
    assert 0.75 < statistics.fmean(errors) / spread < 1.3
    assert statistics.stdev(unpaired) > 3 * spread


def test_a_models_excess_is_what_it_pays_above_the_grammar():
    tokenizer, (texts, truths) = BPE([]), told(6)
    model = tiny_llama(config=CONFIG.__class__(257, 2, 24, 4, 2, 6, 40, 4000))
    score = evaluate_documents(model, tokenizer, texts)
    share, error = excess_over_truth(model, tokenizer, texts)
    assert share == pytest.approx(score.nats_per_token * score.n_tokens / sum(truths) - 1, rel=1e-5)
    assert 0 < error < share


def test_the_excess_of_what_the_grammar_does_not_write_is_refused():
    texts, truths = told(2)
    with pytest.raises(ValueError, match="document 1, 'Once upon a time.'..., is no story of the tales' grammar"):
        paired_excess(truths, [texts[0], "Once upon a time."])
    with pytest.raises(ValueError, match="2 numbers for 1 stories: give one for each of two stories or more"):
        paired_excess(truths, texts[:1])
    mine, others = (tales.parse(text).facts for text in texts)
    ends = ((texts[0].rsplit(word, 1), others[role]) for role, word in mine.items() if role in others)
    broken = next(text for parts, word in ends if tales.parse(text := word.join(parts)) and not tales.facts_hold(text))
    with pytest.raises(ValueError, match="document 0, .* breaks its own facts"):
        paired_excess(truths, [broken, texts[1]])
