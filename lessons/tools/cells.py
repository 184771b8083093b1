"""The cells and lines that the build puts into every notebook: the set-up cell, and the badge that opens Colab."""

import re

from lib.teach.address import address

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
