"""What the first cell of every lesson needs, in JupyterLab, in Colab and in Kaggle."""

import re
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]

# The one set-up cell of all lessons: the course found beside or above the notebook, or where the kernel can import it
# from, or fetched beside the notebook at the published tag.
SETUP_CELL = """\
import pathlib, subprocess, sys
up, src = pathlib.Path("_").absolute(), "{url} {folder}"
home = [p for p in ["{folder}", *up.parents, *sys.path] if pathlib.Path(p, "lib/teach/setup.py").is_file()]
done = home or subprocess.run(f"git clone -q --depth 1 -b {tag} {src}".split(), capture_output=True, text=True)
assert home or not done.returncode, f"The course could not be fetched: {done.stderr.split('fatal: ')[-1]}"
sys.path[:0] = [str(pathlib.Path(p).absolute()) for p in home or ["{folder}"]]
from lib.teach.setup import start
start("{number}")"""
BADGE = "<small>[![Open in Colab]({up}colab.svg)](https://colab.research.google.com/github/{repo}/blob/{tag}/{path})</small>"


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


def setup_cell(number, place=None):
    """Return the set-up cell of lesson `number`, two digits, for a course published at `place` (default: ours)."""
    place = place or address()
    words = {"number": number, "folder": place.folder, "tag": place.tag, "url": place.url}
    return re.sub(r"{(number|folder|tag|url)}", lambda match: words[match[1]], SETUP_CELL)


def badge(name, solved=False, place=None):
    """Return the line below a lesson's title that opens it, or its solved form, in Colab."""
    place = place or address()
    path = f"lessons/{'solutions/' * solved}{name}.ipynb"
    return BADGE.format(up="../" * solved, repo=place.repo, tag=place.tag, path=path)


def start(number):
    """Begin lesson `number` ("04"): complete what it needs, seed torch, set the figures' looks, say it all in one line.

    Raises Trouble, where something is missing and could not be installed.
    """
    from lib.teach.missing import complete

    added = complete(ROOT)
    # Imported here: whoever builds notebooks needs the cell's text alone, and torch takes seconds.
    import torch

    from lib.run.device import keep_memory, pick_device
    from lib.teach import theme

    torch.manual_seed(0)
    keep_memory()  # else a lesson that times a layer times how fast the system clears pages
    theme.apply()
    threads = torch.get_num_threads()
    version = torch.__version__.split("+")[0]
    line = f"Lesson {number}, torch {version}, device {pick_device()}, {threads} thread{'s' * (threads != 1)}"
    if (ROOT / "pyproject.toml").is_file() and (place := address()).folder == ROOT.name:
        line += f"; the course {place.tag} is in {place.folder}"
    print(line + (f"; installed {', '.join(added)}, replaced nothing" if added else ""))
