"""`python3 -m lib publish`: write where the course is published, and with it all badges and set-up cells."""

import argparse
import re
import sys
from pathlib import Path

import nbformat

from lessons.tools.build import places, write
from lessons.tools.notebook import fingerprint, forms, write_text
from lib.teach.address import Address, address

ROOT = Path(__file__).resolve().parents[2]
REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}")
TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")
# Pages that name the address for a person to copy.
PAGES = ("README.md", "CITATION.cff")


def publish(place, root=ROOT):
    """Write `place` into pyproject.toml, the pages and the notebooks; return the files that changed.

    Nothing is executed: outputs stay, and what a learner typed stays. Raises ValueError for a place that can't be.
    """
    if not REPO.fullmatch(place.repo):
        raise ValueError(f"{place.repo!r} is no repository: give OWNER/NAME, as it stands in its address on GitHub")
    if not TAG.fullmatch(place.tag):
        raise ValueError(f"{place.tag!r} is no tag for this: letters, digits, dots and hyphens, such as v1.0")
    before = address(root)
    changed = [file for file in [root / "pyproject.toml"] if _write_setting(file, place)]
    changed += [root / name for name in PAGES if _write_page(root / name, before, place)]
    for source in sorted((root / "lessons" / "source").glob("*.py")):
        for file, form in zip(places(source), forms(source), strict=True):
            if file.is_file() and _write_notebook(file, form):
                changed.append(file)
    return changed


def _write_setting(file, place):
    text = file.read_text(encoding="utf-8")
    head, section, rest = text.partition("[tool.course]\n")
    for key, value in (("repository", place.repo), ("tag", place.tag)):
        rest = re.sub(rf'^{key} = ".*"$', f'{key} = "{value}"', rest, count=1, flags=re.M)
    if head + section + rest == text:
        return False
    write_text(file, head + section + rest)
    return True


def _write_page(file, before, place):
    if not file.is_file() or before.repo not in (text := file.read_text(encoding="utf-8")) or before.repo == place.repo:
        return False
    write_text(file, text.replace(before.repo, place.repo))
    return True


def _write_notebook(file, form):
    nb = nbformat.read(file, as_version=4)
    before = nbformat.writes(nb)
    readdress(nb, form)
    if nbformat.writes(nb) == before:
        return False
    write(nb, file)
    return True


def readdress(nb, form):
    """Put the form's title cell and set-up cell into a built notebook, where it has them; leave all else as it is.

    If it is then what its source builds, it counts as built: its fingerprint is written, too.
    """
    wanted = {cell.id: cell.source for i, cell in enumerate(form.cells) if i == 0 or _is_setup(cell)}
    for cell in nb.cells:
        cell.source = wanted.get(cell.get("id"), cell.source)
    if fingerprint(nb) == form.metadata.course.source_sha256:
        nb.metadata.course = form.metadata.course


def _is_setup(cell):
    return "setup" in cell.metadata.get("tags", [])


def main(argv=None, root=ROOT):
    """Publish at the address that argv gives; without one, at the one that stands. Returns 0, or 2 for a wrong one."""
    parser = argparse.ArgumentParser(
        prog="python3 -m lib publish",
        description="Write where the course is published: into pyproject.toml, and into the badge and the set-up cell "
        "of each notebook. Nothing is executed, outputs stay. Commit that, give the commit the tag, and push both.",
    )
    now = address(root)
    parser.add_argument("--repo", default=now.repo, metavar="OWNER/NAME", help=f"on GitHub (now: {now.repo})")
    parser.add_argument("--tag", default=now.tag, help=f"what Colab fetches (now: {now.tag})")
    args = parser.parse_args(argv)
    try:
        changed = publish(Address(args.repo, args.tag), root)
    except ValueError as error:
        print(f"python3 -m lib publish: {error}", file=sys.stderr)
        return 2
    what = f"{len(changed)} files written" if changed else "nothing to change"
    print(f"{args.repo} at {args.tag}: {what}.")
    return 0
