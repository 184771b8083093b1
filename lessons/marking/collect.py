"""`python3 -m lib collect`: from what a learning platform gives you to the folder that nbgrader marks."""

import argparse
import datetime
import io
import json
import re
import sys
import zipfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import nbformat

from lessons.marking.handed_in import CollectError, missing, which
from lessons.tools.notebook import write_text

LARGEST = 100 * 2**20  # bytes of one notebook, unpacked
DEEPEST = 3  # zips in zips
SKIPPED = ("__MACOSX", ".ipynb_checkpoints")
# What Moodle and Canvas make of the name of a file. The number keeps two learners of one name apart.
MOODLE = re.compile(r"(?P<who>.+?_\d+)_assignsubmission_\w+?_(?:/|(?=.))")
CANVAS = re.compile(r"(?P<who>[^_/]+)_(?:LATE_)?(?P<id>\d+)_\d+_")


class File(NamedTuple):
    """A file that was handed in: the folders and names that lead to it, its bytes, and when it was written."""

    path: str
    data: bytes | None  # None: too large
    time: datetime.datetime


class Taken(NamedTuple):
    """What was done with a file. to: the assignment that it was taken for, None where it was refused."""

    who: str
    path: str
    to: str | None
    words: str


def files(source):
    """Yield the Files of a folder or a zip, also those in zips inside it. Nothing is unpacked onto the disk.

    Raises CollectError, where `source` is neither.
    """
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.is_file() and not path.is_symlink():
                time = datetime.datetime.fromtimestamp(path.stat().st_mtime)
                data = path.read_bytes() if path.stat().st_size <= LARGEST else None
                yield from opened(File(path.relative_to(source).as_posix(), data, time))
    elif source.is_file():
        if not zipfile.is_zipfile(source) and source.suffix != ".ipynb":
            raise CollectError(f"{source} is no folder and no zip")
        time = datetime.datetime.fromtimestamp(source.stat().st_mtime)
        inside = [File("", source.read_bytes(), time)] if zipfile.is_zipfile(source) else []
        yield from [each for file in inside for each in unzipped(file, 0)] or [
            File(source.name, source.read_bytes(), time)
        ]
    else:
        raise CollectError(f"{source} is not there")


def opened(file, depth=0):
    """Yield a file, or what is in it, where it is a zip."""
    if any(part in SKIPPED or part.startswith("._") for part in PurePosixPath(file.path).parts):
        return
    if (
        file.data
        and file.path.lower().endswith(".zip")
        and zipfile.is_zipfile(io.BytesIO(file.data))
        and depth < DEEPEST
    ):
        yield from unzipped(file, depth + 1)
    else:
        yield file


def unzipped(file, depth):
    """Yield the Files in a zip. Paths that lead upwards or begin at the root are read as if they did not."""
    with zipfile.ZipFile(io.BytesIO(file.data)) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            parts = [part for part in re.split(r"[\\/]", entry.filename) if part not in ("", ".", "..")]
            path = "/".join([*([file.path.removesuffix(".zip")] if file.path else []), *parts])
            try:
                data = archive.read(entry) if entry.file_size <= LARGEST else None
                time = datetime.datetime(*entry.date_time)
            except (RuntimeError, zipfile.BadZipFile, ValueError, NotImplementedError):  # a password, or broken
                data, time = None, datetime.datetime.now()
            yield from opened(File(path, data, time), depth)


def owner(path, nb, names):
    """Return who handed in a file, as a name for a folder; "" where nothing says it.

    That is what Moodle or Canvas wrote before the file's name, else the outermost folder, else NAME in the notebook.
    """
    if found := MOODLE.search(path):
        words = found["who"].rsplit("/", 1)[-1]
    elif found := CANVAS.match(path.rsplit("/", 1)[-1]):
        words = f"{found['who']}-{found['id']}"
    else:
        folders = [part for part in path.split("/")[:-1] if part not in (*names, "submitted", "lessons")]
        words = folders[0] if folders else name_in(nb)
    return re.sub(r"[^\w.-]+", "-", words).strip(".-")


def name_in(nb):
    """Return what the learner wrote into `NAME = ""`, or ""."""
    for cell in nb.cells if nb else []:
        if found := re.search(r"""^NAME = ["'](.*?)["']""", cell.source, re.M):
            return found[1]
    return ""


def read(file):
    """Return the notebook in a file. Raises CollectError, which says why it is none."""
    if file.data is None:
        raise CollectError("it can't be unpacked, or is larger than 100 MiB")
    try:
        return nbformat.reads(file.data.decode("utf-8-sig"), as_version=4)
    except Exception as error:  # nbformat raises many kinds
        kind = "is empty" if not file.data.strip() else f"is no JSON that a notebook could be ({type(error).__name__})"
        raise CollectError(f"the file {kind}: ask for it again, downloaded as .ipynb") from error


def take(file, to, plan, newest):
    """Put one file where it belongs, and return what was done: Taken. newest: {(who, assignment): File} so far."""
    who, name = owner(file.path, None, plan), None
    try:
        if not file.path.lower().endswith((".ipynb", ".json")):
            raise CollectError("it is no notebook")
        nb = read(file)
        who = owner(file.path, nb, plan)
        name = which(nb, plan)
        if not who:
            raise CollectError("nothing says whose it is: put it into a folder with the learner's name")
        if (older := newest.get((who, name))) and older.time > file.time:
            return Taken(who, file.path, None, f"{older.path} is newer, and was taken")
        newest[who, name] = file
        words = missing(nb, nbformat.read(to / "release" / name / f"{name}.ipynb", as_version=4))
    except CollectError as error:
        return Taken(who, file.path, None, str(error))
    target = to / "submitted" / who / name / f"{name}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, nbformat.writes(nb))
    write_text(target.with_name("timestamp.txt"), file.time.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC"))
    return Taken(who, file.path, name, words)


def collect(source, to):
    """Put all that was handed in into `to`, an nbgrader course of ours; return [Taken]. Raises CollectError."""
    if not (to / "marking.json").is_file():
        raise CollectError(f"{to} is no course that `release` made: it has no marking.json")
    plan, newest = json.loads((to / "marking.json").read_text(encoding="utf-8")), {}
    return [take(file, to, plan, newest) for file in files(source)]


def main(argv=None):
    """Collect what argv says. Returns 0, or 1 where something was refused or nothing was there."""
    parser = argparse.ArgumentParser(
        prog="python3 -m lib collect",
        description="Put what learners handed in, a folder or a zip of Moodle's or Canvas's, into submitted/ of a "
        "course that `release` made. What can't be marked is refused, in words, and nothing is lost by it.",
    )
    parser.add_argument("source", type=Path, metavar="ZIP|DIR", help="a zip, a folder, or one notebook")
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="the folder that `release` made")
    args = parser.parse_args(argv)
    try:
        taken = collect(args.source.absolute(), args.to.absolute())
    except (CollectError, OSError, zipfile.BadZipFile) as error:
        print(f"python3 -m lib collect: {error}", file=sys.stderr)
        return 1
    for each in taken:
        said = f"taken for {each.to}" if each.to else "REFUSED"
        print(f"{each.who or '?'}: {each.path}: {said}{': ' if each.words else ''}{each.words}")
    refused = sum(each.to is None for each in taken)
    print(f"{len(taken) - refused} taken, {refused} refused.")
    return int(refused > 0 or not taken)
