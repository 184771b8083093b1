"""The house is as its plan says; and each rule is seen to fail on something that breaks it."""

import doctest
import importlib
import subprocess

import pytest
from architecture import (
    BELOW,
    ROOT,
    STANDARD_ONLY,
    cycles,
    drawer,
    environment_reads,
    files,
    machine_paths,
    own_imports,
    too_long,
    undocumented,
    work_at_import,
    wrong_drawers,
    wrong_imports,
)

FILES = files()
RULES = [wrong_imports, environment_reads, too_long, work_at_import, undocumented]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_file_keeps(rule):
    bad = [line for module, source in FILES.items() for line in rule(module, source)]
    assert not bad, "\n".join(bad)


def test_imports_go_to_earlier_drawers_alone():
    bad = [line for module, source in FILES.items() for line in wrong_drawers(module, source, FILES)]
    assert not bad, "\n".join(bad)


def test_no_import_cycles():
    graph = {module: {target for _, target in own_imports(source, FILES)} for module, source in FILES.items()}
    assert cycles(graph) == []


def test_the_drawers_are_six_and_flat():
    """Two levels, never three; each drawer is a package with an empty __init__.py, so an import names the file."""
    folders = {path.parent.relative_to(ROOT / "lib").as_posix() for path in (ROOT / "lib").rglob("*.py")}
    assert folders == {".", *BELOW}
    outside = {module for module in FILES if drawer(module) is None}
    assert outside == STANDARD_ONLY
    for name in ("lib", *(f"lib.{name}" for name in BELOW)):
        assert FILES[name] == "", f"{name}/__init__.py is not empty"


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
    binary = {".png", ".safetensors", ".npz", ".pyc", ".gz"}
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
    ("rule", "module", "source"),
    [
        (wrong_imports, "lib.layers.new", "from torch.nn import *"),
        (wrong_imports, "lib.layers.new", "from .norm import rms_norm"),
        (wrong_imports, "lib.layers.new", "from . import norm"),
        (wrong_imports, "lib.run.new", "import matplotlib.pyplot as plt"),
        (wrong_imports, "lib.run.new", "def draw():\n    from ipywidgets import interact"),
        (wrong_imports, "lib.text.new", "import rwkv"),
        (wrong_imports, "lib.models.new", "import importlib\nimportlib.import_module('transformers.models.llama')"),
        (wrong_imports, "lib.environment", "def f():\n    import torch"),
        (wrong_imports, "lib.__main__", "from lib.run import train"),
        (environment_reads, "lib.run.new", "import os\nhome = os.environ['HOME']"),
        (environment_reads, "lib.run.new", "import os\nhome = os.getenv('HOME')"),
        (environment_reads, "lib.run.new", "from os import environ"),
        (environment_reads, "lib.run.new", "from os import environ as settings"),
        (too_long, "lib.run.new", "x = 1\n" * 301),
        (too_long, "lib.run.new", "class A:\n    def f():\n" + "        x = 1\n" * 50),
        (work_at_import, "lib.run.new", "print('hello')"),
        (work_at_import, "lib.run.new", "import torch\nTABLE = torch.arange(5)"),
        (work_at_import, "lib.run.new", "for i in range(3):\n    x = i"),
        (work_at_import, "lib.run.new", "def f(x=open('a')):\n    pass"),
        (work_at_import, "lib.run.new", "class A:\n    x = open('a')"),
        (work_at_import, "lib.run.new", "def f():\n    x = 1\n    return x\nX = {'a': [f()]}"),
        (work_at_import, "lib.run.new", "def f(x):\n    while x:\n        x -= 1\n    return x\nX = f(3)"),
        (undocumented, "lib.run.new", '"""A."""\ndef f():\n    pass'),
        (undocumented, "lib.run.new", '"""A."""\nclass A:\n    pass'),
        (
            undocumented,
            "lib.run.new",
            '"""A."""\nclass A:\n    """B."""\n    def f(self):\n        x = 1\n        f(x)',
        ),
        (undocumented, "lib.run.new", "import torch"),
    ],
)
def test_rules_see_what_breaks_them(rule, module, source):
    assert rule(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("lib.layers.new", "from lib.models.llama import Llama"),
        ("lib.layers.new", "from lib.text.bpe import BPE"),
        ("lib.text.new", "import lib.layers.rope"),
        ("lib.models.new", "def f():\n    from lib.run import train"),
        ("lib.weights.new", "import importlib\nimportlib.import_module('lib.run.train')"),
        ("lib.run.new", "from lib.teach import plots"),
        ("lib.run.new", "import lib.__main__"),
    ],
)
def test_an_import_from_a_later_drawer_is_seen(module, source):
    modules = {"lib.models.llama", "lib.run.train", "lib.teach.plots", "lib.text.bpe", "lib.layers.rope"}
    assert wrong_drawers(module, source, modules)


def test_an_import_from_an_earlier_drawer_is_let_through():
    source = "import torch\nfrom lib.layers import rope\nfrom lib.models.llama import Llama\nimport lib.text.bpe"
    assert wrong_drawers("lib.models.new", source, {"lib.layers.rope", "lib.models.llama"}) == []
    assert wrong_drawers("lib.__main__", "import lib.teach.notebook", set()) == []


def test_a_cycle_is_found():
    assert cycles({"a": {"b", "d"}, "b": {"c"}, "c": {"a"}, "d": set()}) == ["a", "b", "c", "a"]
    assert cycles({"a": {"a"}}) == ["a", "a"]
    assert cycles({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}) == []


def test_a_cycle_through_a_function_and_through_a_package_is_found():
    sources = {"lib.run.a": "def f():\n    from lib.run import b", "lib.run.b": "from lib.run.a import f"}
    graph = {module: {target for _, target in own_imports(source, sources)} for module, source in sources.items()}
    assert cycles(graph) == ["lib.run.a", "lib.run.b", "lib.run.a"]


@pytest.mark.parametrize("text", ["|root|x", "|tmp|ipykernel_1", "see |home|me", '"|Users|me', "C:!Users!me"])
def test_a_folder_of_a_machine_is_seen(text):
    assert machine_paths("a.ipynb", "first line\n" + text.replace("|", "/").replace("!", "\\"))


@pytest.mark.parametrize("text", ["https://a.org/home/page", "lessons/work/x", "../tmp/x", "and/or home", "/usr/bin/x"])
def test_other_paths_are_let_through(text):
    assert machine_paths("a.md", text) == []
