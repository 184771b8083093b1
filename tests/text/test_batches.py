"""Batches: rows from a document's beginning, y one ahead of x, each once an epoch, the same again at any time."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.text.batches import DocumentBatches, WindowBatches, encode_documents

EOT = 7


class Letters:
    """A tokenizer of one token a character, with an end-of-text id that is not 0."""

    eot = EOT

    def encode(self, text):
        return [ord(c) for c in text]


def documents(n=23):
    return ["abcdefghij"[: 3 + i % 7] + chr(1000 + i) for i in range(n)]


def document_batches(batch_size=4, length=16, seed=0):
    return DocumentBatches(*encode_documents(Letters(), documents()), batch_size, length, seed)


def window_batches(batch_size=4, length=5, seed=0):
    return WindowBatches(torch.arange(103), batch_size, length, seed)


def test_a_document_stands_between_two_ends():
    tokens, starts = encode_documents(Letters(), ["ab", "", "c"])
    assert tokens.tolist() == [EOT, 97, 98, EOT, EOT, 99]
    assert starts.tolist() == [0, 3, 4]
    assert tokens.dtype == starts.dtype == torch.long


def test_rows_begin_at_documents_and_y_is_one_ahead():
    batches = document_batches()
    stream = "".join(chr(EOT) + text for text in documents()) * 2  # a ring
    for step in range(3 * len(batches)):
        x, y = batches[step]
        assert x.shape == y.shape == (4, 16) and x.dtype == torch.long
        assert (x[:, 0] == EOT).all()
        assert torch.equal(x[:, 1:], y[:, :-1])
        for row, last in zip(x.tolist(), y[:, -1].tolist(), strict=True):
            assert "".join(map(chr, [*row, last])) in stream


def test_an_epoch_takes_each_document_once_in_another_order():
    batches = document_batches(batch_size=3)
    n = len(batches)
    assert n == 23 // 3
    first, second = (torch.cat([batches[epoch * n + i][0] for i in range(n)]) for epoch in (0, 1))
    for rows in (first, second):
        assert len(set(map(tuple, rows.tolist()))) == 3 * n
    assert first.tolist() != second.tolist()


def test_windows_lie_side_by_side_and_move_between_epochs():
    batches = window_batches()
    n = len(batches)
    begins = []
    for epoch in range(4):
        rows = torch.cat([batches[epoch * n + i][0] for i in range(n)])
        assert rows.flatten().unique().numel() == rows.numel()  # no token twice
        begins.append(int(rows[0, 0]) % 5)
    assert len(set(begins)) > 1


@settings(max_examples=30, deadline=None)
@given(steps=st.lists(st.integers(0, 60), min_size=1, max_size=8), seed=st.integers(0, 5))
def test_a_batch_depends_on_step_and_seed_alone(steps, seed):
    for make in (document_batches, window_batches):
        used, fresh = make(seed=seed), make(seed=seed)
        for step in range(20):
            used[step]
        for step in steps:
            assert all(torch.equal(a, b) for a, b in zip(used[step], fresh[step], strict=True))


def test_seeds_and_kinds_differ():
    assert not torch.equal(document_batches(seed=1)[0][0], document_batches(seed=2)[0][0])
    assert document_batches(seed=1).description != document_batches(seed=2).description
    assert document_batches().description == document_batches().description


def test_two_small_batches_are_one_large():
    small, large = document_batches(batch_size=3), document_batches(batch_size=6)
    for i in range(len(large)):
        assert torch.equal(torch.cat([small[2 * i][0], small[2 * i + 1][0]]), large[i][0])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: window_batches(length=103), "rows of 103 tokens, but there are 103"),
        (lambda: window_batches(batch_size=21), "batches of 21 rows, but there are 20"),
        (lambda: document_batches(batch_size=0), "batches of 0 rows, but there are 23"),
    ],
)
def test_what_does_not_fit_names_both_numbers(make, words):
    with pytest.raises(ValueError, match=words):
        make()
