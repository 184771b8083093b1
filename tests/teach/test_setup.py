"""The set-up cell finds the course from any folder in it, fetches it elsewhere, or says in a sentence why not."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lessons.tools import cells
from lib.teach import install, setup
from lib.teach.address import Address, address

ROOT = Path(__file__).resolve().parents[2]
PLACE = address()
START = "def start(number):\n    print('Lesson', number)\n"


# The kernel of .venv can import the course from anywhere; one of Colab's can't.
FAR = "import os, sys\nsys.path[:] = [p for p in sys.path if not os.path.isfile(p + '/lib/teach/setup.py')]\n"


def run(code, folder, importable=False, **extra):
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH" and not key.startswith("GIT_")}
    env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C", **extra}
    return subprocess.run(
        [sys.executable, "-I", "-c", code if importable else FAR + code],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
    )


def instead(url):
    """Variables that let git look at another address for the published one, so that the cell stays as it is."""
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{url}.insteadOf", "GIT_CONFIG_VALUE_0": PLACE.url}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A bare git repository on this disk of a course with one small file, with the published tag."""
    work, bare = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("bare") / "course.git"
    (work / "lib/teach").mkdir(parents=True)
    for folder in (work / "lib", work / "lib/teach"):
        (folder / "__init__.py").touch()
    (work / "lib/teach/setup.py").write_text(START, encoding="utf-8")
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "a"], ["tag", PLACE.tag]):
        subprocess.run([*git, *words], cwd=work, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", work, bare], check=True)
    return bare


def test_the_cell_is_short_python_with_its_number_and_the_address():
    cell = cells.setup_cell("04")
    compile(cell, "cell", "exec")
    assert len(cell.splitlines()) <= 8 and cell.endswith('start("04")')
    assert all(len(line) <= 110 for line in cell.splitlines())
    assert cell.count(PLACE.url) == 1 and f"-b {PLACE.tag} " in cell
    assert not re.findall(r"{(?:number|folder|tag|url)}", cell)
    other = cells.setup_cell("04", Address("ada/course", "v9"))
    assert "https://github.com/ada/course course-v9" in other and PLACE.repo not in other


@pytest.mark.parametrize("folder", [".", "tests", "tests/data"])
def test_the_cell_finds_the_course_upward(folder):
    cell = cells.setup_cell("04").replace('start("04")', "print(start.__module__, sys.path[0])")
    done = run(cell, ROOT / folder)
    assert done.stdout.split(None, 1) == ["lib.teach.setup", f"{ROOT}\n"], done.stderr


def test_a_kernel_that_can_import_the_course_needs_no_network(tmp_path, repository):
    """A notebook that was copied to a folder of its own: nothing is fetched, another lib is passed by."""
    (tmp_path / "other/lib").mkdir(parents=True)
    (tmp_path / "other/lib/__init__.py").touch()
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    path = f"import sys; sys.path[:0] = {[str(tmp_path / 'other'), str(ROOT)]!r}\n"
    cell = cells.setup_cell("04").replace('start("04")', "print(start.__code__.co_filename)")
    done = run(path + cell, folder, importable=True, **instead("file:///nowhere"))
    assert done.stdout == f"{ROOT / 'lib/teach/setup.py'}\n", done.stderr
    assert not list(folder.iterdir())


def test_the_course_goes_before_another_lib(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "__init__.py").write_text("", encoding="utf-8")
    other = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    done = run(other + cells.setup_cell("04").replace('start("04")', "print('found')"), ROOT / "tests")
    assert done.stdout == "found\n", done.stderr


def test_elsewhere_the_cell_fetches_the_course_once(tmp_path, repository):
    folder = tmp_path / "a folder"
    folder.mkdir()
    first = run(cells.setup_cell("04"), folder, **instead(repository.as_uri()))
    assert first.stdout == "Lesson 04\n", first.stderr
    assert [path.name for path in folder.iterdir()] == [PLACE.folder]
    again = run(cells.setup_cell("05"), folder, **instead("file:///nowhere"))
    assert again.stdout == "Lesson 05\n", again.stderr


def refused(done):
    """Return the last sentence of a cell that failed, and see that it left no folder half made."""
    assert done.returncode == 1 and not done.stdout
    found = re.search(r"^AssertionError: (The course could not be fetched: .*)", done.stderr, re.M | re.S)
    assert found, done.stderr
    return found[1].strip()


def test_a_tag_that_is_not_there_is_said(tmp_path, repository):
    cell = cells.setup_cell("04", PLACE._replace(tag="v0.0.1"))
    said = refused(run(cell, tmp_path, **instead(repository.as_uri())))
    assert said == "The course could not be fetched: Remote branch v0.0.1 not found in upstream origin"
    assert not list(tmp_path.iterdir())


def test_a_network_that_is_not_there_is_said(tmp_path):
    said = refused(run(cells.setup_cell("04"), tmp_path, **instead("https://127.0.0.1:9/ada")))
    assert "unable to access" in said and "127.0.0.1" in said and "\n" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="a folder that even root may not write is Linux's /sys")
def test_a_folder_that_may_not_be_written_is_said(repository):
    said = refused(run(cells.setup_cell("04"), "/sys", **instead(repository.as_uri())))
    assert (
        re.search("could not create work tree dir .*: (Operation not|Permission|Read-only)", said) and "\n" not in said
    )


def test_a_machine_without_git_is_said(tmp_path):
    done = run(cells.setup_cell("04"), tmp_path, PATH=str(tmp_path))
    words = r"FileNotFoundError: (\[Errno 2\] No such file or directory: 'git'|\[WinError 2\] .*)"
    assert re.fullmatch(words, done.stderr.splitlines()[-1])


def test_the_badge_opens_the_very_notebook():
    line = cells.badge("04_rope", place=Address("ada/course", "v9"))
    assert "(https://colab.research.google.com/github/ada/course/blob/v9/lessons/04_rope.ipynb)" in line
    assert "](colab.svg)" in line and (ROOT / "lessons/colab.svg").is_file()
    solved = cells.badge("04_rope", solved=True)
    assert "](../colab.svg)" in solved and "/lessons/solutions/04_rope.ipynb)" in solved


def test_start_seeds_and_says_one_line(capsys):
    setup.start("04")
    first = torch.rand(3)
    assert setup.start("04") is None
    assert torch.equal(torch.rand(3), first)
    lines = capsys.readouterr().out.splitlines()
    version = torch.__version__.split("+")[0]
    assert len(lines) == 2 and lines[0].startswith(f"Lesson 04, torch {version}, device ")
    assert lines[0].endswith(f", {torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}")


def test_start_says_in_the_same_line_what_it_did(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(install, "complete", lambda root: ["gguf 0.19.0", "babel 2.18.0"])
    (tmp_path / PLACE.folder).mkdir()
    (tmp_path / PLACE.folder / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    monkeypatch.setattr(setup, "ROOT", tmp_path / PLACE.folder)
    setup.start("04")
    (line,) = capsys.readouterr().out.splitlines()
    where = f"the course {PLACE.tag} is in {PLACE.folder}"
    assert line.endswith(f"; {where}; installed gguf 0.19.0, babel 2.18.0, replaced nothing")
