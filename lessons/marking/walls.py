"""Close a process to the machine around it, by Python's audit hooks: no files but Python's own, no other processes."""

import os
import sys
import sysconfig
import tempfile
from pathlib import Path

import torch

DENIED = tuple(
    "subprocess. os.system os.exec os.posix_spawn os.spawn os.fork os.forkpty os.kill os.killpg os.startfile "
    "os.chdir socket. ctypes. gc.get_ signal. sqlite3. winreg. ftplib. http. urllib. webbrowser. pty. "
    "sys.addaudithook".split()
)
# What these change lies in the process's own folder, or stays; what the others list may lie where reading is allowed.
WRITES = (
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
    "os.utime",
    "shutil.",
)
READS = ("os.listdir", "os.scandir", "os.walk", "os.fwalk", "glob.")
FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
SHUT = "{} is closed while your work is marked."
COURSE = Path(__file__).resolve().parents[2]
DEVICES = (os.devnull, "/proc/cpuinfo", "/proc/meminfo", "/dev/urandom")


def readable():
    """Return the folders that may be read: Python's, its packages', and the course's data."""
    packages = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return ends({*packages, str(COURSE / "data")})


def ends(names):
    """Return folders' names, with those that links lead to, so that what lies within begins with one of them."""
    return tuple(sorted({os.path.join(path, "") for name in names for path in (name, os.path.realpath(name))}))


def close(folder, *used):
    """Close the process for good. folder: what it may write. used: what was looked up before; later it can't be."""
    tempfile.tempdir = folder
    own = ends([folder])
    others = readable()

    def within(path, folders):
        if isinstance(path, int) or path is None:
            return True
        real = os.path.join(os.path.realpath(os.fsdecode(path)), "")
        return real.startswith(folders)

    def inside(arguments):
        return all(within(path, own) for path in arguments if isinstance(path, str | bytes | os.PathLike))

    def watch(event, arguments):
        if event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and flags & FLAGS
            if path not in DEVICES and not within(path, own if writes else own + others):
                raise PermissionError(SHUT.format("that file"))
        elif event == "import":
            if arguments[0].split(".")[0] in ("lib", "lessons", "tests", "nbgrader"):
                raise ImportError(f"{arguments[0]} is not there when your work is marked: write it yourself.")
        elif event.startswith(READS):
            if not within(arguments[0], own + others):
                raise PermissionError(SHUT.format("that folder"))
        elif event.startswith(DENIED) or (event.startswith(WRITES) and not inside(arguments[:2])):
            raise PermissionError(SHUT.format(event))

    vars(torch).pop("from_file", None)  # it reads any file without Python's knowledge
    sys.path[:] = [path for path in sys.path if path and Path(path).resolve() != COURSE]
    sys.addaudithook(watch)
