"""Where the course is published: what `pyproject.toml` says of it."""

import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Address(NamedTuple):
    """Where the course is published: repo "owner/name" on GitHub, and a tag of it."""

    repo: str
    tag: str

    @property
    def url(self):
        """What git clones."""
        return f"https://github.com/{self.repo}"

    @property
    def folder(self):
        """What the set-up cell calls the fetched course: another tag goes beside it."""
        return f"course-{self.tag}"


def address(root=ROOT):
    """Return the Address that stands in the pyproject.toml of a course's folder; without one, this course's."""
    file = root / "pyproject.toml"
    file = file if file.is_file() else ROOT / "pyproject.toml"
    setting = tomllib.loads(file.read_text(encoding="utf-8"))["tool"]["course"]
    return Address(setting["repository"], setting["tag"])
