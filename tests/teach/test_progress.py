"""What is done is read from saved notebooks, whatever state they are in; and it needs no package."""

import json
import subprocess
import sys
from pathlib import Path

from lib.teach import progress

ROOT = Path(__file__).resolve().parents[2]


def cell(id, said, tags=None):
    outputs = [{"output_type": "stream", "name": "stdout", "text": said}] if said else []
    return {"cell_type": "code", "metadata": {"tags": tags or [f"check:{id}"]}, "outputs": outputs, "source": "check"}


def course(folder, **notebooks):
    """Write notebooks: a list of cells, or a text that is no notebook."""
    (folder / "lessons").mkdir()
    for name, cells in notebooks.items():
        text = cells if isinstance(cells, str) else json.dumps({"cells": cells})
        (folder / "lessons" / f"{name.lstrip('_')}.ipynb").write_text(text, encoding="utf-8")
    return folder


def test_a_card_counts_by_its_plain_text(tmp_path):
    """`check` shows a card; what is read is the text that goes along with it, and never the page."""
    shown = cell("04.1", "")
    data = {"text/html": "<b>04.1</b> right", "text/plain": ["04.1 not yet: 3 is too\n", "small."]}
    shown["outputs"] = [{"output_type": "display_data", "data": data, "metadata": {}}]
    assert progress.progress(course(tmp_path, _04_rope=[shown])) == {"04_rope": {"04.1": "tried"}}


def test_each_verdict_has_its_status(tmp_path):
    cells = [
        cell("04.1", ["04.1 right (11 cases, all exact).\n", "more\n"]),
        cell("04.2", 'Lesson prints first\n04.2 not yet: case "a": 04.3 right\n'),
        cell("04.3", "04.3 not attempted: going on with lib's.\n"),
        cell("04.4", ""),
        cell("04.5", "04.5 noted: compare it with the solution."),
        cell("04.6", "04.6 right", tags=["other"]),
        {"cell_type": "markdown", "metadata": {}, "source": "04.7 right"},
    ]
    found = progress.progress(course(tmp_path, _04_rope=cells))
    assert found == {
        "04_rope": {"04.1": "done", "04.2": "tried", "04.3": "open", "04.4": "open", "04.5": "done"},
    }
    assert "x / . . x" in progress.table(found) and "2 of 5" in progress.table(found)
    assert progress.following(found) == "Next: exercise 04.2, in lessons/04_rope.ipynb."


def test_a_notebook_that_cannot_be_read_counts_as_nothing(tmp_path, capsys):
    root = course(
        tmp_path, _00_a="{", _01_b='{"cells": 3}', _02_c='{"cells": [1, null]}', _03_d=[cell("03.1", "03.1 right")]
    )
    assert progress.main([], root) == 0
    said = capsys.readouterr().out
    assert "03_d" in said and "1 of 1" in said and "All done." in said


def test_a_copy_is_no_lesson_of_its_own(tmp_path):
    """As Jupyter, a browser, Colab and people name them; a copy alone stands for its lesson."""
    names = ["01_a", "01_a (1)", "01_a-Copy1", "Copy of 01_a", "01_a_old", "02_b (2)", "02_b-Copy1 (1)"]
    found = progress.progress(course(tmp_path, **{name: [cell("01.1", "")] for name in names}))
    assert list(found) == ["01_a", "02_b (2)"] and progress.table(found).count("0 of 1") == 2


def test_no_notebook_at_all(tmp_path, capsys):
    progress.show(tmp_path)
    assert "0 of 0" in (said := capsys.readouterr().out) and "There is no notebook" in said


def test_it_needs_the_standard_library_alone():
    code = "import sys; from lib.teach import progress; progress.show(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.endswith("False\n"), done.stderr


def test_the_solved_forms_of_the_lessons_are_all_done():
    for name, mine in progress.progress().items():
        solved = progress.statuses(ROOT / "lessons" / "solutions" / f"{name}.ipynb")
        assert list(mine) == list(solved) and set(solved.values()) == {"done"}, name
