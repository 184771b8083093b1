"""A file with a checksum of its own that keeps its predecessor: what is altered is found, and the one before is there.

A file is a line with the SHA-256 of the rest, then what torch.save writes. It is written beside its place and moved
there; what stood there moves to `NAME.before`. Whenever a process dies, one of the two is whole.
"""

import hashlib
import os
from pathlib import Path

import torch

from lib.weights.files import write_beside

MAGIC = b"lib sealed 1 "
HEADER = 78  # the 13 bytes of MAGIC, 64 of the digest in hexadecimal, and a newline
CHUNK = 1 << 20


class Refused(ValueError):
    """A file that is cut short, altered, or none of ours."""


def before(path):
    """Return where the predecessor of `path` is kept."""
    path = Path(path)
    return path.with_name(path.name + ".before")


def write_sealed(path, value):
    """Write tensors and plain values; what stood at `path` is the one before then. OSError leaves both alone."""
    path = Path(path)

    def write(part):
        with open(part, "wb") as file:
            file.write(b"\0" * HEADER)
            through = _Through(file)
            torch.save(value, through)
            through.check()
            file.seek(0)
            file.write(MAGIC + through.digest.hexdigest().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            os.replace(path, before(path))

    write_beside(path, write)
    _flush_folder(path.parent)


def read_sealed(path):
    """Return what `write_sealed` wrote. FileNotFoundError; `Refused`, with the path, where a bit is not as it was."""
    with open(path, "rb") as file:
        header = file.read(HEADER)
        if not header.startswith(MAGIC) or len(header) < HEADER:
            raise Refused(f"{path} can't be read as a checkpoint (no such header): it is cut short, or not ours")
        digest = hashlib.sha256()
        while chunk := file.read(CHUNK):
            digest.update(chunk)
        if header != MAGIC + digest.hexdigest().encode() + b"\n":
            raise Refused(f"{path} can't be read as a checkpoint (its checksum differs): it is cut short or altered")
        file.seek(HEADER)
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # whole, and yet not what we write: torch raises five kinds of error
            what = type(error).__name__
            raise Refused(f"{path} can't be read as a checkpoint ({what}): it holds more than tensors") from error


class _Through:
    """A file to write to, that counts the checksum. torch loses an OSError on its way: it is kept, and raised later."""

    def __init__(self, file):
        self.file, self.digest, self.error = file, hashlib.sha256(), None

    def write(self, data):
        if self.error is None:
            try:
                self.file.write(data)
                self.digest.update(data)
            except OSError as error:
                self.error = error
        return memoryview(data).nbytes

    def flush(self):
        """Nothing: the file is flushed once, at its end."""

    def check(self):
        if self.error is not None:
            raise self.error


def _flush_folder(folder):
    """Have the disk know the new names too, where the system can: a power cut then finds them."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
