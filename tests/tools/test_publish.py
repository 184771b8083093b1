"""`python3 -m lib publish`: the address stands in one place, and what follows from it is written without executing."""

import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest

from lessons.tools import build, notebook, publish
from lib.teach.address import Address, address

ROOT = Path(__file__).resolve().parents[2]
HERE = address()
THERE = Address("ada/her-course", "v9.1")
SOURCES = sorted((ROOT / "lessons/source").glob("*.py"))


@pytest.fixture
def course(tmp_path):
    """A copy of two lessons, with their notebooks and the setting."""
    for source in SOURCES[4:6]:
        for file in (source, *build.places(source)):
            (tmp_path / file.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, tmp_path / file.relative_to(ROOT))
    for name in ("pyproject.toml", *publish.PAGES):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def contents(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def tracked():
    """Return the text files that git has or would take."""
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(git, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    binary = {".png", ".gif", ".safetensors", ".npz", ".gz"}
    return [ROOT / name for name in names if (ROOT / name).is_file() and (ROOT / name).suffix not in binary]


def test_publishing_where_it_stands_changes_nothing(course):
    before = contents(course)
    assert publish.publish(HERE, course) == []
    assert publish.main([], course) == 0
    assert contents(course) == before


def test_another_address_changes_the_setting_the_badges_and_the_cells_alone(course, capsys):
    before, stale = contents(course), behind(course)
    assert publish.main(["--repo", THERE.repo, "--tag", THERE.tag], course) == 0
    assert "ada/her-course at v9.1: 7 files written" in capsys.readouterr().out
    assert address(course) == THERE
    for name, old in before.items():
        new = (course / name).read_text(encoding="utf-8")
        assert HERE.repo not in new
        if name.endswith(".ipynb"):
            assert new.count(THERE.repo) == 2
            differ = [(a, b) for a, b in zip(cells(old.decode()), cells(new), strict=True) if a != b]
            assert [b.cell_type for _, b in differ] == ["markdown", "code"]
            assert all(a.get("outputs") == b.get("outputs") for a, b in differ)
        elif name not in ("pyproject.toml", *publish.PAGES):
            assert new.encode() == old
    assert behind(course) == stale  # in a course that is built: none
    publish.publish(HERE, course)
    assert contents(course) == before


def behind(course):
    return [file for source in (course / "lessons/source").glob("*.py") for file, _ in build.stale(source)]


def cells(text):
    return nbformat.reads(text, as_version=4).cells


def test_work_of_a_learner_stays_and_its_notebook_does_not_count_as_built(course):
    source = next((course / "lessons/source").glob("04*.py"))
    file = build.places(source)[0]
    nb = nbformat.read(file, as_version=4)
    nb.cells[-1].source, nb.metadata.course.source_sha256 = "my note", "what it was"
    build.write(nb, file)
    publish.publish(THERE, course)
    now = nbformat.read(file, as_version=4)
    assert now.cells[-1].source == "my note" and THERE.repo in now.cells[0].source
    assert now.metadata.course.source_sha256 == "what it was" and build.stale(source)


@pytest.mark.parametrize(
    "arguments", [["--repo", "ada"], ["--repo", "ada/x/y"], ["--repo", "ada/a b"], ["--tag", "v 1"], ["--tag", "-b"]]
)
def test_an_address_that_can_not_be_is_refused(course, capsys, arguments):
    before = contents(course)
    assert publish.main([arguments[0] + "=" + arguments[1]], course) == 2
    assert "give OWNER/NAME" in (said := capsys.readouterr().err) or "is no tag" in said
    assert contents(course) == before


def test_no_other_place_names_the_address():
    """It stands in pyproject.toml; in notebooks it stands in the two cells that publish writes."""
    names = re.compile("|".join(re.escape(word) for word in (HERE.repo, HERE.repo.split("/")[1], "colab.research")))
    # The setting, the badge's template, and the pages that name the address for a person.
    allowed = {"pyproject.toml": 1, "lessons/tools/cells.py": 1, **dict.fromkeys(publish.PAGES, 1)}
    forms = {file: form for s in SOURCES for file, form in zip(build.places(s), notebook.forms(s), strict=True)}
    for path in tracked():
        text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
        if name in ("tests/tools/test_publish.py", "tests/teach/test_setup.py"):
            text = text.replace("colab.research", "")
        if path in forms:
            nb = nbformat.reads(text, as_version=4)
            written = {0: nb.cells[0], 1: next(cell for cell in nb.cells if cell.cell_type == "code")}
            assert all(cell.source in [f.source for f in forms[path].cells] for cell in written.values()), name
            for cell in written.values():
                cell.source = ""
            text = nbformat.writes(nb)
        assert len(names.findall(text)) == allowed.get(name, 0), (
            f"{name} names the address: it belongs in pyproject.toml"
        )
