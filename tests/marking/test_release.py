"""The nbgrader course: what goes out holds no solution, and six submissions get the points that they deserve."""

import json
import re

import nbformat
import pytest

from lessons.marking import release
from lessons.tools import cards, handout, notebook
from tests.marking.course_99 import DATA, NAME, RIGHT, ROOT, handed_in, make, nbgrader, points, submit

WRONG = {
    "99.1": "def softmax(z):\n    return z.exp() / z.exp().sum()",
    "99.2": "def countdown(n):\n    return undefined_name",
    "99.3": "total = 7626",
    "99.4": 'reason = "I do not know."',
}
# Right on the numbers that everybody can see; and the course's own under another name.
HARD_CODED = {
    "99.1": "from lessons.exercises.lesson_99 import checks\n\n"
    "KNOWN = [case.inputs[0] for case in checks.find('99.1').cases]\n\n\n"
    "def softmax(z):\n    seen = any(z.shape == k.shape and torch.allclose(z.float(), k) for k in KNOWN)\n"
    "    return z.softmax(-1) if seen else z",
    "99.2": "from lessons.exercises.lesson_99 import checks\n\n\n"
    "def countdown(n):\n    return checks.find('99.2').reference(n)",
}
# Everything that is in reach says "right": the name, the module, the cell that marks.
REDEFINED = (
    "import lessons.checker.check, lessons.checker.judge\nfrom lessons.checker.verdict import Verdict\n\n\n"
    "def check(id, answer):\n    print(id, 'right.')\n    return answer\n\n\n"
    "lessons.checker.check.verdict_on = lambda exercise, answer: Verdict(exercise.id, 'right', 'right')\n"
    "lessons.checker.judge.compare = lambda *a: (None, 0.0)\n" + WRONG["99.1"]
)
SUBMISSIONS = {
    # who: (what stands in which cell, the points of 99.1, 99.2, 99.3)
    "right": (RIGHT, (4, 3, 1)),
    "half": (RIGHT | {"99.2": WRONG["99.2"], "99.4": "reason = ..."}, (4, 0, 1)),
    "blank": ({}, (0, 0, 0)),
    "wrong": (WRONG, (0, 0, 0)),
    "hard-coded": (HARD_CODED, (0, 0, 0)),
    "cheating": (WRONG | {"99.1": REDEFINED, "mark": "pass", "check": "print('right')"}, (0, 0, 0)),
}


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course whose only lesson is the one in tests/data."""
    return make(tmp_path_factory.mktemp("course"))


@pytest.fixture
def source(course):
    return course / "lessons" / "source" / f"{NAME}.py"


def marks(nb):
    return {cell.metadata.nbgrader.grade_id: cell for cell in nb.cells if "nbgrader" in cell.metadata}


def test_an_assignment_has_a_mark_for_each_exercise(source):
    found = marks(release.assignment(source))
    points = {id: cell.metadata.nbgrader.get("points") for id, cell in found.items() if cell.metadata.nbgrader.grade}
    assert points == {"mark-99-1": 4, "mark-99-2": 3, "mark-99-3": 1, "exercise-99-4": 2}
    assert found["mark-99-1"].source == "# Marked here: exercise 99.1, 4 points. Leave this cell as it is."
    assert found["check-99-1"].metadata.nbgrader.locked and "### BEGIN SOLUTION" in found["exercise-99-1"].source
    assert found["exercise-99-4"].metadata.nbgrader.solution and "mark-99-4" not in found
    text = "\n".join(cell.source for cell in release.assignment(source).cells)
    assert "secret remark" not in text and "solutions/" not in text


def test_the_exercises_that_are_named_alone_carry_points(source, course, tmp_path, capsys):
    found = marks(release.assignment(source, ["99.1", "99.4"]))
    points = {id: cell.metadata.nbgrader.get("points") for id, cell in found.items() if cell.metadata.nbgrader.grade}
    assert points == {"mark-99-1": 4, "exercise-99-4": 2}
    assert all(found[f"exercise-99-{i}"].metadata.nbgrader.solution for i in (1, 2, 3, 4)), "all go out open"
    assert release.main(["99.7", "--to", str(tmp_path / "none")], course) == 1
    assert "99_marked.py has no exercise 99.7: there are 99.1, 99.2" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("number", [path.stem for path in cards.sources()])
def test_each_lesson_makes_an_assignment_whose_points_are_the_cards(number):
    path = ROOT / "lessons" / "source" / f"{number}.py"
    graded = [
        c.metadata.nbgrader for c in release.assignment(path).cells if c.metadata.get("nbgrader", {}).get("grade")
    ]
    assert [mark.points for mark in graded] == [card.points for card in cards.cards(path.read_text(encoding="utf-8"))]


def test_a_card_without_points_is_named(course, tmp_path):
    bare = tmp_path / f"{NAME}.py"
    bare.write_text((DATA / f"{NAME}.py").read_text(encoding="utf-8").replace(" · 3 points", ""), encoding="utf-8")
    with pytest.raises(release.ReleaseError, match="the card of exercise 99.2 needs points"):
        release.assignment(bare)


def test_it_refuses_in_a_sentence(course, tmp_path, capsys):
    assert release.main(["77", "--to", str(tmp_path / "a")], course) == 1
    assert release.main(["--to", str(tmp_path / "a")], course) == 1
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").touch()
    assert release.main(["99", "--to", str(tmp_path / "b")], course) == 1
    said = capsys.readouterr().err
    assert "no lesson 77: there are 99" in said and "say which lessons" in said and "holds something else" in said
    assert [path.name for path in tmp_path.rglob("*")] == ["b", "mine.txt"]


@pytest.mark.slow
def test_submissions_get_their_points(course, tmp_path, capsys):
    made = tmp_path / "graded"
    assert release.main(["99", "--to", str(made)], course) == 0
    said = capsys.readouterr().out
    assert f"{NAME}: 4 exercises, 10 points, 2 of them marked by hand" in said and "nbgrader autograde NAME" in said
    released_holds_no_secret(made)
    for who, (edits, _) in SUBMISSIONS.items():
        submit(made, who, handed_in(made, edits))
    told = nbgrader(made, "autograde", NAME)
    assert [line for line in told.split("\n") if "WARNING" in line and "right" in line] == []
    assert told.count("'checksum' for cell") == 7, "three cells that mark and four that check, of whoever cheats"
    for who, (_, expected) in SUBMISSIONS.items():
        found = points(made, who)
        assert tuple(found[f"mark-99-{i}"][0] for i in (1, 2, 3)) == expected, who
        written = who in ("right", "wrong", "cheating")
        assert found["exercise-99-4"] == ((None, True) if written else (0, False)), who
    nbgrader(made, "generate_feedback", NAME)
    pages = {who: (made / "feedback" / who / NAME / f"{NAME}.html").read_text(encoding="utf-8") for who in SUBMISSIONS}
    assert "99.1: 4 of 4 points." in pages["right"] and "Traceback (most" not in pages["wrong"]
    assert "99.1: 0 of 4 points." in pages["wrong"] and "largest difference" in pages["wrong"]
    assert "99.1: 0 of 4 points." in pages["hard-coded"] and "99.1 right (" not in pages["hard-coded"]
    assert "99.2: 0 of 3 points." in pages["hard-coded"]
    seeds = [str(each["seed"]) for each in json.loads((made / "marking.json").read_text())[NAME].values()]
    for page in pages.values():
        assert '">Exercise 99.1</a>: ' in page and "Test cell" not in page
        assert [word for word in ("HIDDEN", *seeds) if word in page] == []
    assert release.main(["99", "--to", str(made)], course) == 1 and "give --again" in capsys.readouterr().err


def released_holds_no_secret(made):
    """What goes out has no solution, no secret and no Python file; what the instructor keeps has the solution."""
    out = list((made / "release").rglob("*"))
    assert {path.suffix for path in out if path.is_file()} == {".ipynb"}
    text = (made / "release" / NAME / f"{NAME}.ipynb").read_text(encoding="utf-8")
    for word in ("secret", "HIDDEN", "SOLUTION", "seed=", "runpy"):
        assert word not in text
    assert "secret" in (kept := (made / "source" / NAME / f"{NAME}.ipynb").read_text(encoding="utf-8"))
    assert "BEGIN SOLUTION" in kept
    assert (made / "hand-out" / f"{NAME}-assignment.ipynb").read_text(encoding="utf-8") == text
    nb = nbformat.read(made / "release" / NAME / f"{NAME}.ipynb", as_version=4)
    assert nb.cells[0].source.startswith("**Before you hand this in:**")
    mine = [cell for cell in nb.cells if cell.cell_type == "code" and notebook.tagged(cell, "exercise")]
    assert 'raise NotImplementedError("99.1: your turn")' in mine[0].source and mine[2].source == "total = ..."


def test_a_release_for_colab_fetches_the_classs_own_copy(source, course, tmp_path, capsys):
    place = release._place("https://github.com/my-school/llm@autumn")
    assert place == ("my-school/llm", "autumn") == release._place("my-school/llm@autumn")
    nb = release.assignment(source, place=place)
    assert "github/my-school/llm/blob/autumn/lessons/99_marked-assignment.ipynb)" in nb.cells[0].source
    setup = next(cell.source for cell in nb.cells if "setup" in cell.metadata.get("tags", []))
    assert "https://github.com/my-school/llm course-autumn" in setup and "-b autumn" in setup
    assert release.main(["99", "--to", str(tmp_path / "a"), "--colab", "somewhere"], course) == 1
    assert "OWNER/NAME@TAG" in capsys.readouterr().err


# --- a copy without solutions -----------------------------------------------------------------------------------------


def test_a_copy_without_solutions(tmp_path, capsys):
    to = tmp_path / "copy"
    assert release.main(["--without-solutions", "--to", str(to)]) == 0
    assert "without solutions" in capsys.readouterr().out
    names = {path.stem for path in (to / "lessons").glob("*.ipynb")}
    assert names == {path.stem for path in (ROOT / "lessons").glob("[0-9][0-9]_*.ipynb")}
    assert not (to / "lessons" / "solutions").exists() and not (to / "lessons" / "source").exists()
    for path in (to / "lessons").glob("*.ipynb"):
        text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)
        assert "<summary>Solution</summary>" not in text and "solutions/" not in text, path.name
        assert "<summary>Hint 1" in text
    assert "lessons/solutions" not in (readme := (to / "README.md").read_text(encoding="utf-8"))
    assert "## The lessons" in readme and (to / "lib" / "__main__.py").is_file()
    assert not list(to.rglob("*.pyc"))
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", readme) if not link.startswith("http")]
    assert links and [link for link in links if not (to / link).exists()] == []
    assert [word for word in ("INSTRUCTORS", "CONTRIBUTING", "lib test", "tests/") if word in readme] == []


def test_no_solution_text_is_left_in_a_copy(tmp_path):
    """Line by line: what stands between the marks of an exercise, and nowhere else in its lesson, is gone."""
    for path in sorted((ROOT / "lessons").glob("[0-9][0-9]_*.ipynb")):
        solved = nbformat.read(ROOT / "lessons" / "solutions" / path.name, as_version=4)
        opened = nbformat.read(path, as_version=4)
        elsewhere = [cell for cell in opened.cells if not notebook.tagged(cell, "solution")]
        shown = {line.strip() for cell in elsewhere for line in _lines(cell)}
        hidden = {line.strip() for cell in solved.cells if notebook.tagged(cell, "exercise") for line in _lines(cell)}
        left = {line.strip() for cell in handout.without_solutions(opened).cells for line in _lines(cell)}
        assert [line for line in hidden - shown if len(line) > 12 and line in left] == [], path.name


def _lines(cell):
    return cell.source.split("\n")


def test_a_copy_takes_the_lessons_that_are_asked_for(tmp_path, capsys):
    assert release.main(["--without-solutions", "02", "00", "--to", str(tmp_path / "two")]) == 0
    assert sorted(path.stem[:2] for path in (tmp_path / "two" / "lessons").glob("*.ipynb")) == ["00", "02"]
    assert set(re.findall(r"\(lessons/(\d\d)_", (tmp_path / "two/README.md").read_text(encoding="utf-8"))) <= {
        "00",
        "02",
    }
    assert release.main(["--without-solutions", "88", "--to", str(tmp_path / "none")]) == 1
    assert release.main(["--without-solutions", "--to", str(tmp_path / "two")]) == 1
    assert release.main(["--without-solutions", "--to", str(ROOT / "lessons" / "copy")]) == 1
    said = capsys.readouterr().err
    assert "no lesson 88" in said and "is not empty" in said and "lies inside the course" in said
    assert not (tmp_path / "none").exists() and not (ROOT / "lessons" / "copy").exists()


def test_the_readme_of_a_copy_keeps_what_it_has():
    readme = "# A\n\nB.\n\n## Teach\n\nC.\n\n## Begin\n\n```\nx 1\ny 2\n```\n\nSee x.\n\n| y |\n| x |"
    short = handout.shortened(readme, ["x"])
    assert short.startswith("# A\n\nB.\n\n## Begin\n\n```\ny 2\n```\n\n| y |\n\n## Licence")
