"""The course's .venv: made once, known to be whole by a stamp, made again where a call was cut short.

Standard library only: this is what runs before anything is installed.
"""

import contextlib
import functools
import hashlib
import importlib.util
import os
import platform
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

# Free space that a fresh .venv takes, in bytes: 1.5 GB installed, and what pip downloads before.
ROOM = 2_500_000_000

NO_NETWORK = (
    "Retrying (Retry(",
    "NewConnectionError",
    "ConnectTimeout",
    "Read timed out",
    "ProxyError",
    "SSLError",
    "getaddrinfo failed",
    "name resolution",
    "Network is unreachable",
    "Connection reset",
    "Connection aborted",
)
DISK_FULL = ("No space left on device", "Errno 28", "WinError 112", "Disk quota exceeded")
NOT_ALLOWED = (
    "Permission denied",
    "Operation not permitted",
    "Errno 13",
    "WinError 5",
    "WinError 32",
    "Read-only file system",
)
NO_VENV = ("ensurepip", "No module named venv")


class Trouble(Exception):
    """What the reader has to know: a sentence with the next step, printed without a traceback."""


class Environment:
    """The .venv of the course in the folder `root`.

    `run(command, quiet)` runs a command and returns (exit code, what it said); `say` takes a line for the reader;
    `free(root)` is the room on the disk in bytes. Tests pass their own.
    """

    def __init__(self, root, run=None, say=None, free=None):
        self.root = Path(root)
        self.folder = self.root / ".venv"
        self.stamp = self.folder / "course-stamp"
        self.lock = self.root / ".venv.lock"
        self.run, self.say = run or watch, say or functools.partial(print, flush=True)
        self.free = free or (lambda folder: shutil.disk_usage(folder).free)

    @property
    def python(self):
        """The interpreter of .venv."""
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def site_packages(self):
        """The folder of .venv that holds installed packages."""
        return Path(sysconfig.get_path("purelib", "venv", {"base": str(self.folder)}))

    def fingerprint(self):
        """Return what the stamp of a whole .venv says: a hash of what is asked for, and the Python that it is for."""
        asked = b"".join((self.root / name).read_bytes() for name in ("requirements.txt", "data/packages.txt"))
        digest = hashlib.sha256(asked.replace(b"\r\n", b"\n")).hexdigest()
        return "{} python {}.{}\n".format(digest, *sys.version_info)

    def is_ready(self):
        """Say whether .venv is whole and has what the requirements ask for. Starts nothing: it takes a millisecond."""
        try:
            return self.python.is_file() and self.stamp.read_text(encoding="utf-8") == self.fingerprint()
        except FileNotFoundError:
            return False

    def serves(self, modules):
        """Say whether we run in .venv; or, where there is none yet, have these modules without it, as in Colab."""
        if self.folder.exists():
            return Path(sys.prefix).resolve() == self.folder.resolve() and self.is_ready()
        return all(importlib.util.find_spec(module) for module in modules)

    def prepare(self):
        """Make .venv, or bring it up to date, unless it is ready. Raise `Trouble` where that can't be done."""
        if self.is_ready():
            return
        try:
            with alone(self.lock, self.say) as lock:
                if not self.is_ready():  # another call may have made it while this one waited
                    self._install(lock)
        except OSError as error:
            raise Trouble(explain(str(error), self.root, "write here")) from error

    def _install(self, lock):
        began = time.monotonic()
        # The lock file says "making" from the first change to the last: a call that finds it there found a ruin.
        whole = lock.read() == "" and self._starts()
        lock.write("making")
        if not whole:
            self._make()
        self._pip(lock, "2/3 Installing what requirements.txt lists: 1.5 GB", "-r", "requirements.txt")
        self._pip(lock, "3/3 Installing what data/packages.txt lists", "--no-deps", "-r", "data/packages.txt")
        self._settle()
        lock.write("")
        self.say(f"The environment stands after {time.monotonic() - began:.0f} s. The next call starts at once.")

    def _starts(self):
        """Say whether there is a .venv of this very version of Python, and with pip."""
        about = "import sys, pip; raise SystemExit(sys.version_info[:2] != ({}, {}))".format(*sys.version_info)
        return self.python.is_file() and self.run([self.python, "-c", about], quiet=True)[0] == 0

    def _make(self):
        ruin = self.folder.exists()
        if ruin:
            shutil.rmtree(self.folder)
        free = self.free(self.root)
        if free < ROOM:
            raise Trouble(f"The disk has {free / 1e9:.1f} GB left of {ROOM / 1e9} needed: make room, then call again.")
        again = "anew (the last call was cut short, or its Python is gone) " if ruin else ""
        self.say("1/3 Making .venv {}with Python {}.{}".format(again, *sys.version_info))
        # Called from inside .venv, it is the Python beneath that must make it anew.
        python = getattr(sys, "_base_executable", None) or sys.executable
        code, said = self.run([python, "-m", "venv", self.folder], quiet=True)
        if code:
            raise Trouble(explain(said, self.root, "make .venv"))

    def _pip(self, lock, title, *arguments):
        self.say(title)
        command = [self.python, "-m", "pip", "install", "--no-user", "--disable-pip-version-check", *arguments]
        code, said = self.run(command, quiet=False)
        if code:
            if is_any(NO_NETWORK, said):
                lock.write("")  # pip had not begun to change anything: what is there can be built on
            raise Trouble(explain(said, self.root, f"install {arguments[-1]}"))

    def _settle(self):
        """Let notebooks anywhere find `lib`, keep JupyterLab from asking about news, and sign: in this order."""
        home = os.path.relpath(self.root, self.site_packages)  # relative, so that the folder can be moved
        (self.site_packages / "course.pth").write_text(home + "\n", encoding="utf-8")
        settings = self.folder / "share/jupyter/lab/settings/overrides.json"
        settings.parent.mkdir(parents=True, exist_ok=True)
        quiet = '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}\n'
        settings.write_text(quiet, encoding="utf-8")
        beside = self.stamp.with_suffix(".tmp")
        beside.write_text(self.fingerprint(), encoding="utf-8")
        os.replace(beside, self.stamp)


