"""What ruff and import-linter hold for us, with the course's own settings: each rule is seen to find what it is for."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lib.__main__ import LINT_IMPORTS

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
DOC = '"""A file."""\n'
# (rule, source): each is a file of lib/run, and of tests where the rule holds there too.
BAD = [
    ("F403", "from torch.nn import *"),
    ("TID252", "from .norm import rms_norm"),
    ("TID252", "from . import norm"),
    ("TID251", "import os\nHOME = os.environ['HOME']"),
    ("TID251", "import os\nHOME = os.getenv('HOME')"),
    ("TID251", "from os import environ as settings"),
    ("TID251", "import importlib\nimportlib.import_module('transformers.models.llama')"),
    ("TID251", "from importlib import import_module"),
    ("TID251", "import runpy"),
    ("TID251", "import requests"),
    ("TID251", "def f():\n    import httpx"),
    ("TID251", "from urllib.request import urlretrieve"),
    ("TID251", "from urllib import request"),
    ("TID251", "import http.client"),
    ("TID251", "from joblib import load"),
    ("TID251", "import ssl\nMODE = ssl.CERT_NONE"),
    ("D100", "import torch"),
    ("D101", DOC + "class A:\n    pass"),
    ("D102", DOC + 'class A:\n    """B."""\n\n    def f(self):\n        pass'),
    ("D103", DOC + "def f():\n    pass"),
    ("D400", DOC + 'def f():\n    """Do it"""'),
    ("S101", "assert 1"),
]
BAD_IN_TESTS_TOO = [
    ("S102", "exec(compile(tree, 'a', 'exec'))"),
    ("S102", "import builtins\nbuiltins.exec(text)"),
    ("S307", "eval(text)"),
    ("S301", "import pickle\npickle.loads(data)"),
    ("S301", "from pickle import load\nload(file)"),
    ("S301", "import dill\ndill.load(file)"),
    ("S301", "import shelve\nshelve.open(path)"),
    ("S301", "import pandas\npandas.read_pickle(path)"),
    ("S302", "import marshal\nmarshal.loads(data)"),
    ("S310", "import urllib.request\nurllib.request.urlopen(url)"),
    ("S323", "import ssl\nssl._create_unverified_context()"),
    ("S501", "import requests\nrequests.get(url, verify=False, timeout=5)"),
    ("S602", "import subprocess\nsubprocess.run(line, shell=True)"),
    ("S604", "run(line, shell=True)"),
    ("S605", "import os\nos.system(line)"),
    ("S605", "import subprocess\nsubprocess.getoutput(line)"),
    ("TID252", "from .lab import Lab"),
]
SOUND = '''"""Not exec(x), not eval(x)."""

import pickle
import random


def load(model, run):
    """Open nothing."""
    model.eval()
    return run(["git"], shell=False), f"--token={random.random()}", pickle.dumps(1)
'''
# (contract, file, source): what import-linter has to name.
BAD_IMPORTS = [
    ("drawers", "lib/layers/bad_a.py", "from lib.models.llama import Llama"),
    ("drawers", "lib/layers/bad_b.py", "from lib.text.bpe import BPE"),
    ("drawers", "lib/text/bad_a.py", "import lib.layers.rope"),
    ("drawers", "lib/show/bad_a.py", "from lib.layers import rope"),
    ("drawers", "lib/layers/bad_c.py", "from lib.show import theme"),
    ("drawers", "lib/models/bad_a.py", "def f():\n    from lib.run import train"),
    ("drawers", "lib/run/bad_a.py", "from lib.teach import progress"),
    ("drawers", "lib/run/bad_b.py", "import lib.__main__"),
    ("lessons", "lessons/exercises/bad_a.py", "from lessons.figures import lesson_04"),
    ("lessons", "lessons/exercises/bad_b.py", "from lessons.tools import cards"),
    ("lessons", "lessons/figures/bad_a.py", "from lessons.exercises.lesson_04 import turn"),
    ("lessons", "lessons/figures/bad_b.py", "from lessons.tools.cards import cards"),
    ("figures", "lessons/figures/bad_c.py", "from lessons.figures import lesson_04"),
    ("upwards", "lib/teach/bad_a.py", "from lessons.exercises.lesson_04 import check"),
    ("upwards", "lib/teach/bad_b.py", "import lessons"),
    ("upwards", "lib/run/bad_c.py", "from tests.benchmarks import race"),
    ("tests", "lessons/tools/bad_a.py", "from tests.exercises.rights import right"),
    ("published", "lib/models/bad_b.py", "def f():\n    import transformers"),
    ("published", "lib/text/bad_b.py", "from rwkv.model import RWKV"),
    ("published", "lib/bad_a.py", "import rwkv"),
    ("drawing", "lib/teach/bad_c.py", "import matplotlib.pyplot as plt"),
    ("drawing", "lib/run/bad_d.py", "def draw():\n    from ipywidgets import interact"),
    ("drawing", "lessons/exercises/bad_c.py", "from IPython import get_ipython"),
    ("drawers", "lib/run/bad_e.py", "import lib.teach.progress\nfrom lib.run import bad_f"),
    ("circles", "lib/run/bad_f.py", "def f():\n    from lib.run.bad_e import g"),
]


def lint(folder, *options):
    """Return what ruff finds in a folder, as its JSON says it."""
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "json", *options, "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def write(path, source):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What ruff finds in a bad file for each case, {file: rules}."""
    folder = tmp_path_factory.mktemp("bad")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for i, (_, source) in enumerate(BAD + BAD_IN_TESTS_TOO):
        write(folder / f"lib/run/bad_{i}.py", source + "\n")
    for i, (_, source) in enumerate(BAD_IN_TESTS_TOO):
        write(folder / f"tests/bad_{i}.py", source + "\n")
    write(folder / "lib/run/sound.py", SOUND)
    rules = {}
    for finding in lint(folder):
        rules.setdefault(Path(finding["filename"]).relative_to(folder.resolve()).as_posix(), set()).add(finding["code"])
    return rules


