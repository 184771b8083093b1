"""Collecting: names and folders of learning platforms are understood, and what can't be marked is refused in words."""

import io
import json
import os
import zipfile
from pathlib import Path

import nbformat
import pytest

from lessons.marking import collect, release
from lessons.marking.handed_in import CollectError
from lessons.tools import notebook
from lib.teach import progress
from tests.marking.course_99 import DATA, NAME, ROOT


@pytest.fixture(scope="module")
def released():
    """The released notebook of the lesson in tests/data, as `release` and nbgrader make it."""
    nb = release.assignment(DATA / f"{NAME}.py")
    for cell in nb.cells:
        if (names := notebook.tagged(cell, "exercise")) and cell.cell_type == "code":
            cell.source = notebook.stub(cell.source, names[0])
    nb.cells.insert(0, nbformat.v4.new_code_cell('NAME = ""'))
    return nb


@pytest.fixture
def made(tmp_path, released):
    """A course that `release` made, as far as collecting reads it."""
    folder = tmp_path / "made"
    (folder / "release" / NAME).mkdir(parents=True)
    nbformat.write(released, folder / "release" / NAME / f"{NAME}.ipynb")
    (folder / "marking.json").write_text(json.dumps({NAME: {"99.1": {"points": 4, "seed": 5}}}))
    return folder


