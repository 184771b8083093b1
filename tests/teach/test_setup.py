"""The set-up cell finds the course from any folder in it, and says one sentence elsewhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lib.teach import setup

ROOT = Path(__file__).resolve().parents[2]


def run(code, folder):
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run([sys.executable, "-I", "-c", code], cwd=folder, env=env, capture_output=True, text=True)


def test_the_cell_is_short_python_with_its_number():
    cell = setup.setup_cell("04")
    compile(cell, "cell", "exec")
    assert len(cell.splitlines()) <= 8 and cell.endswith('start("04")') and "{" not in cell


@pytest.mark.parametrize("folder", [".", "tests", "tests/data"])
def test_the_cell_finds_the_course_upward(folder):
    cell = setup.setup_cell("04").replace('start("04")', "print(start.__module__, sys.path[0])")
    done = run(cell, ROOT / folder)
    assert done.stdout.split(None, 1) == ["lib.teach.setup", f"{ROOT}\n"], done.stderr


def test_the_course_goes_before_another_lib(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "__init__.py").write_text("", encoding="utf-8")
    other = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    done = run(other + setup.setup_cell("04").replace('start("04")', "print('found')"), ROOT / "tests")
    assert done.stdout == "found\n", done.stderr


def test_elsewhere_the_cell_says_what_to_do(tmp_path):
    done = run(setup.setup_cell("04"), tmp_path)
    assert done.returncode and done.stderr.splitlines()[-1].endswith("open this notebook inside the course's folder.")


def test_start_seeds_and_says_one_line(capsys):
    setup.start("04")
    first = torch.rand(3)
    assert setup.start("04") is None
    assert torch.equal(torch.rand(3), first)
    lines = capsys.readouterr().out.splitlines()
    version = torch.__version__.split("+")[0]
    assert len(lines) == 2 and lines[0].startswith(f"Lesson 04, torch {version}, device ")
    assert lines[0].endswith(f", {torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}")
