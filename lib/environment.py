"""The course's .venv: made once, known to be whole by a stamp, made again where a call was cut short.

Standard library only: this is what runs before anything is installed.
"""

import functools
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from lib import torch_build
from lib.lock import alone
from lib.pip_trouble import DISK_FULL, NO_NETWORK, NOT_ALLOWED, ROOM, explain, is_any

# What a .venv has. "lessons" is what a learner needs; "tools" is that, and what tests and instructors need.
LEVELS = ("lessons", "tools")
# The parts of requirements.txt, by their headings, that hold what the lessons need.
LESSONS = ("# the models and their outside truth", "# the lessons")

# Writes the byte code of what every lesson imports, and what takes longest: 2 s in each kernel that has to do without.
IMPORTED = "import sys; sys.dont_write_bytecode = False; import torch"
# Settings of JupyterLab, by their place in .venv: no news; and, where `lab` starts it, no menus for instructors, which
# nbgrader brings. A plain `jupyter lab` has them.
JUPYTER = {
    "share/jupyter/lab/settings/overrides.json": (
        '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}\n'
    ),
    "etc/course/labconfig/page_config.json": '{"disabledExtensions": {"@jupyter/nbgrader": true}}\n',
}


class Trouble(Exception):
    """What the reader has to know: a sentence with the next step, printed without a traceback."""