def test_ruff_finds_what_breaks_a_rule(found):
    wanted = {f"lib/run/bad_{i}.py": rule for i, (rule, _) in enumerate(BAD + BAD_IN_TESTS_TOO)}
    wanted |= {f"tests/bad_{i}.py": rule for i, (rule, _) in enumerate(BAD_IN_TESTS_TOO)}
    missed = {file: rule for file, rule in wanted.items() if rule not in found.get(file, ())}
    assert missed == {}


def test_ruff_lets_a_sound_file_through(found):
    assert "lib/run/sound.py" not in found


# Where a name may stand that is banned elsewhere. Lessons and tests set the environment of what they start, and tests
# import by name.
BANNED = {
    "importlib.import_module": {"lib/__main__.py", "lessons/marking/prune.py", "lessons/tools/all_exercises.py"},
    "os.environ": {"lib/__main__.py", "lib/environment.py"},
    "urllib.request": {
        "lib/torch_build.py",
        "lib/text/download.py",
        "lib/weights/hub.py",
        "tests/lab.py",
        "tests/weights/test_hub.py",
    },
    "http.client": {"lib/torch_build.py"},
    "httpx": {"tests/weights/test_hub.py"},
}
FREE = {"tests/": {"os.environ", "importlib.import_module", "runpy"}, "lessons/source/": {"os.environ"}}


@pytest.fixture(scope="module")
def switched_off():
    """What ruff would find here without any exception: (file, rule, message)."""
    every = lint(ROOT, "--select", "S,TID,UP", "--ignore-noqa", "--config", "lint.per-file-ignores = {}")
    return {(Path(f["filename"]).relative_to(ROOT).as_posix(), f["code"], f["message"]) for f in every}


def test_what_is_banned_stands_where_it_may_alone(switched_off):
    """Whatever switches a rule off: an exception in pyproject.toml, or a comment. Notebooks are as their sources."""
    places = {}
    for file, code, message in switched_off:
        free = {name for folder, names in FREE.items() if file.startswith(folder) for name in names}
        if code == "TID251" and not file.endswith(".ipynb") and (name := message.split("`")[1]) not in free:
            places.setdefault(name, set()).add(file)
    assert places == BANNED


def test_no_exception_that_nothing_needs_any_more(switched_off):
    needed = {(file, re.sub(r"\d+", "", code) if code.startswith("UP") else code) for file, code, _ in switched_off}
    exceptions = SETTINGS["ruff"]["lint"]["per-file-ignores"]
    listed = {(file, rule) for file, rules in exceptions.items() for rule in rules if "*" not in file}
    assert listed and listed - needed == set()


def test_nothing_is_imported_by_a_name_in_disguise():
    """ruff's ban does not see the built-in function."""
    for path in [*(ROOT / "lib").rglob("*.py"), *(ROOT / "lessons").rglob("*.py")]:
        assert "__import__" not in path.read_text(encoding="utf-8"), path


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What import-linter says of a course with all bad imports: {id of a contract: text}, and its exit code."""
    folder = tmp_path_factory.mktemp("course")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for path in [*(ROOT / "lib").rglob("*.py"), *(ROOT / "lessons").rglob("*.py")]:
        write(folder / path.relative_to(ROOT), path.read_text(encoding="utf-8"))
    for _, file, source in BAD_IMPORTS:
        write(folder / file, source + "\n")
    done = subprocess.run([sys.executable, "-c", LINT_IMPORTS], cwd=folder, capture_output=True, text=True)
    ids = {contract["name"]: contract["id"] for contract in SETTINGS["importlinter"]["contracts"]}
    names = "|".join(re.escape(name) for name in ids)
    parts = re.split(rf"^({names})\n-+\n", done.stdout, flags=re.M)
    return {ids[name]: text for name, text in zip(parts[1::2], parts[2::2], strict=True)}, done


def test_import_linter_finds_what_breaks_a_contract(said):
    texts, done = said
    assert done.returncode == 1, done.stdout + done.stderr
    missed = []
    for contract, file, _ in BAD_IMPORTS:
        words = file.removesuffix(".py").replace("/", ".") + " -> "
        if contract == "circles":  # which of a circle's imports it names is its own choice
            words = "No cycles are allowed in lib.run."
        if words not in texts.get(contract, ""):
            missed.append((contract, file))
    assert missed == [], done.stdout


def test_every_contract_has_something_bad():
    assert {contract["id"] for contract in SETTINGS["importlinter"]["contracts"]} == {c for c, _, _ in BAD_IMPORTS}


def test_the_imports_are_as_they_should_be_and_leave_no_cache():
    before = set(ROOT.iterdir())
    done = subprocess.run([sys.executable, "-c", LINT_IMPORTS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert set(ROOT.iterdir()) == before