def is_any(signs, said):
    """Say whether one of the signs stands in what a command said."""
    return any(sign in said for sign in signs)


def explain(said, root, task):
    """Return a sentence with the next step, for what a failed command said."""
    if is_any(DISK_FULL, said):
        return f"The disk is full: make {ROOM / 1e9} GB of room (10 GB where pip brings CUDA), then call again."
    if is_any(NO_VENV, said):
        return "This Python can't make environments: on Debian and Ubuntu install python3-venv, then call again."
    if is_any(NOT_ALLOWED, said):
        return f"Could not {task}: {root} may not be changed. Close what runs from it, or copy it to a folder of yours."
    if is_any(NO_NETWORK, said):
        return f"Could not {task}, since the package index was not reached: look at the network, then call again."
    if "No matching distribution" in said:
        here = f"Python {sys.version_info[0]}.{sys.version_info[1]} on {platform.machine()}"
        return f"Could not {task}: a package (see above) has no build for {here}: try 3.11 to 3.13, or the network."
    last = said.strip().splitlines()[-1:] or ["it said nothing"]
    return f"Could not {task} ({last[0].strip()}): call again; if it stays, delete .venv and call once more."


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


class Lock:
    """An open lock file, and the word in it."""

    def __init__(self, file):
        self.file = file

    def read(self):
        """Return the word that the last holder left."""
        self.file.seek(0)
        return self.file.read()

    def write(self, word):
        """Leave a word for the next holder."""
        self.file.seek(0)
        self.file.truncate()
        self.file.write(word)
        self.file.flush()


@contextlib.contextmanager
def alone(path, say, pause=0.3):
    """Hold the lock file `path` while the block runs. Wait where another call holds it.

    It is the system's lock, so it is free again whatever way its holder ended.
    """
    with open(path, "a+", encoding="utf-8") as file:
        if not _try_lock(file):
            say("Another call is making the environment: waiting for it. Ctrl-C ends the waiting.")
            while not _try_lock(file):
                time.sleep(pause)
        yield Lock(file)


def _try_lock(file):
    if os.name == "nt":
        import msvcrt

        file.seek(1 << 20)  # far behind the text: on Windows others can't read what is locked
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # some network folders have no locks: better without one than not at all
    return True
