"""An answer under another name is told in words, and the cell goes on."""

import sys
import types

from IPython.core.interactiveshell import InteractiveShell

from lib.teach import names


def ran(*cells):
    """Return the names that a notebook's cells leave, run one after the other as IPython does."""
    shell = InteractiveShell()
    shell.user_ns["check"] = lambda id, answer: answer or f"the course's {id}"
    shell.ast_transformers.append(names.MissingAnswers(shell.user_ns))
    for cell in cells:
        assert shell.run_cell(cell).success
    return shell.user_ns


def test_a_renamed_answer_is_told_and_the_lesson_goes_on(capsys):
    after = ran("def my_rms_norm(x):\n    return x", 'rms_norm = check("02.1", rms_norm)\nprint(rms_norm)')
    assert after["rms_norm"] == "the course's 02.1"
    said = capsys.readouterr().out
    assert "Nothing is called `rms_norm`: run the cell above" in said and "There is `my_rms_norm`: is that it?" in said


def test_an_answer_that_is_there_is_left_alone(capsys):
    assert ran("total = 3", 'total = check("02.3", total)')["total"] == 3
    assert "Nothing is called" not in capsys.readouterr().out


def test_it_is_put_in_once_and_only_in_a_notebook(monkeypatch):
    names.watch()
    shell = types.SimpleNamespace(ast_transformers=[], user_ns={})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    names.watch()
    names.watch()
    assert len(shell.ast_transformers) == 1
