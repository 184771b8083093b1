"""Install what the lessons import and this Python lacks, and replace nothing that is there: for Colab and Kaggle."""

import importlib.metadata
import importlib.util
import re
import sys
import tempfile
from pathlib import Path

from lib.environment import Environment, Trouble, watch
from lib.pip_trouble import NO_NETWORK, NOT_ALLOWED, is_any

# What the machine has in the form that fits it, or what no lesson imports.
LEFT_ALONE = {"torch", "jupyterlab", "ipykernel", "nbclient", "nbconvert", "nbformat"}
VERSION = re.compile(r"\d[\w.!+-]*")


def complete(root, run=watch):
    """Install what `root`, the course's folder, asks for and this Python lacks; return it, as "gguf 0.19.0".

    What is installed already is handed to pip as a constraint, so no version of it changes. Where a pinned version
    can't stand beside it, pip may choose another. Data packages come without their requirements. Raises Trouble.
    """
    if importlib.util.find_spec("torch") is None:
        step = f"`python3 -m lib lab`, called in {root}, makes an environment that has it."
        raise Trouble(f"There is no torch here, and a notebook should not install one: {step}")
    if not (root / "requirements.txt").is_file():
        return []  # lib alone, as a grader may have it: nothing says what is wanted
    lines, data = wanted(root)
    lines, data = [line for line in lines if is_missing(line)], [line for line in data if is_missing(line)]
    if not lines + data:
        return []
    before = installed()
    with tempfile.TemporaryDirectory() as folder:
        held = Path(folder) / "held.txt"
        held.write_text("".join(f"{name}=={version}\n" for name, version in before.items()), encoding="utf-8")
        if lines and (said := _pip(run, "-c", held, *lines)) is not None:
            # Whatever hindered it: a missing build, or a neighbour that is older than our version wants.
            free = [re.split("[=<>]", line)[0] for line in lines]
            _need(_pip(run, "-c", held, *free) if not is_any(NO_NETWORK + NOT_ALLOWED, said) else said, free)
        if data:
            _need(_pip(run, "--no-deps", *data), data)
    importlib.invalidate_caches()
    return _added(before, lines + data)


def wanted(root):
    """Return (lines with their requirements, lines without) of what lessons import: "gguf==0.19.0"."""
    place = Environment(root)
    return [line for line in place.pins("lessons") if line.split("==")[0] not in LEFT_ALONE], place.data()


def is_missing(line):
    """Say whether the module of a requirement is nowhere to be found; the course's packages are named as modules."""
    return importlib.util.find_spec(line.split("==")[0].replace("-", "_")) is None


def installed():
    """Return {name: version} of the packages of this Python, without those whose version pip would not read."""
    found = ((d.metadata["Name"], d.version) for d in importlib.metadata.distributions())
    return {_plain(name): version for name, version in found if name and VERSION.fullmatch(version or "")}


def _plain(name):
    return re.sub("[-_.]+", "-", name).lower()


def _pip(run, *arguments):
    # Returns None, or what pip said where it failed.
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    code, said = run([*command, *arguments], True)
    return said if code else None


def _need(said, lines):
    if said is None:
        return
    if is_any(NO_NETWORK, said):
        why = "the package index was not reached: look at the network (in Kaggle, switch the internet on)"
    elif is_any(NOT_ALLOWED, said):
        why = f"{sys.prefix} may not be changed"
    else:
        errors = [line for line in said.splitlines() if line.startswith(("ERROR", "error"))]
        why = (errors or said.strip().splitlines() or ["pip said nothing"])[-1].removeprefix("ERROR: ")
    raise Trouble(f"Could not install {', '.join(lines)}, since {why.strip()}.")


def _added(before, lines):
    after = installed()
    if changed := [name for name in before if after.get(name) != before[name]]:
        raise Trouble(f"pip replaced {', '.join(changed)}: restart the kernel, and run this cell again.")
    if lost := [line for line in lines if is_missing(line)]:
        raise Trouble(f"{', '.join(lost)} is installed, but not found: restart the kernel, and run this cell again.")
    names = [line.split("==")[0] for line in lines]
    return [f"{name} {after.get(_plain(name), '')}".strip() for name in names]
