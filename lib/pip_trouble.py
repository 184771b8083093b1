"""What a failed command says, told as a sentence with the next step.

Standard library only: this is what runs before anything is installed.
"""

import platform
import sys

# Free space that a fresh .venv takes, in bytes: 1.2 GB installed, and what pip downloads before.
ROOM = 2_000_000_000
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
LONG_PATHS = ("Windows Long Path support", "WinError 206")
NO_VENV = ("ensurepip", "No module named venv")


def is_any(signs, said):
    """Say whether one of the signs stands in what a command said."""
    return any(sign in said for sign in signs)


def explain(said, root, task):
    """Return a sentence with the next step, for what a failed command said."""
    if is_any(DISK_FULL, said):
        return f"The disk is full: make {ROOM / 1e9} GB of room (10 GB where pip brings CUDA), then call again."
    if is_any(LONG_PATHS, said):
        return f"Could not {task}: Windows allows paths of 260 letters. Move the course to C:\\course, or as near."
    if is_any(NO_VENV, said):
        return "This Python can't make environments: on Debian and Ubuntu install python3-venv, then call again."
    if is_any(NOT_ALLOWED, said):
        return f"Could not {task}: {root} may not be changed. Close what runs from it, or copy it to a folder of yours."
    if is_any(NO_NETWORK, said):
        return f"Could not {task}, since the package index was not reached: look at the network, then call again."
    if "No matching distribution" in said:
        here = f"Python {sys.version_info[0]}.{sys.version_info[1]} on {platform.machine()}"
        return f"Could not {task}: a package (see above) has no build for {here}: try 3.11 to 3.14, or the network."
    last = said.strip().splitlines()[-1:] or ["it said nothing"]
    return f"Could not {task} ({last[0].strip()}): call again; if it stays, delete .venv and call once more."
