"""Which build of PyTorch a machine gets, and whether there is one for it at all.

Standard library only: this is what runs before anything is installed.
"""

import contextlib
import ctypes.util
import http.client
import platform
import re
import shutil
import sys
import threading
import urllib.request
from pathlib import Path
from typing import NamedTuple

# PyTorch's own index of builds that need no GPU: on Linux a fifth of what pip finds by itself.
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
SECONDS = 3.0
# Free space that the build with CUDA takes, in bytes: 5 GB installed, and what pip downloads before.
ROOM_CUDA = 10_000_000_000
# The last Python that the pinned PyTorch has builds for.
NEWEST = (3, 14)
# Settings of pip that say where packages come from, as `pip config list` prints them: "global.index-url='...'".
OWN_INDEX = re.compile(r"^[^=\n]*\.(index-url|extra-index-url|find-links|no-index)=", re.M)


class Build(NamedTuple):
    """What was chosen: PyTorch's index, None for pip's own way; a sentence that says why; the room in bytes."""

    index: str | None
    why: str
    room: int = 0


def choose(settings, system=None, driver=None, answers=None, index=CPU_INDEX):
    """Return the Build for this machine.

    settings: what `pip config list` says. A source of packages that stands there is kept to. system, driver and
    answers default to this machine's; tests pass their own.
    """
    system = system or platform.system()
    if own := sorted(set(OWN_INDEX.findall(settings))):
        return Build(None, f"PyTorch: the build that your own settings of pip lead to ({', '.join(own)}).")
    if system != "Linux":
        return Build(None, f"PyTorch: the build that pip finds for {system or 'this system'}.")
    if (driver or has_driver)():
        return Build(None, "PyTorch: the build with CUDA, since there is an NVIDIA driver.", ROOM_CUDA)
    if (answers or answers_in_time)(f"{index}/torch/"):
        return Build(index, "PyTorch: the CPU build from PyTorch's own index, since there is no NVIDIA driver.")
    late = f"there is no NVIDIA driver, but PyTorch's index of CPU builds did not answer within {SECONDS:.0f} s"
    return Build(None, f"PyTorch: the build that pip finds, which may be the large one with CUDA: {late}.")


def has_driver(proc=Path("/proc/driver/nvidia"), which=shutil.which, library=ctypes.util.find_library):
    """Say whether this Linux has NVIDIA's driver: the kernel's part of it, its command, or its library."""
    return proc.exists() or which("nvidia-smi") is not None or library("cuda") is not None


def answers_in_time(url, seconds=SECONDS):
    """Say whether a server answers well within so many seconds, the look-up of its name included.

    The look-up has no limit of its own, so a thread does it all, and is left behind where it is late.
    """
    heard = []

    def ask():
        with contextlib.suppress(OSError, http.client.HTTPException):
            request = urllib.request.Request(url, method="HEAD")
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                heard.append(answer.status == 200)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return heard == [True]


def no_build(version=None, system=None, machine=None, bits=None):
    """Return a sentence where the pinned PyTorch has no build for such a machine or Python, None where it has.

    version: (3, 12). system, machine: as the module platform names them. bits: 64 or 32.
    """
    version, system = tuple(version or sys.version_info)[:2], system or platform.system()
    machine, bits = (machine or platform.machine()).lower(), bits or (64 if sys.maxsize > 2**32 else 32)
    colab = "open the lessons in Colab instead"
    if bits == 32:
        return f"PyTorch has no build for a Python of 32 bits: install one of 64 bits, or {colab}."
    if system == "Darwin" and machine == "x86_64":
        apple = "On a Mac with Apple's processor, install the Python for it from python.org"
        return f"PyTorch has had no build for Intel Macs since version 2.2. {apple}; on an Intel Mac, {colab}."
    if system == "Windows" and machine == "arm64":
        return f"PyTorch has no build for Python on Windows on ARM: install Python for x64, or {colab}."
    if version > NEWEST:
        call = "py -3.13" if system == "Windows" else "python3.13"
        numbers = (*version, *NEWEST)
        return "PyTorch has no build for Python {}.{} yet, the newest that it has is {}.{}: ".format(*numbers) + (
            f"install 3.13 from python.org, and call `{call} -m lib lab`."
        )
    return None
