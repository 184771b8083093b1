"""The grid of runs: its plan, fresh stories, a stopped grid that goes on, a prediction that stays as it was made."""

import json

import pytest
import torch

from lessons.tools.records import scale
from lib.run import cost
from lib.text import tales

SMALL = {"d_model": 16, "n_layers": 1, "steps": 4, "seed": 0}


def test_thirty_runs_a_family_over_two_decades():
    for family in scale.FAMILY:
        keys = scale.plan([family])
        assert len(keys) >= 30
        assert max(key["budget"] for key in keys) == pytest.approx(100 * min(key["budget"] for key in keys))
    for key in scale.plan():
        config = scale.shape(key["family"], key["d_model"], key["n_layers"])
        step = cost.training_flops(config, scale.LENGTH, scale.BATCH_SIZE).total
        assert abs(key["steps"] * step / key["budget"] - 1) < 0.51 / key["steps"]


def test_no_token_is_read_twice_and_rows_begin_with_a_story():
    batches = scale.fresh_batches(20, seed=1)
    starts = sorted(batches.starts.tolist())
    assert len(starts) == 20 * scale.BATCH_SIZE
    assert all(b - a >= scale.LENGTH for a, b in zip(starts, starts[1:], strict=False))
    assert all(batches.tokens[start] == scale.tokenizer().eot for start in starts)
    rows = torch.cat([batches[i][0] for i in range(20)])
    assert len({tuple(row.tolist()) for row in rows}) == len(rows)


def test_every_story_that_is_scored_fits_into_a_row():
    texts, _ = scale.new_stories(300)
    assert max(len(scale.tokenizer().encode(text)) + 1 for text in texts) <= scale.LENGTH
    read = {story.text for story in tales.stories(scale.SEED, 2000)}
    assert not read & set(texts)


@pytest.fixture
def quick(monkeypatch):
    """Score few stories."""
    monkeypatch.setattr(scale, "N_SCORED", 6)
    monkeypatch.setattr(scale, "N_MIDDLE", 3)


@pytest.mark.parametrize("family", scale.FAMILY)
def test_a_run_says_what_it_cost_and_what_it_reached(quick, family):
    run = scale.run(family, **SMALL)
    assert run["tokens"] == 4 * scale.BATCH_SIZE * scale.LENGTH and run["excess"] == pytest.approx(
        run["nats"] - run["truth"], abs=2e-5
    )
    assert [point["tokens"] for point in run["middle"]] == [run["tokens"] // 4, run["tokens"] // 2]
    assert run["parameters"] - run["without_tables"] == 2 * 512 * 16


def test_a_grid_that_was_stopped_goes_on(quick, monkeypatch, tmp_path, capsys):
    keys = [{"family": "llama", "budget": 1.0, **SMALL, "steps": steps} for steps in (2, 3)]
    monkeypatch.setattr(scale, "plan", lambda *_: keys)
    out = tmp_path / "scaling.json"
    assert scale.main(["--out", str(out), "--seconds", "0.001"]) == 0
    first = json.loads(out.read_text())["runs"]
    assert [run["steps"] for run in first] == [2]
    assert scale.main(["--out", str(out)]) == 0
    assert json.loads(out.read_text())["runs"][0] == first[0] and len(json.loads(out.read_text())["runs"]) == 2


def test_a_prediction_is_made_once_and_before_its_run(quick, monkeypatch, tmp_path):
    out = tmp_path / "scaling.json"
    law = scale.fit.__globals__["Law"](0.3, 30.0, 900.0, 0.4, 0.45)
    runs = [
        {**key, "parameters": scale.size_of(key["family"], key["d_model"], key["n_layers"])[0]}
        for key in scale.plan(["llama"])
    ]
    for run in runs:
        run["tokens"] = run["steps"] * scale.BATCH_SIZE * scale.LENGTH
        run["nats"] = law.loss(run["parameters"], run["tokens"])
    scale.write(out, {"command": "", "predicted": [], "runs": runs})
    assert scale.main(["--out", str(out), "--family", "llama", "--predict"]) == 0
    (one,) = json.loads(out.read_text())["predicted"]
    assert one["low"] <= one["predicted_nats"] <= one["high"] and "outcome" not in one and one["runs"] == len(runs)
    tokens = scale.size_of("llama", one["d_model"], one["n_layers"])
    assert one["predicted_nats"] == pytest.approx(law.loss(*tokens), rel=1e-3)
    scale.main(["--out", str(out), "--family", "llama", "--predict"])
    monkeypatch.setattr(scale, "run", lambda **asked: {"nats": 1.0, **asked})
    scale.main(["--out", str(out), "--run-predicted"])
    (after,) = json.loads(out.read_text())["predicted"]
    assert {**after, "outcome": None} == {**one, "outcome": None} and after["outcome"]["nats"] == 1.0
