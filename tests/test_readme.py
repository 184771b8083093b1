"""The README is the door: its map names what is there, every lesson is linked, and no link is dead."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAP = README.split("## The map\n\n```\n")[1].split("\n```")[0].splitlines()
LESSONS = sorted(path.stem for path in (ROOT / "lessons" / "source").glob("*.py"))


@pytest.mark.parametrize("line", MAP, ids=lambda line: line.split()[0])
def test_a_line_of_the_map_names_what_is_there(line):
    name, words = line.split(maxsplit=1)
    assert list(ROOT.glob(name.replace("_name", "_*").replace("NN", "[0-9][0-9]"))) and len(words.split()) >= 3


def test_the_map_has_twelve_lines_and_every_folder():
    assert len(MAP) == 12 and len({line.split()[0] for line in MAP}) == 12
    named = " ".join(line.split()[0] for line in MAP)
    folders = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "lessons").glob("*/*.py")}
    assert [folder for folder in ["lib", "data", "tests", *folders] if f"{folder}/" not in named] == []


def test_the_drawers_are_named():
    told = README.split("The drawers of `lib` are ")[1].split(".")[0]
    assert set(re.findall(r"`(\w+)`", told)) == {path.parent.name for path in (ROOT / "lib").glob("*/__init__.py")}


@pytest.mark.parametrize("name", LESSONS)
def test_every_lesson_is_linked(name):
    assert f"(lessons/{name}.ipynb)" in README


def test_no_link_is_dead():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if not link.startswith("http")]
    assert links and [link for link in links if not (ROOT / link).exists()] == []
