"""The study of lesson 19: one seed of everything after the other, nothing twice, another study's record left alone."""

import json

import pytest

from lessons.tools.records import tuning_study


@pytest.fixture
def quick(monkeypatch):
    """Leave out the runs themselves; return the list of those that were asked for."""
    asked = []

    def one_run(base, method, seed, steps, shared):
        asked.append((base, method, seed))
        return {"demands": 0.123456, "steps": steps}

    monkeypatch.setattr(tuning_study, "one_run", one_run)
    return asked


def test_a_stopped_study_goes_on_and_keeps_what_it_has(tmp_path, quick):
    out = tmp_path / "tune.json"
    assert tuning_study.main(["--out", str(out), "--seconds", "0"]) == 0 and not out.exists()
    assert tuning_study.main(["--out", str(out), "--seeds", "1"]) == 0
    first = list(quick)
    assert len(set(first)) == len(first) == 11 and {seed for _, _, seed in first} == {0}
    assert tuning_study.main(["--out", str(out), "--seeds", "2"]) == 0
    later = quick[len(first) :]
    assert {seed for _, _, seed in later} == {1} and not {"luck", "base"} & {method for _, method, _ in later}
    record = json.loads(out.read_text())
    assert [(run["base"], run["method"], run["seed"]) for run in record["runs"]] == quick
    assert record["runs"][0]["demands"] == 0.1235 and record["command"] == "python3 -m lib tuning-study --steps 60"


def test_a_record_of_other_steps_is_not_mixed_in(tmp_path, quick, capsys):
    out = tmp_path / "tune.json"
    tuning_study.main(["--out", str(out), "--seeds", "1"])
    before = out.read_text()
    with pytest.raises(SystemExit):
        tuning_study.main(["--out", str(out), "--steps", "9"])
    assert "choose another --out" in capsys.readouterr().err and out.read_text() == before
