"""`python3 -m lib versions`: which Pythons and packages the course was run with, and run it with others."""

import argparse
import json
import re
import shutil
import subprocess
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from lessons.tools import colab_check
from lessons.tools.notebook import write_text
from lib.environment import Trouble, hand_over, share_of_cores

ROOT = Path(__file__).resolve().parents[2]
RECORDS = "data/records/versions.json"
TOLD = ("torch", "transformers", "numpy", "matplotlib", "ipywidgets")
# Asks a Python for the versions of those packages; it may be one that lacks all of them.
ASK = """\
import json, platform, sys
from importlib.metadata import version
print(json.dumps({"python": platform.python_version(), **{name: version(name) for name in sys.argv[1:]}}))"""


class Row(NamedTuple):
    """Versions that belong together: a Python, and pins that differ from requirements.txt's; "" is the newest.

    `alone`: nothing is installed but the pins, and the lessons run as in Colab; else the tests run.
    """

    what: str
    python: str
    pins: dict
    alone: bool = False


COLAB = {"torch": "2.11.0", "transformers": "5.15.0", "numpy": "2.1.3", "matplotlib": "3.10.0", "einops": "0.8.2"}
COLAB |= {"ipywidgets": "7.7.1", "ipykernel": "6.17.1", "ipython": "7.34.0", "setuptools": "", "tqdm": ""}
ROWS = {
    "pinned": Row("what `python3 -m lib lab` installs", "3.11", {}),
    "oldest": Row("the oldest that we claim", "3.11", {"torch": "2.11.0", "transformers": "5.0.0", "tokenizers": ""}),
    "newest": Row("the newest of everything", "3.13", {"*": ""}),
    "colab": Row("Colab's of August 2026", "3.13", COLAB, alone=True),
}


def requirements(text, pins):
    """Return the lines of a requirements.txt with other pins: {"torch": "2.11.0"}; "" frees a name, "*" all others."""
    lines = []
    for line in re.findall(r"^[\w.-]+==[^\s#]+", text, re.M):
        name, version = line.split("==")
        version = pins.get(name, pins.get("*", version))
        lines.append(f"{name}=={version}" if version else name)
    return lines


def make(row, folder, root, run=hand_over):
    """Make an environment for a row in `folder`; return its Python. Raises Trouble."""
    base = shutil.which(f"python{row.python}")
    if base is None:
        raise Trouble(f"There is no python{row.python} here: install it, or name an environment's with --python.")
    python = Path(sysconfig.get_path("scripts", "venv", {"base": str(folder)})) / "python"
    lines = [f"{name}=={version}" if version else name for name, version in row.pins.items()]
    if not row.alone:
        lines = requirements((root / "requirements.txt").read_text(encoding="utf-8"), row.pins)
    commands = [[base, "-m", "venv", "--clear", folder], [python, "-m", "pip", "install", "-q", *lines]]
    if not row.alone:
        commands.append([python, "-m", "pip", "install", "-q", "--no-deps", "-r", root / "data/packages.txt"])
    for command in commands:
        if run(command, root):
            raise Trouble(f"The environment in {folder} could not be made: see above what hindered it.")
    return python


def run_row(row, python, root, others, quick, run=hand_over):
    """Run a row's tests or lessons in `python`; return what to keep of it: versions, counts, seconds."""
    begun = time.perf_counter()
    if row.alone:
        counts = {}
        notebooks = sorted((root / "lessons").glob("[0-9][0-9]_*.ipynb"))
        colab_check.check(notebooks[:1] if quick else notebooks, python, root, counts=counts)
    else:
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.xml"
            command = [python, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider"]
            command += ["-m", "not slow and not browser"] * quick + [f"--junitxml={report}"]
            others = others or ["tests"] + ["--nbval-lax", "--nbval-current-env", "lessons"] * (not quick)
            run([*command, *others], root, share_of_cores(2))
            counts = counted(report)
    asked = subprocess.run([python, "-c", ASK, *TOLD], capture_output=True, text=True, check=True).stdout
    paths = " ".join(word for word in others if word[0] != "-" and (root / word).exists())
    what = ("lessons, alone" if row.alone else paths) + ", quick" * quick
    return {**json.loads(asked), "ran": what, **counts, "seconds": round(time.perf_counter() - begun)}


def counted(report):
    """Return {"passed", "failed", "skipped"} of pytest's report in JUnit's form; none where there is no report."""
    if not report.is_file():
        return {"passed": 0, "failed": 0, "skipped": 0, "error": "no report"}
    suite = ElementTree.parse(report).getroot().find("testsuite")
    tests, skipped = int(suite.get("tests")), int(suite.get("skipped"))
    failed = int(suite.get("failures")) + int(suite.get("errors"))
    return {"passed": tests - skipped - failed, "failed": failed, "skipped": skipped}


def table(records):
    """Return the table of what was run, in markdown."""
    lines = ["| | Python | " + " | ".join(TOLD) + " | what ran | passed | failed |", "|" + "---|" * (len(TOLD) + 5)]
    for name in ROWS:
        if kept := records.get(name):
            cells = [f"{name}: {ROWS[name].what}", *(str(kept[key]) for key in ("python", *TOLD, "ran"))]
            lines.append("| " + " | ".join([*cells, f"{kept['passed']:,}", str(kept["failed"])]) + " |")
        else:
            lines.append(f"| {name}: {ROWS[name].what} | not run |" + " |" * (len(TOLD) + 3))
    return "\n".join(lines)


def main(argv=None, root=ROOT):
    """Print the table, or run a row and keep what came of it. Returns 0, or 1 where something failed."""
    parser = argparse.ArgumentParser(
        prog="python3 -m lib versions",
        description="Without options: the table of the versions that were run, and how it went. With --run: make an "
        "environment of these versions, run the tests in it, and write the result into " + RECORDS + ".",
    )
    parser.add_argument("--run", choices=ROWS, help="which versions")
    parser.add_argument("--quick", action="store_true", help="no slow tests, no notebooks; of Colab's the first lesson")
    parser.add_argument("--folder", type=Path, help="where the environment goes (default: data/cache/versions/NAME)")
    parser.add_argument("--python", help="an environment's interpreter: it is taken as it is, nothing is installed")
    options, others = parser.parse_known_args(argv)
    file = root / RECORDS
    records = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if options.run is None:
        print(table(records))
        return 0
    row = ROWS[options.run]
    folder = options.folder or root / "data/cache/versions" / options.run
    python = options.python or make(row, folder, root)
    kept = run_row(row, python, root, others, options.quick)
    if "error" in kept:
        raise Trouble(f"pytest wrote no report in {python}: nothing is kept of this run. Its last lines say why.")
    records[options.run] = kept
    write_text(file, json.dumps(records, indent=1) + "\n")
    print(table(records))
    return 1 if kept["failed"] or not kept["passed"] else 0
