"""`python3 -m lib colab-check`: run lessons as Colab does: each notebook alone, in another Python."""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from lessons.tools.build import Client
from lib.run.command_line import whole
from lib.teach.address import address

ROOT = Path(__file__).resolve().parents[2]
# What Colab's kernel has before the first cell: the lessons ask for it to show their widgets as Colab wants them.
# A module as Colab has it, with a spec: packages that ask whether google.colab is there stumble over one without.
COLAB = (
    "import importlib.machinery as machinery, importlib.util as util, sys\n\n"
    "sys.modules['google.colab'] = util.module_from_spec(machinery.ModuleSpec('google.colab', None))\n"
)


class Outcome(NamedTuple):
    """What became of a lesson: seconds, what its first cell said, lines on stderr, and the error, None where well."""

    seconds: float
    said: str
    warnings: list
    error: str | None


class Elsewhere(Client):
    """Runs a notebook in the Python `python`, with more variables in its environment."""

    def __init__(self, nb, python, variables, **settings):
        super().__init__(nb, **settings)
        self.python, self.variables = str(python), variables

    def create_kernel_manager(self):
        """Return the manager of a kernel of that Python."""
        manager = super().create_kernel_manager()
        manager.kernel_spec.argv[0] = self.python
        quiet = {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}  # else Python 3.13 writes about its debugger
        manager.kernel_spec.env = {**manager.kernel_spec.env, **quiet, **self.variables}
        return manager


def published(root, folder):
    """Make a bare git repository in `folder` of what git has or would take of the course in `root`, with its tag."""
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "core.excludesFile="]
    subprocess.run([*git, "init", "-q", "--bare", folder], check=True)
    git += [f"--git-dir={folder}", f"--work-tree={root}"]
    for words in (["add", "-A"], ["commit", "-q", "-m", "the course"], ["tag", address(root).tag]):
        subprocess.run([*git, *words], cwd=root, check=True, stderr=subprocess.DEVNULL)
    return folder


def variables(repository, place, folder):
    """Return what lets git find the published address on this disk, and lets a kernel in `folder` pass for Colab's."""
    (folder / "sitecustomize.py").write_text(COLAB, encoding="utf-8")
    instead = {"GIT_CONFIG_KEY_0": f"url.{repository.as_uri()}.insteadOf", "GIT_CONFIG_VALUE_0": place.url}
    return {"GIT_CONFIG_COUNT": "1", **instead, "PYTHONPATH": str(folder)}


def run_alone(notebook, python, extra, timeout=120):
    """Run a copy of a notebook in a new folder in `python`; return its Outcome."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(notebook, folder)
        nb, begun = nbformat.read(notebook, as_version=4), time.perf_counter()
        for cell in nb.cells:
            if cell.cell_type == "code":
                cell.outputs = []
        client = Elsewhere(nb, python, extra, timeout=timeout, kernel_name="python3", store_widget_state=False)
        client.resources = {"metadata": {"path": folder}}
        error = None
        try:
            client.execute()
        except CellExecutionError as failure:
            error = f"{failure.ename}: {failure.evalue}" if failure.evalue else f"{failure.ename} {_raised(failure)}"
        except (CellTimeoutError, DeadKernelError) as failure:
            error = str(failure).splitlines()[0]
    outputs = [output for cell in nb.cells if cell.cell_type == "code" for output in cell.outputs]
    streams = [(output.name, output.text) for output in outputs if output.output_type == "stream"]
    said = next((text.strip() for name, text in streams if name == "stdout"), "")
    return Outcome(time.perf_counter() - begun, said, [text for name, text in streams if name == "stderr"], error)


def _raised(failure):
    # The line that raised an error without words.
    plain = re.sub(r"\x1b\[[0-9;]*m", "", failure.traceback)
    found = re.findall(r"^-+> *\d+ (.*)$", plain, re.M)
    return found[0].strip() if found else ""


def frozen(python):
    """Return {package: version} of a Python, as its pip says."""
    command = [python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return dict(line.split("==", 1) for line in lines if "==" in line)


def check(notebooks, python, root=ROOT, say=print, counts=None, more=None, timeout=120):
    """Run notebooks alone in `python`, say a line for each; return whether all ran and no package was replaced.

    counts: a dict that gets how many "passed" and "failed"; replaced packages count as one that failed. more:
    variables for the kernel's environment. timeout: seconds for a cell.
    """
    counts = {} if counts is None else counts
    counts.update(passed=0, failed=0)
    before = frozen(python)
    with tempfile.TemporaryDirectory() as folder:
        repository = published(root, Path(folder) / "course.git")
        extra = {**variables(repository, address(root), Path(folder)), **(more or {})}
        for notebook in notebooks:
            outcome = run_alone(notebook, python, extra, timeout)
            counts["failed" if outcome.error else "passed"] += 1
            say(f"{notebook.stem}: {outcome.error or 'ran'}, {outcome.seconds:.0f} s. {outcome.said}")
            for text in outcome.warnings:
                say("  on stderr: " + text.strip().splitlines()[-1][:200])
    after = frozen(python)
    replaced = {name: (before[name], after.get(name)) for name in before if after.get(name) != before[name]}
    added = sorted(set(after) - set(before))
    say(f"Packages replaced: {replaced or 'none'}. Added: {', '.join(added) or 'none'}.")
    counts["failed"] += bool(replaced)
    return not counts["failed"]


def main(argv=None, root=ROOT):
    """Run the lessons that argv names, or all, as in Colab. Returns 0, or 1 where one failed or a package changed."""
    parser = argparse.ArgumentParser(
        prog="python3 -m lib colab-check",
        description="Run lessons as Colab does: each notebook alone in an empty folder, its first cell fetching the "
        "course from a git repository that is made of this folder. Needs git.",
    )
    parser.add_argument("lessons", nargs="*", metavar="NN", help="numbers, such as 04; none means all")
    parser.add_argument("--python", default=sys.executable, help="the interpreter to run them in (default: this one)")
    parser.add_argument("--solved", action="store_true", help="the solved forms")
    parser.add_argument("--timeout", type=whole(), default=120, metavar="SECONDS", help="for a cell (default: 120)")
    args = parser.parse_args(argv)
    folder = root / "lessons" / ("solutions" if args.solved else "")
    notebooks = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    chosen = [notebook for notebook in notebooks if not args.lessons or notebook.stem[:2] in args.lessons]
    return 0 if check(chosen, args.python, root, timeout=args.timeout) else 1
