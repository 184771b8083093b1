"""What GitHub runs and shows: the workflows by actionlint, their rights and limits, the container, the citation."""

import json
import os
import re
import shlex
import subprocess
import sysconfig
from pathlib import Path

import pytest
import yaml

from lib import __main__ as commands
from lib.environment import Environment

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
ACTIONLINT = Path(sysconfig.get_path("scripts")) / ("actionlint.exe" if os.name == "nt" else "actionlint")
each = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def lint(*paths):
    """Return what actionlint finds in these files; without it, skip, and in CI fail."""
    if not ACTIONLINT.is_file():
        reason = f"no actionlint at {ACTIONLINT}: `python3 -m lib test` installs it"
        if os.environ.get("CI", "").lower() in ("true", "1"):
            pytest.fail(reason)
        pytest.skip(reason)
    return subprocess.run([ACTIONLINT, "-no-color", "-oneline", *paths], capture_output=True, text=True).stdout


def jobs(path):
    """Return a workflow, and its jobs: {name: job}. YAML 1.1 reads the key `on` as true."""
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    return workflow, workflow["jobs"]


@each
def test_actionlint_finds_nothing(path):
    assert lint(path) == ""


def test_actionlint_finds_what_is_wrong(tmp_path):
    text = WORKFLOWS[0].read_text(encoding="utf-8").replace("runs-on: ubuntu-latest", "runs-on: ubuntu-1")
    (tmp_path / "a.yml").write_text(text, encoding="utf-8")
    assert "ubuntu-1" in lint(tmp_path / "a.yml")


@each
def test_a_workflow_has_few_rights_a_limit_and_one_run_at_a_time(path):
    workflow, all_jobs = jobs(path)
    assert workflow["permissions"] == {"contents": "read"} and workflow["concurrency"]["group"]
    for name, job in all_jobs.items():
        assert job["timeout-minutes"] <= 300, name
        rights = job.get("permissions", {})
        assert rights in ({}, {"pages": "write", "id-token": "write"}), name
        for step in job["steps"]:
            assert re.fullmatch(r"actions/[a-z-]+@v\d+", step.get("uses", "actions/none@v1")), "GitHub's own, a major"
            assert "${{" not in step.get("run", ""), "a value goes into a command by env, never as text"
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"] == {"persist-credentials": False}
            if step.get("uses", "").startswith("actions/setup-python"):
                assert step["with"]["cache"] == "pip"
                assert all((ROOT / file).is_file() for file in step["with"]["cache-dependency-path"].split())


def test_the_quick_test_runs_on_three_systems_and_the_full_one_on_linux():
    workflow, all_jobs = jobs(ROOT / ".github/workflows/test.yml")
    assert {"push", "pull_request"} <= set(workflow[True])
    systems = {row["system"].split("-")[0] for row in all_jobs["quick"]["strategy"]["matrix"]["include"]}
    assert systems == {"ubuntu", "macos", "windows"} and all_jobs["full"]["runs-on"] == "ubuntu-latest"
    assert all_jobs["full"]["steps"][-1]["run"] == ".ci/run"


@each
def test_who_chooses_tests_leaves_out_the_nightly_ones(path):
    """The last -m counts, so one in a workflow replaces that of `--quick`."""
    for step in (step for job in jobs(path)[1].values() for step in job["steps"]):
        for chosen in re.findall(r'-m "(.*?)"', step.get("run", "")):
            assert {"not slow", "not nightly"} <= set(chosen.split(" and ")), chosen


@each
def test_each_command_in_a_workflow_is_one(path):
    runs = [step["run"] for job in jobs(path)[1].values() for step in job["steps"] if "run" in step]
    named = [match for run in runs for match in re.findall(r"-m lib ([a-z-]+)", run)]
    assert set(named) <= set(commands.COMMANDS) and (named or ".ci/run" in runs)


def test_the_container_makes_the_environment_and_opens_jupyterlab(monkeypatch):
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    *command, pattern = shlex.split(container["postAttachCommand"]["lab"])
    assert command == "python3 -m lib lab --no-browser".split()
    # The page comes from the address of the forwarded port, the server knows itself as localhost: without this it
    # refuses the page's web sockets as another site's.
    name, _, pattern = pattern.partition("=")
    assert name == "--ServerApp.allow_origin_pat" and re.match(pattern, "https://ada-laughs-x5-8888.app.github.dev")
    for other in ("http://ada-8888.app.github.dev", "https://ada-8888.app.github.dev.ada.org", "https://ada.org",
                  "https://ada-8888xapp.github.dev", "https://ada-8889.app.github.dev"):  # fmt: skip
        assert not re.match(pattern, other), other
    assert container["customizations"]["codespaces"]["openFiles"] == [commands.FIRST_LESSON]
    assert container["forwardPorts"] == [8888], "JupyterLab's own port, which `lab` takes"
    prepared = []
    monkeypatch.setattr(Environment, "prepare", lambda place: prepared.append(place.root))
    (code,) = re.findall(r'^python3 -c "(.*)"$', container["postCreateCommand"])
    monkeypatch.chdir(ROOT)
    exec(code, {})
    assert prepared == [Path(".")]


def test_the_citation_and_the_page_for_contributors_name_what_is_there():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0" and citation["license"] == "Apache-2.0" and citation["authors"]
    page = (ROOT / ".github/CONTRIBUTING.md").read_text(encoding="utf-8")
    assert set(re.findall(r"python3 -m lib ([a-z-]+)", page)) <= set(commands.COMMANDS)
    files = re.findall(r"`((?:lessons|lib|tests|data|\.ci)/[\w./-]+)`", page)
    assert len(files) > 5
    for file in files:
        assert any(ROOT.glob(re.sub("NN_name|NN", "*", file))), file