def zipped(files):
    """Return a zip's bytes of {path: bytes}."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path, data in files.items():
            archive.writestr(zipfile.ZipInfo(path, (2026, 5, 1, 12, 0, 0)), data)
    return file.getvalue()


def taken(made, data, name="all.zip"):
    """Collect bytes that lie in a file; return {path: (who, assignment, words)}."""
    (made.parent / name).write_bytes(data)
    return {t.path: (t.who, t.to, t.words) for t in collect.collect(made.parent / name, made)}


def test_names_of_moodle_canvas_browsers_and_folders(made, released):
    data = nbformat.writes(released).encode()
    signed = nbformat.writes(released).replace('NAME = \\"\\"', 'NAME = \\"Mary Shelley\\"').encode()
    inner = zipped({"99_marked-assignment (1).ipynb": data})
    found = taken(made, zipped({
        "Ada Lovelace_101_assignsubmission_file_/99_marked-assignment.ipynb": data,
        "Ada Lovelace_102_assignsubmission_file_99_marked (2).ipynb": data,
        "hoppergrace_LATE_5551_901_99_marked-assignment-1.ipynb": data,
        "turing/work/homework.ipynb": data,
        "noether_103_assignsubmission_file_/mine.zip": inner,
        "Untitled.ipynb": signed,
        "__MACOSX/._99_marked.ipynb": b"junk",
    }))  # fmt: skip
    owners = {who for who, to, _ in found.values() if to == NAME}
    assert owners == {
        "Ada-Lovelace_101",
        "Ada-Lovelace_102",
        "hoppergrace-5551",
        "turing",
        "noether_103",
        "Mary-Shelley",
    }
    files = sorted(path.relative_to(made).as_posix() for path in made.glob("submitted/*/*/*.ipynb"))
    assert files == sorted(f"submitted/{who}/{NAME}/{NAME}.ipynb" for who in owners)
    assert (made / "submitted/turing" / NAME / "timestamp.txt").read_text().startswith("2026-")


def test_a_path_that_leaves_the_folder_stays_in_it(made, released):
    data = nbformat.writes(released).encode()
    before = {path for path in made.parent.rglob("*")}
    taken(made, zipped({"../../evil/x.ipynb": data, "/etc/y.ipynb": data, "..\\..\\z\\w.ipynb": data}))
    new = {path for path in made.parent.rglob("*") if path.is_file()} - before - {made.parent / "all.zip"}
    assert {path.relative_to(made / "submitted").parts[0] for path in new} == {"evil", "etc", "z"}


def test_what_cannot_be_marked_is_refused_in_words(made, released):
    own = nbformat.from_dict(json.loads(nbformat.writes(released)))
    own.metadata.course = {"lesson": "99", "form": "stub"}
    own.cells = [cell for cell in own.cells if not str(cell.id).startswith("mark")]
    for cell in own.cells:
        cell.metadata.pop("nbgrader", None)
    solved = nbformat.from_dict(json.loads(nbformat.writes(own)))
    solved.metadata.course.form = "solved"
    empty = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    bare = nbformat.from_dict(json.loads(nbformat.writes(released)))
    bare.cells = bare.cells[:2]
    texts = {name: nbformat.writes(nb).encode() for name, nb in
             {"own": own, "solved": solved, "other": empty, "bare": bare}.items()}  # fmt: skip
    texts |= {"broken": b'{"cells": [', "page": b"<html>", "nothing": b""}
    found = taken(made, zipped({f"{name}/a.ipynb": data for name, data in texts.items()} | {"pdf/a.pdf": b"%PDF"}))
    words = {who: words for who, to, words in found.values() if to is None}
    assert words.keys() == {*texts, "pdf"} and not (made / "submitted").exists()
    assert "the lesson's own notebook, not the one that you handed out: ask for 99_marked-assignment" in words["own"]
    assert "the course's solved notebook" in words["solved"] and "no cell of a released notebook" in words["other"]
    assert "all cells of its exercises were deleted" in words["bare"] and "is no JSON" in words["broken"]
    assert "is no JSON" in words["page"] and "is empty" in words["nothing"] and "it is no notebook" in words["pdf"]


def test_colabs_copy_and_deleted_marks_are_taken_and_told(made, released):
    nb = json.loads(nbformat.writes(released))
    nb["metadata"] = {"colab": {"provenance": []}}
    for cell in nb["cells"]:
        cell["metadata"]["id"] = cell.pop("id")
    nb["cells"] = [cell for cell in nb["cells"] if not cell["metadata"]["id"].startswith("mark-99-1")]
    nb["nbformat_minor"] = 0
    found = taken(made, zipped({"curie/Copy of x.ipynb": json.dumps(nb).encode()}))
    ((who, to, words),) = found.values()
    assert (who, to) == ("curie", NAME) and words.startswith("mark-99-1 was deleted")


def test_the_newest_counts_and_a_folder_is_taken(made, released, tmp_path):
    folder = tmp_path / "in" / "curie"
    folder.mkdir(parents=True)
    for i, name in enumerate(["b.ipynb", "a.ipynb"]):
        nbformat.write(released, folder / name)
        os.utime(folder / name, (1_700_000_000 + 1000 * i, 1_700_000_000 + 1000 * i))
    found = {t.path: t for t in collect.collect(tmp_path / "in", made)}
    assert found["curie/a.ipynb"].to == NAME and "curie/a.ipynb is newer" in found["curie/b.ipynb"].words


def test_the_command_says_what_it_did(made, released, tmp_path, capsys):
    nbformat.write(released, tmp_path / "x.ipynb")
    assert collect.main([str(tmp_path / "x.ipynb"), "--to", str(made)]) == 1
    assert "nothing says whose it is" in capsys.readouterr().out
    assert collect.main([str(tmp_path / "none"), "--to", str(made)]) == 1
    assert collect.main([str(tmp_path), "--to", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "is not there" in said and "is no course that `release` made" in said
    with pytest.raises(CollectError, match="no folder and no zip"):
        list(collect.files(Path(__file__)))


def test_progress_takes_a_folder(tmp_path, capsys, released):
    nbformat.write(released, tmp_path / f"{NAME}-assignment.ipynb")
    assert progress.main([str(tmp_path)], ROOT) == 0 and f"{NAME}-assignment" in capsys.readouterr().out
    assert progress.main([str(tmp_path / "none")], ROOT) == 1 and "there is no folder" in capsys.readouterr().err
