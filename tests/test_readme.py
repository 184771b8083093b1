"""The README is a map: every file of lib and every lesson stands in it, and no link is dead."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FAMILIES = ("__", "check_", "right_", "wrong_")  # one line for all of a kind
FILES = [path for path in sorted((ROOT / "lib").glob("*/*.py")) if not path.stem.startswith(FAMILIES)]
LESSONS = sorted(path.stem for path in (ROOT / "lessons" / "source").glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_file_has_its_line(path):
    drawer = README.split(f"\nlib/{path.parent.name}/\n")[1].split("\nlib/")[0]
    assert re.search(rf"^    {path.stem} ", drawer, re.M), f"README's map lacks lib/{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("name", LESSONS)
def test_every_lesson_is_linked(name):
    assert f"(lessons/{name}.ipynb)" in README


def test_no_link_is_dead():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if not link.startswith("http")]
    assert links and [link for link in links if not (ROOT / link).exists()] == []
