"""The house is as its plan says; and each rule is seen to fail on something that breaks it."""

import doctest
import importlib
import subprocess
from functools import cache

import grimp
import pytest
from architecture import (
    ROOT,
    before_install,
    bodies,
    crowded,
    files,
    idle,
    machine_paths,
    not_alone,
    strangers,
    too_long,
    work_at_import,
)

from lessons.tools.handout import hand_out

FILES = files()
RULES = [too_long, work_at_import]
DRAWERS = {"text", "layers", "models", "weights", "run", "show", "teach"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_file_keeps(rule):
    bad = [line for module, source in FILES.items() for line in rule(module, source)]
    assert not bad, "\n".join(bad)


@cache
def graph():
    return grimp.build_graph("lib", "lessons", include_external_packages=True, cache_dir=None)


@pytest.mark.parametrize("rule", [strangers, before_install], ids=lambda rule: rule.__name__)
def test_imports_keep(rule):
    assert rule(graph()) == []


def test_a_lesson_imports_lib_and_its_own():
    sources = sorted((ROOT / "lessons" / "source").glob("*.py"))
    assert sources and [bad for p in sources for bad in not_alone(p.stem, p.read_text(encoding="utf-8"))] == []


def test_the_drawers_are_seven_and_flat():
    """Two levels, never three; each drawer is a package with an empty __init__.py, so an import names the file."""
    folders = {path.parent.relative_to(ROOT / "lib").as_posix() for path in (ROOT / "lib").rglob("*.py")}
    assert folders == {".", *DRAWERS}
    of_lessons = ("checker", "exercises", "figures", "tools")
    packages = [f"lib.{name}" for name in DRAWERS] + [f"lessons.{name}" for name in of_lessons]
    assert {name: FILES[name] for name in ["lib", *packages] if FILES[name]} == {}
    assert (ROOT / "lessons" / "__init__.py").read_bytes() == b""


def test_lib_is_small():
    """11,000 lines were enough for the first eighteen lessons; each one since may bring 500."""
    later = len(list((ROOT / "lessons" / "source").glob("*.py"))) - 18
    count = sum(len(source.splitlines()) for module, source in FILES.items() if module.split(".")[0] == "lib")
    assert count <= 11_000 + 500 * later


def test_no_folder_is_crowded():
    folders = {path.parent for part in ("lib", "lessons") for path in (ROOT / part).rglob("*.py")}
    bad = [line for folder in folders for line in crowded(folder.name, [path.name for path in folder.iterdir()])]
    assert not bad, "\n".join(bad)


def test_a_copy_for_learners_carries_no_right_answer(tmp_path):
    """Right answers are tests. No word of them is in the copy, and no function of an exercise does what one does."""
    rights = sorted((ROOT / "tests" / "exercises").glob("right_*.py"))
    known = {body for path in rights for body in bodies(path.read_text(encoding="utf-8"))}
    assert len(known) > 100
    hand_out(tmp_path / "copy", ["00"], ROOT)
    assert not (tmp_path / "copy" / "tests").exists()
    for path in (tmp_path / "copy").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "right_" not in path.name and ".right(" not in text and "import right" not in text, path
        assert "lib" in path.parts or not known & bodies(text), f"{path.name} does what a right answer does"


def test_what_only_a_test_would_use_does_not_stand_with_the_exercises():
    """Such a function is a right answer in another form."""
    lessons = {}
    for path in sorted((ROOT / "lessons" / "exercises").glob("lesson_*.py")):
        lessons.setdefault(path.stem[7:9], []).append(path.read_text(encoding="utf-8"))
    assert {number: found for number, sources in lessons.items() if (found := idle(*sources))} == {}
    assert idle("def f(x):\n    return f(x)", "@check\ndef g(e):\n    e.h(i)\n\n\ndef h(): ...", "i = 1") == ["f"]


def test_bodies_tell_functions_apart_by_what_they_do():
    long = "z = sum(a * b for a, b in zip(x, y))\n    return z / len(x) + max(y) - min(y) ** 2"
    one, two = bodies(f'def f(x, y):\n    """A."""\n    {long}'), bodies(f"def g(x, y):\n    {long}")
    assert one == two != bodies(f"def f(x, y):\n    {long} + 1") and bodies("def f(x):\n    return x") == set()


def test_no_folder_of_one_machine_in_the_repository():
    bad = [line for path in texts() for line in machine_paths(path.name, path.read_text(encoding="utf-8"))]
    assert not bad, "\n".join(bad)


def texts():
    """Yield the text files that git has or would take; without git, those outside hidden folders."""
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(git, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
        paths = [ROOT / name for name in names if name]
    except (OSError, subprocess.CalledProcessError):
        paths = [path for path in ROOT.rglob("*") if not any(p[0] == "." for p in path.relative_to(ROOT).parts)]
    binary = {".png", ".gif", ".safetensors", ".npz", ".pyc", ".gz"}
    return [path for path in paths if path.is_file() and path.suffix not in binary]


@pytest.mark.parametrize("module", [module for module, source in FILES.items() if ">>> " in source])
def test_examples_in_docstrings(module):
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted and not result.failed


SOUND = '''
"""A file that keeps all rules."""
import re
from dataclasses import dataclass
NAME = re.compile("a")
SIZES = {"small": 3 * 4, "large": len_of(5), "later": with_sign(3)}
def len_of(x):
    """Return x."""
    return x
def with_sign(x):
    """Return a function."""
    def signed():
        y = -x
        return y
    return signed
@dataclass(frozen=True)
class Pair:
    """Two."""
    a: int = 1
    def both(self):
        """Return both."""
        return sorted([self.a])
if __name__ == "__main__":
    print(1)
'''


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rules_let_a_sound_file_through(rule):
    assert rule("lib.layers.new", SOUND) == []


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (too_long, "x = 1\n" * 301),
        (too_long, "class A:\n    def f():\n" + "        x = 1\n" * 50),
        (work_at_import, "print('hello')"),
        (work_at_import, "import torch\nTABLE = torch.arange(5)"),
        (work_at_import, "for i in range(3):\n    x = i"),
        (work_at_import, "def f(x=open('a')):\n    pass"),
        (work_at_import, "class A:\n    x = open('a')"),
        (work_at_import, "def f():\n    x = 1\n    return x\nX = {'a': [f()]}"),
        (work_at_import, "def f(x):\n    while x:\n        x -= 1\n    return x\nX = f(3)"),
    ],
)
def test_rules_see_what_breaks_them(rule, source):
    assert rule("lib.run.new", source)


