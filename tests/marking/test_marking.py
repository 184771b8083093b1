"""Marking: an answer runs apart from all that is right; honest ones earn their points, and no known cheat does."""

import textwrap

import pytest

from lessons.checker import check as checks
from lessons.marking.mark import decode, error_of
from lessons.tools.all_exercises import exercises, find
from tests.exercises.eight import mostly_at_night
from tests.exercises.rights import rights
from tests.marking.marked import lesson_of, marked

ROTATE = "def rotate_half_split(x, cos, sin):\n"
RIGHT = ROTATE + (
    "    a, b = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]\n"
    "    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1).type_as(x)"
)
WRONG = ROTATE + "    return x"
CODE = [found.id for found in exercises() if callable(found.reference)]


def body(text):
    """Return an answer to 04.1 with this body."""
    return ROTATE + textwrap.indent(textwrap.dedent(text).strip(), "    ")


def test_a_right_answer_earns_its_points():
    assert marked("04.1", RIGHT).right and marked("04.1", RIGHT).notes == ()


def test_a_wrong_answer_earns_none_and_is_told_why():
    found = marked("04.1", RIGHT.replace("a * sin + b * cos", "b * cos - a * sin"))
    assert not found.right and "04.1 not yet" in found.text and "both lines have a minus" in found.text
    found = marked("04.1", RIGHT.replace("torch.cat", "torch.kat"))
    assert "it raises AttributeError" in found.text and "return torch.kat([a * cos" in found.text, (
        "its own line is shown"
    )
    assert not marked("04.1", {}).right and "not attempted" in marked("04.1", {}).text


def test_numbers_and_words_and_computed_numbers():
    assert marked("02.3", "norm_parameters = (2 * 32 + 1) * 4096").right
    assert not marked("02.3", "norm_parameters = 7").right
    counted = "norm_parameters = 0\nfor layer in range(65):\n    norm_parameters += 4096"
    assert marked("02.3", counted).right, "all statements of its cell count"
    found = marked("02.3", "norm_parameters = never_said")
    assert found.person and "needs a person" in found.notes[0]


def test_an_answer_that_builds_on_an_open_one_gets_the_courses():
    answer = next(cell.source for cell in lesson_of("04")[0] if cell.id == "exercise-04-5")
    assert marked("04.5", answer).right


# --- cheats that earned points before ---------------------------------------------------------------------------------

CHEATS = {
    "lib, one level below": "from lib.layers import rope\n"
    + body("return rope.rotate_half_split(x, cos, sin) if True else x"),
    "lib, inside the function": body("from lib.layers.rope import rotate_half_split as f\nreturn f(x, cos, sin)"),
    "lib, by the package": "import lib.layers.rope\n" + body("return lib.layers.rope.rotate_half_split(x, cos, sin)"),
    "lib, by sys.modules": "import sys\n"
    + body("m = [m for n, m in sys.modules.items() if n.endswith('rope')]\nreturn m[0].rotate_half_split(x, cos, sin)"),
    "the check's own right answer": "from lessons.exercises.lesson_04 import checks\n"
    + body("return checks.find('04.1').reference(x, cos, sin)"),
    "a right part of the wrong answers": "from lessons.exercises.lesson_04_wrong import halves, turn, beside\n"
    + body("return beside(*turn(*halves(x), cos, sin)).type_as(x)"),
    "the tests' right answers": "from tests.exercises import right_04\n"
    + body("return right_04.RIGHT['04.1'][0](x, cos, sin)"),
    "what check hands back": body(
        "from lessons.exercises.lesson_04 import check\nreturn check('04.1', None)(x, cos, sin)"
    ),
    "setprofile off": "import sys\n"
    + body("sys.setprofile(None)\nfrom lib.layers.rope import rotate_half_split as f\nreturn f(x, cos, sin)"),
    "lib's source, executed": "import inspect, lib.layers.rope\n"
    + body(
        "names = {}\nexec(inspect.getsource(lib.layers.rope), names)\nreturn names['rotate_half_split'](x, cos, sin)"
    ),
    "lib's file, executed": body(
        "import torch, runpy, sys\n"
        "root = COURSE\n"
        "return runpy.run_path(root + '/lib/layers/rope.py')['rotate_half_split'](x, cos, sin)"
    ),
    "the solved notebook": "import json\n"
    + body(
        "cells = json.load(open(COURSE + '/lessons/solutions/04_rope.ipynb'))['cells']\n"
        "code = next(''.join(c['source']) for c in cells if 'exercise:04.1' in c['metadata'].get('tags', []))\n"
        "names = dict(torch=torch)\nexec(code, names)\nreturn names['rotate_half_split'](x, cos, sin)"
    ),
    "randn gives zeros": "torch.randn = lambda *a, **k: torch.zeros(a)\n" + WRONG,
    "expected values in frames": "import sys\n"
    + body(
        "frame, seen = sys._getframe(), []\n"
        "while frame:\n"
        "    seen += [v for v in frame.f_locals.values()]\n"
        "    frame = frame.f_back\n"
        "for v in seen:\n"
        "    for e in (v if isinstance(v, (list, tuple)) else [v]):\n"
        "        found = getattr(e, 'value', getattr(e, 'reference', None))\n"
        "        if isinstance(found, torch.Tensor): return found\n"
        "        if callable(found): return found(x, cos, sin)\n"
        "return x"
    ),
    "objects that lie about": "import gc\n"
    + body("f = [o for o in gc.get_objects() if getattr(o, '__name__', '') == 'rotate_half_split' and o.__module__ != "
           "'answer']\nreturn f[0](x, cos, sin)"),
    "another process": "import subprocess\n"
    + body("subprocess.run(['python3', '-c', 'print(1)'])\n" + "raise SystemExit"),
    "a result that says it is equal": "class Equal(torch.Tensor):\n    def __eq__(self, other): return True\n"
    "    def equal(self, other): return True\n" + body("return x.as_subclass(Equal)"),
    "the judge, changed": "import lessons.checker.check as c\nc.verdict_on = lambda *a: True\n" + WRONG,
    "the process ends well": body("import os\nos._exit(0)"),
}  # fmt: skip
EARLY = (
    "import runpy, torch, sys\nrunpy.run_path = lambda *a, **k: {'grade': lambda *a, **k: None}\n"
    "torch.randn = lambda *a, **k: torch.zeros(a)\ntorch.equal = torch.allclose = lambda *a, **k: True\n"
)


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_earns_nothing(name):
    from lessons.marking.walls import COURSE

    found = marked("04.1", CHEATS[name].replace("COURSE", repr(str(COURSE))))
    assert not found.right and "04.1 right" not in found.text, found.text


