"""What stands on record for lesson 17 is computed as it says: runs go on, parts add up, bytes are those of a state."""

import json
import math

import pytest
import torch

from lessons.exercises.lesson_17 import numbers_kept
from lessons.tools.records import recall, recall_pairs, recall_split, recall_tales
from lib.models.hybrid import Hybrid
from lib.run.checkpoint import load_bundle
from lib.run.evaluate import evaluate_documents
from lib.text import corpora, tales


@pytest.fixture
def llama():
    return load_bundle(corpora.DATA / "checkpoints" / "llama-tales")


def test_a_record_is_filled_in_run_by_run_and_goes_on(tmp_path, monkeypatch, capsys):
    asked = []

    def run(**key):
        asked.append(key)
        return {"figure": len(asked)}

    monkeypatch.setattr(recall_pairs, "plan", lambda: [{"mixer": m, "seed": s} for s in (0, 1) for m in "ab"])
    monkeypatch.setattr(recall_pairs, "run", run)
    out = tmp_path / "r.json"
    assert recall.main(["pairs", "--seconds", "-1", "--out", str(out)]) == 0 and not out.exists()
    assert recall.main(["pairs"], tmp_path) == 0
    whole = json.loads((tmp_path / "recall.json").read_text())
    assert [run["figure"] for run in whole["runs"]] == [1, 2, 3, 4] and whole[
        "command"
    ] == "python3 -m lib recall pairs"
    whole["runs"].pop(1)
    (tmp_path / "recall.json").write_text(json.dumps(whole))
    assert recall.main(["pairs"], tmp_path) == 0
    assert asked[4:] == [{"mixer": "b", "seed": 0}]
    again = json.loads((tmp_path / "recall.json").read_text())
    assert [run["figure"] for run in again["runs"]] == [1, 5, 3, 4]


def test_the_questions_are_drawn_as_they_should_be():
    x, y = recall_pairs.draw(torch.Generator().manual_seed(1), 50, 16)
    keys, values, asked = x[:, 0:32:2], x[:, 1:32:2], x[:, 32:]
    assert keys.max() < recall_pairs.N_KEYS <= values.min() and values.max() < 128
    for row in range(50):
        book = dict(zip(keys[row].tolist(), values[row].tolist(), strict=True))
        assert len(book) == 16 and sorted(book) == sorted(asked[row].tolist())
        assert [book[key] for key in asked[row].tolist()] == y[row].tolist()
    assert not torch.equal(keys[0], asked[0])


@pytest.mark.parametrize("name", recall_pairs.MIXERS)
def test_the_bytes_are_those_that_counting_gives(name):
    config = recall_pairs.config(name, 16, 2)
    model = Hybrid(config).eval()
    _, size = recall_pairs.measured(model, 8)
    mixers = ["rwkv5" if mixer == "linear" else mixer for mixer in config.mixers]  # it keeps the same
    assert size == 4 * numbers_kept(mixers, config.d_model, 16, 2, 16)


def test_few_steps_train_and_every_size_is_in_the_plan():
    model, seconds = recall_pairs.trained("RWKV-7", 8, 1, seed=0, steps=2)
    assert seconds > 0 and 0 <= recall_pairs.measured(model.eval(), 4)[0] < 0.5
    plan = recall_pairs.plan()
    assert len({tuple(key.items()) for key in plan}) == len(plan) == 3 * 3 * len(recall_pairs.MIXERS)
    assert len(recall_pairs.MIXERS) >= 4 and {key["seed"] for key in plan[: len(plan) // 3]} == {0}


def test_the_parts_add_up_to_the_loss_that_evaluate_gives(llama):
    model, tokenizer = llama
    stories = recall_split.told(tokenizer, 30, 3)
    nats = recall_split.losses(model, stories)
    figures = recall_split.parts_of(nats, stories)["parts"]
    whole = evaluate_documents(model, tokenizer, [story.text for story in tales.stories(3, 30)])
    count = sum(part["tokens"] for part in figures.values())
    assert count == whole.n_tokens
    exact = {kind: sum(recall_split.sums(nats, stories, kind)) for kind in figures}
    assert math.fsum(exact.values()) / count == pytest.approx(whole.nats_per_token, abs=1e-6)
    assert all(part["nats"] == pytest.approx(exact[kind], abs=1e-4) for kind, part in figures.items())
    truth = -sum(story.log_probability for story in tales.stories(3, 30))
    assert sum(part["truth"] for part in figures.values()) == pytest.approx(truth, abs=1e-3)


def test_a_gap_that_is_not_there_has_no_share_and_one_that_is_has(llama):
    _, tokenizer = llama
    stories = recall_split.told(tokenizer, 25, 4)
    base = [[1.0 + 0.01 * (i % 3)] * len(ids) for i, (ids, _) in enumerate(stories)]
    worse = [
        [n + (token.kind == "recalled") for n, token in zip(row, tokens, strict=True)]
        for row, (_, tokens) in zip(base, stories, strict=True)
    ]
    there = recall_split.gaps(base, worse, stories)
    assert there["recalled"]["share"] == pytest.approx(1.0) and there["recalled"]["share_error"] == pytest.approx(0.0)
    assert there["chosen"]["share"] == 0.0
    assert there["all"]["nats"] == pytest.approx(
        sum(token.kind == "recalled" for _, tokens in stories for token in tokens) / sum(len(i) for i, _ in stories),
        abs=1e-5,
    )
    sign = [[(-1) ** i * 0.1 + 1 for _ in ids] for i, (ids, _) in enumerate(stories)]
    assert "share" not in recall_split.gaps(base, sign, stories)["recalled"]


def test_a_model_of_each_kind_trains_is_kept_and_scored(tmp_path, monkeypatch):
    monkeypatch.setattr(recall_tales, "FOLDER", tmp_path)
    monkeypatch.setattr(recall_tales, "N_SCORED", 4)
    monkeypatch.setattr(recall_tales, "N_TOLD", 2)
    monkeypatch.setattr(recall_tales, "ROOM", 6)
    sizes = set()
    for name in recall_tales.MODELS:
        figures = recall_tales.run(name, 0, steps=2)
        sizes.add(figures["parameters"])
        assert figures["bits_per_byte"] > 1 and figures["share_facts_hold"] == 0
        assert recall_tales.run(name, 0, steps=2)["bits_per_byte"] == figures["bits_per_byte"]  # from its folder
        assert not (tmp_path / f"{name}-0-2" / "run.pt").exists()
    assert max(sizes) / min(sizes) < 1.01