class Environment:
    """The .venv of the course in the folder `root`.

    `run(command, quiet)` runs a command and returns (exit code, what it said); `say` takes a line for the reader;
    `free(root)` is the room on the disk in bytes; `choose(what pip's settings say)` picks the build of PyTorch;
    `no_build()` says where there is none. Tests pass their own.
    """

    def __init__(self, root, run=None, say=None, free=None, choose=None, no_build=None):
        self.root = Path(root)
        self.folder = self.root / ".venv"
        self.lock = self.root / ".venv.lock"
        self.run, self.say = run or watch, say or functools.partial(print, flush=True)
        self.free = free or (lambda folder: shutil.disk_usage(folder).free)
        self.choose, self.no_build = choose or torch_build.choose, no_build or torch_build.no_build

    @property
    def python(self):
        """The interpreter of .venv."""
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def site_packages(self):
        """The folder of .venv that holds installed packages."""
        return Path(sysconfig.get_path("purelib", "venv", {"base": str(self.folder)}))

    def pins(self, level):
        """Return the lines of requirements.txt that make this level, without their comments: ["torch==2.13.0"]."""
        parts = (self.root / "requirements.txt").read_text(encoding="utf-8").split("\n\n")
        chosen = [part for part in parts if level == "tools" or part.startswith(LESSONS)]
        return listed("\n".join(chosen))

    def data(self):
        """Return the lines of data/packages.txt: packages that come without what they ask for."""
        return listed((self.root / "data/packages.txt").read_text(encoding="utf-8"))

    def level(self, modules):
        """Return the level that has these modules: a tool stands in requirements.txt, not in the lessons' parts."""
        tools = {re.split("[=<>]", line)[0] for line in set(self.pins("tools")) - set(self.pins("lessons"))}
        return "tools" if any(module.replace("_", "-") in tools for module in modules) else "lessons"

    def fingerprint(self, level):
        """Return what the stamp of a whole .venv says: a hash of what is asked for, and the Python that it is for."""
        asked = self.pins(level) + self.data()
        digest = hashlib.sha256("\n".join(asked).encode()).hexdigest()
        return "{} {} python {}.{}\n".format(level, digest, *sys.version_info)

    def is_ready(self, level="lessons"):
        """Say whether .venv is whole and has what this level asks for. Starts nothing: it takes a millisecond."""
        if self.lock.is_file() and self.lock.read_text(encoding="utf-8"):
            return False  # the call that makes it is still at work, or was cut short
        return self.python.is_file() and self._has(level)

    def serves(self, modules):
        """Say whether we run in .venv; or, where there is none yet, have these modules without it, as in Colab."""
        if self.folder.exists():
            return Path(sys.prefix).resolve() == self.folder.resolve() and self.is_ready(self.level(modules))
        return all(importlib.util.find_spec(module) for module in modules)

    def prepare(self, level="lessons"):
        """Make .venv, or bring it up to date, unless it is ready. Raise `Trouble` where that can't be done."""
        if self.is_ready(level):
            return
        try:
            with alone(self.lock, self.say) as lock:
                if not self.is_ready(level):  # another call may have made it while this one waited
                    self._install(lock, level)
        except OSError as error:
            raise Trouble(explain(str(error), self.root, "write here")) from error

    def stamp(self, level):
        """Return the file that says which requirements of this level .venv has."""
        return self.folder / f"course-stamp-{level}"

    def _has(self, level):
        stamp = self.stamp(level)
        return stamp.is_file() and stamp.read_text(encoding="utf-8") == self.fingerprint(level)

    def _install(self, lock, level):
        began = time.monotonic()
        if sentence := self.no_build():
            raise Trouble(sentence)
        # The lock file says "making" from the first change to the last: a call that finds it there found a ruin.
        whole = lock.read() == "" and self._starts()
        lock.write("making")
        if not whole:
            self._make()
        if not self._has("lessons"):
            self._torch(lock)
            self._pip(lock, "2/3 Installing what the lessons need: 1.2 GB", "requirements.txt", *self.pins("lessons"))
            data = ("data/packages.txt", "--no-deps", *self.data())
            self._pip(lock, "3/3 Installing what data/packages.txt lists", *data)
        if level == "tools":
            title = "Installing what tests and instructors need besides: 0.3 GB"
            self._pip(lock, title, "the tools of requirements.txt", *self.pins("tools"))
        self._warm(level)
        self._settle(level)
        lock.write("")
        self.say(f"The environment stands after {time.monotonic() - began:.0f} s. The next call starts at once.")

    def _starts(self):
        """Say whether there is a .venv of this very version of Python, and with pip."""
        about = "import sys, pip; raise SystemExit(sys.version_info[:2] != ({}, {}))".format(*sys.version_info)
        return self.python.is_file() and self.run([self.python, "-c", about], quiet=True)[0] == 0

    def _look_for(self, room):
        if (free := self.free(self.root)) < room:
            raise Trouble(f"The disk has {free / 1e9:.1f} GB left of {room / 1e9} needed: make room, then call again.")

    def _make(self):
        ruin = self.folder.exists()
        if ruin:
            shutil.rmtree(self.folder)
        self._look_for(ROOM)
        again = "anew (the last call was cut short, or its Python is gone) " if ruin else ""
        self.say("1/3 Making .venv {}with Python {}.{}".format(again, *sys.version_info))
        # Called from inside .venv, it is the Python beneath that must make it anew.
        python = getattr(sys, "_base_executable", None) or sys.executable
        code, said = self.run([python, "-m", "venv", self.folder], quiet=True)
        if code:
            raise Trouble(explain(said, self.root, "make .venv"))

    def _torch(self, lock):
        """Install PyTorch from its own index where that is the better build; say which build comes, and why."""
        pin = next((line for line in self.pins("lessons") if line.startswith("torch==")), None)
        if pin is None or list(self.site_packages.glob(pin.replace("==", "-") + "*.dist-info")):
            return
        build = self.choose(self.run([self.python, "-m", "pip", "config", "list"], quiet=True)[1])
        self.say(build.why)
        self._look_for(build.room)
        if build.index is None:
            return
        # This one package alone comes from there, and nothing that it needs: no other name is looked up in that index.
        arguments = ("--index-url", build.index, "--no-deps", "--retries", "1", pin)
        code, said = self.run([*self._installs(), *arguments], quiet=False)
        if code and is_any(DISK_FULL + NOT_ALLOWED, said):
            raise Trouble(explain(said, self.root, f"install {pin}"))
        if code:
            self.say("PyTorch's own index did not give it: the build that pip finds comes instead.")

    def _installs(self):
        # Byte code for all modules takes half of the time and a fifth of the room: `_warm` writes what is used.
        return [self.python, "-m", "pip", "install", "--no-user", "--no-compile", "--disable-pip-version-check"]

    def _warm(self, level):
        # Python may be told to write no byte code: then each kernel would compile torch anew. Tests import nearly all.
        command = ["-m", "compileall", "-q", self.site_packages] if level == "tools" else ["-c", IMPORTED]
        if level == "lessons" or sys.dont_write_bytecode:
            self.run([self.python, *command], quiet=True)

    def _pip(self, lock, title, what, *arguments):
        self.say(title)
        code, said = self.run([*self._installs(), *arguments], quiet=False)
        if code:
            if is_any(NO_NETWORK, said):
                lock.write("")  # pip had not begun to change anything: what is there can be built on
            raise Trouble(explain(said, self.root, f"install {what}"))

    def _settle(self, level):
        """Let notebooks anywhere find `lib`, keep JupyterLab quiet and for learners, and sign: in this order."""
        home = os.path.relpath(self.root, self.site_packages)  # relative, so that the folder can be moved
        (self.site_packages / "course.pth").write_text(home + "\n", encoding="utf-8")
        for name, text in JUPYTER.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text, encoding="utf-8")
        for signed in LEVELS[: LEVELS.index(level) + 1]:
            beside = self.stamp(signed).with_suffix(".tmp")
            beside.write_text(self.fingerprint(signed), encoding="utf-8")
            os.replace(beside, self.stamp(signed))


def listed(text):
    """Return the lines of a requirements file that ask for something, without their comments."""
    return [line for line in (line.split("#")[0].strip() for line in text.splitlines()) if line]


def watch(command, quiet=False):
    """Run a command; return its exit code and what it said. Quietly, or with its output and its errors shown too."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if quiet else {"stderr": subprocess.PIPE}
    said = []
    with subprocess.Popen(command, **streams, text=True, encoding="utf-8", errors="replace") as process:
        for line in process.stdout if quiet else process.stderr:
            said.append(line)
            if not quiet:
                sys.stderr.write(line)
    return process.returncode, "".join(said)


def hand_over(command, root, extra=None):
    """Run a command in the course's folder, in our terminal, to its end; return its exit code.

    Ctrl-C reaches the command by itself, so we only wait for it; a polite kill is passed on.
    """
    process = subprocess.Popen([str(part) for part in command], cwd=root, env={**os.environ, **(extra or {})})
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: process.terminate()),
    }
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def share_of_cores(workers):
    """Return the variables for one of several `workers` on this machine: its part of the cores, and patient threads.

    A thread of OpenMP that waits spins, unless told to sleep: it would take the other workers' time.
    """
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // workers)), "OMP_WAIT_POLICY": "PASSIVE"}