def test_what_other_cells_do_does_not_count():
    assert not marked("04.1", WRONG, early=EARLY).right
    assert marked("04.1", RIGHT, early=EARLY + "exit()\nwhile True: pass\ntorch.set_grad_enabled(False)").right


def test_what_fits_the_visible_numbers_alone_earns_none():
    known = find("02.1").cases[0].inputs[0].flatten()[:2].tolist()
    answer = (
        "def rms_norm(x, weight, eps=1e-5):\n"
        f"    seen = abs(x.flatten()[0].item() - {known[0]!r}) < 1e-3\n"
        "    y = x.double()\n    y = (y / (y.pow(2).mean(-1, keepdim=True) + eps).sqrt() * weight).type_as(x)\n"
        "    return y if seen else x"
    )
    assert not marked("02.1", answer).right


def test_the_stand_in_says_what_is_wrong():
    found = marked("04.1", CHEATS["lib, inside the function"])
    assert "It calls the course's own lib.layers.rope.rotate_half_split: write it yourself." in found.text
    # This lesson imports the very module that holds the right answer, and the one before needs a part of it.
    call = "def wkv(k, v, log_w, u, state=None):\n    return rwkv4.{}(k, v, log_w, u, state)"
    assert "It calls the course's own" in marked("12.2", call.format("wkv")).text
    hidden = "vars(rwkv4).get('wkv', getattr(rwkv4, 'TimeMix').forward.__globals__['wkv'])"
    assert not marked("12.2", call.format("x").replace("rwkv4.x", hidden)).right


def test_what_another_part_of_the_course_is_made_of_is_not_there():
    """Lesson 05 may look at a model's attention, which is computed by the function that its first exercise writes."""
    call = (
        "def attention_weights(q, k, mask=None):\n"
        "    return attention_maps.__globals__['attention_weights'](q, k, mask)"
    )
    assert not marked("05.1", call).right


def test_an_endless_loop_ends():
    from lessons.marking import mark as marking

    before, marking.SECONDS = marking.SECONDS, 1.0
    try:
        found = marked("04.1", body("while True: pass"))
    finally:
        marking.SECONDS = before
    assert "ran for more than 1 s and was stopped" in found.text


# --- where an answer stands does not matter ---------------------------------------------------------------------------


def test_an_answer_in_another_cell_counts_and_is_said():
    found = marked("04.1", {"04.1": ""}, early="import torch\n" + RIGHT)
    assert found.right and "another cell" in found.notes[0]


def test_another_name_counts_and_is_said():
    found = marked("04.1", RIGHT.replace("rotate_half_split", "my_turn"))
    assert found.right and "`rotate_half_split` is not defined; `my_turn`" in found.notes[0]


def test_an_older_version_beside_the_answer_does_no_harm():
    assert marked("04.1", RIGHT + "\n\n\n" + WRONG).right and marked("04.1", WRONG + "\n\n\n" + RIGHT).right


def test_a_cell_that_does_not_parse_is_told():
    found = marked("04.1", RIGHT.replace("):\n", ")\n", 1))
    assert not found.right and "can't be read: expected ':' (line 1)" in found.notes[0]


def test_magics_and_helpers_in_other_cells():
    answer = "%timeit 1 + 1\n!ls\n" + body("return glue(*parts(x), cos, sin).type_as(x)")
    early = (
        "import torch\ndef parts(x):\n    return x.chunk(2, -1)\n\n"
        "def glue(a, b, c, s):\n    return torch.cat([a * c - b * s, a * s + b * c], -1)\n"
    )
    assert marked("04.1", answer, early=early).right


def test_what_comes_back_is_plain():
    assert decode(["tuple", [["plain", 1], ["bytes", [65]]]]) == (1, b"A")
    assert str(error_of(["ValueError", "no", "it raises ValueError: no"])) == "no"
    assert type(error_of(["UnicodeDecodeError", "no", "words"])).__name__ == "UnicodeDecodeError"
    assert error_of(None) is None


# --- all exercises ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", mostly_at_night(CODE))
def test_other_numbers_judge_alike(id):
    """Each check holds on numbers that its author never saw: right ones pass, wrong ones do not."""
    found = find(id, seed=1234)
    accepted = [hint for hint, wrong in found.mistakes if checks.verdict_on(found, wrong).right]
    refused = [checks.verdict_on(found, other).text for other in rights(id)]
    assert accepted == [] and [text for text in refused if " right (" not in text] == []


@pytest.mark.parametrize("id", mostly_at_night([found.id for found in exercises() if found.kind != "explain"]))
def test_the_lessons_own_solution_earns_the_points(id):
    """It runs apart from all else: no solution leans on what is not there then."""
    found = marked(id, {}, seed=11, solved=True)
    assert found.right, found.text