def imports_of(*pairs):
    """A graph of these imports."""
    graph = grimp.ImportGraph()
    for importer, imported in pairs:
        graph.add_import(importer=importer, imported=imported)
    return graph


def test_an_exercise_of_another_lesson_is_seen():
    four, five = "lessons.exercises.lesson_04", "lessons.exercises.lesson_05"
    assert strangers(imports_of((four, f"{four}_wrong"), (four, "lib.layers.rope"))) == []
    for pair in ((four, five), (four, f"{five}_wrong"), (f"{four}_wrong", four), (f"{four}_wrong", f"{five}_wrong")):
        assert strangers(imports_of(pair)), pair


@pytest.mark.parametrize("line", ["lessons.exercises.lesson_05 import check", "lessons.figures import lesson_05 as f"])
def test_a_lesson_that_takes_from_another_is_seen(line):
    assert not_alone("04_rope", f"from {line}") and not_alone("05_attention", f"from {line}") == []
    assert not_alone("04_rope", "from lessons.tools.cards import cards")


def test_what_runs_before_anything_is_installed_and_imports_more_is_seen():
    assert before_install(imports_of(("lib.__main__", "lib.environment"), ("lib.environment", "os"))) == []
    drawer = ("lib.run.train", "torch")
    assert before_install(imports_of(drawer)) == []
    assert before_install(imports_of(("lib.environment", "torch")))
    assert before_install(imports_of(drawer, ("lib.__main__", "lib.run.train")))
    assert before_install(imports_of(drawer, ("lib.__main__", "lib.run")))


def test_a_crowded_folder_is_seen():
    lessons = [f"lesson_{n:02}{end}.py" for n in range(23) for end in ("", "_wrong")]
    assert crowded("exercises", ["__init__.py", "page.md", *lessons]) == []
    assert crowded("exercises", [*lessons, "lesson_07_more.py"])
    assert crowded("run", [f"a{n}.py" for n in range(22)]) == [] and crowded("run", [f"a{n}.py" for n in range(23)])


@pytest.mark.parametrize("text", ["|root|x", "|tmp|ipykernel_1", "see |home|me", '"|Users|me', "C:!Users!me"])
def test_a_folder_of_a_machine_is_seen(text):
    assert machine_paths("a.ipynb", "first line\n" + text.replace("|", "/").replace("!", "\\"))


@pytest.mark.parametrize("text", ["https://a.org/home/page", "lessons/work/x", "../tmp/x", "and/or home", "/usr/bin/x"])
def test_other_paths_are_let_through(text):
    assert machine_paths("a.md", text) == []
