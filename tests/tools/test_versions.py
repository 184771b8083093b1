"""`python3 -m lib versions`: its environments have what its rows say, and its table what was run."""

import json
from pathlib import Path

import pytest

from lessons.tools import versions
from lib.environment import Trouble

ROOT = Path(__file__).resolve().parents[2]
TEXT = "# a\ntorch==2.13.0\ntransformers==5.23.0  # why\n\nruff==0.17.6\n"
SAID = dict.fromkeys(("python", *versions.TOLD), "1")


@pytest.mark.parametrize(
    ("pins", "lines"),
    [
        ({}, ["torch==2.13.0", "transformers==5.23.0", "ruff==0.17.6"]),
        ({"torch": "2.11.0", "ruff": ""}, ["torch==2.11.0", "transformers==5.23.0", "ruff"]),
        ({"torch": "2.11.0", "*": ""}, ["torch==2.11.0", "transformers", "ruff"]),
    ],
)
def test_pins_are_exchanged(pins, lines):
    assert versions.requirements(TEXT, pins) == lines


def test_every_pin_of_a_row_is_a_requirement():
    names = {line.split("==")[0] for line in versions.requirements((ROOT / "requirements.txt").read_text("utf-8"), {})}
    for row in versions.ROWS.values():
        if not row.alone:
            assert set(row.pins) - {"*"} <= names


def test_an_environment_is_made_in_steps_and_trouble_ends_it(tmp_path, monkeypatch):
    (tmp_path / "requirements.txt").write_text(TEXT, encoding="utf-8")
    monkeypatch.setattr(versions.shutil, "which", lambda name: f"/usr/bin/{name}")
    commands, row = [], versions.Row("", "3.12", {"torch": "2.11.0"})
    python = versions.make(row, tmp_path / "e", tmp_path, lambda command, root: commands.append(command))
    assert commands[0] == ["/usr/bin/python3.12", "-m", "venv", "--clear", tmp_path / "e"]
    assert commands[1][:1] == [python] and commands[1][-3] == "torch==2.11.0" and "--no-deps" in commands[2]
    with pytest.raises(Trouble, match="could not be made"):
        versions.make(row, tmp_path / "e", tmp_path, lambda command, root: 1)
    monkeypatch.setattr(versions.shutil, "which", lambda name: None)
    with pytest.raises(Trouble, match=r"no python3\.12 here"):
        versions.make(row, tmp_path / "e", tmp_path)


def test_pytests_report_is_counted(tmp_path):
    report = tmp_path / "report.xml"
    assert versions.counted(report)["error"] == "no report"
    suite = '<testsuites><testsuite tests="10" errors="1" failures="2" skipped="3"/></testsuites>'
    report.write_text(suite, encoding="utf-8")
    assert versions.counted(report) == {"passed": 4, "failed": 3, "skipped": 3}


def test_a_run_is_kept_and_fails_where_a_test_failed(tmp_path, monkeypatch, capsys):
    (tmp_path / "data/records").mkdir(parents=True)
    kept = {**SAID, "ran": "tests, quick", "passed": 1234, "failed": 1, "seconds": 9}
    monkeypatch.setattr(versions, "run_row", lambda *_: kept)
    assert versions.main(["--run", "oldest", "--quick", "--python", "p"], tmp_path) == 1
    assert json.loads((tmp_path / versions.RECORDS).read_text("utf-8")) == {"oldest": kept}
    assert versions.main([], tmp_path) == 0
    table = capsys.readouterr().out
    assert "| tests, quick | 1,234 | 1 |" in table and "pinned: what `python3 -m lib lab` installs | not run" in table
    monkeypatch.setattr(versions, "run_row", lambda *_: {**kept, "error": "no report"})
    with pytest.raises(Trouble, match="nothing is kept of this run"):
        versions.main(["--run", "newest", "--python", "p"], tmp_path)
    assert json.loads((tmp_path / versions.RECORDS).read_text("utf-8")) == {"oldest": kept}
    monkeypatch.setattr(versions, "run_row", lambda *_: {**kept, "passed": 0, "failed": 0})
    assert versions.main(["--run", "oldest", "--python", "p"], tmp_path) == 1


def test_a_small_run_is_counted(tmp_path):
    import sys

    (tmp_path / "tests").mkdir()
    test = "import pytest\ndef test_a(): pass\ndef test_b(): assert 0\n@pytest.mark.skip\ndef test_c(): pass\n"
    (tmp_path / "tests/test_x.py").write_text(test, encoding="utf-8")
    kept = versions.run_row(versions.ROWS["pinned"], sys.executable, tmp_path, ["tests/test_x.py"], True)
    assert (kept["passed"], kept["failed"], kept["skipped"]) == (1, 1, 1) and kept["ran"] == "tests/test_x.py, quick"
    assert kept["torch"] and kept["python"].startswith("3.")
