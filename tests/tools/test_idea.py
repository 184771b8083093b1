"""The worked example of lesson 22: planned before it is run, one seed of everything after the other, nothing twice."""

import json
import shlex

import pytest

from lessons.tools.contest import idea
from lib.run.commands import train_parser
from lib.run.recipes import make_plan


@pytest.fixture
def asked(monkeypatch):
    """Leave out the runs themselves; return the list of those that were asked for."""
    calls = []
    monkeypatch.setattr(idea, "run", lambda arm, seed, folder: calls.append((arm, seed)) or {"bits_above": 0.5})
    return calls


def test_a_stopped_study_goes_on_and_keeps_what_it_has(tmp_path, asked):
    out = tmp_path / "idea.json"
    assert idea.main(["--out", str(out), "--seconds", "-1"]) == 0 and asked == [] and not out.exists()
    assert idea.main(["--out", str(out)]) == 0
    assert asked[:4] == [("base", 0), ("one key head", 0), ("batches of 16", 0), ("base", 1)]
    assert len(asked) == len(set(asked)) == len(idea.ARMS) * len(idea.PLAN["seeds"])
    record = json.loads(out.read_text())
    record["runs"] = [run for run in record["runs"] if run["seed"] != 3]
    out.write_text(json.dumps(record))
    asked.clear()
    assert idea.main(["--out", str(out)]) == 0 and asked == [(arm, 3) for arm in idea.ARMS]


def test_all_arms_have_one_budget_and_differ_in_one_thing():
    plans = {arm: make_plan(train_parser().parse_args(shlex.split(f"{idea.BASE} {change}")), "typed")
             for arm, change in idea.ARMS.items()}  # fmt: skip
    base = plans.pop("base")
    different = {arm: [name for name in ("config", "batch_size", "length", "recipe", "seed", "learning_rate")
                       if getattr(plan, name) != getattr(base, name)] for arm, plan in plans.items()}  # fmt: skip
    assert different == {"one key head": ["config"], "batches of 16": ["batch_size"]}
    assert plans["one key head"].steps > base.steps > plans["batches of 16"].steps


def test_one_run_is_trained_and_scored(tmp_path, monkeypatch):
    monkeypatch.setattr(idea, "BASE", idea.BASE.replace("--flops 2e11 --megabytes 2", "--steps 2 --megabytes 0.1"))
    monkeypatch.setattr(idea, "PLAN", idea.PLAN | {"stories": 5})
    found = idea.run("one key head", 0, tmp_path / "folder")
    assert found["steps"] == 2 and found["bits_above"] > 1 > found["error"] > 0 and list(tmp_path.iterdir()) == []


def test_the_record_is_that_of_the_plan():
    record = json.loads((idea.DATA / "records" / "idea.json").read_text(encoding="utf-8"))
    assert record["plan"] == idea.PLAN and record["base"] == idea.BASE and record["arms"] == idea.ARMS
    assert [(run["arm"], run["seed"]) for run in record["runs"]] == [
        (arm, seed) for seed in idea.PLAN["seeds"] for arm in idea.ARMS
    ]
